//! The numbers of what an action has settled, and what the operator reads of them. Which are missing is
//! decided elsewhere, without locks and logs.
#![forbid(unsafe_code)]

use super::{Severity, Worker};
use crate::record::Numbering;
use crate::server::Connect;
use crate::stats::{Counter, Stats};
use crate::transaction::Fate;
use omvalkeyaudit_sequence::{Arrival, Limits, News, Trails};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

/// What all workers of an action have settled. Taken once per flush.
#[derive(Debug)]
pub(super) struct Sequence(Mutex<Trails>);

impl Sequence {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Trails::new(Limits::default())))
    }

    /// Takes in what is settled, and brings the counters up to date.
    fn take<'a>(&self, settled: impl Iterator<Item = Arrival<'a>>, stats: &Stats) -> Vec<News> {
        let mut trails = self.0.lock().unwrap_or_else(|poisoned| {
            // Its numbers may not fit together any more.
            self.0.clear_poison();
            let mut trails = poisoned.into_inner();
            *trails = Trails::new(Limits::default());
            trails
        });
        let repeated = trails.repeated();
        let news = trails.take(settled, Instant::now());
        // While it is locked, so that no older level replaces a newer one.
        stats.set(Counter::SequenceGaps, trails.account().missing);
        stats.set(Counter::SequenceLost, trails.account().lost);
        stats.add(Counter::SequenceRepeated, trails.repeated() - repeated);
        news
    }
}

impl<C: Connect> Worker<'_, C> {
    /// Counts the numbers of the records, of one flush in doubt or of all, that are about to be settled.
    pub(super) fn count_numbers(&mut self, flush: Option<u64>, fates: &[Fate]) {
        let Some(sequence) = &self.action.sequence else { return };
        let kept = self.transaction.kept().iter();
        let settled =
            kept.filter(|kept| flush.is_none_or(|flush| kept.flush() == flush)).zip(fates);
        let settled = settled.filter(|(_, fate)| **fate == Fate::Settled);
        let arrivals = settled.filter_map(|(kept, _)| self.batch.arrival(&kept.payload));
        // What is committed must become settled, whatever becomes of counting it.
        let counted =
            catch_unwind(AssertUnwindSafe(|| sequence.take(arrivals, &self.action.stats)));
        for news in counted.unwrap_or_default() {
            let (severity, text) = line(&news);
            self.report.line(severity, &text);
        }
    }
}

/// The record at hand becomes a dead letter: its number is not missing, as far as it can be read.
pub(super) fn scan_number(numbering: Option<&mut Numbering>, record: &[u8]) {
    if let Some(numbering) = numbering {
        // As with its command, see `Worker::encode`.
        catch_unwind(AssertUnwindSafe(|| numbering.scan(record))).unwrap_or_default();
    }
}

fn line(news: &News) -> (Severity, String) {
    match news {
        News::Missing { node, gap: (from, to), count } => (
            Severity::Warning,
            format!(
                "records are missing, node: \"{node}\", from: {from}, to: {to}, missing in all: {count}"
            ),
        ),
        News::Complete { node, lost } => (
            Severity::Info,
            format!(
                "no records are missing any more, node: \"{node}\", lost by the source: {lost}"
            ),
        ),
        News::Final { node } => (
            Severity::Warning,
            format!(
                "records are missing in too many places, the oldest of them stay missing even if they \
                 come, node: \"{node}\""
            ),
        ),
        News::Forgotten { limit } => (
            Severity::Warning,
            format!(
                "too many nodes send numbered records, those that were silent longest are forgotten, \
                 limit: {limit}"
            ),
        ),
    }
}
