//! What the values of the numbering members may be.
#![forbid(unsafe_code)]

use crate::ranges::{Range, width};
use crate::schema::{MAX_NODE_BYTES, MAX_VALUE_BYTES};

/// What a `lost` record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// `count` records from `first` to `last` are lost.
    Lost {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
        /// How many, at most all from `first` to `last`.
        count: u64,
    },
    /// Its numbers are missing or contradict each other.
    Unusable,
}

impl Claim {
    /// The claim that these members make, where they were there.
    pub fn new(count: Option<u64>, first: Option<u64>, last: Option<u64>) -> Self {
        match (count, first, last) {
            (Some(count), Some(first @ 1..), Some(last))
                if first <= last && (1..=width((first, last))).contains(&count) =>
            {
                Self::Lost { first, last, count }
            }
            _ => Self::Unusable,
        }
    }

    /// The numbers that it speaks of, and how many of them are lost.
    pub fn said(self) -> Option<(Range, u64)> {
        match self {
            Self::Lost { first, last, count } => Some(((first, last), count)),
            Self::Unusable => None,
        }
    }
}

/// The value of a member that may be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slot<T> {
    /// It is not there.
    #[default]
    Absent,
    /// It has this value.
    Is(T),
    /// It has none that can be read.
    Unreadable,
}

impl<T> Slot<T> {
    /// The member is there. One that stands twice has no value: which one would it be?
    pub fn put(&mut self, value: Option<T>) {
        *self = match (&self, value) {
            (Slot::Absent, Some(value)) => Slot::Is(value),
            _ => Slot::Unreadable,
        };
    }

    /// Its value, if it has one.
    pub fn value(self) -> Option<T> {
        match self {
            Slot::Is(value) => Some(value),
            Slot::Absent | Slot::Unreadable => None,
        }
    }
}

/// A number as a text: digits only.
pub fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > MAX_VALUE_BYTES {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Whether it is a node's id. Reports and log lines show it, so it has no blanks, control characters or
/// anything else that fools a terminal.
pub fn is_node(id: &[u8]) -> bool {
    let is_clean = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:".contains(byte);
    !id.is_empty() && id.len() <= MAX_NODE_BYTES && id.iter().all(is_clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Oracle: the rules, worked out by hand.
    #[test]
    fn a_number_is_digits_and_nothing_else() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(number(b"0007"), Some(7));
        for text in [&b""[..], b"18446744073709551616", b"-1", b"+1", b" 1", b"1.0", b"1e3", b"x"] {
            assert_eq!(number(text), None, "{text:?}");
        }
        assert_eq!(number(&[b'0'; 65]), None);
    }

    // Oracle: as above.
    #[test]
    fn a_node_has_nothing_that_fools_a_terminal() {
        assert!(is_node(b"b7d1") && is_node(b"a-B.c_d:7") && is_node(&[b'a'; 64]));
        for id in [&b""[..], b"a b", b"\x1b[2J", b"\xc3\xa9", b"\"", &[b'a'; 65]] {
            assert!(!is_node(id), "{id:?}");
        }
    }

    // Oracle: as above. The whole of all numbers is one claim, too.
    #[test]
    fn a_claim_that_contradicts_itself_says_nothing() {
        let of = |count, first, last| Claim::new(Some(count), Some(first), Some(last)).said();
        assert_eq!(of(2, 5, 9), Some(((5, 9), 2)));
        assert_eq!(of(u64::MAX, 1, u64::MAX), Some(((1, u64::MAX), u64::MAX)));
        for (count, first, last) in [(0, 1, 1), (2, 1, 1), (1, 5, 4), (1, 0, 3)] {
            assert_eq!(of(count, first, last), None);
        }
        assert_eq!(Claim::new(Some(1), Some(1), None).said(), None);
    }
}
