//! A set of numbers, kept as the ranges that it consists of.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

/// Numbers from `.0` to `.1`, both included.
pub type Range = (u64, u64);

/// How many numbers a range has.
pub fn width((first, last): Range) -> u64 {
    (last - first).saturating_add(1)
}

/// A set of numbers. Ranges that touch are one.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    /// From the first number of each range to its last.
    last_of: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Adds a number; `false` when it is there already.
    pub fn insert(&mut self, number: u64) -> bool {
        // Nearly always the number after the last one.
        if let Some(mut end) = self.last_of.last_entry()
            && end.get().checked_add(1) == Some(number)
        {
            *end.get_mut() = number;
            return true;
        }
        if self.contains(number) {
            return false;
        }
        self.insert_range((number, number));
        true
    }

    /// Adds all numbers of a range.
    pub fn insert_range(&mut self, (mut first, mut last): Range) {
        // Nearly always behind the last one.
        if let Some(mut end) = self.last_of.last_entry()
            && end.get().checked_add(1) == Some(first)
        {
            *end.get_mut() = last;
            return;
        }
        if let Some((start, end)) = self.at_or_before(first)
            && end >= first.saturating_sub(1)
        {
            first = start;
            last = last.max(end);
        }
        while let Some((&start, &end)) = self.last_of.range(first..=last.saturating_add(1)).next() {
            self.last_of.remove(&start);
            last = last.max(end);
        }
        self.last_of.insert(first, last);
    }

    /// Whether a number is in it.
    pub fn contains(&self, number: u64) -> bool {
        self.at_or_before(number).is_some_and(|(_, end)| end >= number)
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.last_of.len()
    }

    /// True when it has no number.
    pub fn is_empty(&self) -> bool {
        self.last_of.is_empty()
    }

    /// The lowest number.
    pub fn first(&self) -> Option<u64> {
        self.last_of.first_key_value().map(|(first, _)| *first)
    }

    /// The highest number.
    pub fn last(&self) -> Option<u64> {
        self.last_of.last_key_value().map(|(_, last)| *last)
    }

    /// What `within` and the set have in common.
    pub fn common(&self, within: Range) -> impl Iterator<Item = Range> {
        let (first, last) = within;
        let head = self.at_or_before(first).filter(|(start, end)| *start < first && *end >= first);
        let rest = self.last_of.range(first..=last).map(|(start, end)| (*start, *end));
        head.into_iter().chain(rest).map(move |(start, end)| (start.max(first), end.min(last)))
    }

    /// What is in `within` but not in the set.
    pub fn gaps(&self, within: Range) -> impl Iterator<Item = Range> {
        gaps(within, self.common(within))
    }

    /// The first number of the last range.
    pub fn last_start(&self) -> Option<u64> {
        self.last_of.last_key_value().map(|(first, _)| *first)
    }

    /// The first number of the range in the middle, or of the last one.
    pub fn middle(&self) -> Option<u64> {
        self.last_of.keys().nth(self.last_of.len() / 2).copied()
    }

    /// Forgets all numbers below this one.
    pub fn forget_below(&mut self, floor: u64) {
        let head = self.at_or_before(floor).filter(|(start, end)| *start < floor && *end >= floor);
        self.last_of = self.last_of.split_off(&floor);
        if let Some((_, end)) = head {
            self.last_of.insert(floor, end);
        }
    }

    fn at_or_before(&self, number: u64) -> Option<Range> {
        self.last_of.range(..=number).next_back().map(|(first, last)| (*first, *last))
    }
}

/// What is in `within` but in none of `parts`, which are in order and do not overlap.
pub(super) fn gaps(
    (first, last): Range,
    parts: impl Iterator<Item = Range>,
) -> impl Iterator<Item = Range> {
    // `None` once the highest number there is has been passed.
    let mut next = Some(first);
    parts.map(Some).chain([None]).filter_map(move |part| {
        let from = next?;
        match part {
            Some((start, end)) => {
                next = end.checked_add(1);
                (from < start).then(|| (from, start - 1))
            }
            None => (from <= last).then_some((from, last)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use testkit::Random;

    fn numbers(ranges: impl Iterator<Item = Range>) -> Vec<u64> {
        ranges.flat_map(|(first, last)| first..=last).collect()
    }

    // Oracle: a plain set of numbers that gets the same ones.
    #[test]
    fn it_holds_what_a_plain_set_holds() {
        for seed in 1..400 {
            let mut random = Random::new(seed);
            let (mut ranges, mut plain) = (Ranges::default(), BTreeSet::new());
            let span = 2 + random.below(60);
            for _ in 0..random.below(80) {
                let first = 1 + random.below(span);
                if random.below(4) == 0 {
                    let last = first + random.below(6);
                    ranges.insert_range((first, last));
                    plain.extend(first..=last);
                } else {
                    assert_eq!(ranges.insert(first), plain.insert(first), "seed {seed}");
                }
            }
            let (from, to) = (random.below(span), span + 3);
            let inside = plain.range(from..=to).copied().collect::<Vec<_>>();
            let outside = (from..=to).filter(|n| !plain.contains(n)).collect::<Vec<_>>();
            assert_eq!(numbers(ranges.common((from, to))), inside, "seed {seed}");
            assert_eq!(numbers(ranges.gaps((from, to))), outside, "seed {seed}");
            assert_eq!(ranges.first(), plain.first().copied(), "seed {seed}");
            assert_eq!(ranges.last(), plain.last().copied(), "seed {seed}");
            let (mut above, floor) = (ranges.clone(), random.below(span + 3));
            above.forget_below(floor);
            let kept = plain.range(floor..).copied().collect::<Vec<_>>();
            assert_eq!(numbers(above.common((0, u64::MAX))), kept, "seed {seed}");
            // As few ranges as possible: one more than there are gaps between them.
            if let (Some(first), Some(last)) = (ranges.first(), ranges.last()) {
                assert_eq!(ranges.len(), ranges.gaps((first, last)).count() + 1, "seed {seed}");
            }
        }
    }

    // Oracle: no overflow at the highest number there is.
    #[test]
    fn it_works_up_to_the_highest_number() {
        let mut ranges = Ranges::default();
        assert!(ranges.insert(u64::MAX) && ranges.insert(u64::MAX - 1) && ranges.insert(1));
        assert!(!ranges.insert(u64::MAX));
        assert_eq!(ranges.len(), 2);
        let gaps: Vec<Range> = ranges.gaps((1, u64::MAX)).collect();
        assert_eq!(gaps, [(2, u64::MAX - 2)]);
        assert_eq!(width(gaps[0]), u64::MAX - 3);
    }
}
