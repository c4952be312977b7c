//! A worker's flushes: one MULTI/EXEC each, what its replies mean, and what is done about a flush
//! whose confirmation was lost.
#![forbid(unsafe_code)]

use super::batch::{Batch, Record};
use super::durable::Outcome;
use super::provoke::{Place, panic_if_asked};
use super::{Link, SEND_AHEAD_BYTES, Worker};
use crate::commands::{
    FlushResult, Replies, Shape, open_flush, read_flush, read_open, refusal, trim_by_age,
    unexpected,
};
use crate::error::{Cause, Error, Refusal};
use crate::params::Key;
use crate::record::Flaw;
use crate::server::{Connect, Connection, Deadline};
use crate::stats::Counter;
use crate::transaction::{Fate, Kept};
use redis::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

/// So often in a row a flush may find its guard broken before the server is blamed: a marker that
/// expired, was evicted or flushed away breaks it once.
const MAX_BROKEN_GUARDS: u32 = 3;

impl<C: Connect> Worker<'_, C> {
    /// Commits everything kept, in as many flushes as the limits ask for.
    pub(super) fn flush_all(&mut self, deadline: Deadline) -> Result<(), Error> {
        let mut has_reconnected = false;
        let mut broken_guards = 0;
        self.settle_past(deadline)?;
        while !self.transaction.kept().is_empty() {
            self.leave_old_primary(deadline);
            if !matches!(self.link, Link::Up(_)) {
                // Looks up what is in doubt; perhaps nothing is left to do.
                self.connect(deadline)?;
                continue;
            }
            if self.transaction.in_doubt() == 0 && self.suppress_noted() {
                continue;
            }
            let flushed = match self.transaction.in_doubt() {
                0 => self.flush_once(deadline),
                _ => self.look_again(deadline),
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
                    if self.transaction.in_doubt() > 0 {
                        self.action.stats.add(Counter::InDoubt, 1);
                    }
                    // One immediate reconnect: a server that closed an idle connection, or that
                    // became a replica, must not surface as a suspension.
                    // What only the replies have told is written down before anything else.
                    let must_tell = self.is_for_past && self.is_marker_misleading;
                    if has_reconnected || error.cause == Cause::Timeout || must_tell {
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
        let span = Batch::span(kept);
        let waiting = span.end - self.sent.unwrap_or(span.start);
        if waiting < SEND_AHEAD_BYTES
            || !self.transaction.may_commit_partially()
            || !matches!(self.link, Link::Up(_))
            || !self.has_no_past()
        {
            return;
        }
        let sent = self.open(deadline).and_then(|()| self.send_through(span, &[], deadline));
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
                self.sent = Some(Batch::span(self.transaction.kept()).start);
                Ok(())
            }
            Some(refusal) => Err(Error::refused("MULTI", &refusal)),
        }
    }

    /// Sends the open flush from where it stands up to the end of `span`, `close` last; and first of
    /// all MULTI, where that has not been sent ahead.
    fn send_through(
        &mut self,
        span: Range<usize>,
        close: &[u8],
        deadline: Deadline,
    ) -> Result<(), Error> {
        let Link::Up(session) = &mut self.link else { return Err(not_connected()) };
        let (open, from) = match self.sent {
            Some(sent) => (Vec::new(), sent),
            None => (open_flush(), span.start),
        };
        let pieces = [&open, self.batch.wire(from..span.end), close];
        session.send(&pieces, deadline)?;
        self.action.stats.add_len(Counter::BytesSent, pieces.iter().map(|piece| piece.len()).sum());
        self.sent = Some(span.end);
        Ok(())
    }

    fn flush_once(&mut self, deadline: Deadline) -> Result<Flush, Error> {
        let records = self.transaction.next_flush();
        let span = Batch::span(self.transaction.kept().get(..records).unwrap_or_default());
        self.flush += 1;
        let Link::Up(session) = &self.link else { return Err(not_connected()) };
        let kept = self.transaction.kept().get(..records).unwrap_or_default();
        let keys =
            kept.iter().filter(|kept| !kept.payload.is_dead_letter()).map(|kept| self.key_of(kept));
        let trim = self.action.settings.stream.trim;
        let (mut close, trims) = trim_by_age(trim, keys, session.server_time());
        close.extend_from_slice(&self.marker.close_flush(self.flush));
        close.extend_from_slice(&self.question(deadline));
        // From here on the server may have the EXEC, whatever becomes of the connection.
        self.transaction.doubt(records);
        self.answer = None;
        self.action.stats.add(Counter::Flushes, 1);
        let begin = Instant::now();
        let shape = Shape { is_open: self.sent.is_some(), records, trims };
        self.send_through(span, &close, deadline)?;
        self.sent = None;
        panic_if_asked(Place::Flush);
        let Link::Up(session) = &mut self.link else { return Err(not_connected()) };
        let result = read_flush(shape, &mut session.replies(deadline))?;
        self.conclude(records, result, begin, deadline)
    }

    /// Draws the conclusions from a flush's replies.
    pub(super) fn settle(&mut self, records: usize, result: FlushResult) -> Result<Flush, Error> {
        match result {
            FlushResult::Executed { failures } if failures.is_empty() => {
                self.committed(&vec![Fate::Settled; records]);
                Ok(Flush::Answered)
            }
            FlushResult::Executed { failures } => self.sort_out(records, failures, None),
            FlushResult::Unprotected { failures, refusal } => {
                // MULTI was refused, so each command was executed, or refused, by itself.
                let error = Error::refused("MULTI", &refusal);
                self.sort_out(records, failures, Some(error))
            }
            FlushResult::Aborted { failures, refusal } => {
                self.transaction.not_committed();
                let error = Error::refused("commit", &refusal);
                // EXECABORT only repeats that a command was refused.
                let blame = if failures.is_empty() { Some(error) } else { None };
                self.blame(failures, blame)
            }
            FlushResult::GuardBroken => {
                self.transaction.not_committed();
                Ok(Flush::GuardBroken)
            }
        }
    }

    /// A flush was answered, or looked up: counts and forgets the records that are settled.
    pub(super) fn committed(&mut self, fates: &[Fate]) {
        let settled = self.transaction.kept().iter().zip(fates);
        let settled = settled.filter(|(_, fate)| **fate == Fate::Settled);
        let (mut records, mut dead_letters) = (0, 0);
        for (kept, _) in settled {
            let count =
                if kept.payload.is_dead_letter() { &mut dead_letters } else { &mut records };
            *count += 1;
        }
        self.action.stats.add(Counter::Committed, records);
        self.action.stats.add(Counter::DeadLettered, dead_letters);
        self.count_numbers(fates);
        self.transaction.committed(fates);
    }

    /// Settles the records that succeeded; the others become dead letters or the error.
    fn sort_out(
        &mut self,
        records: usize,
        failures: Vec<(usize, Refusal)>,
        error: Option<Error>,
    ) -> Result<Flush, Error> {
        let mut fates = vec![Fate::Settled; records];
        for (place, _) in &failures {
            if let Some(fate) = fates.get_mut(*place) {
                *fate = Fate::Unsettled;
            }
        }
        self.committed(&fates);
        // The failed records are the first kept ones now, in their old order.
        let failures = failures
            .into_iter()
            .enumerate()
            .map(|(place, (_, refusal))| (place, refusal))
            .collect();
        self.blame(failures, error)
    }

    /// Makes dead letters of the records whose fault the refusal is. What the server or the
    /// configuration is to blame for stays as it is, and comes back as the error.
    fn blame(
        &mut self,
        failures: Vec<(usize, Refusal)>,
        mut error: Option<Error>,
    ) -> Result<Flush, Error> {
        let is_dynamic = self.action.has_dynamic_key();
        let stream = &self.action.settings.stream;
        let mut flaws = Vec::new();
        for (place, refusal) in failures {
            let Some(kept) = self.transaction.kept().get(place) else { continue };
            let is_dead_letter = kept.payload.is_dead_letter();
            if !is_dead_letter && error.is_none() && refusal.is_about_one_record(is_dynamic) {
                let flaw = Flaw::RefusedByServer { why: refusal.to_string() };
                self.report.dead_letter(&flaw, &stream.dead_letter_key);
                flaws.push((place, flaw));
            } else if error.is_none() {
                let key = match (&stream.key, is_dead_letter) {
                    (_, true) => &stream.dead_letter_key,
                    (Key::Fixed(key), false) => key,
                    // A dynamic key is part of the record, and that never reaches the log.
                    (Key::Dynamic { template }, false) => template,
                };
                error = Some(Error::refused(&format!("cannot write, key: \"{key}\""), &refusal));
            }
        }
        self.rewrite(&flaws);
        error.map_or(Ok(Flush::Answered), Err)
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
        self.join(&held, deadline).inspect_err(|error| {
            if error.drops_connection {
                self.disconnect();
            }
        })
    }

    /// Finds out what became of the flush in doubt: nothing is returned where it did not take place. The
    /// marker tells whether EXEC ran. Where its replies are lost, the type of a key tells whether a
    /// command on it can have succeeded, because EXEC undoes nothing.
    pub(super) fn look_up(
        &mut self,
        held: &[u8],
        deadline: Deadline,
    ) -> Result<Option<Outcome>, Error> {
        if held != self.marker.value(self.flush).as_bytes() {
            self.answer = None;
            self.transaction.not_committed();
            return Ok(None);
        }
        if self.answer.is_some() {
            return Ok(Some(Outcome::Answered));
        }
        let records = self.transaction.in_doubt();
        let kept = self.transaction.kept().get(..records).unwrap_or_default();
        let keys: Vec<Vec<u8>> = kept.iter().map(|kept| self.key_of(kept).to_vec()).collect();
        let Link::Up(session) = &mut self.link else { return Err(not_connected()) };
        let streams = are_streams(session, keys.iter().map(Vec::as_slice), deadline)?;
        let fates = keys
            .iter()
            .map(|key| match streams.get(key.as_slice()) {
                Some(true) => Fate::Settled,
                Some(false) | None => Fate::Unsettled,
            })
            .collect();
        Ok(Some(Outcome::LookedUp(fates)))
    }

    /// Brings the commands in line with the kept records, the flawed ones as dead letters.
    pub(super) fn rewrite(&mut self, flaws: &[(usize, Flaw)]) {
        let Self { transaction, batch, action, .. } = self;
        transaction.rewrite(|kept| {
            batch.rewrite(kept, flaws, &action.settings.stream, &action.name);
        });
    }

    /// The key that a kept record is written to.
    fn key_of(&self, kept: &Kept<Record>) -> &[u8] {
        let stream = &self.action.settings.stream;
        match &stream.key {
            _ if kept.payload.is_dead_letter() => stream.dead_letter_key.as_bytes(),
            Key::Fixed(key) => key.as_bytes(),
            Key::Dynamic { .. } => self.batch.key(&kept.payload),
        }
    }
}

/// How a flush was answered.
pub(super) enum Flush {
    /// All replies are drawn conclusions from.
    Answered,
    /// Nothing was written because the marker was touched; it may be sent again at once.
    GuardBroken,
}

/// For each key, whether it holds a stream. Where it holds nothing, the entries are gone with the key,
/// or have never been: writing again is right in both cases.
fn are_streams<'k>(
    session: &mut impl Connection,
    keys: impl Iterator<Item = &'k [u8]>,
    deadline: Deadline,
) -> Result<BTreeMap<&'k [u8], bool>, Error> {
    let mut streams: BTreeMap<&[u8], bool> = keys.map(|key| (key, false)).collect();
    let mut wire = Vec::new();
    for key in streams.keys() {
        redis::cmd("TYPE").arg(key).write_packed_command(&mut wire);
    }
    session.send(&[&wire], deadline)?;
    let mut replies = session.replies(deadline);
    for is_stream in streams.values_mut() {
        *is_stream = match replies.next()? {
            Value::SimpleString(name) => name == "stream",
            other => {
                return Err(refusal(&other).map_or_else(
                    || unexpected("TYPE", &other),
                    // A connection is kept only when no look-up is left to do.
                    |refusal| Error {
                        drops_connection: true,
                        ..Error::refused("cannot look up a commit in doubt with TYPE", &refusal)
                    },
                ));
            }
        };
    }
    Ok(streams)
}

pub(super) fn not_connected() -> Error {
    Error::broken(Cause::Connect, "not connected")
}
