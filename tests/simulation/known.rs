//! What the workers know of what they have sent: only of the rest may it be asked back, or written again.

use crate::world::World;

/// An EXEC that ran, but whose reply is lost and not looked up yet.
pub(crate) struct Unseen {
    marker: Vec<u8>,
    /// What it has set the marker to.
    value: Vec<u8>,
}

impl World {
    /// The client's flush took place, and its replies do not get through.
    pub(crate) fn lose_sight(&mut self, id: usize) {
        let client = &self.server.clients[id];
        let (worker, marker) = (client.worker, client.marker.clone());
        let value = self.server.text(&marker).unwrap_or_default().to_vec();
        self.unseen.insert(worker, Unseen { marker, value });
    }

    /// The worker has read all replies so far, or has looked up what it could not read.
    pub(crate) fn resolved(&mut self, worker: usize) {
        self.unseen.remove(&worker);
        self.known.insert(worker, self.server.written.len());
    }

    /// The same of what has this marker: what was left at a stop has another one.
    pub(crate) fn resolved_under(&mut self, worker: usize, marker: &[u8]) {
        if self.unseen.get(&worker).is_none_or(|unseen| unseen.marker == marker) {
            self.resolved(worker);
        }
    }

    /// A call is over. Who has kept the connection has read all replies, unless copies are missing.
    pub(crate) fn call_ended(&mut self, worker: usize) {
        if let Some((_, marker)) = self.kept.get(&worker)
            && !self.asks_for_copies()
        {
            self.resolved_under(worker, &marker.clone());
        }
    }

    /// Whether no disaster can make unwritten what this worker has written.
    pub(crate) fn is_certain(&self, worker: usize) -> bool {
        !(self.server.may_crash() && self.unseen.contains_key(&worker))
    }

    /// The worker has read the marker. Where that is not what the flush has set it to, the server has lost
    /// both, and the worker has learnt that.
    pub(crate) fn has_read(&mut self, worker: usize, marker: &[u8], value: &[u8]) {
        let is_lost = |unseen: &Unseen| unseen.marker == marker && unseen.value != value;
        if self.unseen.get(&worker).is_some_and(is_lost) {
            self.resolved(worker);
        }
    }
}
