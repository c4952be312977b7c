//! The numbers of one node: which are stored, which are in the dead letter, which the source says it lost,
//! and what follows of those that are none of these.
#![forbid(unsafe_code)]

use crate::claims::Claims;
use crate::ranges::{Range, Ranges, width};
use crate::value::Claim;

/// The numbers of one node, in whatever order they come.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    stored: Ranges,
    dead: Ranges,
    claims: Claims,
}

/// How many numbers are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Without an explanation.
    pub missing: u64,
    /// Lost, by the source's own account.
    pub lost: u64,
}

/// A range of which the source says that some numbers, but not all, are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The range.
    pub range: Range,
    /// How many it says are lost.
    pub admitted: u64,
    /// How many are missing.
    pub missing: u64,
}

impl Account {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            missing: self.missing.saturating_add(other.missing),
            lost: self.lost.saturating_add(other.lost),
        }
    }

    /// What is left without the other.
    pub fn less(self, other: Self) -> Self {
        Self {
            missing: self.missing.saturating_sub(other.missing),
            lost: self.lost.saturating_sub(other.lost),
        }
    }
}

impl Partial {
    /// How many are missing beyond what is admitted.
    pub fn beyond(&self) -> u64 {
        self.missing.saturating_sub(self.admitted)
    }
}

impl Numbers {
    /// A record is stored; `false` when one with its number is already.
    pub fn store(&mut self, number: u64) -> bool {
        self.stored.insert(number)
    }

    /// Records with all numbers of a range are stored; gives how many of them are stored already.
    pub fn store_range(&mut self, range: Range) -> u64 {
        let known = self.stored.common(range).map(width).sum();
        if known < width(range) {
            self.stored.insert_range(range);
        }
        known
    }

    /// A record is in the dead letter.
    pub fn bury(&mut self, number: u64) {
        self.dead.insert(number);
    }

    /// The source says that records are lost.
    pub fn claim(&mut self, claim: Claim) {
        if let Some((range, count)) = claim.said() {
            self.claims.add(range, count);
        }
    }

    /// What is stored.
    pub fn stored(&self) -> &Ranges {
        &self.stored
    }

    /// From the lowest to the highest number that is stored. A dead letter says nothing of the records
    /// around it: it may reach further back than what is looked at, and further ahead.
    pub fn span(&self) -> Option<Range> {
        self.stored.first().zip(self.stored.last())
    }

    /// How many ranges are kept: what memory is made of.
    pub fn ranges(&self) -> usize {
        self.stored.len() + self.dead.len() + self.claims.len()
    }

    /// Forgets everything below this number.
    pub fn forget_below(&mut self, floor: u64) {
        self.stored.forget_below(floor);
        self.dead.forget_below(floor);
        self.claims.forget_below(floor);
    }

    /// Forgets what is known of numbers that are not stored.
    pub fn forget_unstored(&mut self) {
        self.dead = Ranges::default();
        self.claims = Claims::default();
    }

    /// The numbers that are neither stored nor in the dead letter.
    pub fn missing(&self, within: Range) -> impl Iterator<Item = Range> {
        self.stored.gaps(within).flat_map(|gap| self.dead.gaps(gap))
    }

    /// Those of which the source says nothing.
    pub fn unexplained(&self, within: Range) -> impl Iterator<Item = Range> {
        self.missing(within).flat_map(|gap| self.claims.silent(gap))
    }

    /// Those in a range of which the source says that some, but not all, are lost.
    pub fn partly_lost(&self, within: Range) -> impl Iterator<Item = Range> {
        self.missing(within).flat_map(|gap| self.claims.partial(gap))
    }

    /// Those in a range of which the source says that all are lost.
    pub fn lost(&self, within: Range) -> impl Iterator<Item = Range> {
        self.missing(within).flat_map(|gap| self.claims.whole(gap))
    }

    /// The ranges of which the source says that some, but not all, are lost.
    pub fn partials(&self, within: Option<Range>) -> impl Iterator<Item = Partial> {
        self.claims.partials().map(move |(range, admitted)| {
            let inside = within.and_then(|within| clip(range, within));
            let missing = inside.into_iter().flat_map(|part| self.partly_lost(part));
            Partial { range, admitted, missing: sum(missing) }
        })
    }

    /// The numbers that are in the dead letter and not stored.
    pub fn dead(&self) -> impl Iterator<Item = Range> {
        self.dead.common((1, u64::MAX)).flat_map(|part| self.stored.gaps(part))
    }

    /// How many numbers are missing.
    pub fn account(&self, within: Range) -> Account {
        let mut account =
            Account { missing: sum(self.unexplained(within)), lost: sum(self.lost(within)) };
        for partial in self.partials(Some(within)) {
            account.missing = account.missing.saturating_add(partial.beyond());
            account.lost = account.lost.saturating_add(partial.missing.min(partial.admitted));
        }
        account
    }
}

/// How many numbers the ranges have.
fn sum(ranges: impl Iterator<Item = Range>) -> u64 {
    ranges.map(width).fold(0, u64::saturating_add)
}

/// What two ranges have in common.
fn clip((first, last): Range, (from, to): Range) -> Option<Range> {
    let (first, last) = (first.max(from), last.min(to));
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests;
