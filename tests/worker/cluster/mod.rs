//! Real clusters of three primaries: slots that move, nodes that die, and the parts of a flush.

mod delivery;
mod moves;

use crate::core::Core;
use omvalkeyaudit::commands::slot_of;
use testkit::{Cluster, Count, Random, Scratch, Server, entries, numbers};

/// A worker of an action that knows the first node only.
fn core(cluster: &Cluster, parameters: &[(&str, &str)]) -> Core {
    let cluster_only = [("topology", "cluster")];
    Core::new(&cluster.addresses()[0], &[&cluster_only, parameters].concat())
}

/// Asserts that a stream holds these numbers once, in order, and nothing else.
#[track_caller]
fn assert_exact(cluster: &Cluster, key: &str, expected: std::ops::Range<u64>) {
    let found = entries(&mut cluster.owner(key).connection(), key);
    let count = Count::of(numbers(&found), expected);
    assert!(count.is_exact() && count.is_in_order(), "{key}: {count}");
}

// Oracle: `CLUSTER KEYSLOT` of a real node.
on_each_server!(a_key_is_in_the_slot_that_a_real_node_says);
fn a_key_is_in_the_slot_that_a_real_node_says(flavour: testkit::Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).config("cluster-enabled yes").start(&scratch);
    let mut connection = server.connection();
    let mut random = Random::new(1);
    for _ in 0..2000 {
        // Short keys of few characters, so that braces come in all orders.
        let mut below = |limit| usize::try_from(random.below(limit)).unwrap();
        let length = below(9);
        let key: Vec<u8> = (0..length).map(|_| b"{}ab\xff"[below(5)]).collect();
        let slot: u16 =
            redis::cmd("CLUSTER").arg("KEYSLOT").arg(&key).query(&mut connection).unwrap();
        assert_eq!(slot_of(&key), slot, "{}", key.escape_ascii());
    }
}
