//! One node's numbers while its records go by: what is missing now, and what of it has been told.
#![forbid(unsafe_code)]

use crate::numbers::{Account, Numbers};
use crate::ranges::{Range, width};
use crate::value::Claim;
use std::time::Instant;

/// Records that came one after the other, of one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) numbers: Range,
    pub(crate) is_dead: bool,
    pub(crate) claim: Option<Claim>,
}

/// What is known of a node.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    numbers: Numbers,
    /// What is below is final, and not kept.
    floor: u64,
    /// What was missing there.
    is_final: Account,
    account: Account,
    /// More has changed since `account` than that records came behind the last one.
    is_stale: bool,
    /// How many missing numbers have been told of.
    told: u64,
    /// Since when more are missing.
    untold_since: Option<Instant>,
    /// When it was taken to last, as a count of all that was taken.
    pub(crate) last_use: u64,
}

impl Trail {
    /// Takes records in, and gives how many of them came before.
    pub(crate) fn take(&mut self, run: Run) -> u64 {
        let (first, last) = run.numbers;
        if last < self.floor {
            return 0;
        }
        let range = (first.max(self.floor), last);
        if run.is_dead {
            // A run of its own, like a claim.
            self.numbers.bury(last);
            self.is_stale = true;
            return 0;
        }
        let end = self.numbers.stored().last();
        let known = self.numbers.store_range(range);
        let is_new = known < width(range);
        self.is_stale |= is_new && end.is_some_and(|end| end.checked_add(1) != Some(range.0));
        if let Some(claim) = run.claim.filter(|_| is_new) {
            // One that comes again says nothing new.
            self.numbers.claim(claim);
            self.is_stale = true;
        }
        known
    }

    /// How many ranges it keeps.
    pub(crate) fn ranges(&self) -> usize {
        self.numbers.ranges()
    }

    /// What is missing, as far as that has been looked at.
    pub(crate) fn account(&self) -> Account {
        self.account
    }

    /// True when looking at it may bring something new.
    pub(crate) fn is_open(&self) -> bool {
        self.is_stale || self.account.missing != self.told
    }

    /// Looks at what is missing.
    pub(crate) fn look(&mut self) {
        if std::mem::take(&mut self.is_stale) {
            self.account = self.is_final.plus(self.kept());
        }
    }

    /// True when numbers that were missing and told of no longer are, all of them.
    pub(crate) fn has_closed(&mut self) -> bool {
        let missing = self.account.missing;
        let has_closed = missing == 0 && self.told > 0;
        self.told = self.told.min(missing);
        has_closed
    }

    /// Since when numbers are missing that have not been told of.
    pub(crate) fn untold_since(&mut self, now: Instant) -> Option<Instant> {
        if self.account.missing > self.told {
            Some(*self.untold_since.get_or_insert(now))
        } else {
            self.untold_since = None;
            None
        }
    }

    /// It is told now: gives the last gap, unless that is final already.
    pub(crate) fn tell(&mut self) -> Option<Range> {
        self.told = self.account.missing;
        self.untold_since = None;
        let span = self.numbers.span()?;
        let gaps = self.numbers.partly_lost(span).chain(self.numbers.unexplained(span));
        gaps.max()
    }

    /// Takes half of what is kept, or more, as final, the lowest numbers first. True when numbers are
    /// missing there.
    pub(crate) fn fold(&mut self) -> bool {
        let (size, before) = (self.ranges(), self.kept());
        self.forget_below(self.numbers.stored().middle());
        if self.ranges() > size / 2 {
            self.forget_below(self.numbers.stored().last_start());
        }
        if self.ranges() > size / 2 {
            // Dead letters or claims far beyond what is stored: no sender of ours makes so many.
            self.numbers.forget_unstored();
        }
        let made_final = before.less(self.kept());
        self.is_final = self.is_final.plus(made_final);
        self.is_stale = true;
        made_final.missing > 0
    }

    fn forget_below(&mut self, floor: Option<u64>) {
        if let Some(floor) = floor {
            self.floor = floor;
            self.numbers.forget_below(floor);
        }
    }

    /// What is missing of what is kept.
    fn kept(&self) -> Account {
        self.numbers.span().map_or_else(Account::default, |span| self.numbers.account(span))
    }
}
