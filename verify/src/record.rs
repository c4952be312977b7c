//! What a check needs of one record: from the members that were found in an entry to a record, or why
//! it is none. How the members were stored is not known here.
#![forbid(unsafe_code)]

use crate::schema::{Event, MAX_VALUE_BYTES, Member, VERSION};
use omvalkeyaudit_sequence::value::{self, Slot};
use std::time::UNIX_EPOCH;

pub use omvalkeyaudit_sequence::Claim;

/// Microseconds since the epoch.
pub type UnixMicros = u64;

/// A numbered record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The run id of the audited server.
    pub node: String,
    /// The number of the record in that run, from 1.
    pub seq: u64,
    /// When, if it says so.
    pub ts: Option<UnixMicros>,
    /// What kind of event.
    pub event: Event,
    /// What a `lost` record says.
    pub lost: Option<Claim>,
    /// Its schema version is not the one that is checked.
    pub has_other_version: bool,
}

/// Why an entry is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It has neither `node` nor `seq`: something else was written to the stream.
    Foreign,
    /// It says to be a record, but cannot be read.
    Broken(&'static str),
}

/// A value as it was stored.
#[derive(Clone, Copy, Debug)]
pub enum Scalar<'a> {
    /// A text, or the text of a number.
    Text(&'a [u8]),
    /// A number of a JSON record.
    Number(u64),
    /// Anything else, or too long.
    Other,
}

/// The members that were found in an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    version: Slot<u64>,
    node: Slot<String>,
    seq: Slot<u64>,
    ts: Slot<UnixMicros>,
    event: Slot<Event>,
    lost_count: Slot<u64>,
    lost_first: Slot<u64>,
    lost_last: Slot<u64>,
}

impl Members {
    /// Takes a member as it was stored.
    pub fn put(&mut self, member: Member, value: Scalar<'_>) {
        match member {
            Member::Version => self.version.put(number(value)),
            Member::Node => self.node.put(node(value)),
            Member::Seq => self.seq.put(number(value).filter(|seq| *seq > 0)),
            Member::Ts => self.ts.put(micros(value)),
            Member::Event => self.event.put(text(value).map(Event::named)),
            Member::LostCount => self.lost_count.put(number(value)),
            Member::LostFirst => self.lost_first.put(number(value)),
            Member::LostLast => self.lost_last.put(number(value)),
        }
    }

    /// Neither `node` nor `seq` was there.
    pub fn is_foreign(&self) -> bool {
        self.node == Slot::Absent && self.seq == Slot::Absent
    }

    /// The record that they make.
    ///
    /// # Errors
    /// Why they make none.
    pub fn into_record(self) -> Result<Record, Flaw> {
        let event = self.event.value().unwrap_or(Event::Other);
        let (count, first) = (self.lost_count.value(), self.lost_first.value());
        let last = self.lost_last.value();
        let lost = (event == Event::Lost).then(|| Claim::new(count, first, last));
        let has_other_version = !matches!(self.version, Slot::Absent | Slot::Is(VERSION));
        let (node, seq) = match (self.node, self.seq) {
            (Slot::Absent, Slot::Absent) => return Err(Flaw::Foreign),
            (Slot::Is(node), Slot::Is(seq)) => (node, seq),
            (Slot::Is(_), Slot::Absent) => return Err(Flaw::Broken("it has no seq")),
            (Slot::Absent, Slot::Is(_)) => return Err(Flaw::Broken("it has no node")),
            (Slot::Unreadable, _) => return Err(Flaw::Broken("its node is not one id")),
            (_, Slot::Unreadable) => {
                return Err(Flaw::Broken("its seq is not one number from 1 on"));
            }
        };
        Ok(Record { node, seq, ts: self.ts.value(), event, lost, has_other_version })
    }
}

fn text(value: Scalar<'_>) -> Option<&[u8]> {
    match value {
        Scalar::Text(text) if text.len() <= MAX_VALUE_BYTES => Some(text),
        _ => None,
    }
}

fn number(value: Scalar<'_>) -> Option<u64> {
    if let Scalar::Number(number) = value {
        return Some(number);
    }
    value::number(text(value)?)
}

fn node(value: Scalar<'_>) -> Option<String> {
    let id = text(value)?;
    value::is_node(id).then(|| String::from_utf8_lossy(id).into_owned())
}

fn micros(value: Scalar<'_>) -> Option<UnixMicros> {
    let time = humantime::parse_rfc3339(std::str::from_utf8(text(value)?).ok()?).ok()?;
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(pairs: &[(&str, &str)]) -> Members {
        let mut members = Members::default();
        for (name, value) in pairs {
            members.put(Member::named(name.as_bytes()).unwrap(), Scalar::Text(value.as_bytes()));
        }
        members
    }

    // Oracle: the values that were put in.
    #[test]
    fn all_members_of_a_lost_record_are_read() {
        let record = members(&[
            ("v", "1"),
            ("node", "n1"),
            ("seq", "18446744073709551615"),
            ("ts", "1970-01-01T00:00:01.000002Z"),
            ("event", "lost"),
            ("lost_count", "2"),
            ("lost_first", "5"),
            ("lost_last", "9"),
        ]);
        let expected = Record {
            node: "n1".into(),
            seq: u64::MAX,
            ts: Some(1_000_002),
            event: Event::Lost,
            lost: Some(Claim::Lost { first: 5, last: 9, count: 2 }),
            has_other_version: false,
        };
        assert_eq!(record.into_record(), Ok(expected));
    }

    // Oracle: no panic, and each is foreign or broken as its members say.
    #[test]
    fn what_cannot_be_counted_is_foreign_or_broken() {
        assert_eq!(members(&[("event", "success")]).into_record(), Err(Flaw::Foreign));
        let long = "a".repeat(65);
        for pairs in [
            &[("node", "n1")][..],
            &[("seq", "1")],
            &[("node", ""), ("seq", "1")],
            &[("node", "a b"), ("seq", "1")],
            &[("node", "\u{1b}[2J"), ("seq", "1")],
            &[("node", &long), ("seq", "1")],
            &[("node", "n1"), ("seq", "0")],
            &[("node", "n1"), ("seq", "-1")],
            &[("node", "n1"), ("seq", "+1")],
            &[("node", "n1"), ("seq", "")],
            &[("node", "n1"), ("seq", "18446744073709551616")],
            &[("node", "n1"), ("seq", "1"), ("seq", "1")],
        ] {
            let outcome = members(pairs).into_record();
            assert!(matches!(outcome, Err(Flaw::Broken(_))), "{pairs:?}: {outcome:?}");
        }
    }

    // Oracle: the rules for a claim.
    #[test]
    fn a_lost_record_that_contradicts_itself_explains_nothing() {
        for (count, first, last) in
            [("0", "1", "1"), ("2", "1", "1"), ("1", "5", "4"), ("1", "0", "3"), ("x", "1", "1")]
        {
            let record = members(&[
                ("node", "n1"),
                ("seq", "9"),
                ("event", "lost"),
                ("lost_count", count),
                ("lost_first", first),
                ("lost_last", last),
            ]);
            assert_eq!(record.into_record().unwrap().lost, Some(Claim::Unusable));
        }
        let bare = members(&[("node", "n1"), ("seq", "9"), ("event", "lost")]);
        assert_eq!(bare.into_record().unwrap().lost, Some(Claim::Unusable));
    }

    // Oracle: a record with and without the version.
    #[test]
    fn another_version_is_noticed() {
        let version = |v| members(&[("node", "n"), ("seq", "1"), ("v", v)]).into_record().unwrap();
        assert!(!version("1").has_other_version);
        assert!(version("2").has_other_version && version("x").has_other_version);
    }
}
