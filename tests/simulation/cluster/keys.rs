//! What the keys of a node hold, and what a command does to them once it is executed. Where it is executed
//! is `node.rs`'s business.

use crate::resp::{Command, error};
use redis::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Text(Vec<u8>),
    Stream(Vec<Vec<u8>>),
    /// The elements, from the head.
    List(Vec<Vec<u8>>),
    /// What it was set to, one after the other.
    Value(Vec<Vec<u8>>),
    Source(Source),
    /// Not a key: the messages that were published here, with the time of each.
    Heard(Vec<(u64, Message)>),
}

impl Held {
    /// The records in it.
    pub(super) fn texts(&self) -> &[Vec<u8>] {
        match self {
            Held::Stream(texts) | Held::List(texts) | Held::Value(texts) => texts,
            Held::Text(_) | Held::Source(_) | Held::Heard(_) => &[],
        }
    }
}

/// A stream that records come from, by the ids of its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) entries: BTreeSet<Vec<u8>>,
    pub(super) pending: BTreeSet<Vec<u8>>,
}

/// Channel and text.
pub(super) type Message = (Vec<u8>, Vec<u8>);

pub(super) type Keys = BTreeMap<Vec<u8>, Held>;

/// Where a node's messages are: no key has that name.
pub(super) const HEARD: &[u8] = b"\0heard";

/// Markers begin with this.
pub(super) const MARKER: &str = "marker";

/// The reply to a command, and whether it has touched its key.
pub(super) fn execute(keys: &mut Keys, words: &mut Command, time: u64) -> (Value, bool) {
    let name = String::from_utf8_lossy(&words[0]).into_owned();
    let key = words[1].clone();
    let is_new = words.get(3).is_some_and(|word| word == b"NX");
    let reply = match (name.as_str(), keys.get_mut(&key)) {
        ("PUBLISH", _) => {
            let Held::Heard(heard) =
                keys.entry(HEARD.to_vec()).or_insert_with(|| Held::Heard(Vec::new()))
            else {
                panic!("no messages")
            };
            heard.push((time, (key, words.swap_remove(2))));
            return (Value::Int(0), false);
        }
        ("XADD", Some(Held::Stream(entries))) => {
            entries.push(words.swap_remove(4));
            id()
        }
        ("XADD", None) => {
            keys.insert(key, Held::Stream(vec![words.swap_remove(4)]));
            id()
        }
        ("LPUSH" | "RPUSH", None) => {
            let elements = words.split_off(2);
            let count = number(elements.len());
            let is_left = name == "LPUSH";
            let elements = if is_left { elements.into_iter().rev().collect() } else { elements };
            keys.insert(key, Held::List(elements));
            count
        }
        ("LPUSH", Some(Held::List(list))) => {
            words.drain(2..).for_each(|element| list.insert(0, element));
            number(list.len())
        }
        ("RPUSH", Some(Held::List(list))) => {
            list.extend(words.drain(2..));
            number(list.len())
        }
        ("XADD" | "LPUSH" | "RPUSH" | "XACK" | "XDEL", Some(Held::Text(_))) => {
            let text = "WRONGTYPE Operation against a key holding the wrong kind of value";
            return (error(text), false);
        }
        ("XACK", Some(Held::Source(source))) => Value::Int(source.pending.remove(&words[3]).into()),
        ("XDEL", Some(Held::Source(source))) => Value::Int(source.entries.remove(&words[2]).into()),
        ("XACK" | "XDEL" | "EXPIRE", None) => return (Value::Int(0), false),
        ("SET", Some(_)) if is_new => return (Value::Nil, false),
        ("SET", Some(Held::Value(texts))) => {
            texts.push(words.swap_remove(2));
            Value::Okay
        }
        ("SET", _) => {
            let text = words.swap_remove(2);
            let is_marker = key.starts_with(MARKER.as_bytes());
            keys.insert(key, if is_marker { Held::Text(text) } else { Held::Value(vec![text]) });
            Value::Okay
        }
        ("EXPIRE", Some(_)) => Value::Int(1),
        ("GET", Some(Held::Text(text))) => return (Value::BulkString(text.clone()), false),
        ("GET", _) => return (Value::Nil, false),
        ("TYPE", held) => return (Value::SimpleString(kind(held.as_deref()).to_owned()), false),
        (_, held) => panic!("the model does not have {name} of {held:?}"),
    };
    (reply, true)
}

fn kind(held: Option<&Held>) -> &'static str {
    match held {
        None => "none",
        Some(Held::Text(_) | Held::Value(_)) => "string",
        Some(Held::Stream(_) | Held::Source(_)) => "stream",
        Some(Held::List(_)) => "list",
        Some(Held::Heard(_)) => panic!("no key"),
    }
}

fn id() -> Value {
    Value::BulkString(b"1784938493000-1".to_vec())
}

fn number(count: usize) -> Value {
    Value::Int(i64::try_from(count).expect("few"))
}
