//! What happens once per record, counted in plain numbers: the shared counters get it once per call
//! that ends something, because workers that add to one of them for each record slow each other down.
#![forbid(unsafe_code)]

use crate::stats::{Counter, Stats};

/// Counts of one worker that its action's counters do not have yet.
#[derive(Default)]
pub(super) struct Tally {
    received: u64,
    suppressed: u64,
    batches: u64,
    /// The open transaction has brought a new record.
    has_new: bool,
}

impl Tally {
    /// The core starts a transaction.
    pub(super) fn begin(&mut self) {
        self.has_new = false;
    }

    /// A new record is kept.
    pub(super) fn received(&mut self) {
        self.received += 1;
        if !std::mem::replace(&mut self.has_new, true) {
            self.batches += 1;
        }
    }

    /// A replayed record was settled already.
    pub(super) fn suppressed(&mut self) {
        self.suppressed += 1;
    }

    /// Hands everything over.
    pub(super) fn hand_over(&mut self, stats: &Stats) {
        for (count, counter) in [
            (&mut self.received, Counter::Received),
            (&mut self.suppressed, Counter::Suppressed),
            (&mut self.batches, Counter::Batches),
        ] {
            stats.add(counter, std::mem::take(count));
        }
    }
}
