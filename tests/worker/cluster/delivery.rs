//! Records reach the nodes that have their keys.

use super::{assert_exact, core, other, stream_and_marker};
use crate::core::Core;
use omvalkeyaudit::error::Verdict::Committed;
use omvalkeyaudit::stats::Counter;
use std::sync::Arc;
use testkit::{Cluster, Flavour, Scratch, entries, record};

// Oracle: the streams, each read from the node that has it.
on_each_server!(a_fixed_key_and_its_shards_reach_their_nodes);
fn a_fixed_key_and_its_shards_reach_their_nodes(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(flavour).without_replicas().start(&scratch);
    let mut alone = core(&cluster, &[("key", "alone")]);
    alone.send(0..50, 10);
    assert_exact(&cluster, "alone", 0..50);
    assert!(!alone.log.text().contains("cannot commit"), "{}", alone.log.text());
    assert_eq!(alone.log.count("connected, server: \"cluster of 127.0.0.1:"), 1);

    let mut first = core(&cluster, &[("shards", "4")]);
    let more = (1..4).map(|_| Core::worker_of(Arc::clone(&first.action)));
    let mut more: Vec<Core> = more.collect();
    first.send(0..20, 10);
    for (shard, core) in more.iter_mut().enumerate() {
        core.send(0..20 + shard as u64, 10);
    }
    let mut nodes = std::collections::BTreeSet::new();
    for (shard, count) in [20, 20, 21, 22].into_iter().enumerate() {
        let key = format!("audit:{{{shard}}}");
        assert_exact(&cluster, &key, 0..count);
        nodes.insert(cluster.owner(&key).port());
    }
    assert!(nodes.len() > 1, "the shards are on one node");
}

// Oracle: the streams: 200 keys over all nodes, in one batch and so in as many parts as slots; the dead
// letters, which have a slot of their own; and the counter of flushes.
on_each_server!(dynamic_keys_of_one_batch_reach_all_nodes);
fn dynamic_keys_of_one_batch_reach_all_nodes(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(flavour).without_replicas().start(&scratch);
    let mut core = core(&cluster, &[("dynakey", "on"), ("key", "template")]);
    for _ in 0..2 {
        let records = (0..600).map(|number| (format!("host:{}", number % 200), record(number)));
        core.load_keyed(records);
        assert_eq!(core.transaction(0..600), Committed, "{}", core.log.text());
    }
    for key in 0..200 {
        let key = format!("host:{key}");
        let found = entries(&mut cluster.owner(&key).connection(), &key);
        assert_eq!(found.len(), 6, "{key}");
    }
    core.load_keyed([("host:1".to_owned(), "no json".to_owned())]);
    assert_eq!(core.transaction(0..1), Committed, "{}", core.log.text());
    let letters = "omvalkeyaudit:deadletter";
    assert_eq!(entries(&mut cluster.owner(letters).connection(), letters).len(), 1);
    assert_eq!(core.action.stats.get(Counter::Committed), 1200);
    assert_eq!(core.action.stats.get(Counter::InDoubt), 0);
}

// Oracle: the streams and the log, and the README, which has the rule.
on_each_server!(the_documented_acl_rule_suffices);
fn the_documented_acl_rule_suffices(flavour: Flavour) {
    let readme = include_str!("../../../README.md");
    let rule = readme.lines().find_map(|line| line.strip_prefix("ACL SETUSER audit ")).unwrap();
    assert!(readme.contains("With `topology=\"cluster\"` add `+cluster|slots` and `+asking`."));
    let scratch = Scratch::new();
    let rule = rule.replace(">password", ">secret");
    let user = format!("user audit {rule} +cluster|slots +asking");
    let cluster = Cluster::builder(flavour).without_replicas().config(&user).start(&scratch);
    let mut core = core(&cluster, &[("user", "audit"), ("serverpassword", "secret")]);
    core.send(0..20, 10);
    let slot = cluster.slot("audit");
    let (from, to) = (cluster.owner("audit"), other(&cluster, "audit"));
    let (stream, marker) = stream_and_marker(&cluster, slot, from);
    cluster.begin_move(slot, from, to);
    cluster.move_keys(&[&stream, &marker], from, to);
    core.send(20..40, 10);
    cluster.end_move(slot, from, to);
    core.send(40..60, 10);
    assert_exact(&cluster, "audit", 0..60);
    assert_eq!(core.log.count("cannot commit"), 0, "{}", core.log.text());
}
