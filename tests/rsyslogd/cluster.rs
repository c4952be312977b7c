//! Slots move and a primary dies while records flow into a cluster.

use std::thread;
use std::time::Duration;

use testkit::{
    Cluster, Count, Flavour, Rsyslogd, Scratch, Sender, Server, Version, number_in, numbers, poll,
    record, wait_until,
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

/// rsyslogd with an action that knows all nodes, and takes these parameters besides.
fn started(cluster: &Cluster, scratch: &Scratch, parameters: &str) -> Rsyslogd {
    let servers: Vec<String> =
        cluster.addresses().iter().map(|address| format!("\"{address}\"")).collect();
    let action = format!(
        "action(type=\"omvalkeyaudit\" name=\"audit\" template=\"raw\"\n\
         \x20 topology=\"cluster\" server=[{}] timeout.connect=\"500\" {parameters}\n\
         \x20 queue.type=\"LinkedList\" queue.size=\"100000\" queue.dequeueBatchSize=\"64\"\n\
         \x20 action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\")",
        servers.join(", ")
    );
    rsyslogd_with(Version::V8_2504, scratch, &action)
}

/// The slot of each of these keys goes once round all nodes, three times over.
fn move_round(cluster: &Cluster, keys: &[String]) {
    let primaries = &cluster.servers()[..3];
    for key in std::iter::repeat_n(keys, 3).flatten() {
        let from = cluster.owner(key);
        let place = primaries.iter().position(|node| node.port() == from.port());
        let to = &primaries[(place.expect("a primary") + 1) % 3];
        cluster.move_slot(cluster.slot(key), from, to);
    }
}

/// The primary dies as soon as its replica has all that it has confirmed: writes are held up before, and
/// what is on its way is not confirmed.
fn kill_replicated(cluster: &Cluster, primary: &Server) {
    let replica = cluster.replica(primary);
    let mut pause = redis::cmd("CLIENT");
    pause.arg("PAUSE").arg(600_000).arg("WRITE");
    pause.exec(&mut primary.connection()).expect("CLIENT PAUSE");
    cluster.wait_replicated(primary, replica);
    primary.kill();
    cluster.wait_promoted(replica);
}

/// Sends all records: the first half while the slots of these keys go round, and the others while the primary of
/// the first key dies.
fn send_through_trouble(cluster: &Cluster, mut sender: Sender, keys: &[String], records: u64) {
    let next = send_during(&mut sender, 0, records / 2, || move_round(cluster, keys));
    assert!(next > 0);
    let primary = cluster.owner(&keys[0]);
    let next =
        send_during(&mut sender, next, records - CHUNK, || kill_replicated(cluster, primary));
    for number in next..records {
        sender.line(record(number)).expect("rsyslogd reads");
    }
    sender.finish().expect("rsyslogd reads");
}

/// Asserts that all that was sent is there once, as soon as so many are there.
#[track_caller]
fn assert_all_arrive(rsyslogd: &Rsyslogd, records: u64, stored: impl Fn() -> Vec<u64>) -> Count {
    wait_until("all records to arrive", PATIENCE, || stored().len() as u64 >= records);
    let status = rsyslogd.stop().status;
    assert!(status.success(), "{status}:\n{}", rsyslogd.log());
    let count = Count::of(stored(), 0..records);
    assert!(count.is_exact(), "{count}\n{}", rsyslogd.log());
    assert!(rsyslogd.log().contains("slot moved, slot: "), "{}", rsyslogd.log());
    count
}

/// Oracle: 30,000 numbers over the shards, each once, after each shard's slot went three times round all nodes
/// and a primary was killed.
#[test]
fn moving_slots_and_a_killed_primary_in_the_flow_lose_and_double_nothing() {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(Flavour::Valkey91).start(&scratch);
    let parameters = format!(
        "shards=\"{SHARDS}\" queue.workerThreads=\"{SHARDS}\" \
         queue.workerThreadMinimumMessages=\"100\""
    );
    let rsyslogd = started(&cluster, &scratch, &parameters);
    let keys: Vec<String> = (0..SHARDS).map(shard).collect();
    send_through_trouble(&cluster, rsyslogd.sender(), &keys, records());
    assert_all_arrive(&rsyslogd, records(), || stored(&cluster));
}

/// Oracle: the same for a list, in order.
#[test]
fn a_list_whose_slot_moves_and_whose_primary_dies_loses_and_doubles_nothing() {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(Flavour::Valkey91).start(&scratch);
    let rsyslogd = started(&cluster, &scratch, "mode=\"queue\" userpush=\"on\" key=\"list\"");
    send_through_trouble(&cluster, rsyslogd.sender(), &["list".to_owned()], records());
    let count = assert_all_arrive(&rsyslogd, records(), || {
        let mut owner = cluster.owner("list").connection();
        let all: Vec<Vec<u8>> =
            redis::cmd("LRANGE").arg("list").arg(0).arg(-1).query(&mut owner).expect("a list");
        all.iter().map(|text| number_in(text).expect("a record")).collect()
    });
    assert!(count.is_in_order(), "{count}");
}

/// Oracle: all numbers, each once, without any allowance. A primary is killed in the flow after its replica was
/// cut off: it had records that no replica has, which without copies would have been acknowledged, and lost.
#[test]
fn a_primary_killed_with_what_its_replica_lacks_costs_nothing() {
    const RECORDS: u64 = 6_000;
    let scratch = Scratch::new();
    let cluster = Cluster::builder(Flavour::Valkey91).start(&scratch);
    let parameters = format!(
        "durability.replicas=\"1\" durability.timeout=\"300\" shards=\"{SHARDS}\" \
         queue.workerThreads=\"{SHARDS}\" queue.workerThreadMinimumMessages=\"100\""
    );
    let rsyslogd = started(&cluster, &scratch, &parameters);
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
