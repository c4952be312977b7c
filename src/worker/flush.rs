//! A worker's flushes to the one server that has all keys: one MULTI/EXEC each, and a new connection
//! where one is lost.
#![forbid(unsafe_code)]

use super::batch::Batch;
use super::provoke::{Place, panic_if_asked};
use super::settle::Flush;
use super::{Link, SEND_AHEAD_BYTES, Worker};
use crate::commands::{open_flush, read_flush, read_open, trim_by_age};
use crate::error::{Cause, Error};
use crate::server::{Connect, Connection, Deadline};
use crate::stats::Counter;
use crate::transaction::{InDoubt, Part};
use std::time::Instant;

/// So often in a row a flush may find its guard broken before the server is blamed: a marker that
/// expired, was evicted or flushed away breaks it once.
const MAX_BROKEN_GUARDS: u32 = 3;

impl<C: Connect> Worker<'_, C> {
    /// Commits everything kept, in as many flushes as the limits ask for.
    pub(super) fn flush_all(&mut self, deadline: Deadline) -> Result<(), Error> {
        self.settle_past(deadline)?;
        if self.nodes.is_some() {
            return self.flush_to_cluster(deadline);
        }
        let mut has_reconnected = false;
        let mut broken_guards = 0;
        while !self.transaction.kept().is_empty() && !self.must_write_down() {
            self.leave_old_primary(deadline);
            if !matches!(self.link, Link::Up(_)) {
                // Looks up what is in doubt; perhaps nothing is left to do.
                self.connect(deadline)?;
                continue;
            }
            let is_in_doubt = !self.transaction.in_doubt().is_empty();
            if !is_in_doubt && self.suppress_noted() {
                continue;
            }
            let flushed = if is_in_doubt || self.is_unguarded {
                self.look_again(deadline)
            } else {
                self.flush_once(deadline)
            };
            match flushed {
                // What is left is written down before it is flushed.
                Ok(Flush::Answered) if self.is_for_past => break,
                Ok(Flush::Answered) => broken_guards = 0,
                Ok(Flush::GuardBroken) if broken_guards < MAX_BROKEN_GUARDS => broken_guards += 1,
                Ok(Flush::GuardBroken) => {
                    let what =
                        format!("marker \"{}\" is changed by somebody else", self.marker.key);
                    return Err(Error { cause: Cause::Busy, what, drops_connection: false });
                }
                Err(error) if error.drops_connection => {
                    self.disconnect();
                    if !self.transaction.in_doubt().is_empty() {
                        self.action.stats.add(Counter::InDoubt, 1);
                    }
                    // One immediate reconnect: a server that closed an idle connection, or that
                    // became a replica, must not surface as a suspension.
                    if has_reconnected || error.cause == Cause::Timeout || self.must_write_down() {
                        return Err(error);
                    }
                    self.action.stats.failed(error.cause);
                    has_reconnected = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Drops a connection that a new one would not lead to any more. What was sent ahead on it is
    /// still without its EXEC.
    pub(super) fn leave_old_primary(&mut self, deadline: Deadline) {
        if let Link::Up(session) = &mut self.link
            && self.servers.has_moved(session, deadline)
        {
            self.disconnect();
        }
    }

    /// Sends what is there of the open batch, if it is worth it.
    pub(super) fn send_ahead(&mut self, deadline: Deadline) {
        let kept = self.transaction.kept();
        let waiting = kept.get(self.sent.unwrap_or(0)..).unwrap_or_default();
        if Batch::bytes(waiting) < SEND_AHEAD_BYTES
            || !self.transaction.may_commit_partially()
            || !matches!(self.link, Link::Up(_))
            || self.is_unguarded
            || !self.has_no_past()
        {
            return;
        }
        let records = kept.len();
        let sent = self.open(deadline).and_then(|()| self.send_through(records, &[], deadline));
        if let Err(error) = sent {
            // The flush finds out why, and reconnects.
            self.action.stats.failed(error.cause);
            self.disconnect();
        }
    }

    /// Sends MULTI and waits for its OK: where MULTI is refused, what is sent ahead would be executed
    /// at once, and written again when the connection breaks.
    fn open(&mut self, deadline: Deadline) -> Result<(), Error> {
        if self.sent.is_some() {
            return Ok(());
        }
        let Link::Up(session) = &mut self.link else { return Err(not_connected()) };
        let open = open_flush();
        session.send(&[&open], deadline)?;
        self.action.stats.add_len(Counter::BytesSent, open.len());
        match read_open(&mut session.replies(deadline))? {
            None => {
                self.plan.clear();
                self.sent = Some(0);
                Ok(())
            }
            Some(refusal) => Err(Error::refused("MULTI", &refusal)),
        }
    }

    /// Sends the open flush from where it stands up to so many records, `close` last; and first of all
    /// MULTI, where that has not been sent ahead.
    fn send_through(
        &mut self,
        records: usize,
        close: &[u8],
        deadline: Deadline,
    ) -> Result<(), Error> {
        let Self { link, transaction, batch, plan, action, sent, .. } = self;
        let Link::Up(session) = link else { return Err(not_connected()) };
        let (open, first) = match *sent {
            Some(first) => (Vec::new(), first),
            None => {
                plan.clear();
                (open_flush(), 0)
            }
        };
        let kept = transaction.kept().get(first..records).unwrap_or_default();
        let kept = kept.iter().map(|kept| &kept.payload);
        let commands = batch.commands(kept, first, &action.settings.store, plan);
        let commands = commands.iter().map(AsRef::as_ref);
        let pieces: Vec<&[u8]> =
            std::iter::once(open.as_slice()).chain(commands).chain([close]).collect();
        session.send(&pieces, deadline)?;
        action.stats.add_len(Counter::BytesSent, pieces.iter().map(|piece| piece.len()).sum());
        *sent = Some(records);
        Ok(())
    }

    fn flush_once(&mut self, deadline: Deadline) -> Result<Flush, Error> {
        let records = self.transaction.next_flush();
        self.flush += 1;
        let Link::Up(session) = &self.link else { return Err(not_connected()) };
        let kept = self.transaction.kept().get(..records).unwrap_or_default();
        let keys = kept.iter().map(|kept| &kept.payload).filter(|record| !record.is_dead_letter());
        let keys = keys.map(|record| self.own_key(record));
        let trim = self.action.settings.store.trim;
        let (mut close, trims) = trim_by_age(trim, keys, session.server_time());
        close.extend_from_slice(&self.marker.close_flush(self.flush));
        close.extend_from_slice(&self.question(deadline));
        // From here on the server may have the EXEC, whatever becomes of the connection.
        let (part, flush) = (Part::WHOLE, self.flush);
        self.transaction.doubt(InDoubt { part, flush }, records);
        self.answers.clear();
        self.action.stats.add(Counter::Flushes, 1);
        let begin = Instant::now();
        let is_open = self.sent.is_some();
        self.send_through(records, &close, deadline)?;
        self.plan.trims(trims);
        self.sent = None;
        panic_if_asked(Place::Flush);
        let Link::Up(session) = &mut self.link else { return Err(not_connected()) };
        let result = read_flush(&self.plan, is_open, &mut session.replies(deadline))?;
        self.conclude(flush, result, begin, deadline)
    }

    /// Connects to the first server that can be used, and looks up what is in doubt.
    pub(super) fn connect(&mut self, deadline: Deadline) -> Result<(), Error> {
        self.disconnect();
        let connected = self.servers.connect(&self.marker, deadline);
        let (session, held) = connected.inspect_err(|_| self.link = Link::Lost)?;
        if !self.is_for_past {
            // Before the look-up: that may be what they are needed for.
            self.report.missing_rights(session.missing_rights());
        }
        if !self.is_for_past {
            if std::mem::replace(&mut self.has_connected, true) {
                self.action.stats.add(Counter::Reconnects, 1);
            }
            self.report.connected(session.address());
            self.is_connection_new = true;
        }
        self.link = Link::Up(session);
        self.is_unguarded = false;
        self.join(&held, deadline).inspect_err(|error| {
            if error.drops_connection {
                self.disconnect();
            }
        })
    }
}

pub(super) fn not_connected() -> Error {
    Error::broken(Cause::Connect, "not connected")
}
