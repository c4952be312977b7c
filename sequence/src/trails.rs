//! The numbers of all nodes while their records go by, in any order, in bounded memory: how many are
//! missing now, and what is worth a word to the operator. Time is what the caller says it is.
#![forbid(unsafe_code)]

use crate::numbers::Account;
use crate::ranges::Range;
use crate::trail::{Run, Trail};
use crate::value::Claim;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A gap is told when it has been there for so long: with several workers, what one of them stored may
/// come a moment before what stands in front of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Gaps are told at most this often; what comes between is in the next word.
const INTERVAL: Duration = Duration::from_secs(10);

/// What may be kept, whatever the records say.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nodes; some hundred bytes each.
    pub nodes: usize,
    /// Ranges of numbers, of all nodes together; about 40 bytes each.
    pub ranges: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { nodes: 1_000, ranges: 20_000 }
    }
}

/// A record that is where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its node, see [`crate::value::is_node`].
    pub node: &'a [u8],
    /// Its number.
    pub number: u64,
    /// It is in the dead letter.
    pub is_dead: bool,
    /// What it says if it is a `lost` record.
    pub claim: Option<Claim>,
}

/// What is worth a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Numbers are missing.
    Missing {
        /// Of this node.
        node: String,
        /// The last gap.
        gap: Range,
        /// How many are missing in all.
        count: u64,
    },
    /// None is missing any more, after it had been told.
    Complete {
        /// Of this node.
        node: String,
        /// How many the source says it lost.
        lost: u64,
    },
    /// There are too many gaps; from here on, the oldest ones are not closed any more. Told once.
    Final {
        /// The first node that this happened to.
        node: String,
    },
    /// There are too many nodes; those that were silent longest are forgotten. Told once.
    Forgotten {
        /// How many are kept.
        limit: usize,
    },
}

/// The numbers of all nodes.
#[derive(Debug, Default)]
pub struct Trails {
    limits: Limits,
    nodes: HashMap<Box<[u8]>, Trail>,
    /// Of all nodes together.
    ranges: usize,
    /// Of all nodes together, forgotten ones included.
    account: Account,
    repeated: u64,
    uses: u64,
    /// Some node is worth a look.
    is_open: bool,
    told_at: Option<Instant>,
    has_told_final: bool,
    has_told_forgotten: bool,
    news: Vec<News>,
}

impl Trails {
    /// Nothing has come yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes records in the order in which they were stored, and gives what is worth a word.
    pub fn take<'a>(
        &mut self,
        arrivals: impl Iterator<Item = Arrival<'a>>,
        now: Instant,
    ) -> Vec<News> {
        let mut open: Option<(&[u8], Run)> = None;
        for Arrival { node, number, is_dead, claim } in arrivals {
            let is_plain = !is_dead && claim.is_none();
            // Nearly always the number after the one before.
            if let Some((of, run)) = &mut open
                && is_plain
                && run.goes_on_with(number)
                && *of == node
            {
                run.numbers.1 = number;
                continue;
            }
            let run = Run { numbers: (number, number), is_dead, claim };
            if let Some((of, run)) = open.replace((node, run)) {
                self.take_run(of, run);
            }
        }
        if let Some((of, run)) = open {
            self.take_run(of, run);
        }
        if self.is_open {
            self.look(now);
        }
        std::mem::take(&mut self.news)
    }

    /// How many numbers are missing now, of all nodes.
    pub fn account(&self) -> Account {
        self.account
    }

    /// How many records came with a number that was stored already.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// How many nodes and ranges are kept.
    pub fn size(&self) -> (usize, usize) {
        (self.nodes.len(), self.ranges)
    }

    fn take_run(&mut self, node: &[u8], run: Run) {
        if !self.nodes.contains_key(node) {
            if self.nodes.len() >= self.limits.nodes {
                self.forget_silent();
            }
            self.nodes.insert(node.into(), Trail::default());
        }
        let Some(trail) = self.nodes.get_mut(node) else { return };
        self.uses += 1;
        trail.last_use = self.uses;
        let before = trail.ranges();
        self.repeated = self.repeated.saturating_add(trail.take(run));
        let others = self.ranges - before;
        if others + trail.ranges() > self.limits.ranges
            && trail.fold()
            && !std::mem::replace(&mut self.has_told_final, true)
        {
            self.news.push(News::Final { node: name(node) });
        }
        self.ranges = others + trail.ranges();
        self.is_open |= trail.is_open();
    }

    /// Forgets some of the nodes that were silent longest: one at a time would mean to search all of them
    /// for each new one.
    fn forget_silent(&mut self) {
        let mut uses: Vec<u64> = self.nodes.values().map(|trail| trail.last_use).collect();
        uses.sort_unstable();
        let last = uses.get(self.limits.nodes / 8).copied().unwrap_or(u64::MAX);
        let (ranges, account) = (&mut self.ranges, &mut self.account);
        self.nodes.retain(|_, trail| {
            if trail.last_use > last {
                return true;
            }
            // What is missing of it stays missing.
            look(trail, account);
            *ranges -= trail.ranges();
            false
        });
        if !std::mem::replace(&mut self.has_told_forgotten, true) {
            self.news.push(News::Forgotten { limit: self.limits.nodes });
        }
    }

    fn look(&mut self, now: Instant) {
        self.is_open = false;
        for (node, trail) in &mut self.nodes {
            look(trail, &mut self.account);
            if trail.has_closed() {
                self.news.push(News::Complete { node: name(node), lost: trail.account().lost });
            }
            if let Some(since) = trail.untold_since(now)
                && now.duration_since(since) >= PATIENCE
                && self.told_at.is_none_or(|at| now.duration_since(at) >= INTERVAL)
                && let Some(gap) = trail.tell()
            {
                self.told_at = Some(now);
                let count = trail.account().missing;
                self.news.push(News::Missing { node: name(node), gap, count });
            }
            self.is_open |= trail.is_open();
        }
    }
}

impl Run {
    fn goes_on_with(&self, number: u64) -> bool {
        !self.is_dead && self.claim.is_none() && self.numbers.1.checked_add(1) == Some(number)
    }
}

/// Looks at what is missing of a node, and changes the sum accordingly.
fn look(trail: &mut Trail, sum: &mut Account) {
    let before = trail.account();
    trail.look();
    *sum = sum.less(before).plus(trail.account());
}

fn name(node: &[u8]) -> String {
    String::from_utf8_lossy(node).into_owned()
}

#[cfg(test)]
mod tests;
