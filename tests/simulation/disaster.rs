//! What befalls the server as a whole: a crash, with or without the loss of its last commits, a failover
//! to a replica that lacks them, and an operator's FLUSHALL.
//!
//! What the worker was told is committed and the server then loses is beyond it. But a flush in doubt
//! that is lost must be written again, and one that is not must not: with the records goes the marker.

use crate::faults::Fault;
use crate::world::World;
use omvalkeyaudit::params::Mode;

/// So many of the last commits are lost at most.
const LONGEST_TAIL: usize = 5;

impl World {
    /// From here on something may befall the server, if this is a seed for it.
    ///
    /// Left out where rsyslogd stops, unless entries are written and copies of them asked for: whether a worker
    /// has learnt what became of a flush before it ended, or of one that another had left, cannot be told from
    /// here. So too where the look-up ends with the marker, because no type tells more.
    pub(crate) fn may_befall(&mut self) {
        let is_likely = if self.asks_for_copies() { 60 } else { 20 };
        let has_types = matches!(self.mode, Mode::Stream | Mode::Queue { .. });
        let is_exact = self.asks_for_copies() && self.mode == Mode::Stream;
        if (is_exact || !self.may_stop) && self.random.is(is_likely) && has_types {
            self.server.keep_history();
        }
    }

    /// Something befalls the server, if this is a seed for it.
    pub(crate) fn befall(&mut self) {
        let clients = &self.server.clients;
        // While commands run one by one, a lost connection is left out anyway.
        let is_unprotected = clients.iter().any(|client| client.is_unprotected);
        if !self.server.may_crash() || is_unprotected {
            return;
        }
        let disaster = *self.random.pick(&self.disasters());
        self.strikes.note(disaster);
        self.trace(|| format!("    {disaster:?}"));
        match disaster {
            Fault::Crash => self.server.lose_clients(),
            Fault::CrashLostTail => {
                self.lose_tail(self.server.floor_of_crash());
                self.server.lose_clients();
            }
            Fault::FailoverLostTail => {
                self.lose_tail(self.server.floor_of_failover());
                self.server.demote_clients();
            }
            _ => {
                self.void(0);
                self.server.flush_all();
            }
        }
    }

    fn lose_tail(&mut self, floor: usize) {
        let commits = self.random.within(1, LONGEST_TAIL);
        if let Some(left) = self.server.roll_back(commits, floor) {
            self.void(left);
        }
    }

    /// Of the entries from `first` on, all of which are lost, those that no worker knows of count as
    /// never written. Where copies are asked for, all do: nobody was told of them.
    fn void(&mut self, first: usize) {
        if self.asks_for_copies() {
            for written in self.server.written.iter_mut().skip(first) {
                if !std::mem::replace(&mut written.is_void, true) {
                    self.strikes.note(Fault::LostUncopied);
                }
            }
            return;
        }
        for (index, written) in self.server.written.iter_mut().enumerate().skip(first) {
            let known = self.known.get(&written.worker).copied().unwrap_or(0);
            if self.unseen.contains_key(&written.worker) && index >= known {
                written.is_void = true;
                self.strikes.note(Fault::LostInDoubt);
            }
        }
    }
}
