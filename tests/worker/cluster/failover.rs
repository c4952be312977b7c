//! Replicas that take their primary's slots over. What an asynchronous replica has not got when its
//! primary dies, no client can bring back: each kill waits for the replica, with writes held up, so that
//! nothing may be lost or doubled.

use super::moves::send_during;
use super::ways::{Way, Witness, suspend};
use super::{assert_exact, core};
use crate::core::{Core, PATIENCE, command};
use omvalkeyaudit::error::Verdict::Suspended;
use testkit::{Cluster, Flavour, Scratch, Server, record, wait_until};

fn started(flavour: Flavour, scratch: &Scratch, lines: &str) -> (Cluster, Core) {
    let cluster = Cluster::builder(flavour).config(lines).start(scratch);
    let mut core = core(&cluster, &[("timeout.commit", "1000"), ("timeout.connect", "500")]);
    core.send(0..10, 5);
    (cluster, core)
}

/// From here on nothing is confirmed that a replica has not got.
fn hold_writes(primary: &Server) {
    command(primary, &["CLIENT", "PAUSE", "600000", "WRITE"]);
}

// Oracle: exact count on the promoted replica: ten records that were confirmed, ten that the primary had
// been sent when it died, ten more.
on_each_server!(a_killed_primary_loses_nothing_that_its_replica_has);
fn a_killed_primary_loses_nothing_that_its_replica_has(flavour: Flavour) {
    let scratch = Scratch::new();
    let (cluster, mut core) = started(flavour, &scratch, "");
    let primary = cluster.owner("audit");
    let replica = cluster.replica(primary);
    hold_writes(primary);
    cluster.wait_replicated(primary, replica);
    core.load((10..20).map(record));
    assert_eq!(core.transaction(0..10), Suspended);
    primary.kill();
    assert_eq!(core.try_resume(), Suspended, "nobody has the slot yet");
    cluster.wait_promoted(replica);
    core.resume();
    core.replay(10);
    core.send(20..30, 10);
    assert_exact(&cluster, "audit", 0..30);
    assert_eq!(cluster.owner("audit").port(), replica.port());
    let text = core.log.text();
    assert!(text.contains("slot moved, slot: "), "{text}");
    assert!(text.contains("commits again, server: \"cluster of "), "{text}");
}

// Oracle: exact count, of a stream and of a list: what the primary wrote and the replica has got, before the primary
// died without a word about it, is looked up at the replica.
on_each_server!(a_part_in_doubt_is_looked_up_at_the_promoted_replica);
fn a_part_in_doubt_is_looked_up_at_the_promoted_replica(flavour: Flavour) {
    for (way, is_committed) in [Way::Stream, Way::Queue]
        .into_iter()
        .flat_map(|way| [true, false].map(|is_committed| (way, is_committed)))
    {
        let scratch = Scratch::new();
        // A primary that stands still must be one when it goes on.
        let cluster = Cluster::builder(flavour).config("cluster-node-timeout 8000").start(&scratch);
        let witness = Witness::new(way, &cluster);
        let primary = cluster.owner(way.key());
        let replica = cluster.replica(primary);
        let short = [("timeout.commit", "2000"), ("timeout.connect", "500")];
        let mut core = core(&cluster, &[way.parameters(), &short].concat());
        let wait_replica = |length: u64| {
            wait_until("the replica to have the records", PATIENCE, || {
                let mut connection = replica.connection();
                redis::cmd("READONLY").exec(&mut connection).unwrap();
                let ask = if way == Way::Queue { "LLEN" } else { "XLEN" };
                redis::cmd(ask).arg(way.key()).query::<u64>(&mut connection).unwrap() == length
            });
        };
        way.send(&mut core, 0..10, 5);
        wait_replica(10);
        // Stopped, it has what it is sent, and says nothing.
        primary.pause();
        way.load(&mut core, 10..20);
        suspend(&mut core, 10);
        if is_committed {
            primary.cont();
            wait_replica(20);
        }
        primary.kill();
        cluster.wait_promoted(replica);
        core.resume();
        core.replay(10);
        way.send(&mut core, 20..30, 10);
        witness.assert_exact(0..30);
    }
}

// Oracle: exact count after the primary handed over to its replica and got everything back, under load.
on_each_server!(a_coordinated_failover_under_load_loses_and_doubles_nothing);
fn a_coordinated_failover_under_load_loses_and_doubles_nothing(flavour: Flavour) {
    let scratch = Scratch::new();
    let (cluster, mut core) = started(flavour, &scratch, "");
    let primary = cluster.owner("audit");
    let replica = cluster.replica(primary);
    command(primary, &["DEL", "audit"]);
    let count = send_during(&mut core, || {
        for (from, to) in [(primary, replica), (replica, primary)] {
            cluster.fail_over(from, to);
        }
    });
    assert_exact(&cluster, "audit", 0..count);
}
