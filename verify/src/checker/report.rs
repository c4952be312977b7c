//! What came out of a check, and which of it is a failure. How it is written is not known here.
#![forbid(unsafe_code)]

use crate::record::UnixMicros;
use crate::schema::Event;
use std::collections::BTreeMap;

/// Why numbers are not in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Nobody knows.
    Unexplained,
    /// The source says that some, but not all of a wider range are lost.
    PartlyLost,
    /// The source says that they are lost.
    Lost,
    /// Their records are in a dead letter.
    DeadLetter,
}

/// Numbers that are not in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// Why.
    pub why: Why,
}

impl Gap {
    /// How many numbers that are.
    pub fn count(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// What was found of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeReport {
    /// Its id.
    pub node: String,
    /// Entries of the streams, doubles included.
    pub records: u64,
    /// The lowest number in the streams.
    pub first: Option<u64>,
    /// The highest number in the streams.
    pub last: Option<u64>,
    /// Missing numbers without an explanation.
    pub unexplained: u64,
    /// Missing numbers in ranges of which the source says that fewer are lost.
    pub beyond_claims: u64,
    /// The first of these ranges.
    pub first_beyond_claim: Option<(u64, u64)>,
    /// Missing numbers that the source says it lost.
    pub lost: u64,
    /// Numbers that are in a dead letter and not in the streams.
    pub dead: u64,
    /// The gaps, or as many as may be listed.
    pub gaps: Vec<Gap>,
    /// How many gaps there are of each kind.
    pub gap_counts: BTreeMap<Why, u64>,
    /// `lost` records whose numbers are missing or contradict each other.
    pub unusable_claims: u64,
    /// Entries beyond the first with the same number.
    pub doubles: u64,
    /// The numbers of the first of them.
    pub doubled: Vec<u64>,
    /// Records that came after one with a higher number.
    pub out_of_order: u64,
    /// The number of the first of them.
    pub first_out_of_order: Option<u64>,
    /// The earliest and the latest `ts`.
    pub times: Option<(UnixMicros, UnixMicros)>,
    /// Records without a readable `ts`.
    pub without_time: u64,
    /// Records by event, in the order of [`Event::NAMES`], doubles left out.
    pub events: [u64; Event::NAMES.len()],
}

impl NodeReport {
    /// How many records are missing without an explanation.
    pub fn missing(&self) -> u64 {
        self.unexplained.saturating_add(self.beyond_claims)
    }

    /// What is wrong, each as a sentence.
    pub fn failures(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.unexplained > 0 {
            let gaps = self.gap_counts.get(&Why::Unexplained).copied().unwrap_or_default();
            all.push(format!("missing: {}, in gaps: {gaps}", records(self.unexplained)));
        }
        if let Some((first, last)) = self.first_beyond_claim {
            all.push(format!(
                "missing: {} more than the lost records admit, first in seq {first} to {last}",
                records(self.beyond_claims)
            ));
        }
        if let Some(first) = self.doubled.first() {
            all.push(format!(
                "doubled: {} more than once in the streams, first seq {first}",
                records(self.doubles)
            ));
        }
        all
    }

    /// What an auditor should know, each as a sentence; with `--strict` a failure.
    pub fn warnings(&self, expects_start: bool) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(first @ 2..) = self.first
            && expects_start
        {
            all.push(format!("starts at seq {first}: what was before is not in the streams"));
        }
        if self.lost > 0 {
            all.push(format!("lost by the source, by its own account: {}", records(self.lost)));
        }
        if self.dead > 0 {
            all.push(format!("in the dead letter only: {}", records(self.dead)));
        }
        if self.unusable_claims > 0 {
            all.push(format!(
                "lost records that say nothing usable, which explains no gap: {}",
                self.unusable_claims
            ));
        }
        if let Some(first) = self.first_out_of_order {
            all.push(format!(
                "out of order: {} after one with a higher seq, first seq {first}",
                records(self.out_of_order)
            ));
        }
        all
    }
}

/// Entries of one kind that are no records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oddity {
    /// How many.
    pub count: u64,
    /// The id of the first, and what is wrong with it.
    pub first: Option<(String, &'static str)>,
}

/// What was found in the dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterReport {
    /// Entries.
    pub entries: u64,
    /// Entries whose record has no readable node and seq.
    pub unnumbered: u64,
    /// Entries by reason.
    pub by_reason: BTreeMap<String, u64>,
    /// Entries with further reasons.
    pub other_reasons: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By node, in the order of their ids.
    pub nodes: Vec<NodeReport>,
    /// Entries that were looked at, without those of the dead letters.
    pub entries: u64,
    /// Records of nodes that were not asked for.
    pub of_other_nodes: u64,
    /// Entries without node and seq.
    pub foreign: Oddity,
    /// Entries with a node or seq that cannot be read.
    pub broken: Oddity,
    /// Records of another schema version.
    pub of_other_version: u64,
    /// The dead letters, where one was looked at.
    pub dead_letters: Option<DeadLetterReport>,
    /// A stream that does not begin with a node's first record is worth a warning.
    pub expects_start: bool,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is missing or doubled, and there is no warning.
    Complete,
    /// Nothing is missing or doubled, but there are warnings.
    CompleteWithWarnings,
    /// Something is missing or doubled.
    Incomplete,
}

impl Report {
    /// How it ended.
    pub fn verdict(&self) -> Verdict {
        if self.nodes.iter().any(|node| !node.failures().is_empty()) {
            Verdict::Incomplete
        } else if !self.warnings().is_empty()
            || self.nodes.iter().any(|node| !node.warnings(self.expects_start).is_empty())
        {
            Verdict::CompleteWithWarnings
        } else {
            Verdict::Complete
        }
    }

    /// What an auditor should know of the streams as a whole.
    pub fn warnings(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.nodes.is_empty() {
            all.push("there is no audit record, so nothing was checked".to_owned());
        }
        for (oddity, what) in [
            (&self.foreign, "entries without node and seq, which are no audit records"),
            (&self.broken, "broken entries, which cannot be counted"),
        ] {
            if let Some((id, why)) = &oddity.first {
                all.push(format!("{what}: {}, first {id}: {why}", oddity.count));
            }
        }
        if self.of_other_version > 0 {
            all.push(format!("records of an unknown schema version: {}", self.of_other_version));
        }
        if let Some(dead) = &self.dead_letters
            && dead.unnumbered > 0
        {
            all.push(format!("dead letters without a readable node and seq: {}", dead.unnumbered));
        }
        all
    }
}

fn records(count: u64) -> String {
    if count == 1 { "1 record".to_owned() } else { format!("{count} records") }
}
