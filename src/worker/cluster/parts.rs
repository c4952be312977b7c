//! The parts of one flush: who gets what in which round, and what becomes of each.
#![forbid(unsafe_code)]

use super::copies::{Claim, patience};
use super::no_cluster;
use super::nodes::Way;
use super::trouble::{Retry, Trouble, Troubles};
use crate::commands::{Plan, Slot, asking, open_flush, read_ok, read_part, trim_by_age};
use crate::error::{Cause, Error};
use crate::params::Address;
use crate::server::{Connect, Connection, Deadline};
use crate::stats::Counter;
use crate::transaction::{InDoubt, Part};
use crate::worker::durable::Outcome;
use crate::worker::provoke::{Place, panic_if_asked};
use crate::worker::{Severity, Worker};
use std::collections::BTreeMap;
use std::time::Instant;

/// The records of one slot that a flush holds.
#[derive(Clone, Copy)]
pub(super) struct Share {
    pub(super) slot: Slot,
    records: usize,
}

/// A part that has left.
struct Sent {
    slot: Slot,
    flush: u64,
    way: Way,
    plan: Plan,
    /// The slot whose marker guards the next transaction there.
    next: Slot,
    begin: Instant,
}

impl<C: Connect> Worker<'_, C> {
    /// What the next flush, of at most so many records, holds of each slot; those first that can leave
    /// at once.
    pub(super) fn plan(&self, max: usize) -> Vec<Share> {
        let mut counts: BTreeMap<Slot, usize> = BTreeMap::new();
        for kept in self.transaction.kept().iter().take(max) {
            let Part(slot) = kept.part();
            *counts.entry(slot).or_default() += 1;
        }
        let plans = counts.into_iter().map(|(slot, records)| Share { slot, records });
        let is_guarded =
            |plan: &Share| self.nodes.as_ref().is_some_and(|nodes| nodes.is_guarded(plan.slot));
        let (mut plans, others): (Vec<Share>, Vec<Share>) = plans.partition(is_guarded);
        plans.extend(others);
        plans
    }

    /// Sends one flush, and settles those of its parts that are answered.
    pub(super) fn flush_parts(&mut self, deadline: Deadline) -> Result<(), Trouble> {
        let mut waiting = self.plan(self.transaction.next_flush());
        let (mut troubles, mut claims) = (Troubles::default(), Vec::new());
        while !waiting.is_empty() && troubles.is_empty() && !self.must_write_down() {
            let mut round: Vec<(Share, Way)> = Vec::new();
            let mut later = Vec::new();
            for plan in waiting {
                match self.prepare(plan.slot, &round, deadline) {
                    Ok(Some(way)) => round.push((plan, way)),
                    Ok(None) => later.push(plan),
                    Err(trouble) => troubles.add(trouble),
                }
            }
            let ways: Vec<Way> = round.iter().map(|(_, way)| way.clone()).collect();
            for (node, trouble) in self.meet(&ways, deadline) {
                round.retain(|(_, way)| way.node != node);
                troubles.add(trouble);
            }
            let mut patience = patience(round.len(), deadline);
            let mut all_sent = Vec::new();
            for (plan, way) in round {
                let next = later.iter().find(|later| {
                    self.nodes.as_ref().and_then(|nodes| nodes.owner(later.slot)) == Some(&way.node)
                });
                match self.send_part(plan, way, next.map(|next| next.slot), patience) {
                    Ok(sent) => all_sent.push(sent),
                    Err(trouble) => troubles.add(trouble),
                }
            }
            panic_if_asked(Place::Flush);
            for sent in all_sent {
                if troubles.note(self.read_part(&sent, &mut claims, patience)) {
                    patience = deadline;
                }
            }
            troubles.note(self.hear(&mut claims, deadline));
            waiting = later;
        }
        troubles.note(self.demand_all(claims, deadline));
        troubles.into_result()
    }

    /// The way for a part of this round, guarded; none where it has to wait for the next one.
    fn prepare(
        &mut self,
        slot: Slot,
        round: &[(Share, Way)],
        deadline: Deadline,
    ) -> Result<Option<Way>, Trouble> {
        let nodes = self.nodes.as_mut().ok_or_else(no_cluster)?;
        let is_in_round = |node: &Address| round.iter().any(|(_, way)| way.node == *node);
        // A slot on its way may lead to any node, and its fence ends the guard of another slot there.
        let is_alone = nodes.is_torn(slot) || round.iter().any(|(_, way)| way.is_asking);
        let must_wait = nodes.owner(slot).is_some_and(is_in_round);
        if must_wait || (is_alone && !round.is_empty()) {
            return Ok(None);
        }
        let marker = self.marker.in_slot(slot);
        let way = nodes.guard(&*self.servers, slot, &marker, deadline)?;
        if way.is_asking && !round.is_empty() {
            // Found to be on its way only now; the next round has it alone.
            return Ok(None);
        }
        if let Some((from, to)) = nodes.moved_home(slot)
            && !self.is_for_past
        {
            let text = format!("slot moved, slot: {slot}, from: \"{from}\", to: \"{to}\"");
            self.report.line(Severity::Info, &text);
        }
        Ok(Some(way))
    }

    /// `next` is the slot of the next part for the same node, if there is one.
    fn send_part(
        &mut self,
        share: Share,
        way: Way,
        next: Option<Slot>,
        deadline: Deadline,
    ) -> Result<Sent, Trouble> {
        let Share { slot, records } = share;
        self.flush += 1;
        let flush = self.flush;
        let marker = self.marker.in_slot(slot);
        // Behind the last part the node is asked for copies of all.
        let question = if next.is_none() { self.question(deadline) } else { Vec::new() };
        let next = next.unwrap_or(slot);
        let line = self.nodes.as_mut().ok_or_else(no_cluster)?.line(&way.node)?;
        let server_time = line.session.server_time();
        if !way.is_asking && line.guarded != Some(slot) {
            // A fence for another slot, which turned out to be on its way there, has ended the guard.
            let what = format!("node {} lost the guard of slot {slot}", way.node);
            let error = Error { cause: Cause::Busy, what, drops_connection: false };
            return Err(Trouble { error, retry: Retry::AtOnce });
        }
        self.transaction.doubt(InDoubt { part: Part(slot), flush }, records);
        let mut plan = Plan::default();
        let kept = self.transaction.kept_in(flush).map(|(_, kept)| &kept.payload);
        let store = &self.action.settings.store;
        let commands = self.batch.commands(kept, 0, store, &mut plan);
        let commands = commands.iter().map(AsRef::as_ref);
        let kept = self.transaction.kept_in(flush).map(|(_, kept)| kept);
        let keys = kept.map(|kept| &kept.payload).filter(|record| !record.is_dead_letter());
        let keys = keys.map(|record| self.own_key(record));
        let (mut close, trims) = trim_by_age(store.trim, keys, server_time);
        close.extend_from_slice(&marker.close(flush));
        let mut open = Vec::new();
        if way.is_asking {
            open = asking();
        } else {
            let guard = self.marker.in_slot(next).watch();
            guard.write_packed_command(&mut close);
        }
        close.extend_from_slice(&question);
        open.extend_from_slice(&open_flush());
        let pieces: Vec<&[u8]> =
            [open.as_slice()].into_iter().chain(commands).chain([close.as_slice()]).collect();
        plan.trims(trims);
        self.action.stats.add(Counter::Flushes, 1);
        let nodes = self.nodes.as_mut().ok_or_else(no_cluster)?;
        let line = nodes.line(&way.node)?;
        line.is_asked = !question.is_empty();
        line.guarded = None;
        let begin = Instant::now();
        if let Err(error) = line.session.send(&pieces, deadline) {
            self.action.stats.add(Counter::InDoubt, 1);
            return Err(nodes.failed(&way.node, error));
        }
        self.action.stats.add_len(Counter::BytesSent, pieces.iter().map(|piece| piece.len()).sum());
        Ok(Sent { slot, flush, way, plan, next, begin })
    }

    /// Reads the replies to a part, and settles it, unless it has to wait for its copies.
    fn read_part(
        &mut self,
        sent: &Sent,
        claims: &mut Vec<Claim>,
        deadline: Deadline,
    ) -> Result<(), Trouble> {
        let Sent { slot, flush, way: Way { node, is_asking }, plan, next, begin } = sent;
        let nodes = self.nodes.as_mut().ok_or_else(no_cluster)?;
        let line = nodes.line(node)?;
        let line_id = line.id;
        let mut replies = line.session.replies(deadline);
        let asked = if *is_asking { read_ok("ASKING", &mut replies) } else { Ok(None) };
        let result = match asked.and_then(|_| read_part(plan, false, &mut replies)) {
            Ok(result) => result,
            Err(error) => {
                drop(replies);
                self.action.stats.add(Counter::InDoubt, 1);
                return Err(nodes.failed(node, error));
            }
        };
        // Without it the part is settled all the same; the next one asks for its guard itself.
        let guarded = if *is_asking { Ok(None) } else { read_ok("WATCH", &mut replies) };
        drop(replies);
        let mut lost = None;
        match guarded {
            Ok(None) if !is_asking => line.guarded = Some(*next),
            Ok(_) => {}
            Err(error) => lost = Some(nodes.failed(node, error)),
        }
        let is_executed = result.is_executed();
        if is_executed {
            self.is_marker_misleading |= result.is_beyond_look_up(self.action.settings.store.mode);
        }
        if !(is_executed && self.action.settings.durability.is_asked()) {
            self.action.stats.answered_after(begin.elapsed());
        }
        if let Some(refusal) = result.redirection() {
            let trouble = nodes.refused(*slot, refusal, node);
            self.transaction.not_committed(*flush);
            return Err(trouble.or(lost));
        }
        self.answers.insert(*flush, result);
        let claim = Claim {
            slot: *slot,
            flush: *flush,
            node: node.clone(),
            line: line_id,
            outcome: Outcome::Answered,
            begin: Some(*begin),
        };
        let settled =
            if is_executed { self.took_place(claim, claims) } else { self.settle_claim(&claim) };
        settled.and_then(|()| lost.map_or(Ok(()), Err))
    }
}
