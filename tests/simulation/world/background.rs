//! What happens of itself while the workers work: the server's moods, what broken connections have left
//! behind, the operator and other programs.

use super::{DEAD_LETTERS, DYNAMIC_KEYS, FIXED_KEY, World};
use crate::faults::Fault;
use crate::server::Mood;
use omvalkeyaudit::params::Mode;

impl World {
    /// What may happen between any two commands.
    pub(super) fn pass(&mut self) {
        // While commands run one by one, a change of mood would let the later of two records pass.
        let is_unprotected = self.server.clients.iter().any(|client| client.is_unprotected);
        if !is_unprotected {
            self.change_mood();
        }
        self.change_lag();
        if !self.markers.is_empty() && self.strikes(1) {
            self.lose_marker();
        }
        if matches!(self.mode, Mode::Queue { .. }) && self.strikes(1) {
            self.take_lists();
        }
        if self.server.refuse_multi.is_none() && self.random.is(15) {
            self.run_late();
        }
    }

    fn change_mood(&mut self) {
        self.mood_left = self.mood_left.saturating_sub(1);
        if self.mood_left == 0 {
            self.server.mood = Mood::Fine;
        }
        if self.server.mood == Mood::Fine && self.strikes(1) {
            let (mood, fault) = *self.random.pick(&[
                (Mood::Loading, Fault::Loading),
                (Mood::OutOfMemory, Fault::OutOfMemory),
                (Mood::ReadOnly, Fault::ReadOnly),
                (Mood::NoReplicas, Fault::NoReplicas),
            ]);
            self.server.mood = mood;
            self.mood_left = u32::try_from(self.random.within(1, 30)).expect("small");
            self.strikes.note(fault);
            self.trace(|| format!("    the server is {mood:?} now"));
        }
    }

    /// A consumer takes all that is there.
    fn take_lists(&mut self) {
        for key in self.server.lists() {
            self.server.remove(&key);
            self.strikes.note(Fault::ListTaken);
            self.trace(|| format!("    {} is taken", key.escape_ascii()));
        }
    }

    fn lose_marker(&mut self) {
        let worker = self.random.below(self.markers.len());
        if !self.unseen.contains_key(&worker) && self.server.remove(&self.markers[worker]) {
            self.strikes.note(Fault::MarkerLost);
            self.trace(|| format!("    the marker of worker {worker} is lost"));
        }
    }

    /// Executes some of what broken connections have left behind.
    pub(crate) fn run_late(&mut self) {
        let late: Vec<usize> = self.late();
        if late.is_empty() {
            return;
        }
        let id = *self.random.pick(&late);
        for _ in 0..self.random.within(1, 8) {
            match self.server.next_command(id) {
                Some(words) => self.execute(id, words),
                None => return self.server.close(id),
            }
        }
    }

    /// Executes all of it.
    pub(crate) fn run_all_late(&mut self) {
        while !self.late().is_empty() {
            self.run_late();
        }
    }

    fn late(&self) -> Vec<usize> {
        let clients = self.server.clients.iter().enumerate();
        let late = clients.filter(|(_, client)| client.is_orphan && !client.unread.is_empty());
        late.map(|(id, _)| id).collect()
    }

    /// What the operator and other programs do between the core's calls.
    pub(crate) fn idle(&mut self) {
        if self.server.may_crash() && self.strikes(1) {
            self.befall();
        }
        if self.random.is(10) {
            self.run_late();
        }
        if self.strikes(1) {
            let keys = [FIXED_KEY, DEAD_LETTERS, DYNAMIC_KEYS[3]];
            self.server.denied.push(self.random.pick(&keys).as_bytes().to_vec());
            self.trace(|| "    the ACL denies a key".to_owned());
        }
        if self.budget == 0 || self.random.is(8) {
            self.server.denied.clear();
        }
        if self.unseen.is_empty() && (self.budget == 0 || self.random.is(8)) {
            for key in [FIXED_KEY, DEAD_LETTERS] {
                if self.server.is_text(key.as_bytes()) {
                    self.server.remove(key.as_bytes());
                }
            }
        }
    }
}
