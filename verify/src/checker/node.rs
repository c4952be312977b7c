//! What is kept of one audited server's run while its records go by.
#![forbid(unsafe_code)]

use super::claims::Claims;
use super::ranges::{Range, Ranges, width};
use super::report::{Gap, NodeReport, Why};
use crate::record::{Claim, Record, UnixMicros};
use crate::schema::Event;

/// So many doubled numbers are named; the others are counted.
const MAX_DOUBLED_SHOWN: usize = 20;

/// All numbers that a record can have.
const EVERYTHING: Range = (1, u64::MAX);

/// The records of one node.
#[derive(Debug, Default)]
pub(super) struct Node {
    records: u64,
    seen: Ranges,
    /// Numbers of records in a dead letter.
    dead: Ranges,
    claims: Claims,
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
        if !self.seen.insert(record.seq) {
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
            Some(Claim::Lost { first, last, count }) => self.claims.add((first, last), count),
            Some(Claim::Unusable) => self.unusable_claims += 1,
            None => {}
        }
    }

    pub(super) fn add_dead(&mut self, seq: u64) {
        self.dead.insert(seq);
    }

    /// How many ranges it keeps: what its memory is made of.
    pub(super) fn ranges(&self) -> usize {
        self.seen.len() + self.dead.len() + self.claims.len()
    }

    /// Sums it up. `is_from_start` expects the records from number 1 on; at most `max_gaps` gaps are
    /// listed, those without an explanation first.
    pub(super) fn report(self, node: String, is_from_start: bool, max_gaps: usize) -> NodeReport {
        let mut report = NodeReport {
            node,
            records: self.records,
            first: self.seen.first(),
            last: self.seen.last(),
            doubles: self.doubles,
            out_of_order: self.out_of_order,
            first_out_of_order: self.first_out_of_order,
            times: self.times,
            without_time: self.without_time,
            events: self.events,
            unusable_claims: self.unusable_claims,
            ..NodeReport::default()
        };
        // A dead letter says nothing of the records around it: it may reach further back than a
        // trimmed stream, and further ahead than the stream that was read before it.
        let all = self.seen.first().zip(self.seen.last());
        let all = all.map(|(first, last)| (if is_from_start { 1 } else { first }, last));
        self.judge(all, max_gaps, &mut report);
        report.doubled = self.doubled;
        report
    }

    fn judge(&self, all: Option<Range>, max_gaps: usize, report: &mut NodeReport) {
        let all = all.into_iter();
        for (range, admitted) in self.claims.partials() {
            let missing = all
                .clone()
                .filter_map(|all| clip(range, all))
                .flat_map(|part| self.missing(part))
                .flat_map(|gap| self.claims.partial(gap))
                .fold(0, |sum: u64, part| sum.saturating_add(width(part)));
            report.lost = report.lost.saturating_add(missing.min(admitted));
            if missing > admitted {
                report.beyond_claims = report.beyond_claims.saturating_add(missing - admitted);
                report.first_beyond_claim.get_or_insert(range);
            }
        }
        // One kind after the other, so that a long list of explained gaps hides no other.
        let missing = || all.clone().flat_map(|all| self.missing(all));
        let silent = missing().flat_map(|gap| self.claims.silent(gap));
        report.unexplained = list(report, Why::Unexplained, max_gaps, silent);
        let partial = missing().flat_map(|gap| self.claims.partial(gap));
        list(report, Why::PartlyLost, max_gaps, partial);
        let whole = missing().flat_map(|gap| self.claims.whole(gap));
        let lost = list(report, Why::Lost, max_gaps, whole);
        report.lost = report.lost.saturating_add(lost);
        let dead = self.dead.common(EVERYTHING).flat_map(|part| self.seen.gaps(part));
        report.dead = list(report, Why::DeadLetter, max_gaps, dead);
    }

    /// The numbers that are neither in a stream nor in a dead letter.
    fn missing(&self, within: Range) -> impl Iterator<Item = Range> {
        self.seen.gaps(within).flat_map(|gap| self.dead.gaps(gap))
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

/// What two ranges have in common.
fn clip((first, last): Range, (from, to): Range) -> Option<Range> {
    let (first, last) = (first.max(from), last.min(to));
    (first <= last).then_some((first, last))
}
