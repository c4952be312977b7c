//! The members by which records are counted, picked up while a record is read.
#![forbid(unsafe_code)]

use super::{Name, object, plain};
use omvalkeyaudit_sequence::Claim;
use omvalkeyaudit_sequence::schema::{Event, Member};
use omvalkeyaudit_sequence::value::{Slot, is_node, number};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// What has been picked up from the record at hand. Used again and again, so that a record costs no memory.
#[derive(Debug, Default)]
pub struct Numbering {
    /// Stays from record to record: nearly always they are of the same node.
    node: Vec<u8>,
    has_node: Slot<()>,
    seq: Slot<u64>,
    is_lost: Slot<bool>,
    lost_count: Slot<u64>,
    lost_first: Slot<u64>,
    lost_last: Slot<u64>,
}

/// A record's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'a> {
    /// The run of the sender that it belongs to.
    pub node: &'a [u8],
    /// The number in that run, from 1.
    pub seq: u64,
    /// What it says if it is a `lost` record.
    pub claim: Option<Claim>,
}

impl Numbering {
    /// Another record is at hand.
    pub(super) fn clear(&mut self) {
        let node = std::mem::take(&mut self.node);
        *self = Self { node, ..Self::default() };
    }

    /// A member, its value as the field of an entry.
    pub(super) fn see(&mut self, name: &[u8], value: &[u8]) {
        let Some(member) = Member::named(name) else { return };
        match member {
            Member::Node => {
                let is_known = !value.is_empty() && value == self.node;
                let is_node = is_known || is_node(value);
                if is_node && !is_known {
                    self.node.clear();
                    self.node.extend_from_slice(value);
                }
                self.has_node.put(is_node.then_some(()));
            }
            Member::Seq => self.seq.put(number(value).filter(|seq| *seq > 0)),
            Member::Event => self.is_lost.put(Some(value == Event::LOST)),
            Member::LostCount => self.lost_count.put(number(value)),
            Member::LostFirst => self.lost_first.put(number(value)),
            Member::LostLast => self.lost_last.put(number(value)),
            Member::Version | Member::Ts => {}
        }
    }

    /// Picks up what can be read of a record that does not become fields: all of it, or what stands in
    /// front of its fault.
    pub fn scan(&mut self, record: &[u8]) {
        self.clear();
        let sound = match std::str::from_utf8(record) {
            Ok(_) => record,
            Err(error) => record.get(..error.valid_up_to()).unwrap_or_default(),
        };
        let Ok(text) = object(sound) else { return };
        // Where it ends too early, what has been seen until then counts.
        serde_json::Deserializer::from_str(text).deserialize_map(Scan(self)).unwrap_or_default();
    }

    /// The record's number, if it has one.
    pub fn number(&self) -> Option<Number<'_>> {
        let ((), seq) = self.has_node.value().zip(self.seq.value())?;
        let claim = (self.is_lost == Slot::Is(true)).then(|| {
            Claim::new(self.lost_count.value(), self.lost_first.value(), self.lost_last.value())
        });
        Some(Number { node: &self.node, seq, claim })
    }
}

/// Goes from member to member, and reads only those that count.
struct Scan<'n>(&'n mut Numbering);

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            if Member::named(name.as_bytes()).is_none() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: &RawValue = map.next_value()?;
            // What is no text as a field is none of these either.
            let value = plain(value.get()).unwrap_or_default();
            self.0.see(name.as_bytes(), value.as_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{Settings, Values};

    /// What is picked up from a record under these parameters, and after a flaw.
    fn number(pairs: &[(&str, &str)], record: &[u8]) -> Option<(String, u64, Option<Claim>)> {
        let mut values = Values::default();
        for (name, value) in pairs {
            values.add(name, value.as_bytes());
        }
        let settings = Settings::from_values(&values).unwrap().store;
        let mut numbering = Numbering::default();
        // Nothing of the record before may be left.
        numbering.scan(br#"{"node":"before","seq":1,"event":"lost","lost_count":1}"#);
        let fields = super::super::fields(&settings, record, Some(&mut numbering), &mut |_, _| ());
        if fields.is_err() {
            numbering.scan(record);
        }
        let number = numbering.number()?;
        Some((String::from_utf8(number.node.to_vec()).unwrap(), number.seq, number.claim))
    }

    const LAYOUTS: [&[(&str, &str)]; 2] = [&[("layout", "fields")], &[("layout", "record")]];

    // Oracle: the members as they are written, in both layouts.
    #[test]
    fn numbers_are_picked_up_in_both_layouts() {
        for layout in LAYOUTS {
            let plain = br#" @cee: {"v":1,"node":"b7d1","x":{"node":"no","seq":[9]},"seq":42}"#;
            assert_eq!(number(layout, plain), Some(("b7d1".to_owned(), 42, None)));
            let escaped = br#"{"no\u0064e":"b\u0037d1","seq":"42","event":"success"}"#;
            assert_eq!(number(layout, escaped), Some(("b7d1".to_owned(), 42, None)));
            let lost = br#"{"node":"a","seq":9,"event":"lost","lost_count":2,"lost_first":5,"lost_last":8}"#;
            let claim = Some(Claim::Lost { first: 5, last: 8, count: 2 });
            assert_eq!(number(layout, lost), Some(("a".to_owned(), 9, claim)));
            let unusable = br#"{"node":"a","seq":9,"event":"lost","lost_count":2,"lost_first":5}"#;
            assert_eq!(number(layout, unusable), Some(("a".to_owned(), 9, Some(Claim::Unusable))));
        }
    }

    // Oracle: as above; a member that stands twice, or is none, makes no number.
    #[test]
    fn what_cannot_be_counted_has_no_number() {
        for record in [
            &br#"{"node":"a"}"#[..],
            br#"{"seq":1}"#,
            br#"{"node":"a","seq":0}"#,
            br#"{"node":"a","seq":-1}"#,
            br#"{"node":"a","seq":1.0}"#,
            br#"{"node":"a","seq":[1]}"#,
            br#"{"node":"a b","seq":1}"#,
            br#"{"node":"","seq":1}"#,
            br#"{"node":"\ud800","seq":1}"#,
            br#"{"node":"a","seq":1,"seq":1}"#,
            br#"{"node":"a","node":"b","seq":1}"#,
            b"no json",
            b"[]",
            b"",
        ] {
            for layout in LAYOUTS {
                let text = String::from_utf8_lossy(record);
                assert_eq!(number(layout, record), None, "{layout:?} {text}");
            }
        }
    }

    // Oracle: as above: a record that becomes a dead letter has a number if that stands before the fault.
    #[test]
    fn a_broken_record_has_the_number_that_stands_before_its_fault() {
        let long = format!(r#"{{"node":"a","seq":7,"x":"{}"}}"#, "y".repeat(300_000));
        for record in [
            &br#"{"node":"a","seq":7,"x":"#[..],
            br#"{"node":"a","seq":7,"x":"\x"}"#,
            b"{\"node\":\"a\",\"seq\":7,\"x\":\"\xff\"}",
            br#"{"node":"a","seq":7}{"#,
            long.as_bytes(),
        ] {
            for layout in LAYOUTS {
                assert_eq!(number(layout, record), Some(("a".to_owned(), 7, None)), "{layout:?}");
            }
        }
        assert_eq!(number(LAYOUTS[0], br#"{"x":\,"node":"a","seq":7}"#), None);
    }
}
