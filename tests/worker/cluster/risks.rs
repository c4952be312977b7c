//! What is said about nodes that could lose what they have confirmed.

use super::core;
use crate::core::{Core, command};
use std::sync::Arc;
use testkit::{Cluster, Flavour, Scratch, Server, record};

const SAID: &str = "can lose what it has confirmed";

fn send(core: &mut Core) {
    core.load_keyed((0..12).map(|number| (format!("host:{number}"), record(number))));
    core.settle();
}

// Oracle: the lines: one for the two nodes that are alike, one for the third, none for a second worker or
// connection; a short one for a replica that takes over; and another one when a node has changed.
on_each_server!(nodes_that_could_lose_records_are_told_of_once_and_together);
fn nodes_that_could_lose_records_are_told_of_once_and_together(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(flavour).start(&scratch);
    let address = |node: &Server| format!("\"{}\"", node.tcp_address());
    let change = |node: &Server, name: &str, value: &str| {
        command(node, &["CONFIG", "SET", name, value]);
    };
    let [first, second, third] = &cluster.servers()[..3] else { panic!("three primaries") };
    change(third, "maxmemory", "1gb");
    change(third, "maxmemory-policy", "allkeys-lru");

    let mut core = core(&cluster, &[("dynakey", "on"), ("key", "template")]);
    send(&mut core);
    let mut other = Core::worker_of(Arc::clone(&core.action));
    send(&mut other);
    core.action.hup(core.log);
    send(&mut core);
    let text = core.log.text();
    assert_eq!((core.log.count(SAID), other.log.count(SAID)), (2, 0), "{text}");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(SAID)).collect();
    let together = lines.iter().find(|line| line.contains("each of the servers ")).unwrap();
    assert!(together.contains(&address(first)) && together.contains(&address(second)), "{text}");
    assert!(!together.contains(&address(third)), "{text}");
    assert!(together.contains(&format!("{SAID}: it keeps nothing on disk")), "{text}");
    let alone = format!("server {} {SAID}: ", address(third));
    let alone = lines.iter().find(|line| line.contains(&alone)).unwrap();
    assert!(alone.contains("maxmemory-policy is allkeys-lru"), "{text}");

    let replica = cluster.replica(first);
    cluster.fail_over(first, replica);
    send(&mut core);
    let text = core.log.text();
    let like = format!("server {} {SAID}, as server ", address(replica));
    assert_eq!((core.log.count(&like), core.log.count(SAID)), (1, 3), "{text}");

    change(third, "maxmemory-policy", "noeviction");
    core.action.hup(core.log);
    send(&mut core);
    let like = format!("server {} {SAID}, as server ", address(third));
    assert_eq!((core.log.count(&like), core.log.count(SAID)), (1, 4), "{}", core.log.text());
}
