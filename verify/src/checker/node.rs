//! What is kept of one audited server's run while its records go by.
#![forbid(unsafe_code)]

use super::report::{Gap, NodeReport, Why};
use crate::record::{Claim, Record, UnixMicros};
use crate::schema::Event;
use omvalkeyaudit_sequence::{Numbers, Range, width};

/// So many doubled numbers are named; the others are counted.
const MAX_DOUBLED_SHOWN: usize = 20;

/// The records of one node.
#[derive(Debug, Default)]
pub(super) struct Node {
    records: u64,
    numbers: Numbers,
    unusable_claims: u64,
    doubles: u64,
    doubled: Vec<u64>,
    /// The highest number of the stream that is being read.
    highest: u64,
    out_of_order: u64,
    first_out_of_order: Option<u64>,
    times: Option<(UnixMicros, UnixMicros)>,
    without_time: u64,
    events: [u64; Event::NAMES.len()],
}

impl Node {
    /// The next records come from another stream, which has an order of its own.
    pub(super) fn begin_stream(&mut self) {
        self.highest = 0;
    }

    pub(super) fn add(&mut self, record: &Record) {
        self.records += 1;
        if !self.numbers.store(record.seq) {
            self.doubles += 1;
            if self.doubled.len() < MAX_DOUBLED_SHOWN {
                self.doubled.push(record.seq);
            }
            // It was looked at when it came first.
            return;
        }
        if record.seq < self.highest {
            self.out_of_order += 1;
            self.first_out_of_order.get_or_insert(record.seq);
        }
        self.highest = self.highest.max(record.seq);
        match record.ts {
            Some(ts) => {
                let (first, last) = self.times.unwrap_or((ts, ts));
                self.times = Some((first.min(ts), last.max(ts)));
            }
            None => self.without_time += 1,
        }
        let place = Event::NAMES.iter().position(|(_, event)| *event == record.event);
        if let Some(count) = place.and_then(|place| self.events.get_mut(place)) {
            *count += 1;
        }
        match record.lost {
            Some(Claim::Unusable) => self.unusable_claims += 1,
            Some(claim @ Claim::Lost { .. }) => self.numbers.claim(claim),
            None => {}
        }
    }

    pub(super) fn add_dead(&mut self, seq: u64) {
        self.numbers.bury(seq);
    }

    /// How many ranges it keeps: what its memory is made of.
    pub(super) fn ranges(&self) -> usize {
        self.numbers.ranges()
    }

    /// Sums it up. `is_from_start` expects the records from number 1 on; at most `max_gaps` gaps are
    /// listed, those without an explanation first.
    pub(super) fn report(self, node: String, is_from_start: bool, max_gaps: usize) -> NodeReport {
        let mut report = NodeReport {
            node,
            records: self.records,
            first: self.numbers.stored().first(),
            last: self.numbers.stored().last(),
            doubles: self.doubles,
            out_of_order: self.out_of_order,
            first_out_of_order: self.first_out_of_order,
            times: self.times,
            without_time: self.without_time,
            events: self.events,
            unusable_claims: self.unusable_claims,
            ..NodeReport::default()
        };
        let all = self.numbers.span();
        let all = all.map(|(first, last)| (if is_from_start { 1 } else { first }, last));
        self.judge(all, max_gaps, &mut report);
        report.doubled = self.doubled;
        report
    }

    fn judge(&self, all: Option<Range>, max_gaps: usize, report: &mut NodeReport) {
        let numbers = &self.numbers;
        for partial in numbers.partials(all) {
            report.lost = report.lost.saturating_add(partial.missing.min(partial.admitted));
            if partial.beyond() > 0 {
                report.beyond_claims = report.beyond_claims.saturating_add(partial.beyond());
                report.first_beyond_claim.get_or_insert(partial.range);
            }
        }
        // One kind after the other, so that a long list of explained gaps hides no other.
        let all = || all.into_iter();
        let unexplained = all().flat_map(|all| numbers.unexplained(all));
        report.unexplained = list(report, Why::Unexplained, max_gaps, unexplained);
        let partly_lost = all().flat_map(|all| numbers.partly_lost(all));
        list(report, Why::PartlyLost, max_gaps, partly_lost);
        let lost = all().flat_map(|all| numbers.lost(all));
        let lost = list(report, Why::Lost, max_gaps, lost);
        report.lost = report.lost.saturating_add(lost);
        report.dead = list(report, Why::DeadLetter, max_gaps, numbers.dead());
    }
}

/// Puts the gaps of a kind into the report, as far as there is room, and says how many numbers they have.
fn list(
    report: &mut NodeReport,
    why: Why,
    max_gaps: usize,
    parts: impl Iterator<Item = Range>,
) -> u64 {
    let (mut gaps, mut numbers) = (0, 0_u64);
    for (first, last) in parts {
        gaps += 1;
        numbers = numbers.saturating_add(width((first, last)));
        if report.gaps.len() < max_gaps {
            report.gaps.push(Gap { first, last, why });
        }
    }
    if gaps > 0 {
        report.gap_counts.insert(why, gaps);
    }
    numbers
}
