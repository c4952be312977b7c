//! Real clusters of three primaries: slots that move, nodes that die, and the parts of a flush.

mod copies;
mod delivery;
mod doubt;
mod failover;
mod hold;
mod modes;
mod moves;
mod risks;
mod tls;
mod ways;

use crate::core::{Core, PATIENCE};
use omvalkeyaudit::commands::slot_of;
use testkit::{Cluster, Count, Proxy, Random, Scratch, Server, entries, numbers, wait_until};

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

/// A node that does not have the slot of `key`.
fn other<'c>(cluster: &'c Cluster, key: &str) -> &'c Server {
    let owner = cluster.owner(key).port();
    cluster.servers().iter().find(|node| node.port() != owner).unwrap()
}

/// The keys of `slot` on a node: the stream, and the worker's marker.
fn stream_and_marker(cluster: &Cluster, slot: u16, node: &Server) -> (String, String) {
    let mut keys = cluster.keys(slot, node);
    keys.sort();
    assert_eq!(keys.len(), 2, "{keys:?}");
    (keys[0].clone(), keys[1].clone())
}

/// Has the cluster reach a node through a proxy.
fn proxied(cluster: &Cluster, node: &Server) -> Proxy {
    let proxy = Proxy::tcp(node.tcp_address());
    let address = proxy.address().to_string();
    let port = address.rsplit(':').next().unwrap();
    crate::core::command(node, &["CONFIG", "SET", "cluster-announce-port", port]);
    wait_until("nodes that know of the proxy", PATIENCE, || {
        cluster.servers().iter().filter(|server| server.is_running()).all(|server| {
            let nodes: String =
                redis::cmd("CLUSTER").arg("NODES").query(&mut server.connection()).unwrap();
            nodes.contains(&format!(":{port}@"))
        })
    });
    proxy
}
