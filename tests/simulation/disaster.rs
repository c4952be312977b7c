//! What befalls the server as a whole: a crash, with or without the loss of its last commits, a failover
//! to a replica that lacks them, and an operator's FLUSHALL.
//!
//! What the worker was told is committed and the server then loses is beyond it. But a flush in doubt
//! that is lost must be written again, and one that is not must not: with the records goes the marker.

use crate::faults::Fault;
use crate::world::World;

/// So many of the last commits are lost at most.
const LONGEST_TAIL: usize = 5;

const DISASTERS: [Fault; 4] =
    [Fault::Crash, Fault::CrashLostTail, Fault::FailoverLostTail, Fault::FlushAll];

impl World {
    /// From here on something may befall the server, if this is a seed for it.
    ///
    /// Left out where rsyslogd stops: whether a worker has learnt what became of a flush before it ended, or
    /// of one that another had left, cannot be told from here.
    pub(crate) fn may_befall(&mut self) {
        if !self.may_stop && self.random.is(20) {
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
        let disaster = *self.random.pick(&DISASTERS);
        self.strikes.note(disaster);
        self.trace(|| format!("    {disaster:?}"));
        match disaster {
            Fault::Crash => self.server.lose_clients(),
            Fault::CrashLostTail => {
                self.lose_tail();
                self.server.lose_clients();
            }
            Fault::FailoverLostTail => {
                self.lose_tail();
                self.server.demote_clients();
            }
            _ => {
                self.void(0);
                self.server.flush_all();
            }
        }
    }

    fn lose_tail(&mut self) {
        let commits = self.random.within(1, LONGEST_TAIL);
        if let Some(left) = self.server.roll_back(commits) {
            self.void(left);
        }
    }

    /// Of the entries from `first` on, all of which are lost, those that no worker knows of count as
    /// never written.
    fn void(&mut self, first: usize) {
        for (index, written) in self.server.written.iter_mut().enumerate().skip(first) {
            let known = self.known.get(&written.worker).copied().unwrap_or(0);
            if self.unseen.contains_key(&written.worker) && index >= known {
                written.is_void = true;
                self.strikes.note(Fault::LostInDoubt);
            }
        }
    }
}
