//! Where a slot is, and what a node answers that does not have it.

use super::{Cluster, Move, SLOTS};
use crate::copies::NO_PRIMARY;
use crate::resp::Command;
use omvalkeyaudit::commands::{Slot, slot_of};
use redis::Value;

impl Cluster {
    /// `getNodeByQuery`: why this node does not execute, or queue, the command.
    pub(super) fn elsewhere(
        &self,
        id: usize,
        node: Option<usize>,
        name: &str,
        words: &Command,
    ) -> Option<String> {
        let client = &self.clients[id];
        let mut keys: Vec<&Vec<u8>> = match (name, &client.queue) {
            ("EXEC", Some(queue)) if !client.is_spoilt => {
                let queue = queue.iter().filter(|words| words[0] != b"PUBLISH");
                queue.map(|words| &words[1]).collect()
            }
            ("WAIT" | "WAITAOF", _) if node.is_none() => return Some(NO_PRIMARY.to_owned()),
            (
                "ASKING" | "CLUSTER" | "CONFIG" | "EXEC" | "INFO" | "MULTI" | "PUBLISH" | "WAIT"
                | "WAITAOF",
                _,
            ) => return None,
            _ => vec![&words[1]],
        };
        keys.sort();
        keys.dedup();
        let slot = slot_of(keys.first()?);
        if keys.iter().any(|key| slot_of(key) != slot) {
            return Some("CROSSSLOT Keys in request don't hash to the same slot".to_owned());
        }
        let owner = self.owner(slot);
        let has = |key: &Vec<u8>| node.is_some_and(|node| self.nodes[node].keys.contains_key(key));
        let missing = keys.iter().filter(|key| !has(key)).count();
        let try_again =
            || Some("TRYAGAIN Multiple keys request during rehashing of slot".to_owned());
        match self.moving.filter(|moving| moving.slot == slot) {
            Some(Move { from, to, .. }) if node == Some(from) && missing > 0 => {
                if missing < keys.len() {
                    return try_again();
                }
                return Some(format!("ASK {slot} 127.0.0.1:{}", self.nodes[to].port));
            }
            Some(Move { to, .. }) if node == Some(to) && client.is_asking => {
                if missing > 0 && keys.len() > 1 {
                    return try_again();
                }
                return None;
            }
            _ => {}
        }
        if node == Some(owner) {
            return None;
        }
        if self.nodes[owner].is_down && slot.is_multiple_of(2) {
            return Some("CLUSTERDOWN The cluster is down".to_owned());
        }
        Some(format!("MOVED {slot} 127.0.0.1:{}", self.nodes[owner].port))
    }

    /// CLUSTER SLOTS; of a node that is down nothing is said.
    pub(super) fn slots(&self) -> Value {
        let count = self.nodes.len();
        let homes = (0..count).map(|place| (place * SLOTS).div_ceil(count));
        let strays = self.strays.keys().map(|slot| usize::from(*slot));
        let mut firsts: Vec<usize> =
            homes.chain(strays.flat_map(|slot| [slot, slot + 1])).chain([SLOTS]).collect();
        firsts.sort_unstable();
        firsts.dedup();
        let ranges = firsts.windows(2).filter_map(|bounds| {
            let slot = Slot::try_from(bounds[0]).expect("a slot");
            let last = i64::try_from(bounds[1]).expect("a slot") - 1;
            let node = &self.nodes[self.owner(slot)];
            let host = Value::BulkString(b"127.0.0.1".to_vec());
            let node_of = Value::Array(vec![host, Value::Int(node.port.into())]);
            (!node.is_down)
                .then(|| Value::Array(vec![Value::Int(slot.into()), Value::Int(last), node_of]))
        });
        Value::Array(ranges.collect())
    }
}
