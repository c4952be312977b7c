//! Copies that the operator asks for, in a cluster: a part is acknowledged when the node that wrote it has
//! enough of them, and held below that, while the other parts are acknowledged.

use super::{assert_exact, core};
use crate::core::{Core, PATIENCE, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use omvalkeyaudit::stats::Counter;
use std::time::Duration;
use testkit::{Cluster, Count, Flavour, Scratch, Server, entries, numbers, record, wait_until};

/// Keys enough that each node has some of them, in slots of their own.
const KEYS: u64 = 12;
/// A node that stands still for the length of a test is not taken for dead.
const STILL: &str = "cluster-node-timeout 60000";

fn asking(cluster: &Cluster, parameters: &[(&str, &str)]) -> Core {
    let ours =
        [("durability.replicas", "1"), ("durability.timeout", "300"), ("timeout.connect", "500")];
    core(cluster, &[&ours, parameters].concat())
}

fn key(number: u64) -> String {
    format!("host:{}", number % KEYS)
}

fn batch(core: &mut Core, numbers: std::ops::Range<u64>) {
    core.load_keyed(numbers.map(|number| (key(number), record(number))));
}

/// The numbers that a replica has under a key.
fn on_replica(replica: &Server, key: &str) -> Vec<u64> {
    let mut connection = replica.connection();
    redis::cmd("READONLY").exec(&mut connection).unwrap();
    numbers(&entries(&mut connection, key))
}

/// Lets a worker commit until all replicas answer, the first time of which takes a second.
fn warmed_up(cluster: &Cluster) {
    let mut core = asking(cluster, &[("dynakey", "on"), ("key", "template")]);
    core.load_keyed((0..KEYS).map(|number| (format!("{}:warm", key(number)), record(number))));
    core.settle();
}

fn counter(core: &Core, counter: Counter) -> u64 {
    core.action.stats.get(counter)
}

// Oracle: the counters of commits, flushes and questions, and all streams on primaries and replicas: the parts
// of two nodes are acknowledged while the third one's replica stands still, that one's are written once, and each
// node is asked once, however many parts it gets.
on_each_server!(a_replica_that_stands_still_holds_the_parts_of_its_primary_only);
fn a_replica_that_stands_still_holds_the_parts_of_its_primary_only(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(flavour).config(STILL).start(&scratch);
    warmed_up(&cluster);
    let mut core = asking(&cluster, &[("dynakey", "on"), ("key", "template")]);
    batch(&mut core, 0..120);
    assert_eq!(core.transaction(0..120), Committed, "{}", core.log.text());
    // Each node when it was met, and behind its last part.
    assert_eq!(counter(&core, Counter::DurabilityWaits), 6);
    for host in 0..KEYS {
        let replica = cluster.replica(cluster.owner(&key(host)));
        assert_eq!(on_replica(replica, &key(host)).len(), 10, "without any waiting");
    }

    let primary = cluster.owner(&key(0));
    let behind = |number: &u64| cluster.owner(&key(*number)).port() == primary.port();
    let held = (120..240).filter(behind).count();
    let replica = cluster.replica(primary);
    replica.pause();
    core.longest = Duration::ZERO;
    batch(&mut core, 120..240);
    assert_eq!(core.transaction(0..120), Suspended);
    assert_eq!(core.worker.unsettled(), held);
    assert_eq!(counter(&core, Counter::Committed), 240 - held as u64);
    let flushes = counter(&core, Counter::Flushes);
    for _ in 0..3 {
        assert_eq!(core.try_resume(), Suspended);
    }
    assert!(core.longest < Duration::from_secs(3), "{:?}", core.longest);
    let said = "0 of 1 replicas have what was written (check the server's replicas";
    assert_eq!(core.log.count(said), 1, "{}", core.log.text());
    assert_eq!(core.worker.unsettled(), held);
    replica.cont();
    core.resume();
    core.replay(120);
    assert_eq!(counter(&core, Counter::Flushes), flushes, "only the waiting is repeated");
    assert_eq!(counter(&core, Counter::Committed), 240);
    for host in 0..KEYS {
        let expected: Vec<u64> = (0..240).filter(|number| number % KEYS == host).collect();
        let owner = cluster.owner(&key(host));
        assert_eq!(numbers(&entries(&mut owner.connection(), &key(host))), expected);
        assert_eq!(on_replica(cluster.replica(owner), &key(host)), expected);
    }
}

/// Takes the replica away from a primary, for as long as that lives: it has no password.
fn cut_off(primary: &mut redis::Connection) {
    redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("other").exec(primary).unwrap();
    let mut kill = redis::cmd("CLIENT");
    let killed: i64 = kill.arg("KILL").arg("TYPE").arg("replica").query(primary).unwrap();
    assert_eq!(killed, 1);
}

/// Kills a primary while copies are missing; `has_batch` says whether its replica got the batch before.
fn takes_over(flavour: Flavour, has_batch: bool) {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(flavour).start(&scratch);
    let mut core = asking(&cluster, &[]);
    core.send(0..10, 5);
    let flushes = counter(&core, Counter::Flushes);
    let primary = cluster.owner("audit");
    let replica = cluster.replica(primary);
    let mut connection = primary.connection();
    if has_batch {
        // What the primary has sent waits in the replica's socket.
        replica.pause();
    } else {
        cut_off(&mut connection);
    }
    core.load((10..20).map(record));
    assert_eq!(core.transaction(0..10), Suspended, "{}", core.log.text());
    assert_eq!(numbers(&entries(&mut connection, "audit")).len(), 20, "the primary has it");
    assert_eq!(counter(&core, Counter::Committed), 10, "and nobody was told");
    primary.kill();
    if has_batch {
        replica.cont();
    }
    cluster.wait_promoted(replica);
    let found = numbers(&entries(&mut replica.connection(), "audit")).len();
    assert_eq!(found, if has_batch { 20 } else { 10 });
    // Nothing is acknowledged before the new primary has a replica of its own.
    for _ in 0..2 {
        assert_eq!(core.try_resume(), Suspended, "{}", core.log.text());
    }
    assert_eq!(counter(&core, Counter::Committed), 10);
    primary.start();
    wait_until("tryResume to say yes", 3 * PATIENCE, || core.try_resume() == Committed);
    core.replay(10);
    core.send(20..30, 10);
    assert_exact(&cluster, "audit", 0..30);
    assert_eq!(cluster.owner("audit").port(), replica.port());
    let count = Count::of(on_replica(primary, "audit"), 0..30);
    assert!(count.is_exact() && count.is_in_order(), "{count}");
    let written = counter(&core, Counter::Flushes) - flushes;
    assert_eq!(written, if has_batch { 2 } else { 3 });
}

// Oracle: the count on the new primary and on its replica. Without the question, 10 to 19 were lost.
on_each_server!(a_part_that_dies_with_its_primary_is_written_again);
fn a_part_that_dies_with_its_primary_is_written_again(flavour: Flavour) {
    takes_over(flavour, false);
}

// Oracle: the same count: the replica has the part and its marker.
on_each_server!(a_part_that_the_promoted_replica_has_is_not_written_again);
fn a_part_that_the_promoted_replica_has_is_not_written_again(flavour: Flavour) {
    takes_over(flavour, true);
}

// Oracle: the stream after the next start: what was written without its copies is looked up, waits for
// them there too, and is not written again.
on_each_server!(a_stop_while_copies_of_a_part_are_missing_holds_what_the_next_start_looks_up);
fn a_stop_while_copies_of_a_part_are_missing_holds_what_the_next_start_looks_up(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(flavour).config(STILL).start(&scratch);
    let file = scratch.join("hold").display().to_string();
    let start = || asking(&cluster, &[("holdfile", file.as_str())]);
    let mut core = start();
    core.send(0..10, 5);
    let replica = cluster.replica(cluster.owner("audit"));
    replica.pause();
    for round in 0..2 {
        core.load((10 + 10 * round..20 + 10 * round).map(record));
        assert_eq!(core.transaction(0..10), Suspended, "{}", core.log.text());
        let log = core.stop();
        let held = "held records that are not committed, count: 10";
        assert_eq!(log.count(held), 1, "{}", log.text());
        core = start();
    }
    replica.cont();
    core.send(30..40, 10);
    assert_eq!(counter(&core, Counter::Committed), 30);
    assert_exact(&cluster, "audit", 0..40);
    assert_eq!(std::fs::read(&file).unwrap(), b"");
}

// Oracle: the streams, which are not there: nothing is written to a node that cannot answer, and the line
// says what it lacks.
on_each_server!(nothing_is_written_to_a_node_that_cannot_be_asked_for_copies);
fn nothing_is_written_to_a_node_that_cannot_be_asked_for_copies(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(flavour).without_replicas().start(&scratch);
    let mut core = core(&cluster, &[("durability.fsync", "local")]);
    core.load((0..10).map(record));
    assert_eq!(core.transaction(0..10), Suspended);
    assert_eq!(core.try_resume(), Suspended);
    assert_eq!(core.log.count("durability.fsync needs "), 1, "{}", core.log.text());
    let there = command(cluster.owner("audit"), &["EXISTS", "audit"]);
    assert_eq!(there, redis::Value::Int(0));
}

// Oracle: the stream of each node that is killed right after the acknowledgement, and comes back with its
// file; and the verdict while one disk is not waited for.
#[test]
fn what_a_cluster_acknowledges_with_fsync_is_on_the_disks_of_its_nodes() {
    let scratch = Scratch::new();
    let lines = format!("{STILL}\nappendonly yes\nappendfsync always");
    let cluster = Cluster::builder(Flavour::Valkey91).without_replicas();
    let cluster = cluster.config(&lines).start(&scratch);
    let fsync = [("durability.fsync", "local"), ("durability.timeout", "500")];
    let keyed = [("dynakey", "on"), ("key", "template"), ("timeout.connect", "500")];
    let mut core = core(&cluster, &[&fsync[..], &keyed].concat());
    batch(&mut core, 0..60);
    core.settle();
    let late = cluster.owner(&key(0));
    command(late, &["CONFIG", "SET", "appendfsync", "no"]);
    batch(&mut core, 60..120);
    assert_eq!(core.transaction(0..60), Suspended);
    let said = "what was written is not on the server's disk yet";
    assert_eq!(core.log.count(said), 1, "{}", core.log.text());
    command(late, &["CONFIG", "SET", "appendfsync", "always"]);
    core.resume();
    core.replay(60);
    for node in cluster.servers() {
        node.kill();
        node.start();
    }
    cluster.wait_well();
    for host in 0..KEYS {
        let expected: Vec<u64> = (0..120).filter(|number| number % KEYS == host).collect();
        let owner = cluster.owner(&key(host));
        assert_eq!(numbers(&entries(&mut owner.connection(), &key(host))), expected);
    }
}
