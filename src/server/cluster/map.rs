//! Which node has which slot, as one of them says (CLUSTER SLOTS) and as MOVED has corrected it since.
#![forbid(unsafe_code)]

use crate::commands::{SLOTS, Slot, text};
use crate::params::Address;
use omvalkeyaudit_address::word;
use redis::Value;
use std::collections::BTreeMap;

/// The slots' primaries. Empty before any node was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotMap {
    nodes: Vec<Address>,
    /// First and last slot, and the place of their primary in `nodes`.
    ranges: Vec<(Slot, Slot, usize)>,
    moved: BTreeMap<Slot, Address>,
}

impl SlotMap {
    /// Reads the reply of `asked` to CLUSTER SLOTS.
    ///
    /// # Errors
    /// What is wrong with it, as part of a sentence.
    pub fn read(reply: &Value, asked: &Address) -> Result<Self, String> {
        let Value::Array(entries) = reply else { return Err("no list of slots".to_owned()) };
        let mut map = Self::default();
        for entry in entries {
            let Value::Array(entry) = entry else { return Err("no range of slots".to_owned()) };
            let [Value::Int(first), Value::Int(last), primary, ..] = entry.as_slice() else {
                return Err("no range of slots".to_owned());
            };
            let slot = |number: i64| Slot::try_from(number).ok().filter(|slot| *slot < SLOTS);
            let (Some(first), Some(last)) = (slot(*first), slot(*last)) else {
                return Err(format!("slots from {first} to {last}"));
            };
            // A node that announces nothing of use is one that cannot be reached.
            if let Some(node) = read_node(primary, asked) {
                let place = map.place_of(node);
                map.ranges.push((first, last, place));
            }
        }
        if map.ranges.is_empty() { Err("no node has a slot".to_owned()) } else { Ok(map) }
    }

    /// The node that has a slot.
    pub fn owner(&self, slot: Slot) -> Option<&Address> {
        let in_range = |(first, last, _): &&(Slot, Slot, usize)| (*first..=*last).contains(&slot);
        self.moved.get(&slot).or_else(|| {
            let (_, _, place) = self.ranges.iter().find(in_range)?;
            self.nodes.get(*place)
        })
    }

    /// A node says that this one has the slot.
    pub fn moved(&mut self, slot: Slot, node: Address) {
        self.moved.insert(slot, node);
    }

    /// All primaries that have slots.
    pub fn nodes(&self) -> impl Iterator<Item = &Address> {
        self.nodes.iter().chain(self.moved.values())
    }

    fn place_of(&mut self, node: Address) -> usize {
        self.nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        })
    }
}

/// Host, port, id, and from Redis 7.0 on what else is known: the preferred one of address and name comes
/// first, `?` where it is not known, and nil where it is whatever `asked` was reached by.
fn read_node(node: &Value, asked: &Address) -> Option<Address> {
    let Value::Array(parts) = node else { return None };
    let (host, port) = (parts.first()?, parts.get(1)?);
    let Value::Int(port) = port else { return None };
    let host = match host {
        Value::Nil => "",
        other => text(other)?,
    };
    let host = if host == "?" { other_address(parts.get(3)?)? } else { host };
    word::node(host, u16::try_from(*port).ok().filter(|port| *port > 0)?, asked)
}

/// The address among what else is known of a node.
fn other_address(known: &Value) -> Option<&str> {
    match known {
        Value::Array(pairs) => {
            let at = pairs.iter().position(|name| text(name) == Some("ip"))?;
            text(pairs.get(at + 1)?)
        }
        Value::Map(pairs) => {
            let (_, address) = pairs.iter().find(|(name, _)| text(name) == Some("ip"))?;
            text(address)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: Option<&str>, port: i64, ip: Option<&str>) -> Value {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let ip = ip.map_or(Vec::new(), |ip| vec![bulk("ip"), bulk(ip)]);
        let host = host.map_or(Value::Nil, bulk);
        Value::Array(vec![host, Value::Int(port), bulk("id"), Value::Array(ip)])
    }

    fn range(first: i64, last: i64, node: Value) -> Value {
        let replica = self::node(Some("replica"), 1, None);
        Value::Array(vec![Value::Int(first), Value::Int(last), node, replica])
    }

    fn read(ranges: Vec<Value>) -> Result<SlotMap, String> {
        SlotMap::read(&Value::Array(ranges), &Address::tcp("10.0.0.9", 7000).unwrap())
    }

    #[test]
    fn each_slot_has_the_primary_that_is_announced() {
        let map = read(vec![
            range(0, 99, node(Some("10.0.0.1"), 7001, None)),
            range(100, 100, node(Some("db.example.org"), 7002, None)),
            range(101, 199, node(Some("10.0.0.1"), 7001, None)),
            range(200, 299, node(None, 7003, None)),
            range(300, 399, node(Some(""), 7004, None)),
            range(400, 499, node(Some("?"), 7005, Some("10.0.0.5"))),
            range(500, 599, node(Some("?"), 7006, None)),
            range(600, 699, node(Some("10.0.0.7"), 0, None)),
        ])
        .unwrap();
        let owner = |slot| map.owner(slot).map(Address::to_string);
        for (slot, expected) in [
            (0, "10.0.0.1:7001"),
            (99, "10.0.0.1:7001"),
            (100, "db.example.org:7002"),
            (150, "10.0.0.1:7001"),
            (250, "10.0.0.9:7003"),
            (350, "10.0.0.9:7004"),
            (450, "10.0.0.5:7005"),
        ] {
            assert_eq!(owner(slot).as_deref(), Some(expected), "{slot}");
        }
        for slot in [550, 650, 700, 16383] {
            assert_eq!(owner(slot), None, "{slot}");
        }
        assert_eq!(map.nodes().count(), 5);
    }

    #[test]
    fn what_a_node_says_of_one_slot_wins_over_the_map() {
        let mut map = read(vec![range(0, 16383, node(Some("a"), 1, None))]).unwrap();
        map.moved(5, Address::tcp("b", 2).unwrap());
        assert_eq!(map.owner(5).unwrap().to_string(), "b:2");
        assert_eq!(map.owner(6).unwrap().to_string(), "a:1");
    }

    #[test]
    fn what_is_no_map_is_refused() {
        assert!(SlotMap::read(&Value::Nil, &Address::tcp("a", 1).unwrap()).is_err());
        for ranges in [
            vec![],
            vec![Value::Int(1)],
            vec![range(0, 16384, node(Some("a"), 1, None))],
            vec![range(-1, 5, node(Some("a"), 1, None))],
            vec![Value::Array(vec![Value::Int(0), Value::Int(5)])],
            vec![range(0, 5, Value::Nil)],
        ] {
            assert!(read(ranges.clone()).is_err(), "{ranges:?}");
        }
    }
}
