//! A worker's flushes to a cluster: a flush has a part for each slot, and each part is a transaction of
//! its own, with a marker in its slot. Parts go out to all nodes before the first reply is read; a node
//! that has several gets one after the other, because a guard ends with the transaction that it guards.
#![forbid(unsafe_code)]

mod copies;
mod guard;
mod meet;
mod nodes;
mod parts;
mod trouble;

pub(super) use nodes::Nodes;

use super::Worker;
use crate::commands::{Marker, Slot, slot_of};
use crate::error::{Cause, Error};
use crate::params::{Mode, Store};
use crate::server::{Connect, Deadline};
use crate::stats::Counter;
use crate::transaction::{InDoubt, Part};
use copies::Claim;
use guard::on_its_way;
use nodes::Way;
use parts::Share;
use trouble::{Attempts, Trouble, Troubles};

impl<C: Connect> Worker<'_, C> {
    /// As [`Worker::flush_all`], where a cluster has the keys.
    pub(super) fn flush_to_cluster(&mut self, deadline: Deadline) -> Result<(), Error> {
        self.persist(deadline, |worker, deadline| {
            worker.look_up_parts(deadline)?;
            while !worker.transaction.kept().is_empty() && !worker.must_write_down() {
                if worker.suppress_noted() {
                    continue;
                }
                worker.flush_parts(deadline)?;
                // What is left is written down before it is flushed.
                if worker.is_for_past {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Proves that what is needed next can be written to; looks up what is in doubt.
    pub(super) fn prove_cluster(&mut self, deadline: Deadline) -> Result<(), Error> {
        self.persist(deadline, |worker, deadline| {
            worker.look_up_parts(deadline)?;
            let first = worker.transaction.kept().first();
            let Part(slot) = first.map_or_else(|| worker.home(), |kept| kept.part());
            let marker = worker.marker.in_slot(slot);
            let (way, _) = worker.fence(slot, &marker, deadline)?;
            worker.meet(&[way], deadline).pop().map_or(Ok(()), |(_, trouble)| Err(trouble))
        })
    }

    /// Looks up what was in doubt when an earlier worker ended: everything kept.
    pub(super) fn look_up_left(
        &mut self,
        marker: &Marker,
        flush: u64,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let slot = slot_of(marker.key.as_bytes());
        self.transaction.doubt_all(InDoubt { part: Part(slot), flush });
        self.persist(deadline, |worker, deadline| {
            let mut claims = Vec::new();
            worker.look_up_part(flush, slot, marker, &mut claims, deadline)?;
            worker.demand_all(claims, deadline)
        })
    }

    /// Settles what a process before this one has committed under the same markers.
    pub(super) fn take_over_parts(&mut self, deadline: Deadline) -> Result<(), Error> {
        self.persist(deadline, |worker, deadline| {
            let mut claims = Vec::new();
            for Share { slot, .. } in worker.plan(usize::MAX) {
                let marker = worker.marker.in_slot(slot);
                let (_, held) = worker.fence(slot, &marker, deadline)?;
                let flush = marker.number(&held);
                worker.flush = worker.flush.max(flush);
                if flush > 0 {
                    // Every flush under this marker was all of these records, or what was left of them.
                    worker.transaction.doubt(InDoubt { part: Part(slot), flush }, usize::MAX);
                    worker.look_up_part(flush, slot, &marker, &mut claims, deadline)?;
                }
            }
            worker.demand_all(claims, deadline)
        })
    }

    /// The part of a record with this key.
    pub(super) fn part_of(&self, key: &[u8]) -> Part {
        if self.nodes.is_some() { Part(slot_of(key)) } else { Part::WHOLE }
    }

    /// The part of messages. A channel is in no slot, and every node hears of a message, wherever it is
    /// published. But messages that leave by two nodes may overtake each other, so all of an action leave by one,
    /// those of its next start included.
    pub(super) fn part_of_messages(&self) -> Part {
        self.part_of(self.action.settings.store.marker_key.as_bytes())
    }

    /// The part that this worker's records are likely to be in.
    fn home(&self) -> Part {
        let Store { mode, dead_letter_key: dead_letters, .. } = &self.action.settings.store;
        if *mode == Mode::Publish {
            return self.part_of_messages();
        }
        self.part_of(if self.key.is_empty() { dead_letters } else { &self.key }.as_bytes())
    }

    /// Tries until it is done, or has to be left to the core.
    fn persist(
        &mut self,
        deadline: Deadline,
        mut attempt: impl FnMut(&mut Self, Deadline) -> Result<(), Trouble>,
    ) -> Result<(), Error> {
        if let Some(nodes) = &mut self.nodes {
            nodes.begin();
        }
        let mut attempts = Attempts::default();
        loop {
            let kept = self.transaction.kept().len();
            let result = self.refresh(deadline).and_then(|()| attempt(self, deadline));
            if let Some(nodes) = &mut self.nodes {
                self.action.stats.add(Counter::Reconnects, nodes.take_reconnects());
                if !self.is_for_past {
                    self.report.missing_rights(nodes.missing_rights().map(str::to_owned));
                }
            }
            let Err(trouble) = result else {
                self.tell_risks_of_nodes(deadline);
                return Ok(());
            };
            if self.transaction.kept().len() < kept {
                attempts.begin_anew();
            }
            let pause = attempts.next(trouble.retry).filter(|_| !self.must_write_down());
            let Some(pause) = pause.filter(|pause| deadline.remaining() > Some(*pause)) else {
                return Err(trouble.error);
            };
            if trouble.error.drops_connection {
                self.action.stats.failed(trouble.error.cause);
            }
            if !pause.is_zero() {
                self.servers.pause(pause);
            }
        }
    }

    fn refresh(&mut self, deadline: Deadline) -> Result<(), Trouble> {
        let Some(nodes) = &mut self.nodes else { return Ok(()) };
        if nodes.refresh(&*self.servers, deadline)? && !self.is_for_past {
            self.report.connected(nodes.to_string());
        }
        Ok(())
    }

    fn fence(
        &mut self,
        slot: Slot,
        marker: &Marker,
        deadline: Deadline,
    ) -> Result<(Way, Vec<u8>), Trouble> {
        let nodes = self.nodes.as_mut().ok_or_else(no_cluster)?;
        nodes.fence(&*self.servers, slot, marker, deadline)
    }

    /// Finds out about all parts in doubt that can be asked for.
    fn look_up_parts(&mut self, deadline: Deadline) -> Result<(), Trouble> {
        let (mut troubles, mut claims) = (Troubles::default(), Vec::new());
        for InDoubt { part: Part(slot), flush } in self.transaction.in_doubt().to_vec() {
            let marker = self.marker.in_slot(slot);
            troubles.note(self.look_up_part(flush, slot, &marker, &mut claims, deadline));
        }
        troubles.note(self.demand_all(claims, deadline));
        troubles.into_result()
    }

    fn look_up_part(
        &mut self,
        flush: u64,
        slot: Slot,
        marker: &Marker,
        claims: &mut Vec<Claim>,
        deadline: Deadline,
    ) -> Result<(), Trouble> {
        let (Way { node, is_asking }, held) = self.fence(slot, marker, deadline)?;
        let outcome = self.find_out(flush, marker, &held, |worker, keys| {
            let nodes = worker.nodes.as_mut().ok_or_else(no_cluster)?;
            nodes.types(&*worker.servers, slot, keys, deadline)
        })?;
        let Some(outcome) = outcome else { return Ok(()) };
        if is_asking && self.needs_copies() {
            return Err(on_its_way(slot, &node));
        }
        let nodes = self.nodes.as_mut().ok_or_else(no_cluster)?;
        let line = nodes.line(&node)?.id;
        self.took_place(Claim { slot, flush, node, line, outcome, begin: None }, claims)
    }
}

fn no_cluster() -> Error {
    Error::broken(Cause::Connect, "not connected to a cluster")
}
