//! What must be in the store, kept for one worker.
//!
//! Dead letters keep their order among those with the same reason only: a command may be refused when
//! it is queued or when it is executed, and the plugin hears of the one before the other.
//!
//! Each record that was handed over for the first time is expected. Whenever the worker says that
//! everything is committed, each stream must hold exactly what is expected, in order: a record stands
//! once in the stream of its key, or once in the dead letter where the server may refuse it, or,
//! where the core gave it up, possibly nowhere. Because streams only grow, what was found right once
//! need not be looked at again, and anything that turns up later is too much.

use std::collections::{BTreeMap, BTreeSet};

/// Where a record may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Stored,
    StoredOrRefused,
    DeadLetter,
}

#[derive(Clone, Debug)]
struct Expected {
    text: Vec<u8>,
    fate: Fate,
    is_optional: bool,
    /// Which record of its batch, counted over the whole run.
    number: usize,
}

/// One key's records, and those of them that became dead letters; under the empty key the records
/// that are broken in themselves.
#[derive(Default)]
struct Group {
    expected: Vec<Expected>,
    stored: Vec<Vec<u8>>,
    /// By the reason.
    letters: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
}

/// One worker's expectations.
#[derive(Default)]
pub(crate) struct Oracle {
    groups: BTreeMap<Vec<u8>, Group>,
    count: usize,
}

impl Oracle {
    /// The core hands a record over for the first time. Returns its number.
    pub(crate) fn expect(&mut self, key: &[u8], text: &[u8], fate: Fate) -> usize {
        let number = self.count;
        self.count += 1;
        let expected = Expected { text: text.to_vec(), fate, is_optional: false, number };
        self.groups.entry(key.to_vec()).or_default().expected.push(expected);
        number
    }

    /// The core will not hand these over again, and has not been told that they are committed.
    pub(crate) fn give_up(&mut self, numbers: &[usize]) {
        for group in self.groups.values_mut() {
            for expected in &mut group.expected {
                expected.is_optional |= numbers.contains(&expected.number);
            }
        }
    }

    /// The server wrote an entry.
    pub(crate) fn stored(&mut self, key: &[u8], text: &[u8]) {
        self.groups.entry(key.to_vec()).or_default().stored.push(text.to_vec());
    }

    /// The server wrote a dead letter.
    pub(crate) fn letter(&mut self, key: &[u8], reason: &[u8], text: &[u8]) {
        let group = self.groups.entry(key.to_vec()).or_default();
        group.letters.entry(reason.to_vec()).or_default().push(text.to_vec());
    }

    /// Everything expected is there, and nothing else.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        for (key, group) in &mut self.groups {
            group.check().map_err(|why| format!("key {}: {why}", key.escape_ascii()))?;
        }
        Ok(())
    }
}

impl Group {
    /// Whether `stored` and `letters` can be read as one way through `expected`.
    fn check(&mut self) -> Result<(), String> {
        // How much of each list is accounted for: the stream first, then the dead letters.
        let lists: Vec<&Vec<Vec<u8>>> =
            std::iter::once(&self.stored).chain(self.letters.values()).collect();
        let mut ways = BTreeSet::from([vec![0; lists.len()]]);
        for expected in &self.expected {
            let mut next = BTreeSet::new();
            for way in ways {
                for (at, list) in lists.iter().enumerate() {
                    let is_allowed = match expected.fate {
                        Fate::Stored => at == 0,
                        Fate::StoredOrRefused => true,
                        Fate::DeadLetter => at > 0,
                    };
                    if is_allowed && list.get(way[at]) == Some(&expected.text) {
                        let mut way = way.clone();
                        way[at] += 1;
                        next.insert(way);
                    }
                }
                if expected.is_optional {
                    next.insert(way);
                }
            }
            ways = next;
        }
        let end: Vec<usize> = lists.iter().map(|list| list.len()).collect();
        if ways.contains(&end) {
            self.expected.clear();
            self.stored.clear();
            self.letters.clear();
            return Ok(());
        }
        let expected: Vec<String> = self
            .expected
            .iter()
            .map(|expected| {
                let mark = if expected.is_optional { "?" } else { "" };
                format!("{}{mark}", show(&expected.text))
            })
            .collect();
        Err(format!(
            "expected [{}], but new in the stream are [{}], new in the dead letter [{}]",
            expected.join(", "),
            self.stored.iter().map(|text| show(text)).collect::<Vec<_>>().join(", "),
            self.letters.values().flatten().map(|text| show(text)).collect::<Vec<_>>().join(", "),
        ))
    }
}

/// A record's text for people.
pub(crate) fn show(text: &[u8]) -> String {
    text[..text.len().min(50)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(expected: &[(&str, Fate, bool)], stored: &[&str], letters: &[&str]) -> bool {
        let mut oracle = Oracle::default();
        for (text, fate, is_optional) in expected {
            let number = oracle.expect(b"k", text.as_bytes(), *fate);
            if *is_optional {
                oracle.give_up(&[number]);
            }
        }
        for text in stored {
            oracle.stored(b"k", text.as_bytes());
        }
        for text in letters {
            oracle.letter(b"k", b"why", text.as_bytes());
        }
        oracle.check().is_ok()
    }

    #[test]
    fn losses_doubles_and_changes_of_order_are_noticed_also_among_equal_texts() {
        let two = [("a", Fate::Stored, false), ("a", Fate::Stored, false)];
        assert!(verdict(&two, &["a", "a"], &[]));
        assert!(!verdict(&two, &["a"], &[]));
        assert!(!verdict(&two, &["a", "a", "a"], &[]));
        assert!(!verdict(&two, &["a"], &["a"]));
        let ab = [("a", Fate::Stored, false), ("b", Fate::StoredOrRefused, false)];
        assert!(!verdict(&ab, &["b", "a"], &[]));
        assert!(verdict(&ab, &["a"], &["b"]));
        assert!(!verdict(&ab, &["a", "b"], &["b"]));
        let given_up = [("a", Fate::Stored, true), ("b", Fate::Stored, false)];
        assert!(verdict(&given_up, &["b"], &[]) && verdict(&given_up, &["a", "b"], &[]));
        assert!(!verdict(&given_up, &["a", "a", "b"], &[]) && !verdict(&given_up, &["a"], &[]));
    }

    #[test]
    fn what_turns_up_after_a_check_is_too_much() {
        let mut oracle = Oracle::default();
        oracle.expect(b"k", b"a", Fate::Stored);
        oracle.stored(b"k", b"a");
        assert!(oracle.check().is_ok());
        oracle.stored(b"k", b"a");
        assert!(oracle.check().is_err());
    }
}
