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
    /// May come after records that were handed over later.
    may_be_late: bool,
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
        let text = text.to_vec();
        let expected = Expected { text, fate, is_optional: false, may_be_late: false, number };
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

    /// The plugin has let go of what the core seemed to have given up. What the server had refused of it
    /// has been overtaken by then; where the core does hand it over again, it may be accepted.
    pub(crate) fn let_go(&mut self) {
        let expected = self.groups.values_mut().flat_map(|group| &mut group.expected);
        for expected in expected.filter(|expected| expected.fate == Fate::StoredOrRefused) {
            expected.may_be_late = true;
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
    /// Adds the ways on which late records come now.
    fn catch_up(&self, ways: &mut BTreeSet<Way>, lists: &[&Vec<Vec<u8>>]) {
        let mut open: Vec<Way> = ways.iter().cloned().collect();
        while let Some(way) = open.pop() {
            for place in &way.late {
                for mut next in way.with(&self.expected[*place], lists) {
                    next.late.remove(place);
                    if ways.insert(next.clone()) {
                        open.push(next);
                    }
                }
            }
        }
    }

    /// Whether `stored` and `letters` can be read as one way through `expected`.
    fn check(&mut self) -> Result<(), String> {
        let lists: Vec<&Vec<Vec<u8>>> =
            std::iter::once(&self.stored).chain(self.letters.values()).collect();
        let mut ways = BTreeSet::from([Way { at: vec![0; lists.len()], late: BTreeSet::new() }]);
        for (place, expected) in self.expected.iter().enumerate() {
            let mut next = BTreeSet::new();
            for way in ways {
                next.extend(way.with(expected, &lists));
                if expected.may_be_late {
                    let mut way = way.clone();
                    way.late.insert(place);
                    next.insert(way);
                }
                if expected.is_optional {
                    next.insert(way);
                }
            }
            ways = next;
            self.catch_up(&mut ways, &lists);
        }
        let end: Vec<usize> = lists.iter().map(|list| list.len()).collect();
        let is_optional = |place: &usize| self.expected[*place].is_optional;
        if ways.iter().any(|way| way.at == end && way.late.iter().all(is_optional)) {
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

/// One reading of what was written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    /// How much of each list is accounted for: the stream first, then the dead letters.
    at: Vec<usize>,
    /// The expected records that are still to come.
    late: BTreeSet<usize>,
}

impl Way {
    /// The ways on, if `expected` comes next in one of the lists.
    fn with(&self, expected: &Expected, lists: &[&Vec<Vec<u8>>]) -> Vec<Way> {
        let is_next = |at: usize| {
            let is_allowed = match expected.fate {
                Fate::Stored => at == 0,
                Fate::StoredOrRefused => true,
                Fate::DeadLetter => at > 0,
            };
            is_allowed && lists[at].get(self.at[at]) == Some(&expected.text)
        };
        let places = (0..lists.len()).filter(|at| is_next(*at));
        let step = |at: usize| {
            let mut way = self.clone();
            way.at[at] += 1;
            way
        };
        places.map(step).collect()
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
    fn only_what_was_refused_and_let_go_may_be_late_and_still_comes_once() {
        let verdict = |fate, stored: &[&[u8]]| {
            let mut oracle = Oracle::default();
            for text in [b"a", b"b"] {
                oracle.expect(b"k", text, fate);
            }
            oracle.let_go();
            for text in stored {
                oracle.stored(b"k", text);
            }
            oracle.check().is_ok()
        };
        assert!(verdict(Fate::StoredOrRefused, &[b"a", b"b"]));
        assert!(verdict(Fate::StoredOrRefused, &[b"b", b"a"]));
        assert!(!verdict(Fate::StoredOrRefused, &[b"b"]));
        assert!(!verdict(Fate::StoredOrRefused, &[b"a", b"b", b"a"]));
        assert!(!verdict(Fate::Stored, &[b"b", b"a"]));
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
