//! A worker's flushes: one MULTI/EXEC each, what its replies mean, and what is done about a flush
//! whose confirmation was lost.
#![forbid(unsafe_code)]

use super::batch::{Batch, Change, Record};
use super::durable::Outcome;
use super::provoke::{Place, panic_if_asked};
use super::{Link, SEND_AHEAD_BYTES, Worker};
use crate::commands::{
    self, FlushResult, Refusals, Replies, open_flush, read_flush, read_open, refusal, trim_by_age,
    unexpected,
};
use crate::error::{Cause, Error, Refusal};
use crate::params::{Key, Mode};
use crate::record::Flaw;
use crate::server::{Connect, Connection, Deadline};
use crate::stats::Counter;
use crate::transaction::{Fate, Kept};
use redis::Value;
use std::collections::BTreeMap;
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
        let waiting = kept.get(self.sent.unwrap_or(0)..).unwrap_or_default();
        if Batch::bytes(waiting) < SEND_AHEAD_BYTES
            || !self.transaction.may_commit_partially()
            || !matches!(self.link, Link::Up(_))
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
        let commands = batch.commands(kept, first, &action.settings.stream, plan);
        let pieces = [&open, commands.as_ref(), close];
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
        let is_open = self.sent.is_some();
        self.send_through(records, &close, deadline)?;
        self.plan.trims(trims);
        self.sent = None;
        panic_if_asked(Place::Flush);
        let Link::Up(session) = &mut self.link else { return Err(not_connected()) };
        let result = read_flush(&self.plan, is_open, &mut session.replies(deadline))?;
        self.conclude(records, result, begin, deadline)
    }

    /// Draws the conclusions from a flush's replies.
    pub(super) fn settle(&mut self, records: usize, result: FlushResult) -> Result<Flush, Error> {
        match result {
            FlushResult::Executed { refusals } if refusals.is_empty() => {
                self.committed(&vec![Fate::Settled; records]);
                Ok(Flush::Answered)
            }
            FlushResult::Executed { refusals } => self.sort_out(records, refusals, None),
            FlushResult::Unprotected { refusals, refusal } => {
                // MULTI was refused, so each command was executed, or refused, by itself.
                let error = Error::refused("MULTI", &refusal);
                self.sort_out(records, refusals, Some(error))
            }
            FlushResult::Aborted { refusals, refusal } => {
                self.transaction.not_committed();
                // EXECABORT only repeats that a command was refused.
                let is_explained = !(refusals.records.is_empty() && refusals.asides.is_empty());
                let error = (!is_explained).then(|| Error::refused("commit", &refusal));
                self.blame(refusals, error)
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
        refusals: Refusals,
        error: Option<Error>,
    ) -> Result<Flush, Error> {
        let mut fates = vec![Fate::Settled; records];
        for (place, _) in &refusals.records {
            if let Some(fate) = fates.get_mut(*place) {
                *fate = Fate::Unsettled;
            }
        }
        for (_, refusal) in &refusals.asides {
            self.ack_failed(refusal);
        }
        self.committed(&fates);
        // The failed records are the first kept ones now, in their old order.
        let records = refusals.records.into_iter().enumerate();
        let records = records.map(|(place, (_, refusal))| (place, refusal)).collect();
        self.blame(Refusals { records, ..Refusals::default() }, error)
    }

    /// A record is stored, and the entry that it came from stays as it is.
    fn ack_failed(&mut self, refusal: &Refusal) {
        self.action.stats.add(Counter::AcksFailed, 1);
        self.report.ack_failed(refusal);
    }

    /// Makes dead letters of the records whose fault the refusal is. What the server or the
    /// configuration is to blame for stays as it is, and comes back as the error.
    fn blame(&mut self, refusals: Refusals, mut error: Option<Error>) -> Result<Flush, Error> {
        let stream = &self.action.settings.stream;
        // A command chooses all that it touches.
        let is_dynamic = stream.has_dynamic_key() || stream.mode == Mode::Template;
        let mut changes = Vec::new();
        for (place, refusal) in refusals.records {
            let Some(kept) = self.transaction.kept().get(place) else { continue };
            let is_dead_letter = kept.payload.is_dead_letter();
            if !is_dead_letter && error.is_none() && refusal.is_about_one_record(is_dynamic) {
                let flaw = Flaw::RefusedByServer { why: refusal.to_string() };
                self.report.dead_letter(&flaw, &stream.dead_letter_key);
                changes.push((place, Change::DeadLetter(flaw)));
            } else if error.is_none() {
                let target = if is_dead_letter { &stream.dead_letter_key } else { self.target() };
                error = Some(Error::refused(&format!("cannot write, key: \"{target}\""), &refusal));
            }
        }
        let has_dynamic_origin = stream.has_dynamic_origin();
        for (place, refusal) in refusals.asides {
            if error.is_none() && refusal.is_about_one_record(has_dynamic_origin) {
                self.ack_failed(&refusal);
                changes.push((place, Change::WithoutAsides));
            } else if error.is_none() {
                error = Some(Error::refused("cannot acknowledge or delete an entry", &refusal));
            }
        }
        changes.sort_by_key(|(place, _)| *place);
        self.rewrite(&changes);
        error.map_or(Ok(Flush::Answered), Err)
    }

    /// What the records are written to, for the log. A dynamic key is part of the record, and that never
    /// gets there.
    fn target(&self) -> &str {
        let settings = &self.action.settings;
        match &settings.stream.key {
            _ if settings.stream.mode == Mode::Template => &settings.template,
            Key::Fixed(key) => key,
            Key::Dynamic { template } => template,
        }
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
        let mode = self.action.settings.stream.mode;
        let doubtful: Vec<_> = kept
            .iter()
            .map(|kept| {
                let may_be = commands::can_have_stored(mode, kept.payload.is_dead_letter())?;
                Some((self.key_of(kept).to_vec(), may_be))
            })
            .collect();
        let keys = doubtful.iter().flatten().map(|(key, _)| key.as_slice());
        let Link::Up(session) = &mut self.link else { return Err(not_connected()) };
        let types = types(session, keys, deadline)?;
        let fates = doubtful
            .iter()
            .map(|doubtful| match doubtful {
                None => Fate::Settled,
                Some((key, may_be)) if types.get(key.as_slice()).is_some_and(|t| may_be(t)) => {
                    Fate::Settled
                }
                Some(_) => Fate::Unsettled,
            })
            .collect();
        Ok(Some(Outcome::LookedUp(fates)))
    }

    /// Brings the commands in line with the kept records, and with these changes.
    pub(super) fn rewrite(&mut self, changes: &[(usize, Change)]) {
        let Self { transaction, batch, action, .. } = self;
        transaction.rewrite(|kept| {
            batch.rewrite(kept, changes, &action.settings.stream, &action.name);
        });
    }

    /// The key that a kept record is written to.
    fn key_of(&self, kept: &Kept<Record>) -> &[u8] {
        let stream = &self.action.settings.stream;
        if kept.payload.is_dead_letter() {
            stream.dead_letter_key.as_bytes()
        } else {
            commands::key(stream, self.batch.key(&kept.payload))
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

/// The type of what each key holds.
fn types<'k>(
    session: &mut impl Connection,
    keys: impl Iterator<Item = &'k [u8]>,
    deadline: Deadline,
) -> Result<BTreeMap<&'k [u8], String>, Error> {
    let mut types: BTreeMap<&[u8], String> = keys.map(|key| (key, String::new())).collect();
    let mut wire = Vec::new();
    for key in types.keys() {
        redis::cmd("TYPE").arg(key).write_packed_command(&mut wire);
    }
    if types.is_empty() {
        return Ok(types);
    }
    session.send(&[&wire], deadline)?;
    let mut replies = session.replies(deadline);
    for kind in types.values_mut() {
        *kind = match replies.next()? {
            Value::SimpleString(name) => name,
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
    Ok(types)
}

pub(super) fn not_connected() -> Error {
    Error::broken(Cause::Connect, "not connected")
}
