//! Copies that the operator asks for, in real rsyslogds: what rsyslogd is told of is on a replica, so nothing is
//! lost when that takes over, and nothing doubled.

use testkit::{Flavour, Rsyslogd, Scratch, SentinelGroup, Server, Version, record, wait_until};

use crate::failover::send_during;
use crate::scene::{SOON, action, assert_delivered, count, entries, flavour_for, rsyslogd_with};

on_each_version!(
    a_replica_that_stands_still_holds_the_flow_and_nothing_is_doubled,
    a_stop_while_copies_are_missing_loses_and_doubles_nothing,
    a_primary_killed_with_what_no_replica_has_costs_nothing,
);

const SHORT: &str = "0 of 1 replicas have what was written";
const RECORDS: u64 = 4_000;
/// More than can be sent before a failover is over.
const FLOW: u64 = 20_000;

/// A server, and a replica of it that answers.
fn pair(version: Version, scratch: &Scratch) -> (Server, Server) {
    let flavour = flavour_for(version);
    let soon = "repl-diskless-sync-delay 0";
    let primary = Server::builder(flavour).tcp().config(soon).start(scratch);
    let lines = format!("replicaof 127.0.0.1 {}", primary.port());
    let replica = Server::builder(flavour).tcp().config(&lines).start(scratch);
    let mut connection = primary.connection();
    wait_until("a replica that answers", SOON, || {
        redis::cmd("SET").arg("a").arg("b").exec(&mut connection).expect("SET");
        let mut wait = redis::cmd("WAIT");
        wait.arg(1).arg(100).query::<i64>(&mut connection).expect("WAIT") == 1
    });
    (primary, replica)
}

fn parameters(scratch: &Scratch) -> String {
    format!(
        "durability.replicas=\"1\" durability.timeout=\"300\" queue.dequeueBatchSize=\"64\"\n\
         \x20 queue.filename=\"q\" queue.saveOnShutdown=\"on\" queue.timeoutShutdown=\"500\"\n\
         \x20 holdfile=\"{}\"",
        scratch.join("audit.hold").display()
    )
}

/// Oracle: the count on both servers. While the replica stands still, the stream grows by one batch at most.
fn a_replica_that_stands_still_holds_the_flow_and_nothing_is_doubled(version: Version) {
    let scratch = Scratch::new();
    let (primary, replica) = pair(version, &scratch);
    let action = action(&primary.address(), &parameters(&scratch));
    let rsyslogd = rsyslogd_with(version, &scratch, &action);
    rsyslogd.send((0..1000).map(record));
    primary.wait_entries("audit", 1000, SOON);
    replica.pause();
    rsyslogd.send((1000..RECORDS).map(record));
    rsyslogd.wait_log(SHORT);
    assert!(entries(&primary, "audit").len() <= 1000 + 64);
    replica.cont();
    assert_delivered(&rsyslogd, &primary, 0..RECORDS);
    let count = count(&replica, "audit", 0..RECORDS);
    assert!(count.is_exact() && count.is_in_order(), "{count}");
}

/// Oracle: the count over two stops in which the replica stands still: what is written and has no copy
/// is held, or noted, and looked up when rsyslogd is back.
fn a_stop_while_copies_are_missing_loses_and_doubles_nothing(version: Version) {
    let scratch = Scratch::new();
    let (primary, replica) = pair(version, &scratch);
    let action = action(&primary.address(), &parameters(&scratch));
    let rsyslogd = Rsyslogd::builder(version).action(&action).start(&scratch);
    rsyslogd.send((0..200).map(record));
    primary.wait_entries("audit", 200, SOON);
    for stop in 0..2 {
        replica.pause();
        let before = rsyslogd.log().matches(SHORT).count();
        rsyslogd.send((200 + stop * 400..600 + stop * 400).map(record));
        wait_until("a batch without its copies", SOON, || {
            rsyslogd.log().matches(SHORT).count() > before
        });
        assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
        replica.cont();
        rsyslogd.start();
    }
    rsyslogd.send((1000..RECORDS).map(record));
    primary.wait_entries("audit", RECORDS, SOON);
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    for server in [&primary, &replica] {
        let count = count(server, "audit", 0..RECORDS);
        assert!(count.is_exact(), "{count}\n{}", rsyslogd.log());
    }
}

/// Oracle: all numbers on the replica that took over, each once and in order, without any allowance. Its
/// primary is killed in the flow, after its replicas were cut off: it
/// had records that no replica has, which without copies would have been acknowledged, and lost.
fn a_primary_killed_with_what_no_replica_has_costs_nothing(version: Version) {
    let scratch = Scratch::new();
    let group = SentinelGroup::builder(flavour_for(version)).replicas(2).start(&scratch);
    let action = asking(&group);
    let rsyslogd = rsyslogd_with(version, &scratch, &action);
    let old = group.primary();
    let mut connection = old.connection();
    rsyslogd.send((0..1000).map(record));
    old.wait_entries("audit", 1000, SOON);
    let mut wait = redis::cmd("WAIT");
    redis::cmd("SET").arg("a").arg("b").exec(&mut connection).expect("SET");
    assert_eq!(wait.arg(2).arg(0).query::<i64>(&mut connection).expect("WAIT"), 2);
    // Nothing is on its way: what is written next has no copy.
    cut_off(&mut connection);
    rsyslogd.send((1000..2000).map(record));
    wait_until("records that no replica has", SOON, || {
        testkit::entries(&mut connection, "audit").len() > 1000
    });
    let replicas = group.servers().iter().filter(|server| server.pid() != old.pid());
    assert!(replicas.clone().all(|replica| entries(replica, "audit").len() == 1000));
    old.kill();
    rsyslogd.send((2000..RECORDS).map(record));
    let new = group.wait_failover(old);
    assert_delivered(&rsyslogd, new, 0..RECORDS);
}

/// Oracle: as above, through a failover in which the old primary lives on, and goes on taking writes until the
/// sentinels make it a replica. It has no replica meanwhile, so that it is believed nothing.
#[test]
fn a_failover_from_a_primary_that_lives_on_costs_nothing() {
    let scratch = Scratch::new();
    let group = SentinelGroup::builder(Flavour::Valkey91).start(&scratch);
    let rsyslogd = rsyslogd_with(Version::V8_2504, &scratch, &asking(&group));
    let mut sender = rsyslogd.sender();
    let (new, next) = send_during(&mut sender, 0, FLOW, || group.fail_over(&[]));
    for number in next..FLOW {
        sender.line(record(number)).expect("rsyslogd reads");
    }
    sender.finish().expect("rsyslogd reads");
    assert_delivered(&rsyslogd, new, 0..FLOW);
}

/// An action that asks the group's sentinels for the primary, and that for a replica.
fn asking(group: &SentinelGroup) -> String {
    let sentinels: Vec<String> =
        group.addresses().iter().map(|address| format!("\"{address}\"")).collect();
    format!(
        "action(type=\"omvalkeyaudit\" name=\"audit\" template=\"raw\"\n\
         \x20 topology=\"sentinel\" sentinel.master=\"{}\" server=[{}]\n\
         \x20 durability.replicas=\"1\" durability.timeout=\"300\"\n\
         \x20 queue.type=\"LinkedList\" queue.size=\"100000\" queue.dequeueBatchSize=\"64\"\n\
         \x20 action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\")",
        SentinelGroup::name(),
        sentinels.join(", ")
    )
}

/// Takes all replicas away from a primary, for as long as it lives: they have no password.
fn cut_off(primary: &mut redis::Connection) {
    let mut password = redis::cmd("CONFIG");
    password.arg("SET").arg("requirepass").arg("other").exec(primary).expect("CONFIG SET");
    let mut kill = redis::cmd("CLIENT");
    let killed: i64 = kill.arg("KILL").arg("TYPE").arg("replica").query(primary).expect("KILL");
    assert_eq!(killed, 2);
}
