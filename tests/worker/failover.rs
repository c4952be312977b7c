//! Another server becomes the primary while records are on their way. Each test waits for the
//! replica before it takes the primary away: what an asynchronous replica has not got, no client can
//! bring back, and with that out of the way nothing may be lost or doubled.

use crate::core::{Core, PATIENCE, assert_exact, command};
use crate::sentinel::asks;
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use std::time::Duration;
use testkit::{
    Fault, Flavour, Proxy, Scratch, SentinelGroup, Server, record, record_of, wait_until,
};

/// Sentinels whose clock is disturbed on a busy machine do nothing for half a minute.
const PATIENCE_WITH_SENTINELS: Duration = Duration::from_secs(100);

/// A group, and a worker that has committed the first ten records through its sentinels.
fn started(flavour: Flavour, scratch: &Scratch, more: &[(&str, &str)]) -> (SentinelGroup, Core) {
    let group = SentinelGroup::builder(flavour).start(scratch);
    let sentinels: Vec<String> = group.addresses().iter().map(ToString::to_string).collect();
    let servers: Vec<_> = sentinels.iter().map(|address| ("server", address.as_str())).collect();
    let mut core = Core::new(&"", &[&asks(), servers.as_slice(), more].concat());
    core.send(0..10, 5);
    (group, core)
}

/// Waits until a replica has so many records.
fn wait_length(replica: &Server, count: i64) {
    wait_until("the replica to have the records", PATIENCE, || {
        command(replica, &["XLEN", "audit"]) == redis::Value::Int(count)
    });
}

// Oracle: the exact count on the new primary. The connection to the old one breaks, and the reconnect
// on the spot asks the sentinels: there is not even a suspension.
on_each_server!(records_follow_the_primary_after_a_failover);
fn records_follow_the_primary_after_a_failover(flavour: Flavour) {
    let scratch = Scratch::new();
    let (group, mut core) = started(flavour, &scratch, &[]);
    group.wait_replicated();
    let primary = group.fail_over(&[]);
    core.send(10..40, 10);
    assert!(!core.verdicts.contains(&Suspended), "{}", core.log.text());
    let line = format!("connected, server: \"{}\"", primary.tcp_address());
    assert_eq!(core.log.count(&line), 1, "{}", core.log.text());
    assert_exact(primary, "audit", 0..40);
}

// Oracle: the line that names the new primary. The old one takes writes for ever, so that only whoever
// asks again can know.
on_each_server!(a_primary_that_lives_on_is_left_for_the_one_that_the_sentinels_name);
fn a_primary_that_lives_on_is_left_for_the_one_that_the_sentinels_name(flavour: Flavour) {
    let core = leaves_a_primary_that_is_never_told(flavour, "min-replicas-to-write 0");
    assert!(!core.verdicts.contains(&Suspended), "{}", core.log.text());
}

// Oracle: as above. The old primary refuses writes for ever, so that tryResume has to ask again.
on_each_server!(a_primary_that_lives_on_without_replicas_is_left_too);
fn a_primary_that_lives_on_without_replicas_is_left_too(flavour: Flavour) {
    let core = leaves_a_primary_that_is_never_told(flavour, "min-replicas-to-write 1");
    assert!(core.log.text().contains("NOREPLICAS"), "{}", core.log.text());
}

fn leaves_a_primary_that_is_never_told(flavour: Flavour, more: &str) -> Core {
    let scratch = Scratch::new();
    let deaf = format!("rename-command REPLICAOF \"\"\nrename-command SLAVEOF \"\"\n{more}");
    let old = Server::builder(flavour).tcp().config(&deaf).start(&scratch);
    let lines = format!("replicaof 127.0.0.1 {}", old.port());
    let new = Server::builder(flavour).tcp().config(&lines).start(&scratch);
    let sentinel = SentinelGroup::lone_sentinel(flavour, old.port()).tcp().start(&scratch);
    let mut core = Core::new(&sentinel.tcp_address(), &asks());
    wait_until("a replica", PATIENCE, || info(&old, "connected_slaves") == "1");
    core.send(0..10, 5);
    wait_length(&new, 10);
    wait_until("a sentinel that begins a failover", PATIENCE_WITH_SENTINELS, || {
        let mut command = redis::cmd("SENTINEL");
        command.arg("FAILOVER").arg(SentinelGroup::name()).exec(&mut sentinel.connection()).is_ok()
    });
    let mut next = 10;
    let address = format!("server: \"{}\"", new.tcp_address());
    wait_until("the worker to follow", PATIENCE_WITH_SENTINELS, || {
        core.send(next..next + 1, 1);
        next += 1;
        core.log.count(&address) == 1
    });
    core.send(next..next + 10, 5);
    assert_eq!(info(&old, "role"), "master");
    let stored = testkit::numbers(&testkit::entries(&mut new.connection(), "audit"));
    for number in (0..10).chain(next..next + 10) {
        assert_eq!(stored.iter().filter(|stored| **stored == number).count(), 1, "{number}");
    }
    core
}

/// A value of the server's INFO on replication.
fn info(server: &Server, name: &str) -> String {
    let info: String =
        redis::cmd("INFO").arg("replication").query(&mut server.connection()).unwrap();
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_default().trim().to_owned()
}

// Oracle: the exact count on the new primary. The old one is killed when it has a part of the batch,
// and has not confirmed it.
on_each_server!(a_primary_that_is_killed_in_a_batch_loses_and_doubles_nothing);
fn a_primary_that_is_killed_in_a_batch_loses_and_doubles_nothing(flavour: Flavour) {
    let scratch = Scratch::new();
    let (group, mut core) = started(flavour, &scratch, &[("timeout.commit", "2000")]);
    let old = group.primary();
    group.wait_replicated();
    core.load((10..20).map(|number| record_of(number, 50_000)));
    core.worker.begin_transaction();
    for index in 0..10 {
        core.hand_over(index);
    }
    // Its EXEC waits at the server when that is killed.
    command(old, &["CLIENT", "PAUSE", "600000", "WRITE"]);
    assert_eq!(core.worker.end_transaction(), Suspended);
    old.kill();
    let primary = group.wait_failover(old);
    core.resume();
    core.replay(10);
    core.send(20..40, 10);
    assert_exact(primary, "audit", 0..40);
    assert_eq!(core.log.count("commits again"), 1, "{}", core.log.text());
}

// Oracle: the exact count on the replica that took over. The old primary has run the EXEC and passed
// it on, but its reply never came; the marker is looked up where the records are now.
on_each_server!(a_commit_in_doubt_is_looked_up_on_the_new_primary);
fn a_commit_in_doubt_is_looked_up_on_the_new_primary(flavour: Flavour) {
    let scratch = Scratch::new();
    let primary = Server::builder(flavour).tcp().start(&scratch);
    let proxy = Proxy::tcp(primary.tcp_address());
    let port = match proxy.address() {
        testkit::Address::Tcp(address) => address.port(),
        testkit::Address::Unix(path) => panic!("{}", path.display()),
    };
    let lines = format!("replicaof 127.0.0.1 {port}");
    let replica = Server::builder(flavour).tcp().config(&lines).start(&scratch);
    let sentinel = SentinelGroup::lone_sentinel(flavour, port).tcp().start(&scratch);
    // It hears of a replica from its primary only, which is out of its reach later.
    wait_until("the sentinel to know the replica", PATIENCE_WITH_SENTINELS, || {
        let replicas = command(&sentinel, &["SENTINEL", "REPLICAS", SentinelGroup::name()]);
        matches!(replicas, redis::Value::Array(replicas) if !replicas.is_empty())
    });

    let mut core = Core::new(&sentinel.tcp_address(), &asks());
    core.send(0..10, 5);
    wait_length(&replica, 10);
    proxy.once(Fault::CutAfterExec);
    // The reconnect on the spot must not find the old primary.
    proxy.set(Fault::Refuse);
    core.load((10..20).map(record));
    assert_eq!(core.transaction(0..10), Suspended);
    assert_eq!(proxy.fired(Fault::CutAfterExec), 1);
    wait_length(&replica, 20);
    primary.kill();
    wait_until("the replica to take over", PATIENCE_WITH_SENTINELS, || {
        info(&replica, "role") == "master"
    });
    core.resume();
    assert_eq!(core.transaction(0..10), Committed);
    core.send(20..30, 10);
    assert_exact(&replica, "audit", 0..30);
}
