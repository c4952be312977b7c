//! What the server has had after each commit, and what is left of that when something befalls it.

use super::Server;
use std::collections::BTreeMap;

impl Server {
    /// From here on the server may crash.
    pub(crate) fn keep_history(&mut self) {
        self.history = Some(vec![(self.keys.clone(), 0)]);
    }

    pub(crate) fn may_crash(&self) -> bool {
        self.history.is_some()
    }

    pub(super) fn remember(&mut self) {
        let Some(history) = &mut self.history else { return };
        let now = (&self.keys, self.written.len());
        if history.last().map(|(keys, count)| (keys, *count)) != Some(now) {
            history.push((self.keys.clone(), self.written.len()));
        }
    }

    /// Undoes so many commits, or as many as there are, but none of the first `floor`. Says how many
    /// entries are left.
    pub(crate) fn roll_back(&mut self, commits: usize, floor: usize) -> Option<usize> {
        let history = self.history.as_mut()?;
        history.truncate(history.len().saturating_sub(commits).max(floor).max(1));
        let (keys, count) = history.last()?.clone();
        self.keys = keys;
        Some(count)
    }

    /// All connections end, and what they have sent is lost.
    pub(crate) fn lose_clients(&mut self) {
        for id in 0..self.clients.len() {
            self.close(id);
            self.clients[id].is_dead = true;
        }
    }

    /// All connections lead to a replica from here on.
    pub(crate) fn demote_clients(&mut self) {
        for client in &mut self.clients {
            client.is_demoted = true;
        }
    }

    /// Removes all keys. That itself is never lost, so that nothing comes back.
    pub(crate) fn flush_all(&mut self) {
        let keys: Vec<Vec<u8>> = self.keys.keys().cloned().collect();
        for key in keys {
            self.remove(&key);
        }
        self.history = Some(vec![(BTreeMap::new(), self.written.len())]);
    }
}
