//! What the replies to a flush, or the look-up of one in doubt, mean for the records of one part of it:
//! settled, dead letters, or kept. How they came about is `flush`'s and `cluster`'s business.
#![forbid(unsafe_code)]

use super::Worker;
use super::batch::Record;
use crate::commands::{FlushResult, Marker, Replies, refusal, unexpected};
use crate::error::{Cause, Error, Refusal};
use crate::params::Key;
use crate::record::Flaw;
use crate::server::{Connect, Connection, Deadline};
use crate::stats::Counter;
use crate::transaction::{Fate, Kept, Part};
use redis::Value;
use std::collections::BTreeMap;

impl<C: Connect> Worker<'_, C> {
    /// Draws the conclusions from the replies to one part of a flush. `place` says where it was sent to,
    /// where that is not always the same.
    pub(super) fn settle(
        &mut self,
        flush: u64,
        result: FlushResult,
        place: &str,
    ) -> Result<Flush, Error> {
        let records = self.transaction.kept_in(flush).count();
        match result {
            FlushResult::Executed { failures } if failures.is_empty() => {
                self.committed(flush, &vec![Fate::Settled; records]);
                Ok(Flush::Answered)
            }
            FlushResult::Executed { failures } => self.sort_out(flush, records, failures, None),
            FlushResult::Unprotected { failures, refusal } => {
                // MULTI was refused, so each command was executed, or refused, by itself.
                let error = Error::refused("MULTI", &refusal);
                self.sort_out(flush, records, failures, Some(error))
            }
            FlushResult::Aborted { failures, refusal } => {
                let places: Vec<usize> =
                    self.transaction.kept_in(flush).map(|(place, _)| place).collect();
                self.transaction.not_committed(flush);
                let error = Error::refused(&format!("commit{place}"), &refusal);
                // EXECABORT only repeats that a command was refused.
                let blame = if failures.is_empty() { Some(error) } else { None };
                let failures = failures.into_iter();
                let failures =
                    failures.filter_map(|(nth, refusal)| Some((*places.get(nth)?, refusal)));
                let failures = failures.collect();
                self.blame(failures, blame)
            }
            FlushResult::GuardBroken => {
                self.transaction.not_committed(flush);
                Ok(Flush::GuardBroken)
            }
        }
    }

    /// A part was answered, or looked up: counts and forgets the records that are settled. Gives the
    /// places of the others.
    fn committed(&mut self, flush: u64, fates: &[Fate]) -> Vec<usize> {
        let settled = self.transaction.kept_in(flush).zip(fates);
        let settled = settled.filter(|(_, fate)| **fate == Fate::Settled);
        let (mut records, mut dead_letters) = (0, 0);
        for ((_, kept), _) in settled {
            let count =
                if kept.payload.is_dead_letter() { &mut dead_letters } else { &mut records };
            *count += 1;
        }
        self.action.stats.add(Counter::Committed, records);
        self.action.stats.add(Counter::DeadLettered, dead_letters);
        self.count_numbers(Some(flush), fates);
        self.transaction.committed(flush, fates)
    }

    /// Settles the records that succeeded; the others become dead letters or the error.
    fn sort_out(
        &mut self,
        flush: u64,
        records: usize,
        failures: Vec<(usize, Refusal)>,
        error: Option<Error>,
    ) -> Result<Flush, Error> {
        let mut fates = vec![Fate::Settled; records];
        for (nth, refusal) in &failures {
            // A look-up sees the types of the keys, and no other reason.
            self.is_marker_misleading |= refusal.cause() != Cause::WrongType;
            if let Some(fate) = fates.get_mut(*nth) {
                *fate = Fate::Unsettled;
            }
        }
        let places = self.committed(flush, &fates);
        let failures = failures.into_iter().map(|(_, refusal)| refusal);
        self.blame(places.into_iter().zip(failures).collect(), error)
    }

    /// Makes dead letters of the records, by their places, whose fault the refusal is. What the server or
    /// the configuration is to blame for stays as it is, and comes back as the error.
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
                    (Key::Fixed(_), false) => &self.key,
                    // A dynamic key is part of the record, and that never reaches the log.
                    (Key::Dynamic { template }, false) => template,
                };
                error = Some(Error::refused(&format!("cannot write, key: \"{key}\""), &refusal));
            }
        }
        self.rewrite(&flaws);
        error.map_or(Ok(Flush::Answered), Err)
    }

    /// Decides what became of a part in doubt. The marker tells whether EXEC ran; the type of a key
    /// tells whether a command on it can have succeeded, because EXEC undoes nothing. `ask` finds out
    /// which keys hold streams.
    pub(super) fn look_up<E>(
        &mut self,
        flush: u64,
        marker: &Marker,
        held: &[u8],
        ask: impl FnOnce(&mut Self, Vec<Vec<u8>>) -> Result<Streams, E>,
    ) -> Result<(), E> {
        if held != marker.value(flush).as_bytes() {
            self.transaction.not_committed(flush);
            return Ok(());
        }
        let kept = self.transaction.kept_in(flush);
        let keys: Vec<Vec<u8>> = kept.map(|(_, kept)| self.key_of(kept).to_vec()).collect();
        // Where a held record would go to the dead letter today and did not then, its key may be another
        // node's; that it was written is all that is known.
        let here = self.part_of(marker.key.as_bytes());
        let mut asked: Vec<Vec<u8>> =
            keys.iter().filter(|key| self.part_of(key) == here).cloned().collect();
        asked.sort_unstable();
        asked.dedup();
        let streams = ask(self, asked)?;
        let fates: Vec<Fate> = keys
            .iter()
            .map(|key| match streams.get(key) {
                Some(true) => Fate::Settled,
                None if self.part_of(key) != here => Fate::Settled,
                Some(false) | None => Fate::Unsettled,
            })
            .collect();
        self.committed(flush, &fates);
        self.rewrite(&[]);
        Ok(())
    }

    /// Brings the commands in line with the kept records, the flawed ones as dead letters.
    pub(super) fn rewrite(&mut self, flaws: &[(usize, Flaw)]) {
        let part = self.part_of(self.action.settings.stream.dead_letter_key.as_bytes());
        let Self { transaction, batch, action, .. } = self;
        transaction.rewrite(|kept| {
            batch.rewrite(kept, flaws, &action.settings.stream, &action.name);
            for (place, _) in flaws {
                if let Some(kept) = kept.get_mut(*place) {
                    kept.reroute(part);
                }
            }
        });
    }

    /// The key that a kept record is written to.
    pub(super) fn key_of(&self, kept: &Kept<Record>) -> &[u8] {
        self.key_of_record(&kept.payload)
    }

    fn key_of_record(&self, record: &Record) -> &[u8] {
        let stream = &self.action.settings.stream;
        match &stream.key {
            _ if record.is_dead_letter() => stream.dead_letter_key.as_bytes(),
            Key::Fixed(_) => self.key.as_bytes(),
            Key::Dynamic { .. } => self.batch.key(record),
        }
    }

    /// The part that a record belongs to.
    pub(super) fn part_of_record(&self, record: &Record) -> Part {
        if self.nodes.is_none() { Part::WHOLE } else { self.part_of(self.key_of_record(record)) }
    }

    /// The marker of a part.
    pub(super) fn marker_of(&self, part: Part) -> Marker {
        if self.nodes.is_none() { self.marker.clone() } else { self.marker.in_slot(part.0) }
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
pub(super) type Streams = BTreeMap<Vec<u8>, bool>;

/// Asks the one server that has all keys.
pub(super) fn are_streams(
    session: &mut impl Connection,
    keys: Vec<Vec<u8>>,
    deadline: Deadline,
) -> Result<Streams, Error> {
    let answers = ask_types(session, &keys, &[], deadline)?;
    let answers = keys.into_iter().zip(answers).map(|(key, answer)| match answer {
        Ok(is_stream) => Ok((key, is_stream)),
        Err(refusal) => Err(cannot_look_up(&refusal)),
    });
    answers.collect()
}

/// The answer to each TYPE, before which the server gets `prefix`, whose replies are passed over.
pub(super) fn ask_types(
    session: &mut impl Connection,
    keys: &[Vec<u8>],
    prefix: &[u8],
    deadline: Deadline,
) -> Result<Vec<Result<bool, Refusal>>, Error> {
    let mut wire = Vec::new();
    for key in keys {
        wire.extend_from_slice(prefix);
        redis::cmd("TYPE").arg(key).write_packed_command(&mut wire);
    }
    session.send(&[&wire], deadline)?;
    let mut replies = session.replies(deadline);
    let mut answers = Vec::with_capacity(keys.len());
    for _ in keys {
        if !prefix.is_empty() {
            replies.next()?;
        }
        answers.push(match replies.next()? {
            Value::SimpleString(name) => Ok(name == "stream"),
            other => Err(refusal(&other).ok_or_else(|| unexpected("TYPE", &other))?),
        });
    }
    Ok(answers)
}

pub(super) fn cannot_look_up(refusal: &Refusal) -> Error {
    Error::refused("cannot look up a commit in doubt with TYPE", refusal)
}
