//! What the source said it lost: ranges of numbers, and how many of each are lost.
#![forbid(unsafe_code)]

use crate::ranges::{Range, Ranges, gaps, width};
use std::collections::BTreeMap;

/// All that a node's `lost` records say.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    /// Ranges that are lost as a whole.
    whole: Ranges,
    /// Ranges of which some numbers are lost: from the first number to the last and the count.
    /// Those that overlap are one, with the sum of their counts.
    partial: BTreeMap<u64, (u64, u64)>,
}

impl Claims {
    /// Adds that `count` of the numbers of a range are lost.
    pub(super) fn add(&mut self, (mut first, mut last): Range, mut count: u64) {
        if count == width((first, last)) {
            self.whole.insert_range((first, last));
            return;
        }
        while let Some((&start, &(end, other))) = self.partial.range(..=last).next_back() {
            if end < first {
                break;
            }
            self.partial.remove(&start);
            (first, last) = (first.min(start), last.max(end));
            count = count.saturating_add(other);
        }
        self.partial.insert(first, (last, count.min(width((first, last)))));
    }

    /// Forgets what they say of numbers below this one.
    pub(super) fn forget_below(&mut self, floor: u64) {
        self.whole.forget_below(floor);
        let reaching = self.partial.range(..floor).next_back().map(|(_, claim)| *claim);
        self.partial = self.partial.split_off(&floor);
        if let Some((last, count)) = reaching.filter(|(last, _)| *last >= floor) {
            self.partial.insert(floor, (last, count.min(width((floor, last)))));
        }
    }

    /// How many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.whole.len() + self.partial.len()
    }

    /// The parts of `within` that are lost as a whole.
    pub(super) fn whole(&self, within: Range) -> impl Iterator<Item = Range> {
        self.whole.common(within)
    }

    /// The parts of `within` that are not lost as a whole but belong to a partial claim.
    pub(super) fn partial(&self, within: Range) -> impl Iterator<Item = Range> {
        self.whole.gaps(within).flat_map(|part| self.partials_in(part))
    }

    /// The parts of `within` that no claim speaks of.
    pub(super) fn silent(&self, within: Range) -> impl Iterator<Item = Range> {
        self.whole.gaps(within).flat_map(|part| gaps(part, self.partials_in(part)))
    }

    /// The partial claims, with their counts.
    pub(super) fn partials(&self) -> impl Iterator<Item = (Range, u64)> {
        self.partial.iter().map(|(first, (last, count))| ((*first, *last), *count))
    }

    fn partials_in(&self, (first, last): Range) -> impl Iterator<Item = Range> {
        let head = self.partial.range(..first).next_back();
        head.into_iter()
            .chain(self.partial.range(first..=last))
            .map(move |(start, (end, _))| ((*start).max(first), (*end).min(last)))
            .filter(|(start, end)| start <= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Random;

    fn numbers(ranges: impl Iterator<Item = Range>) -> Vec<u64> {
        ranges.flat_map(|(first, last)| first..=last).collect()
    }

    // Oracle: the list of claims, searched for each number.
    #[test]
    fn each_number_belongs_to_the_claims_that_were_made() {
        for seed in 1..400 {
            let mut random = Random::new(seed);
            let mut claims = Claims::default();
            let mut all = Vec::new();
            for _ in 0..random.below(8) {
                let first = 1 + random.below(50);
                let last = first + random.below(12);
                let count = 1 + random.below(last - first + 1);
                claims.add((first, last), count);
                all.push((first, last, count));
            }
            let speaks_of = |number: &u64, is_whole: bool| {
                all.iter().any(|(first, last, count)| {
                    (first..=last).contains(&number) && (*count == last - first + 1) == is_whole
                })
            };
            let from = random.below(40);
            let within = (from, from + random.below(40));
            let of = |is_wanted: &dyn Fn(&u64) -> bool| {
                (within.0..=within.1).filter(|number| is_wanted(number)).collect::<Vec<_>>()
            };
            let whole = of(&|n| speaks_of(n, true));
            let partial = of(&|n| !speaks_of(n, true) && speaks_of(n, false));
            let silent = of(&|n| !speaks_of(n, true) && !speaks_of(n, false));
            assert_eq!(numbers(claims.whole(within)), whole, "seed {seed}");
            assert_eq!(numbers(claims.partial(within)), partial, "seed {seed}");
            assert_eq!(numbers(claims.silent(within)), silent, "seed {seed}");
        }
    }

    // Oracle: the sum of the counts, at most the width of what they span.
    #[test]
    fn claims_that_overlap_add_up() {
        let mut claims = Claims::default();
        claims.add((10, 20), 3);
        claims.add((40, 50), 2);
        claims.add((15, 42), 4);
        assert_eq!(claims.partials().collect::<Vec<_>>(), [((10, 50), 9)]);
        claims.add((1, 60), 59);
        assert_eq!(claims.partials().collect::<Vec<_>>(), [((1, 60), 60)]);
    }
}
