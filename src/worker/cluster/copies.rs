//! What comes between a node's word that a part took place and its records being settled, as in `durable`: as
//! many copies as the operator asks for. A node is asked once for all parts that wait there, and on the very
//! connection that they were written or found on: another one would count from another write, and the node behind it
//! may have started anew.
#![forbid(unsafe_code)]

use super::no_cluster;
use super::trouble::{Retry, Trouble, Troubles};
use crate::commands::Slot;
use crate::error::{Cause, Error};
use crate::params::Address;
use crate::server::{Connect, Connection, Deadline};
use crate::worker::Worker;
use crate::worker::durable::{Outcome, demand_copies};
use crate::worker::settle::Flush;
use std::time::Instant;

/// A part that its node has answered, or that was found there.
pub(super) struct Claim {
    pub(super) slot: Slot,
    pub(super) flush: u64,
    pub(super) node: Address,
    /// The connection that said so.
    pub(super) line: u64,
    pub(super) outcome: Outcome,
    /// When it was sent, where that was in this call.
    pub(super) begin: Option<Instant>,
}

/// A node that does not answer must leave time to read what the others have answered.
pub(super) fn patience(nodes: usize, deadline: Deadline) -> Deadline {
    let left = deadline.remaining().unwrap_or_default();
    if nodes > 1 { deadline.capped(left * 7 / 8) } else { deadline }
}

impl<C: Connect> Worker<'_, C> {
    /// A part took place: settles it, or, where the node's word is not enough, has it wait for its copies.
    pub(super) fn took_place(
        &mut self,
        claim: Claim,
        claims: &mut Vec<Claim>,
    ) -> Result<(), Trouble> {
        if self.needs_copies() {
            claims.push(claim);
            return Ok(());
        }
        self.settle_claim(&claim)
    }

    /// Asks for the copies of what waits, and settles it. What there are too few copies of stays in doubt.
    pub(super) fn demand_all(
        &mut self,
        mut claims: Vec<Claim>,
        deadline: Deadline,
    ) -> Result<(), Trouble> {
        let mut troubles = Troubles::default();
        let patience = patience(claims.len(), deadline);
        for claim in &claims {
            troubles.note(self.ask_about(claim, patience));
        }
        troubles.note(self.hear(&mut claims, deadline));
        troubles.into_result()
    }

    fn ask_about(&mut self, claim: &Claim, deadline: Deadline) -> Result<(), Trouble> {
        let nodes = self.nodes.as_mut().ok_or_else(no_cluster)?;
        match nodes.line(&claim.node) {
            Ok(line) if line.id == claim.line && line.is_asked => Ok(()),
            Ok(line) if line.id == claim.line => self.ask(&claim.node, deadline),
            // It is looked up.
            Ok(_) | Err(_) => {
                let what = format!("connection to {} lost before there were copies", claim.node);
                let error = Error { cause: Cause::Lost, what, drops_connection: false };
                Err(Trouble { error, retry: Retry::AtOnce })
            }
        }
    }

    /// Asks a node for copies of what its connection has written.
    pub(super) fn ask(&mut self, node: &Address, deadline: Deadline) -> Result<(), Trouble> {
        let question = self.question(deadline);
        let nodes = self.nodes.as_mut().ok_or_else(no_cluster)?;
        let line = nodes.line(node)?;
        line.is_asked = true;
        let sent = line.session.send(&[&question], deadline);
        sent.map_err(|error| nodes.failed(node, error))
    }

    /// Reads what the nodes that were asked answer, and settles what waited for that.
    pub(super) fn hear(
        &mut self,
        claims: &mut Vec<Claim>,
        deadline: Deadline,
    ) -> Result<(), Trouble> {
        let mut troubles = Troubles::default();
        let asked = self.nodes.iter().flat_map(|nodes| nodes.asked()).collect::<Vec<_>>();
        let mut patience = patience(asked.len(), deadline);
        for (node, line) in asked {
            let heard = self.hear_from(&node, patience);
            let (concerned, others): (Vec<Claim>, Vec<Claim>) =
                std::mem::take(claims).into_iter().partition(|claim| claim.line == line);
            *claims = others;
            for begin in concerned.iter().filter_map(|claim| claim.begin) {
                self.action.stats.answered_after(begin.elapsed());
            }
            match heard {
                Ok(()) => concerned.iter().for_each(|claim| {
                    troubles.note(self.settle_claim(claim));
                }),
                // Nothing was written there, so it does not matter what there are copies of.
                Err(trouble) if concerned.is_empty() && !trouble.error.drops_connection => {}
                Err(trouble) => {
                    troubles.add(trouble);
                    patience = deadline;
                }
            }
        }
        troubles.into_result()
    }

    /// Reads what a node that was asked answers.
    pub(super) fn hear_from(&mut self, node: &Address, deadline: Deadline) -> Result<(), Trouble> {
        let nodes = self.nodes.as_mut().ok_or_else(no_cluster)?;
        let line = nodes.line(node)?;
        let heard = demand_copies(&self.action, &mut line.session, deadline);
        (line.is_asked, line.is_proven) = (false, heard.is_ok());
        heard.map_err(|error| match error.drops_connection {
            true => nodes.failed(node, error),
            false => error.into(),
        })
    }

    /// Settles what nothing more is to be asked about.
    pub(super) fn settle_claim(&mut self, claim: &Claim) -> Result<(), Trouble> {
        let Claim { slot, flush, node, outcome, .. } = claim;
        let place = format!(", node: \"{node}\", slot: {slot}");
        match self.settle_outcome(*flush, outcome, &place) {
            Ok(Flush::Answered) => Ok(()),
            Ok(Flush::GuardBroken) => {
                let marker = self.marker.in_slot(*slot).key;
                let what = format!("marker \"{marker}\" is changed by somebody else");
                let error = Error { cause: Cause::Busy, what, drops_connection: false };
                Err(Trouble { error, retry: Retry::AtOnce })
            }
            Err(error) if error.drops_connection => {
                let nodes = self.nodes.as_mut().ok_or_else(no_cluster)?;
                Err(nodes.failed(node, error))
            }
            Err(error) => Err(error.into()),
        }
    }
}
