//! Streams, read entry by entry: of each entry only what a check looks at is kept, and only for as long
//! as the check looks at it.
#![forbid(unsafe_code)]

use crate::error::CannotCheck;
use crate::json;
use crate::record::{Flaw, Members, Record, Scalar};
use crate::reply::{Head, ReadError, Replies, shown};
use crate::schema::{MAX_VALUE_BYTES, Member};
use crate::server::Session;
use crate::servers::Servers;
use std::fmt;
use std::io::Read;

/// The server builds a page in its memory; it shall not need more for it than about this.
const PAGE_BYTES: u64 = 4 << 20;

/// Entries of the first page, when their size is not known yet.
const FIRST_PAGE: u64 = 100;

/// The most entries of a page: the server serves nobody else while it collects them.
const MAX_PAGE: u64 = 5000;

/// The longest text that an id can have, in bytes.
const MAX_ID_BYTES: u64 = 41;

/// The field in which a dead letter says why it is one, and how much of it is read.
const REASON: &str = "reason";
const MAX_REASON_BYTES: u64 = 200;

/// The id of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    /// Milliseconds since the epoch, unless somebody chose other ids.
    pub ms: u64,
    /// The number within the millisecond.
    pub seq: u64,
}

impl StreamId {
    /// The highest there is.
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };

    /// Reads `ms-seq`, or `ms` alone, which is taken as `ms-` and `seq`.
    pub fn parse(text: &str, seq: u64) -> Option<Self> {
        let number = |text: &str| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u64>().ok().filter(|_| is_number)
        };
        match text.split_once('-') {
            Some((ms, seq)) => Some(Self { ms: number(ms)?, seq: number(seq)? }),
            None => Some(Self { ms: number(text)?, seq }),
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// What the server says of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Entries now.
    pub length: u64,
    /// The id of the last entry that was added.
    pub last: StreamId,
    /// Entries that were ever added; a server before 7.0 does not say it.
    pub added: Option<u64>,
}

/// What of an entry is looked at.
#[derive(Debug, Default)]
pub struct Entry {
    /// Its id.
    pub id: StreamId,
    /// The members that are fields of it.
    fields: Members,
    /// The members of the record in the field that holds one, and whether that is JSON.
    record: Option<(Members, bool)>,
    /// The beginning of the field `reason`.
    pub reason: String,
}

impl Entry {
    /// The record that it is, or that is in it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn into_record(self) -> Result<Record, Flaw> {
        match self.record {
            Some((members, is_json)) if self.fields.is_foreign() => {
                if is_json || members.is_foreign() {
                    members.into_record()
                } else {
                    Err(Flaw::Broken("its JSON text is broken"))
                }
            }
            _ => self.fields.into_record(),
        }
    }

    /// The record in it, of which only the beginning may be left.
    ///
    /// # Errors
    /// Why there is none.
    pub fn into_dead_record(self) -> Result<Record, Flaw> {
        self.record.map_or(Err(Flaw::Foreign), |(members, _)| members.into_record())
    }
}

/// What is read: the entries of `key` from one id to another.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The stream's key.
    pub key: &'a str,
    /// The first id.
    pub from: StreamId,
    /// The last id.
    pub to: StreamId,
    /// The field that holds a record as JSON.
    pub field: &'a str,
}

/// Asks the server about a stream; `None` when there is none of that key.
///
/// # Errors
/// A sentence that names server, key and what is wrong.
pub fn facts(servers: &mut Servers<'_>, key: &str) -> Result<Option<Facts>, CannotCheck> {
    let (session, head) = servers.ask(key, &["XINFO", "STREAM", key])?;
    let facts = read_facts(head, session.replies()).map_err(|error| session.unreadable(&error))?;
    match facts {
        Ok(facts) => Ok(Some(facts)),
        Err(why) if why.contains("no such key") => Ok(None),
        Err(why) => Err(refused(session, key, &why)),
    }
}

/// The facts, or why the server refuses to tell them.
fn read_facts(
    head: Head,
    replies: &mut Replies<impl Read>,
) -> Result<Result<Facts, String>, ReadError> {
    let count = match head {
        Head::Array(count) => count,
        Head::Refusal(why) => return Ok(Err(why)),
        _ => return Err(ReadError::NoReply),
    };
    let mut facts = Facts::default();
    let mut text = Vec::new();
    for _ in 0..count / 2 {
        let Head::Bulk(bytes) = replies.head()? else { return Err(ReadError::NoReply) };
        replies.text(bytes, MAX_ID_BYTES, &mut text)?;
        match text.as_slice() {
            b"length" => facts.length = read_count(replies)?,
            b"entries-added" => facts.added = Some(read_count(replies)?),
            b"last-generated-id" => facts.last = read_id(replies, &mut text)?,
            _ => replies.skip(1)?,
        }
    }
    Ok(Ok(facts))
}

fn read_count(replies: &mut Replies<impl Read>) -> Result<u64, ReadError> {
    match replies.head()? {
        Head::Number(count) => u64::try_from(count).map_err(|_| ReadError::NoReply),
        _ => Err(ReadError::NoReply),
    }
}

fn read_id(replies: &mut Replies<impl Read>, text: &mut Vec<u8>) -> Result<StreamId, ReadError> {
    let Head::Bulk(bytes @ 0..=MAX_ID_BYTES) = replies.head()? else {
        return Err(ReadError::NoReply);
    };
    replies.text(bytes, MAX_ID_BYTES, text)?;
    let id = std::str::from_utf8(text).ok().filter(|text| text.contains('-'));
    id.and_then(|text| StreamId::parse(text, 0)).ok_or(ReadError::NoReply)
}

/// Hands each entry of a part to `each`, in order.
///
/// # Errors
/// What `each` says, or a sentence that names server, key and what is wrong.
pub fn read(
    servers: &mut Servers<'_>,
    part: Part<'_>,
    mut each: impl FnMut(Entry) -> Result<(), CannotCheck>,
) -> Result<(), CannotCheck> {
    let (mut from, to) = (part.from.to_string(), part.to.to_string());
    let (mut last, mut max) = (None, FIRST_PAGE);
    while last.is_none_or(|last| last < part.to) {
        let request = ["XRANGE", part.key, &from, &to, "COUNT", &max.to_string()];
        let (session, head) = servers.ask(part.key, &request)?;
        let count = match head {
            Head::Array(count) if count <= max => count,
            Head::Refusal(why) => return Err(refused(session, part.key, &why)),
            _ => return Err(session.unreadable(&ReadError::NoReply)),
        };
        let mut page_bytes = 0;
        for _ in 0..count {
            let entry = read_entry(session.replies(), part.field, &mut page_bytes);
            let entry = entry.map_err(|error| session.unreadable(&error))?;
            // Without progress the same page would come for ever.
            if last.is_some_and(|last| entry.id <= last) || entry.id > part.to {
                return Err(session.unreadable(&ReadError::NoReply));
            }
            last = Some(entry.id);
            each(entry)?;
        }
        let Some(last) = last.filter(|_| count == max) else { break };
        from = format!("({last}");
        max = (PAGE_BYTES / (page_bytes / count).max(1)).clamp(1, MAX_PAGE);
    }
    Ok(())
}

fn read_entry(
    replies: &mut Replies<impl Read>,
    record_field: &str,
    page_bytes: &mut u64,
) -> Result<Entry, ReadError> {
    let mut text = Vec::new();
    if replies.head()? != Head::Array(2) {
        return Err(ReadError::NoReply);
    }
    let id = read_id(replies, &mut text)?;
    let mut entry = Entry { id, ..Entry::default() };
    let Head::Array(count) = replies.head()? else { return Err(ReadError::NoReply) };
    let max_name_bytes = Member::MAX_NAME_BYTES.max(record_field.len()) as u64 + 1;
    for _ in 0..count / 2 {
        let Head::Bulk(name_bytes) = replies.head()? else { return Err(ReadError::NoReply) };
        replies.text(name_bytes, max_name_bytes, &mut text)?;
        let Head::Bulk(bytes) = replies.head()? else { return Err(ReadError::NoReply) };
        *page_bytes = page_bytes.saturating_add(name_bytes).saturating_add(bytes);
        // A record's field may have the name of a member; then it is the record.
        if text == record_field.as_bytes() {
            let mut members = Members::default();
            let is_json = replies.bulk(bytes, |text| json::collect(text, &mut members))?;
            // Two of them are no record.
            let is_first = entry.record.is_none();
            entry.record = Some((members, is_json && is_first));
        } else if let Some(member) = Member::named(&text) {
            // One byte more than a value may have shows that it is too long.
            replies.text(bytes, MAX_VALUE_BYTES as u64 + 1, &mut text)?;
            entry.fields.put(member, Scalar::Text(&text));
        } else if text == REASON.as_bytes() {
            replies.text(bytes, MAX_REASON_BYTES, &mut text)?;
            entry.reason = String::from_utf8_lossy(&text).into_owned();
        } else {
            replies.bulk(bytes, |_| ())?;
        }
    }
    Ok(entry)
}

fn refused(session: &Session, key: &str, why: &str) -> CannotCheck {
    let hint = match why.split(' ').next() {
        Some("NOPERM") => "; the user needs +xinfo|stream, +xrange and read access to the key",
        Some("NOAUTH") => "; give --passwordfile, and --user if it is not the default one",
        Some("ERR") if why.contains("unknown command") => {
            "; if it is a sentinel, give --sentinel-master"
        }
        Some("WRONGTYPE") => "; the key holds no stream, check --key",
        Some("MOVED" | "ASK") => {
            "; the node that has it announces no address, see cluster-announce-ip"
        }
        Some("CLUSTERDOWN") => "; try again when all slots are served (CLUSTER INFO)",
        _ => "",
    };
    CannotCheck(format!(
        "cannot read stream \"{key}\" of {}: {}{hint}",
        session.address(),
        shown(why)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pairs: &[(&str, &str)]) -> Entry {
        let mut wire = format!("*2\r\n$3\r\n5-1\r\n*{}\r\n", pairs.len() * 2);
        for (name, value) in pairs {
            wire += &format!("${}\r\n{name}\r\n${}\r\n{value}\r\n", name.len(), value.len());
        }
        read_entry(&mut Replies::new(wire.as_bytes()), "msg", &mut 0).unwrap()
    }

    fn number(entry: Entry) -> Result<(String, u64), Flaw> {
        entry.into_record().map(|record| (record.node, record.seq))
    }

    // Oracle: node and seq that were put in, in either layout.
    #[test]
    fn records_are_found_in_both_layouts() {
        let expected = Ok(("n1".to_owned(), 7));
        assert_eq!(number(entry(&[("v", "1"), ("node", "n1"), ("seq", "7")])), expected);
        assert_eq!(number(entry(&[("msg", r#"{"node":"n1","seq":7}"#)])), expected);
        // A member of the name "msg" does not make a record in fields one in JSON.
        let both = [("node", "n1"), ("msg", r#"{"node":"n2","seq":8}"#), ("seq", "7")];
        assert_eq!(number(entry(&both)), expected);
        assert_eq!(entry(&both).id, StreamId { ms: 5, seq: 1 });
    }

    // Oracle: what is no record, and why.
    #[test]
    fn other_entries_are_foreign_or_broken() {
        assert_eq!(number(entry(&[("msg", "hello")])), Err(Flaw::Foreign));
        assert_eq!(number(entry(&[("nodes", "n1"), ("sequence", "7")])), Err(Flaw::Foreign));
        let long = "7".repeat(10_000);
        for pairs in [
            &[("msg", r#"{"node":"n1","seq":7"#)][..],
            &[("msg", r#"{"node":"n1","seq":7}"#), ("msg", r#"{"node":"n1","seq":8}"#)],
            &[("node", "n1"), ("seq", "7"), ("seq", "8")],
            &[("node", "n1"), ("seq", long.as_str())],
        ] {
            let outcome = number(entry(pairs));
            assert!(matches!(outcome, Err(Flaw::Broken(_))), "{pairs:?}: {outcome:?}");
        }
    }

    // Oracle: the order and the text of ids.
    #[test]
    fn ids_are_read_and_compared() {
        let id = |text| StreamId::parse(text, 9).unwrap();
        assert!(id("2-0") > id("1-18446744073709551615") && id("10-0") > id("9-5"));
        assert_eq!((id("7"), id("7-1").to_string()), (StreamId { ms: 7, seq: 9 }, "7-1".into()));
        for text in ["", "-", "1-", "-1", "1-1-1", "+1", "(1-1", "99999999999999999999"] {
            assert_eq!(StreamId::parse(text, 0), None, "{text}");
        }
    }
}
