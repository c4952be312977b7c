//! The check itself: records go in one after the other, in any order, and a report comes out. No
//! sockets, no clocks, and memory that grows with the disorder, not with the number of records.
#![forbid(unsafe_code)]

mod node;
mod report;
#[cfg(test)]
mod tests;

pub use report::{DeadLetterReport, Gap, NodeReport, Oddity, Report, Verdict, Why};

use crate::record::{Flaw, Record};
use node::Node;
use std::collections::BTreeMap;
use std::fmt;

/// So many reasons of dead letters are told apart.
const MAX_REASONS: usize = 100;

/// What a check may hold, whatever the streams hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nodes.
    pub nodes: usize,
    /// Ranges of numbers, of all nodes; about 40 bytes each.
    pub ranges: usize,
    /// Gaps that a report lists, of all nodes.
    pub gaps: usize,
    /// Gaps that a report lists of one node.
    pub gaps_per_node: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { nodes: 10_000, ranges: 1_000_000, gaps: 10_000, gaps_per_node: 1_000 }
    }
}

/// A limit was reached, so the check cannot be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Too many nodes.
    Nodes(usize),
    /// Too many separate ranges of numbers.
    Ranges(usize),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Full::Nodes(limit) => write!(
                f,
                "the streams hold records of more than {limit} nodes; check one node at a time with --node"
            ),
            Full::Ranges(limit) => write!(
                f,
                "the seq numbers lie in more than {limit} separate ranges; raise --max-ranges (40 bytes each), or check one node with --node or a part with --from and --to"
            ),
        }
    }
}

/// Which records are checked, and how.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Starts of the ids of the nodes to check; all, where there is none.
    pub nodes: Vec<String>,
    /// Records before the first one that is there are missing.
    pub is_from_start: bool,
    /// A stream that does not begin with a node's first record is worth a warning.
    pub expects_start: bool,
}

/// A check under way.
#[derive(Debug, Default)]
pub struct Checker {
    limits: Limits,
    scope: Scope,
    nodes: BTreeMap<String, Node>,
    /// Ranges of all nodes together.
    ranges: usize,
    found: Report,
}

impl Checker {
    /// Begins a check.
    pub fn new(scope: Scope, limits: Limits) -> Self {
        Self { limits, scope, ..Self::default() }
    }

    /// The next records come from another stream, which has an order of its own.
    pub fn begin_stream(&mut self) {
        self.nodes.values_mut().for_each(Node::begin_stream);
    }

    /// Takes an entry of a stream: its id, and the record or why it is none.
    ///
    /// # Errors
    /// The limit that it would exceed.
    pub fn add(&mut self, id: impl fmt::Display, entry: Result<Record, Flaw>) -> Result<(), Full> {
        self.found.entries += 1;
        let (oddity, why) = match entry {
            Ok(record) if self.is_wanted(&record.node) => {
                self.found.of_other_version += u64::from(record.has_other_version);
                return self.with_node(&record.node, |node| node.add(&record));
            }
            Ok(_) => {
                self.found.of_other_nodes += 1;
                return Ok(());
            }
            Err(Flaw::Foreign) => (&mut self.found.foreign, "it has neither"),
            Err(Flaw::Broken(why)) => (&mut self.found.broken, why),
        };
        oddity.count += 1;
        oddity.first.get_or_insert_with(|| (id.to_string(), why));
        Ok(())
    }

    /// A dead letter is among what is checked.
    pub fn begin_dead_letter(&mut self) {
        self.found.dead_letters.get_or_insert_default();
    }

    /// Takes an entry of a dead letter: the reason in it, and the record or why it is none.
    ///
    /// # Errors
    /// The limit that it would exceed.
    pub fn add_dead(&mut self, reason: &str, entry: Result<Record, Flaw>) -> Result<(), Full> {
        if entry.as_ref().is_ok_and(|record| !self.is_wanted(&record.node)) {
            return Ok(());
        }
        let dead = self.found.dead_letters.get_or_insert_default();
        dead.entries += 1;
        let is_full = dead.by_reason.len() >= MAX_REASONS;
        match dead.by_reason.get_mut(reason) {
            Some(count) => *count += 1,
            None if is_full => dead.other_reasons += 1,
            None => {
                dead.by_reason.insert(reason.to_owned(), 1);
            }
        }
        match entry {
            Ok(record) => self.with_node(&record.node, |node| node.add_dead(record.seq)),
            Err(_) => {
                dead.unnumbered += 1;
                Ok(())
            }
        }
    }

    /// Sums it up.
    pub fn finish(self) -> Report {
        let mut gaps_left = self.limits.gaps;
        let mut report = self.found;
        report.expects_start = self.scope.expects_start;
        for (id, node) in self.nodes {
            let max_gaps = gaps_left.min(self.limits.gaps_per_node);
            let node = node.report(id, self.scope.is_from_start, max_gaps);
            gaps_left -= node.gaps.len();
            report.nodes.push(node);
        }
        report
    }

    fn is_wanted(&self, node: &str) -> bool {
        let starts = &self.scope.nodes;
        starts.is_empty() || starts.iter().any(|start| node.starts_with(start))
    }

    fn with_node(&mut self, id: &str, change: impl FnOnce(&mut Node)) -> Result<(), Full> {
        let is_full = self.nodes.len() >= self.limits.nodes;
        let node = match self.nodes.get_mut(id) {
            Some(node) => node,
            None if is_full => return Err(Full::Nodes(self.limits.nodes)),
            None => self.nodes.entry(id.to_owned()).or_default(),
        };
        let before = node.ranges();
        change(node);
        self.ranges = self.ranges - before + node.ranges();
        if self.ranges > self.limits.ranges {
            return Err(Full::Ranges(self.limits.ranges));
        }
        Ok(())
    }
}
