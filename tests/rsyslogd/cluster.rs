//! Slots move and a primary dies while records flow into a cluster.

use std::thread;
use std::time::Duration;

use testkit::{
    Cluster, Count, Flavour, Scratch, Sender, Version, numbers, poll, record, wait_until,
};

use crate::scene::rsyslogd_with;

/// Unless `CLUSTER_RECORDS` says otherwise.
const RECORDS: u64 = 30_000;
const SHARDS: usize = 3;
/// A flow that is still there when something is over: so many records, then a look whether it is.
const CHUNK: u64 = 20;
const LOOK: Duration = Duration::from_millis(4);
/// Nodes and rsyslogd share two processors with everything else.
const PATIENCE: Duration = Duration::from_secs(100);

/// Sends records from number `next` on for as long as `change` lasts, but none from number `end` on. Gives
/// the next number.
fn send_during(sender: &mut Sender, mut next: u64, end: u64, change: impl FnOnce() + Send) -> u64 {
    thread::scope(|scope| {
        let change = scope.spawn(change);
        while next < end && poll(LOOK, || change.is_finished().then_some(())).is_none() {
            for number in next..next + CHUNK {
                sender.line(record(number)).expect("rsyslogd reads");
            }
            sender.flush().expect("rsyslogd reads");
            next += CHUNK;
        }
        change.join().expect("a change");
        next
    })
}

fn shard(number: usize) -> String {
    format!("audit:{{{number}}}")
}

/// All numbers in the cluster, shard by shard.
fn stored(cluster: &Cluster) -> Vec<u64> {
    let shards = (0..SHARDS).map(|number| {
        let key = shard(number);
        numbers(&testkit::entries(&mut cluster.owner(&key).connection(), &key))
    });
    shards.flatten().collect()
}

fn records() -> u64 {
    let given = std::env::var("CLUSTER_RECORDS").ok();
    given.map_or(RECORDS, |count| count.parse().expect("a number of records"))
}

/// A worker for each shard.
fn action(cluster: &Cluster, parameters: &str) -> String {
    let servers: Vec<String> =
        cluster.addresses().iter().map(|address| format!("\"{address}\"")).collect();
    format!(
        "action(type=\"omvalkeyaudit\" name=\"audit\" template=\"raw\" {parameters}\n\
         \x20 topology=\"cluster\" server=[{}] shards=\"{SHARDS}\" timeout.connect=\"500\"\n\
         \x20 queue.type=\"LinkedList\" queue.size=\"100000\" queue.dequeueBatchSize=\"64\"\n\
         \x20 queue.workerThreads=\"{SHARDS}\" queue.workerThreadMinimumMessages=\"100\"\n\
         \x20 action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\")",
        servers.join(", ")
    )
}

/// Oracle: 30,000 numbers over the shards, each once, after each shard's slot went once round all nodes and a
/// primary was killed. The kill waits for the replica, with writes held up: what was confirmed is there
/// then, and what is on its way is not confirmed.
#[test]
fn moving_slots_and_a_killed_primary_in_the_flow_lose_and_double_nothing() {
    let scratch = Scratch::new();
    let records = records();
    let cluster = Cluster::builder(Flavour::Valkey91).start(&scratch);
    let primaries = &cluster.servers()[..3];
    let rsyslogd = rsyslogd_with(Version::V8_2504, &scratch, &action(&cluster, ""));
    let mut sender = rsyslogd.sender();

    let next = send_during(&mut sender, 0, records / 2, || {
        for _ in 0..3 {
            for number in 0..SHARDS {
                let key = shard(number);
                let from = cluster.owner(&key);
                let place = primaries.iter().position(|node| node.port() == from.port());
                let to = &primaries[(place.expect("a primary") + 1) % 3];
                cluster.move_slot(cluster.slot(&key), from, to);
            }
        }
    });
    assert!(next > 0);

    let primary = cluster.owner(&shard(0));
    let next = send_during(&mut sender, next, records - CHUNK, || {
        let replica = cluster.replica(primary);
        let mut pause = redis::cmd("CLIENT");
        pause.arg("PAUSE").arg(600_000).arg("WRITE");
        pause.exec(&mut primary.connection()).expect("CLIENT PAUSE");
        cluster.wait_replicated(primary, replica);
        primary.kill();
        cluster.wait_promoted(replica);
    });
    for number in next..records {
        sender.line(record(number)).expect("rsyslogd reads");
    }
    sender.finish().expect("rsyslogd reads");

    wait_until("all records to arrive", PATIENCE, || stored(&cluster).len() as u64 >= records);
    let status = rsyslogd.stop().status;
    assert!(status.success(), "{status}:\n{}", rsyslogd.log());
    let count = Count::of(stored(&cluster), 0..records);
    assert!(count.is_exact(), "{count}\n{}", rsyslogd.log());
    assert!(rsyslogd.log().contains("slot moved, slot: "), "{}", rsyslogd.log());
}

/// Oracle: all numbers, each once, without any allowance. A primary is killed in the flow after its replica was
/// cut off: it had records that no replica has, which without copies would have been acknowledged, and lost.
#[test]
fn a_primary_killed_with_what_its_replica_lacks_costs_nothing() {
    const RECORDS: u64 = 6_000;
    let scratch = Scratch::new();
    let cluster = Cluster::builder(Flavour::Valkey91).start(&scratch);
    let copies = "durability.replicas=\"1\" durability.timeout=\"300\"";
    let rsyslogd = rsyslogd_with(Version::V8_2504, &scratch, &action(&cluster, copies));
    rsyslogd.send((0..1000).map(record));
    wait_until("records to arrive", PATIENCE, || stored(&cluster).len() == 1000);

    let key = shard(0);
    let primary = cluster.owner(&key);
    let replica = cluster.replica(primary);
    let mut connection = primary.connection();
    // The replica is not let in again.
    let mut password = redis::cmd("CONFIG");
    password.arg("SET").arg("requirepass").arg("other").exec(&mut connection).expect("CONFIG SET");
    let mut kill = redis::cmd("CLIENT");
    let killed: i64 =
        kill.arg("KILL").arg("TYPE").arg("replica").query(&mut connection).expect("KILL");
    assert_eq!(killed, 1);
    rsyslogd.send((1000..2000).map(record));
    rsyslogd.wait_log("0 of 1 replicas have what was written");
    let on_primary = testkit::entries(&mut connection, &key).len();
    let mut connection = replica.connection();
    redis::cmd("READONLY").exec(&mut connection).expect("READONLY");
    let on_replica = testkit::entries(&mut connection, &key).len();
    assert!(on_primary > on_replica, "{on_primary} there, {on_replica} on the replica");
    primary.kill();
    rsyslogd.send((2000..RECORDS).map(record));
    cluster.wait_promoted(replica);
    // As a replica of the one that has taken over.
    primary.start();
    wait_until("all records to arrive", PATIENCE, || stored(&cluster).len() as u64 >= RECORDS);
    let status = rsyslogd.stop().status;
    assert!(status.success(), "{status}:\n{}", rsyslogd.log());
    let count = Count::of(stored(&cluster), 0..RECORDS);
    assert!(count.is_exact(), "{count}\n{}", rsyslogd.log());
}
