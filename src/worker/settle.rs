//! What the replies to a flush, or the look-up of one in doubt, mean for the records of one part of it:
//! settled, dead letters, or kept. How they came about is `flush`'s and `cluster`'s business.
#![forbid(unsafe_code)]

use super::Worker;
use super::batch::{Change, Record};
use crate::commands::{self, FlushResult, Marker, Refusals, Rights, slot_of};
use crate::error::{Choice, Error, Refusal};
use crate::params::{Key, Mode};
use crate::record::Flaw;
use crate::server::Connect;
use crate::stats::Counter;
use crate::transaction::{Fate, Part};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;

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
            FlushResult::Executed { refusals } if refusals.is_empty() => {
                self.committed(flush, &vec![Fate::Settled; records]);
                Ok(Flush::Answered)
            }
            FlushResult::Executed { refusals } => self.sort_out(flush, records, refusals, None),
            FlushResult::Unprotected { refusals, refusal } => {
                // MULTI was refused, so each command was executed, or refused, by itself.
                let error = Error::refused("MULTI", &refusal);
                self.sort_out(flush, records, refusals, Some(error))
            }
            FlushResult::Aborted { mut refusals, refusal } => {
                let places: Vec<usize> =
                    self.transaction.kept_in(flush).map(|(place, _)| place).collect();
                self.transaction.not_committed(flush);
                // EXECABORT only repeats that a command was refused.
                let is_explained = !(refusals.records.is_empty() && refusals.asides.is_empty());
                let error =
                    (!is_explained).then(|| Error::refused(&format!("commit{place}"), &refusal));
                for refused in [&mut refusals.records, &mut refusals.asides] {
                    for (nth, _) in refused {
                        *nth = places.get(*nth).copied().unwrap_or(usize::MAX);
                    }
                }
                self.blame(refusals, error)
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
        refusals: Refusals,
        error: Option<Error>,
    ) -> Result<Flush, Error> {
        let mut fates = vec![Fate::Settled; records];
        for (nth, _) in &refusals.records {
            if let Some(fate) = fates.get_mut(*nth) {
                *fate = Fate::Unsettled;
            }
        }
        for (_, refusal) in &refusals.asides {
            self.ack_failed(refusal);
        }
        let places = self.committed(flush, &fates);
        let refused = refusals.records.into_iter().map(|(_, refusal)| refusal);
        let records = places.into_iter().zip(refused).collect();
        self.blame(Refusals { records, ..Refusals::default() }, error)
    }

    /// A record is stored, and the entry that it came from stays as it is.
    fn ack_failed(&mut self, refusal: &Refusal) {
        self.action.stats.add(Counter::AcksFailed, 1);
        self.report.ack_failed(refusal);
    }

    /// Makes dead letters of the records, by their places, whose fault the refusal is. What the server or
    /// the configuration is to blame for stays as it is, and comes back as the error.
    fn blame(&mut self, refusals: Refusals, mut error: Option<Error>) -> Result<Flush, Error> {
        let store = &self.action.settings.store;
        // A command chooses all that it touches.
        let choice = match store.mode {
            Mode::Template => Choice::Command,
            _ if store.has_dynamic_key() => Choice::Key,
            _ => Choice::Nothing,
        };
        let mut changes = Vec::new();
        for (place, refusal) in refusals.records {
            let Some(kept) = self.transaction.kept().get(place) else { continue };
            let is_dead_letter = kept.payload.is_dead_letter();
            if !is_dead_letter && error.is_none() && refusal.is_about_one_record(choice) {
                let flaw = Flaw::RefusedByServer { why: refusal.to_string() };
                // Of a command the server may repeat any part, which is the record's content.
                let told: &dyn Display = match store.mode {
                    Mode::Template => {
                        &"server refused the command; its words are in the dead letter"
                    }
                    _ => &flaw,
                };
                let texts = self.batch.texts(&kept.payload);
                let letters = commands::dead_letter_key(store, &texts);
                self.report.dead_letter(told, &String::from_utf8_lossy(&letters));
                changes.push((place, Change::DeadLetter(flaw)));
            } else if error.is_none() {
                let target = if is_dead_letter { &store.dead_letter_key } else { self.target() };
                error = Some(self.refused(&format!("cannot write, key: \"{target}\""), &refusal));
            }
        }
        let choice = if store.has_dynamic_origin() { Choice::Key } else { Choice::Nothing };
        for (place, refusal) in refusals.asides {
            if error.is_none() && refusal.is_about_one_record(choice) {
                self.ack_failed(&refusal);
                changes.push((place, Change::WithoutAsides));
            } else if error.is_none() {
                error = Some(self.refused("cannot acknowledge or delete an entry", &refusal));
            }
        }
        self.is_marker_misleading |=
            changes.iter().any(|(_, change)| matches!(change, Change::DeadLetter(_)));
        changes.sort_by_key(|(place, _)| *place);
        self.rewrite(&changes);
        error.map_or(Ok(Flush::Answered), Err)
    }

    /// What was refused to all records. Of the rights that this takes some cannot be asked for at the start.
    fn refused(&self, doing: &str, refusal: &Refusal) -> Error {
        let rights = Rights::of(&self.action.settings);
        rights.explain_refusal(Error::refused(doing, refusal), refusal, rights.store())
    }

    /// What the records are written to, for the log. A dynamic key is part of the record, and that never
    /// gets there.
    fn target(&self) -> &str {
        let settings = &self.action.settings;
        match &settings.store.key {
            _ if settings.store.mode == Mode::Template => &settings.template,
            Key::Fixed(_) => &self.key,
            Key::Dynamic { template } => template,
        }
    }

    /// Finds out what became of a part in doubt: nothing is returned where it did not take place. The
    /// marker tells whether EXEC ran. Where its replies are lost, the type of a key tells whether a
    /// command on it can have succeeded, because EXEC undoes nothing. `ask` finds out the types.
    pub(super) fn look_up<E>(
        &mut self,
        flush: u64,
        marker: &Marker,
        held: &[u8],
        ask: impl FnOnce(&mut Self, Vec<Vec<u8>>) -> Result<Types, E>,
    ) -> Result<Option<Vec<Fate>>, E> {
        if held != marker.value(flush).as_bytes() {
            self.answers.remove(&flush);
            self.transaction.not_committed(flush);
            return Ok(None);
        }
        let mode = self.action.settings.store.mode;
        // Where a held record would go to the dead letter today and did not then, its key may be another
        // node's; that it was written is all that is known.
        let here = self.part_of(marker.key.as_bytes());
        let kept = self.transaction.kept_in(flush);
        let doubtful: Vec<_> = kept
            .map(|(_, kept)| {
                let may_be = commands::can_have_stored(mode, kept.payload.is_dead_letter())?;
                let key = self.key_of(&kept.payload);
                (self.part_of(&key) == here).then(|| (key.into_owned(), may_be))
            })
            .collect();
        let mut keys: Vec<Vec<u8>> =
            doubtful.iter().flatten().map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        let types = ask(self, keys)?;
        let fates = doubtful
            .iter()
            .map(|doubtful| match doubtful {
                None => Fate::Settled,
                Some((key, may_be)) if types.get(key).is_some_and(|kind| may_be(kind)) => {
                    Fate::Settled
                }
                Some(_) => Fate::Unsettled,
            })
            .collect();
        Ok(Some(fates))
    }

    /// Settles what the look-up of a part that took place has found out.
    pub(super) fn looked_up(&mut self, flush: u64, fates: &[Fate]) {
        self.committed(flush, fates);
        self.rewrite(&[]);
    }

    /// Brings the commands in line with the kept records, and with these changes.
    pub(super) fn rewrite(&mut self, changes: &[(usize, Change)]) {
        let is_clustered = self.nodes.is_some();
        let Self { transaction, batch, action, .. } = self;
        let settings = &action.settings.store;
        transaction.rewrite(|kept| {
            batch.rewrite(kept, changes, settings, &action.name);
            let dead_letters =
                changes.iter().filter(|(_, change)| matches!(change, Change::DeadLetter(_)));
            for (place, _) in dead_letters.filter(|_| is_clustered) {
                if let Some(kept) = kept.get_mut(*place) {
                    let key = commands::dead_letter_key(settings, &batch.texts(&kept.payload));
                    kept.reroute(Part(slot_of(&key)));
                }
            }
        });
    }

    /// The key that a record is written to, if it is no dead letter.
    pub(super) fn own_key(&self, record: &Record) -> &[u8] {
        match &self.action.settings.store.key {
            Key::Fixed(_) => self.key.as_bytes(),
            Key::Dynamic { .. } => self.batch.key(record),
        }
    }

    /// The key that a record is written to.
    fn key_of(&self, record: &Record) -> Cow<'_, [u8]> {
        if record.is_dead_letter() {
            let store = &self.action.settings.store;
            commands::dead_letter_key(store, &self.batch.texts(record))
        } else {
            Cow::Borrowed(self.own_key(record))
        }
    }

    /// The part that a record belongs to.
    pub(super) fn part_of_record(&self, record: &Record) -> Part {
        match self.action.settings.store.mode {
            _ if self.nodes.is_none() => Part::WHOLE,
            Mode::Publish if !record.is_dead_letter() => self.part_of_messages(),
            _ => self.part_of(&self.key_of(record)),
        }
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

/// The type of what each key holds.
pub(super) type Types = BTreeMap<Vec<u8>, String>;
