//! What comes between the server's word that a flush took place and its records being settled: as many
//! copies as the operator asks for. Until then the flush stays in doubt. It is never sent again for that;
//! only its marker is looked at again, because a failover may have lost both, and the waiting is
//! repeated.
#![forbid(unsafe_code)]

use super::flush::not_connected;
use super::settle::{Flush, Types};
use super::types::types;
use super::{Action, Link, Worker};
use crate::commands::{FlushResult, Marker, read_copies, read_fence, wait_for_copies};
use crate::error::{Cause, Error};
use crate::params::Mode;
use crate::server::{Connect, Connection, Deadline};
use crate::stats::Counter;
use crate::transaction::Fate;
use std::time::{Duration, Instant};

/// So much later than it was asked to a server may end a WAIT in vain: it looks at its waiting clients ten
/// times a second.
const SERVERS_DELAY: Duration = Duration::from_millis(250);

/// What is known of a flush in doubt that took place.
pub(super) enum Outcome {
    /// What the look-up says of each record.
    LookedUp(Vec<Fate>),
    /// The server's replies have arrived: they are in [`Worker::answers`].
    Answered,
}

impl<C: Connect> Worker<'_, C> {
    /// The question for the copies, which leaves together with what is to be copied; empty where the
    /// server's word is enough.
    pub(super) fn question(&self, deadline: Deadline) -> Vec<u8> {
        let durability = &self.action.settings.durability;
        // The server must have said that there are too few before we stop listening.
        let left = deadline.remaining().unwrap_or_default();
        let patience = left.saturating_sub(SERVERS_DELAY).max(left / 2);
        wait_for_copies(durability, durability.timeout.min(patience))
    }

    /// A flush that was sent with its question was answered: settles what it did, if there are copies
    /// enough.
    pub(super) fn conclude(
        &mut self,
        flush: u64,
        result: FlushResult,
        begin: Instant,
        deadline: Deadline,
    ) -> Result<Flush, Error> {
        if !result.is_executed() {
            // Nothing was written, so it does not matter what there are copies of.
            let copies = self.demand_copies(deadline);
            self.action.stats.answered_after(begin.elapsed());
            let settled = self.settle(flush, result, "");
            return match copies {
                Err(error) if error.drops_connection => Err(error),
                Ok(()) | Err(_) => settled,
            };
        }
        // From here on the replies are known, whatever becomes of the connection.
        self.is_marker_misleading |= result.is_beyond_look_up(self.action.settings.store.mode);
        self.answers.insert(flush, result);
        let copies = self.demand_copies(deadline);
        self.action.stats.answered_after(begin.elapsed());
        copies?;
        self.settle_outcome(flush, &Outcome::Answered, "")
    }

    /// The connection's fence was passed, and the marker held `held`: settles the flush in doubt, if there
    /// is one and it took place. Without one there must be copies enough all the same, so that a
    /// connection is only used where the next flush has a chance.
    pub(super) fn join(&mut self, held: &[u8], deadline: Deadline) -> Result<(), Error> {
        self.settle_doubt(held, deadline)?;
        self.tell_risks(deadline)
    }

    fn settle_doubt(&mut self, held: &[u8], deadline: Deadline) -> Result<(), Error> {
        let flush = self.transaction.in_doubt().first().map_or(0, |doubt| doubt.flush);
        let outcome = if flush > 0 {
            let marker = self.marker.clone();
            self.find_out(flush, &marker, held, |worker, keys| {
                let Link::Up(session) = &mut worker.link else { return Err(not_connected()) };
                types(session, keys, deadline)
            })?
        } else {
            None
        };
        if self.needs_copies() {
            let question = self.question(deadline);
            let Link::Up(session) = &mut self.link else { return Err(not_connected()) };
            session.send(&[&question], deadline)?;
            self.demand_copies(deadline)?;
        }
        outcome.map_or(Ok(()), |outcome| self.settle_outcome(flush, &outcome, "").map(drop))
    }

    /// What is known of a flush in doubt whose marker held `held`; nothing where it did not take place. `ask` as
    /// for [`Worker::look_up`].
    pub(super) fn find_out<E>(
        &mut self,
        flush: u64,
        marker: &Marker,
        held: &[u8],
        ask: impl FnOnce(&mut Self, Vec<Vec<u8>>) -> Result<Types, E>,
    ) -> Result<Option<Outcome>, E> {
        if self.answers.contains_key(&flush) && held == marker.value(flush).as_bytes() {
            return Ok(Some(Outcome::Answered));
        }
        Ok(self.look_up(flush, marker, held, ask)?.map(Outcome::LookedUp))
    }

    /// Settles a flush that took place, of which there are copies enough. `place` as for
    /// [`Worker::settle`].
    pub(super) fn settle_outcome(
        &mut self,
        flush: u64,
        outcome: &Outcome,
        place: &str,
    ) -> Result<Flush, Error> {
        match outcome {
            Outcome::LookedUp(fates) => {
                // A wrong type is seen as long as the key is there; but a list that is gone was perhaps consumed.
                let mode = self.action.settings.store.mode;
                self.is_marker_misleading |=
                    mode != Mode::Stream && fates.contains(&Fate::Unsettled);
                self.looked_up(flush, fates);
                Ok(Flush::Answered)
            }
            Outcome::Answered => match self.answers.remove(&flush) {
                Some(result) => self.settle(flush, result, place),
                None => Ok(Flush::Answered),
            },
        }
    }

    /// The connection is whole, and a flush may be in doubt because there were too few copies.
    pub(super) fn look_again(&mut self, deadline: Deadline) -> Result<Flush, Error> {
        let held = self.probe(deadline)?;
        self.join(&held, deadline).map(|()| Flush::Answered)
    }

    /// Proves again that the server is there, writable, and that the user is authorised. Gives what the
    /// marker holds.
    fn probe(&mut self, deadline: Deadline) -> Result<Vec<u8>, Error> {
        let Link::Up(session) = &mut self.link else { return Err(not_connected()) };
        self.is_unguarded = true;
        session.send(&[&self.marker.fence()], deadline)?;
        let held = read_fence(&mut session.replies(deadline), &mut |_| {})?;
        let held = held.map_err(|refusal| {
            Error::refused(&format!("{} cannot be written to", session.address()), &refusal)
        })?;
        self.is_unguarded = false;
        Ok(held)
    }

    /// Of a flush in doubt, the places of the records that are known not to be written.
    pub(super) fn unwritten(&self, flush: u64) -> Vec<usize> {
        let answer = self.answers.get(&flush);
        answer.iter().flat_map(|answer| answer.failures()).map(|(place, _)| *place).collect()
    }

    /// Whether a server's word that a flush took place is not enough.
    pub(super) fn needs_copies(&self) -> bool {
        self.action.settings.durability.is_asked()
    }

    fn demand_copies(&mut self, deadline: Deadline) -> Result<(), Error> {
        let Link::Up(session) = &mut self.link else { return Err(not_connected()) };
        demand_copies(&self.action, session, deadline)
    }
}

/// Reads the answer to a question that was sent, if one is to be: too few copies are an error.
pub(super) fn demand_copies(
    action: &Action,
    session: &mut impl Connection,
    deadline: Deadline,
) -> Result<(), Error> {
    let durability = &action.settings.durability;
    if !durability.is_asked() {
        return Ok(());
    }
    action.stats.add(Counter::DurabilityWaits, 1);
    let Some(shortfall) = read_copies(durability, &mut session.replies(deadline))? else {
        return Ok(());
    };
    let what = format!("{}: {shortfall}", session.address());
    Err(Error { cause: Cause::NotDurable, what, drops_connection: false })
}
