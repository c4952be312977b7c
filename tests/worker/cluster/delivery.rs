//! Records reach the nodes that have their keys.

use super::{assert_exact, core, other, stream_and_marker};
use crate::core::{Core, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use omvalkeyaudit::stats::Counter;
use std::sync::Arc;
use testkit::{AclRule, Cluster, Flavour, Scratch, entries, record};

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

/// What a node's configuration says of the user, without this right.
fn user_without(rule: &AclRule, right: &str) -> String {
    let words = rule.without(right)[3..].join(" ");
    format!("user audit {}", words.replace(">password", ">secret"))
}

fn cluster_rules() -> Vec<AclRule> {
    let rules = AclRule::of("audit").into_iter();
    let rules: Vec<_> = rules.filter(|rule| rule.purpose.contains("\"cluster\"")).collect();
    assert!(!rules.is_empty());
    rules
}

fn user_core(cluster: &Cluster, rule: &AclRule) -> Core {
    let parameters = rule.parameters();
    let parameters = parameters.iter().filter(|(name, _)| name != "topology");
    let parameters: Vec<_> =
        parameters.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let login = [("user", "audit"), ("serverpassword", "secret")];
    core(cluster, &[&login[..], &parameters].concat())
}

// Oracle: the streams and the log, and docs/acl.md, which has the rules.
on_each_server!(the_documented_acl_rules_suffice);
fn the_documented_acl_rules_suffice(flavour: Flavour) {
    for rule in cluster_rules() {
        let scratch = Scratch::new();
        let user = user_without(&rule, "");
        let cluster = Cluster::builder(flavour).without_replicas().config(&user).start(&scratch);
        let mut core = user_core(&cluster, &rule);
        core.send(0..20, 10);
        let key = core.action.settings.store.shard_key(0);
        let slot = cluster.slot(&key);
        let (from, to) = (cluster.owner(&key), other(&cluster, &key));
        let (stream, marker) = stream_and_marker(&cluster, slot, from);
        cluster.begin_move(slot, from, to);
        cluster.move_keys(&[&stream, &marker], from, to);
        core.send(20..40, 10);
        cluster.end_move(slot, from, to);
        core.send(40..60, 10);
        assert_exact(&cluster, &key, 0..60);
        for complaint in ["cannot", "lacks", "ACL"] {
            assert_eq!(core.log.count(complaint), 0, "{}: {}", rule.purpose, core.log.text());
        }
    }
}

// Oracle: without any one of its rights, at every node, one line has the command that grants just that one, no later
// than with the first record, which waits; when it has been given everywhere, everything is stored once.
on_each_server!(each_right_of_a_rule_is_missed_and_named);
fn each_right_of_a_rule_is_missed_and_named(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(flavour).without_replicas().start(&scratch);
    let everywhere = |words: &[&str]| {
        for node in cluster.servers() {
            command(node, words);
        }
    };
    for rule in cluster_rules() {
        for right in rule.rights() {
            let about = format!("{} without {right}", rule.purpose);
            everywhere(&["FLUSHALL"]);
            let words = rule.without(&right).into_iter();
            let words: Vec<&str> =
                words.map(|word| if word == ">password" { ">secret" } else { word }).collect();
            everywhere(&words);
            let mut core = user_core(&cluster, &rule);
            // Where entries are acknowledged, none has that id, which is no error.
            let keyed = |text| ("1-1".to_owned(), text);
            core.load_keyed([keyed(record(0))]);
            let verdict = core.transaction(0..1);
            let log = core.log.text();
            let grants: Vec<&str> = log.lines().filter(|line| line.contains("ACL")).collect();
            let [line] = grants[..] else { panic!("{about}: {log}") };
            let named = line.split_once("ACL SETUSER audit ");
            let (_, grant) = named.unwrap_or_else(|| panic!("{about}: {log}"));
            assert_eq!(grant.split(" (").next(), Some(right.as_str()), "{about}: {log}");
            everywhere(&["ACL", "SETUSER", "audit", &right]);
            if verdict == Suspended {
                core.resume();
                core.replay(1);
            }
            core.load_keyed((1..4).map(record).chain(["broken".to_owned()]).map(keyed));
            assert_eq!(core.transaction(0..4), Committed, "{about}: {}", core.log.text());
            assert_exact(&cluster, &core.action.settings.store.shard_key(0), 0..4);
            let letters = &core.action.settings.store.dead_letter_key;
            let letters = entries(&mut cluster.owner(letters).connection(), letters);
            assert_eq!(letters.len(), 1, "{about}");
        }
    }
}

// Oracle: no dead letter while the right is missing, though the node of the dead letters would take them; each record once,
// in order, when it is back.
on_each_server!(a_command_that_one_node_forbids_later_is_not_the_records_fault);
fn a_command_that_one_node_forbids_later_is_not_the_records_fault(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(flavour).without_replicas().start(&scratch);
    let mut core = core(&cluster, &[("dynakey", "on"), ("key", "template")]);
    let letters = "omvalkeyaudit:deadletter";
    let mut names = (0..100).map(|number| format!("host:{number}"));
    let of_letters = cluster.owner(letters).port();
    let key = names.find(|key| cluster.owner(key).port() != of_letters).unwrap();
    let keyed = |number| (key.clone(), record(number));
    core.load_keyed((0..10).map(keyed));
    assert_eq!(core.transaction(0..10), Committed, "{}", core.log.text());

    command(cluster.owner(&key), &["ACL", "SETUSER", "default", "-xadd"]);
    core.load_keyed((10..20).map(keyed));
    assert_eq!(core.transaction(0..10), Suspended, "{}", core.log.text());
    assert!(core.log.text().contains("NOPERM"), "{}", core.log.text());
    command(cluster.owner(&key), &["ACL", "SETUSER", "default", "+xadd"]);
    core.resume();
    core.replay(10);
    assert_exact(&cluster, &key, 0..20);
    assert_eq!(entries(&mut cluster.owner(letters).connection(), letters).len(), 0);
}
