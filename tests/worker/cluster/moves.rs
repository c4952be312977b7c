//! Slots that move to another node while records flow.

use super::{assert_exact, core, other, stream_and_marker};
use crate::core::{Core, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use redis::Value;
use std::thread;
use testkit::{Cluster, Flavour, Scratch, Server, record, wait_until};

fn bare(flavour: Flavour, scratch: &Scratch) -> Cluster {
    Cluster::builder(flavour).without_replicas().start(scratch)
}

// Oracle: exact count on the new owner; no suspension, and one line that tells of the move.
on_each_server!(a_slot_that_moved_between_two_batches_is_followed);
fn a_slot_that_moved_between_two_batches_is_followed(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = bare(flavour, &scratch);
    let mut core = core(&cluster, &[]);
    core.send(0..20, 10);
    let slot = cluster.slot("audit");
    let (from, to) = (cluster.owner("audit"), other(&cluster, "audit"));
    cluster.move_slot(slot, from, to);
    core.send(20..40, 10);
    assert_exact(&cluster, "audit", 0..40);
    assert_eq!(cluster.owner("audit").port(), to.port());
    let line = format!(
        "slot moved, slot: {slot}, from: \"{}\", to: \"{}\"",
        from.tcp_address(),
        to.tcp_address()
    );
    assert_eq!(core.log.count(&line), 1, "{}", core.log.text());
    assert_eq!(core.log.count("cannot commit"), 0, "{}", core.log.text());
}

// Oracle: exact count; each verdict along the way. First the stream goes, then the marker, or the other
// way round; in between no node has both, and nothing can be written.
on_each_server!(a_slot_that_stops_half_way_suspends_and_goes_on_when_its_keys_are_together);
fn a_slot_that_stops_half_way_suspends_and_goes_on_when_its_keys_are_together(flavour: Flavour) {
    for is_stream_first in [true, false] {
        let scratch = Scratch::new();
        let cluster = bare(flavour, &scratch);
        let mut core = core(&cluster, &[]);
        core.send(0..10, 10);
        let slot = cluster.slot("audit");
        let (from, to) = (cluster.owner("audit"), other(&cluster, "audit"));
        let (stream, marker) = stream_and_marker(&cluster, slot, from);
        let (first, second) = if is_stream_first { (&stream, &marker) } else { (&marker, &stream) };

        cluster.begin_move(slot, from, to);
        core.send(10..20, 10);
        assert!(!core.verdicts.contains(&Suspended), "{}", core.log.text());
        cluster.move_keys(&[first], from, to);
        core.load((20..30).map(record));
        assert_eq!(core.transaction(0..10), Suspended);
        let refused = format!(" refuses slot {slot}: ");
        assert!(core.log.text().contains(&refused), "{}", core.log.text());
        cluster.move_keys(&[second], from, to);
        // The slot is still on its way, and all of its keys are there.
        assert_eq!(core.try_resume(), Committed, "{}", core.log.text());
        core.replay(10);
        core.send(30..40, 10);
        cluster.end_move(slot, from, to);
        core.send(40..50, 10);
        assert_exact(&cluster, "audit", 0..50);
    }
}

/// Sends records, in small batches, until `moves` is over, and some more then.
pub(super) fn send_during(core: &mut Core, moves: impl FnOnce() + Send) -> u64 {
    let mut next = 0;
    while_moving(moves, || {
        core.send(next..next + 20, 20);
        next += 20;
    });
    next
}

/// Sends until `moves` is over, and some more then.
pub(super) fn while_moving(moves: impl FnOnce() + Send, mut send: impl FnMut()) {
    thread::scope(|scope| {
        let moves = scope.spawn(moves);
        while !moves.is_finished() {
            send();
        }
        (0..5).for_each(|_| send());
    });
}

// Oracle: exact count after the slot went round all nodes, key by key, several times.
on_each_server!(a_slot_that_moves_key_by_key_under_load_loses_and_doubles_nothing);
fn a_slot_that_moves_key_by_key_under_load_loses_and_doubles_nothing(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = bare(flavour, &scratch);
    let mut core = core(&cluster, &[]);
    core.send(0..10, 10);
    let _: Value = command(cluster.owner("audit"), &["DEL", "audit"]);
    let slot = cluster.slot("audit");
    let count = send_during(&mut core, || {
        for _ in 0..12 {
            let from = cluster.owner("audit");
            let place = cluster.servers().iter().position(|node| node.port() == from.port());
            let to = &cluster.servers()[(place.unwrap() + 1) % 3];
            cluster.move_slot(slot, from, to);
        }
    });
    assert_exact(&cluster, "audit", 0..count);
}

// Oracle: exact count after the slot moved as a whole, several times (Valkey 9 on).
#[test]
fn a_slot_that_moves_as_a_whole_under_load_loses_and_doubles_nothing() {
    let scratch = Scratch::new();
    let cluster = bare(Flavour::Valkey91, &scratch);
    let mut core = core(&cluster, &[]);
    core.send(0..10, 10);
    let _: Value = command(cluster.owner("audit"), &["DEL", "audit"]);
    let slot = cluster.slot("audit").to_string();
    let count = send_during(&mut core, || {
        for _ in 0..4 {
            let (from, to) = (cluster.owner("audit"), other(&cluster, "audit"));
            let id: String = redis::cmd("CLUSTER").arg("MYID").query(&mut to.connection()).unwrap();
            command(from, &["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &slot, &slot, "NODE", &id]);
            wait_until("the slot to move", crate::core::PATIENCE, || {
                cluster.owner("audit").port() == to.port()
            });
        }
    });
    assert_exact(&cluster, "audit", 0..count);
}

/// Whether a node has nothing of a slot.
fn is_empty(cluster: &Cluster, slot: u16, node: &Server) -> bool {
    cluster.keys(slot, node).is_empty()
}

// Oracle: the nodes' keys: a worker that begins while the slot of its key is on its way puts its marker
// nowhere where it would be in the way of the stream.
on_each_server!(a_worker_that_begins_while_a_slot_is_on_its_way_waits_for_it);
fn a_worker_that_begins_while_a_slot_is_on_its_way_waits_for_it(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = bare(flavour, &scratch);
    let mut first = core(&cluster, &[]);
    first.send(0..10, 10);
    let slot = cluster.slot("audit");
    let (from, to) = (cluster.owner("audit"), other(&cluster, "audit"));
    cluster.begin_move(slot, from, to);
    let mut second = core(&cluster, &[]);
    second.load((10..20).map(record));
    second.transaction(0..10);
    let keys = cluster.keys(slot, from);
    cluster.move_keys(&keys.iter().map(String::as_str).collect::<Vec<_>>(), from, to);
    assert!(is_empty(&cluster, slot, from));
    cluster.end_move(slot, from, to);
    second.resume();
    second.replay(10);
    first.send(20..30, 10);
    assert_exact(&cluster, "audit", 0..30);
}
