//! What a worker leaves when it ends before its batch is over: held records, or notes about what is
//! settled of a batch that the core brings back. docs/architecture.md says why.
#![forbid(unsafe_code)]

use super::hold::now;
use super::{AtStop, Record, Severity, Worker};
use crate::commands::Marker;
use crate::hold::{Doubt, Frame, Held, Note, Notes, Records};
use crate::params::Key;
use crate::record::Texts;
use crate::server::Connect;
use crate::stats::Counter;
use crate::transaction::{Fingerprint, InDoubt, Kept, Sorted};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// For the last attempt before holding, perhaps right after a call that took all of `timeout.commit`.
const LAST_ATTEMPT: Duration = Duration::from_millis(500);

impl<C: Connect> Worker<'_, C> {
    /// The core ends this worker before its batch is over.
    pub(super) fn leave(&mut self) {
        match self.action.at_stop {
            AtStop::Drops => self.hold(),
            // A last attempt would only make more records that come back although they are settled.
            AtStop::Requeues => self.note(),
        }
    }

    /// Commits what is not settled, or holds it; not what the core has given up. (With an
    /// action.resumeRetryCount of 1 or more nobody can tell here: too many is better than too few.)
    fn hold(&mut self) {
        let abandoned = self.transaction.ended();
        if abandoned > 0 {
            return self.abandon(abandoned);
        }
        if self.unsettled() == 0 || self.is_settled_at_last() {
            return;
        }
        let count = self.unsettled();
        let frames = self.held_frames(None);
        let Some(hold) = &self.action.hold else { return self.report_lost("") };
        match hold.append(frames, now()) {
            Ok(()) => {
                self.action.stats.add_len(Counter::Held, count);
                let path = hold.path().display();
                let text = format!(
                    "held records that are not committed, count: {count}, file: \"{path}\""
                );
                self.report.line(Severity::Warning, &text);
            }
            Err(why) => self.report_lost(&format!(": {why}")),
        }
    }

    /// The last attempt. The core ends one worker after the other: where one has just tried in vain, the
    /// others do not make the stop longer.
    fn is_settled_at_last(&mut self) -> bool {
        let timeout = self.action.settings.timeouts.commit;
        if self.action.has_failed_at_stop_within(timeout) {
            return false;
        }
        let deadline = self.deadline().capped(LAST_ATTEMPT);
        let is_settled = self.flush_all(deadline).is_ok() || self.unsettled() == 0;
        if !is_settled {
            self.action.fail_at_stop();
        }
        is_settled
    }

    fn report_lost(&self, why: &str) {
        let count = self.unsettled();
        let text = format!("worker ends with records that are not committed, count: {count}{why}");
        self.report.line(Severity::Error, &text);
    }

    /// What is kept: each part in doubt for itself, the others as they would be flushed.
    pub(super) fn held_frames(&self, replaces: Option<u128>) -> Vec<Frame> {
        let limits = self.action.settings.batch;
        let Sorted { in_doubt, rest } = self.sorted();
        let mut frames = Vec::new();
        let mut push = |doubt: Option<Doubt>, kept: &[&Kept<Record>]| {
            if !kept.is_empty() {
                let records = kept.iter().map(|kept| self.held(&kept.payload)).collect();
                let (id, action) = (self.frame_id(frames.len()), self.action.name.clone());
                let time = now();
                frames.push(Frame::Records(Records { id, action, time, replaces, doubt, records }));
            }
        };
        for (doubt, records) in in_doubt {
            push(Some(self.doubt(doubt)), &records);
        }
        let mut rest = rest.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0_usize;
            let fitting = rest.iter().take(limits.records).take_while(|kept| {
                bytes = bytes.saturating_add(kept.payload.bytes());
                bytes <= limits.bytes
            });
            let (flush, after) = rest.split_at(fitting.count().max(1));
            push(None, flush);
            rest = after;
        }
        frames
    }

    /// What is kept, by what is known of it. What is known not to be written needs no look-up, which might
    /// take it for written.
    fn sorted(&self) -> Sorted<'_, Record> {
        let Sorted { mut in_doubt, mut rest } = self.transaction.sorted();
        for (doubt, records) in &mut in_doubt {
            let unwritten = self.unwritten(doubt.flush);
            let sorted = std::mem::take(records).into_iter().enumerate();
            let (out, left): (Vec<_>, Vec<_>) =
                sorted.partition(|(nth, _)| unwritten.contains(nth));
            *records = left.into_iter().map(|(_, kept)| kept).collect();
            // Everything else came after them.
            rest.splice(..0, out.into_iter().map(|(_, kept)| kept));
        }
        Sorted { in_doubt, rest }
    }

    fn held(&self, record: &Record) -> Held {
        let key = &self.noted_key(record);
        Held::new(&Texts { key, ..self.batch.texts(record) }, record.letter.as_deref().cloned())
    }

    /// What has to be known of a record's key besides the settings: another worker may have another shard.
    fn noted_key(&self, record: &Record) -> Vec<u8> {
        let store = &self.action.settings.store;
        match &store.key {
            Key::Fixed(_) if store.shards == 1 => Vec::new(),
            Key::Fixed(_) => self.key.as_bytes().to_vec(),
            Key::Dynamic { .. } => self.batch.key(record).to_vec(),
        }
    }

    /// Where a part in doubt can be looked up.
    fn doubt(&self, doubt: InDoubt) -> Doubt {
        let InDoubt { part, flush } = doubt;
        let Marker { key, worker, .. } = self.marker_of(part);
        Doubt { marker: key, worker, flush }
    }

    /// Ids that no other worker makes, because this worker's is in them.
    fn frame_id(&self, number: usize) -> u128 {
        xxh3_128_with_seed(self.marker.worker.as_bytes(), number as u64)
    }

    /// Notes what is settled, or was in a part in doubt, of the batch that the core brings back. It
    /// does so even with what it has given up, where it is stopped just then.
    fn note(&mut self) {
        let count = self.unsettled();
        let (action, time, seed) = (self.action.name.clone(), now(), self.seed);
        let settled = self.transaction.settled().into_iter();
        let settled: Vec<Note> = settled
            .map(|Fingerprint(fingerprint)| Note { fingerprint, key: Vec::new(), is_letter: false })
            .collect();
        let note = |kept: &&Kept<Record>| Note {
            fingerprint: self.fingerprint_of(self.seed, kept),
            key: self.noted_key(&kept.payload),
            is_letter: kept.payload.is_dead_letter(),
        };
        let in_doubt = self.sorted().in_doubt.into_iter();
        let in_doubt = in_doubt
            .map(|(doubt, records)| (Some(self.doubt(doubt)), records.iter().map(note).collect()));
        let frames: Vec<Frame> = std::iter::once((None, settled))
            .chain(in_doubt)
            .enumerate()
            .filter(|(_, (_, notes))| !notes.is_empty())
            .map(|(number, (doubt, notes))| {
                let (id, action) = (self.frame_id(number), action.clone());
                Frame::Notes(Notes { id, action, time, seed, doubt, notes })
            })
            .collect();
        let noted = match &self.action.hold {
            Some(hold) if !frames.is_empty() => hold.append(frames, time),
            _ => Ok(()),
        };
        if let Err(why) = noted {
            let text = format!("{why}; records of the batch at hand may be written twice");
            self.report.line(Severity::Warning, &text);
        }
        if count > 0 {
            let text = format!(
                "worker ends with records that are not committed, count: {count}; rsyslogd keeps them"
            );
            self.report.line(Severity::Info, &text);
        }
    }
}
