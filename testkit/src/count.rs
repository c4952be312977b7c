//! Exactly once, or what is wrong: the comparison that every delivery test ends with.

use std::fmt;
use std::ops::Range;

/// How the numbers that arrived compare with those that were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Count {
    /// Numbers that were to arrive.
    pub expected: u64,
    /// Numbers that did arrive, doubles and strangers included.
    pub arrived: u64,
    /// Expected numbers that did not arrive.
    pub lost: u64,
    /// Arrivals of a number beyond its first.
    pub doubled: u64,
    /// First arrivals of a number after a higher one had arrived.
    pub out_of_order: u64,
    /// Arrivals of numbers outside the expected range.
    pub unexpected: u64,
    /// The lowest lost number.
    pub first_lost: Option<u64>,
    /// The number that arrived twice first.
    pub first_doubled: Option<u64>,
}

impl Count {
    /// Compares the numbers as they arrived with the range that was sent.
    pub fn of(numbers: impl IntoIterator<Item = u64>, expected: Range<u64>) -> Count {
        let sent = expected.end.saturating_sub(expected.start);
        let mut count = Count { expected: sent, ..Count::default() };
        let mut has_arrived =
            vec![false; usize::try_from(sent).expect("a range that fits in memory")];
        let mut highest = None;
        for number in numbers {
            count.arrived += 1;
            if !expected.contains(&number) {
                count.unexpected += 1;
                continue;
            }
            let seen = &mut has_arrived[(number - expected.start) as usize];
            if *seen {
                count.doubled += 1;
                count.first_doubled.get_or_insert(number);
                continue;
            }
            *seen = true;
            if highest.is_some_and(|highest| number < highest) {
                count.out_of_order += 1;
            }
            highest = highest.max(Some(number));
        }
        count.lost = has_arrived.iter().filter(|seen| !**seen).count() as u64;
        count.first_lost =
            has_arrived.iter().position(|seen| !seen).map(|index| expected.start + index as u64);
        count
    }

    /// Each expected number arrived once, and nothing else did.
    pub fn is_exact(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.unexpected == 0
    }

    /// No number arrived after a higher one.
    pub fn is_in_order(&self) -> bool {
        self.out_of_order == 0
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, arrived {}, lost {}", self.expected, self.arrived, self.lost)?;
        if let Some(number) = self.first_lost {
            write!(f, " (first {number})")?;
        }
        write!(f, ", doubled {}", self.doubled)?;
        if let Some(number) = self.first_doubled {
            write!(f, " (first {number})")?;
        }
        write!(f, ", out of order {}, unexpected {}", self.out_of_order, self.unexpected)
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn what_arrives_once_and_in_order_is_exact() {
        let count = Count::of(1..=5, 1..6);
        assert!(count.is_exact() && count.is_in_order(), "{count}");
    }

    #[test]
    fn each_fault_is_counted_as_what_it_is() {
        let count = Count::of([1, 3, 2, 3, 9, 5], 1..6);
        let text = "expected 5, arrived 6, lost 1 (first 4), doubled 1 (first 3), out of order 1, unexpected 1";
        assert_eq!(count.to_string(), text);
        assert!(!count.is_exact() && !count.is_in_order());
    }

    #[test]
    fn nothing_expected_and_nothing_arrived_is_exact() {
        assert!(Count::of([], 1..1).is_exact());
    }
}
