//! Parts whose confirmation was lost: each is looked up where its slot is by then.

use super::{assert_exact, core, other, proxied, stream_and_marker};
use crate::core::Core;
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use omvalkeyaudit::stats::Counter;
use std::time::Duration;
use testkit::{Cluster, Fault, Flavour, Proxy, Scratch, Server, entries, record};

/// A cluster whose node with the slot of "audit" is behind a proxy, and a worker that has committed ten
/// records.
fn started(flavour: Flavour, scratch: &Scratch) -> (Cluster, Proxy, Core) {
    let cluster = Cluster::builder(flavour).without_replicas().start(scratch);
    let proxy = proxied(&cluster, cluster.owner("audit"));
    let mut core = core(&cluster, &[("timeout.commit", "2000")]);
    core.send(0..10, 10);
    (cluster, proxy, core)
}

// Oracle: exact count; one commit in doubt, and no suspension.
on_each_server!(a_part_whose_confirmation_was_lost_is_looked_up);
fn a_part_whose_confirmation_was_lost_is_looked_up(flavour: Flavour) {
    let late = Fault::LateExec(Duration::from_millis(300));
    for fault in [Fault::CutAfterExec, Fault::CutBeforeExec, Fault::CutInRequest, late] {
        let scratch = Scratch::new();
        let (cluster, proxy, mut core) = started(flavour, &scratch);
        proxy.once(fault);
        core.send(10..20, 10);
        assert_eq!(proxy.fired(fault), 1, "{fault:?} did not happen");
        assert_eq!(core.action.stats.get(Counter::InDoubt), 1);
        assert!(!core.verdicts.contains(&Suspended), "{fault:?} {}", core.log.text());
        core.send(20..30, 10);
        assert_exact(&cluster, "audit", 0..30);
    }
}

/// Where a slot may be when its part in doubt is looked up.
#[derive(Clone, Copy, Debug)]
enum Progress {
    MarkerGone,
    StreamGone,
    BothGone,
    Over,
}

fn advance(progress: Progress, cluster: &Cluster, slot: u16, from: &Server, to: &Server) {
    let (stream, marker) = stream_and_marker(cluster, slot, from);
    cluster.begin_move(slot, from, to);
    if !matches!(progress, Progress::MarkerGone) {
        cluster.move_keys(&[&stream], from, to);
    }
    if !matches!(progress, Progress::StreamGone) {
        cluster.move_keys(&[&marker], from, to);
    }
    if matches!(progress, Progress::Over) {
        cluster.end_move(slot, from, to);
    }
}

// Oracle: exact count, whatever EXEC did before the slot, or some of its keys, went elsewhere.
on_each_server!(a_part_in_doubt_is_looked_up_where_its_slot_is_by_then);
fn a_part_in_doubt_is_looked_up_where_its_slot_is_by_then(flavour: Flavour) {
    for progress in [Progress::MarkerGone, Progress::StreamGone, Progress::BothGone, Progress::Over]
    {
        for fault in [Fault::CutAfterExec, Fault::CutBeforeExec] {
            let scratch = Scratch::new();
            let (cluster, proxy, mut core) = started(flavour, &scratch);
            let (from, to) = (cluster.owner("audit"), other(&cluster, "audit"));
            let slot = cluster.slot("audit");
            proxy.once(fault);
            // So that it is not looked up in the same call.
            proxy.set(Fault::Refuse);
            core.load((10..20).map(record));
            assert_eq!(core.transaction(0..10), Suspended, "{progress:?} {fault:?}");
            assert_eq!(proxy.fired(fault), 1, "{fault:?} did not happen");
            proxy.pass();
            advance(progress, &cluster, slot, from, to);
            let resumed = core.try_resume();
            if matches!(progress, Progress::Over) {
                assert_eq!(resumed, Committed, "{}", core.log.text());
            } else {
                // As long as its keys are apart, only the look-up goes through.
                let left = cluster.keys(slot, from);
                let left: Vec<&str> = left.iter().map(String::as_str).collect();
                if !left.is_empty() {
                    cluster.move_keys(&left, from, to);
                }
                cluster.end_move(slot, from, to);
            }
            core.resume();
            core.replay(10);
            core.send(20..30, 10);
            assert_exact(&cluster, "audit", 0..30);
        }
    }
}

// Oracle: the streams of the other nodes while one hangs: its part waits, the others are committed, once;
// the longest call; and all of it when the node goes on.
on_each_server!(a_node_that_hangs_keeps_back_its_part_only);
fn a_node_that_hangs_keeps_back_its_part_only(flavour: Flavour) {
    let scratch = Scratch::new();
    let (cluster, proxy, _) = started(flavour, &scratch);
    let behind = cluster.owner("audit").port();
    let parameters = [
        ("timeout.commit", "2000"),
        ("timeout.connect", "500"),
        ("dynakey", "on"),
        ("key", "template"),
    ];
    let mut core = core(&cluster, &parameters);
    let key = |number: u64| format!("host:{}", number % 12);
    let batch = |from: u64| (from..from + 120).map(|number| (key(number), record(number)));
    core.load_keyed(batch(0));
    assert_eq!(core.transaction(0..120), Committed, "{}", core.log.text());
    core.longest = Duration::ZERO;
    proxy.set(Fault::DropReplies);
    core.load_keyed(batch(120));
    assert_eq!(core.transaction(0..120), Suspended);
    assert!(core.longest < Duration::from_secs(3), "{:?}", core.longest);
    let counts = || {
        (0..12).map(|host| {
            let key = key(host);
            let owner = cluster.owner(&key);
            (owner.port(), entries(&mut owner.connection(), &key).len())
        })
    };
    let elsewhere: Vec<_> = counts().filter(|(port, _)| *port != behind).collect();
    assert!(elsewhere.iter().any(|(_, count)| *count == 20), "{elsewhere:?}");
    proxy.pass();
    proxy.cut_all();
    core.resume();
    core.replay(120);
    assert!(counts().all(|(_, count)| count == 20), "{:?}", counts().collect::<Vec<_>>());
}

// Oracle: what is unsettled while records and marker are on two nodes, of which each could answer for its own
// part only; and the exact count when the slot has arrived.
#[test]
fn a_part_on_its_way_has_its_copies_when_it_has_arrived() {
    for progress in [Progress::MarkerGone, Progress::StreamGone] {
        let scratch = Scratch::new();
        let cluster = Cluster::builder(Flavour::Valkey91).without_replicas();
        let cluster = cluster.config("appendonly yes\nappendfsync always").start(&scratch);
        let proxy = proxied(&cluster, cluster.owner("audit"));
        let fsync = [("durability.fsync", "local"), ("timeout.commit", "2000")];
        let mut core = core(&cluster, &fsync);
        core.send(0..10, 10);
        let (from, to) = (cluster.owner("audit"), other(&cluster, "audit"));
        let slot = cluster.slot("audit");
        proxy.once(Fault::CutAfterExec);
        proxy.set(Fault::Refuse);
        core.load((10..20).map(record));
        assert_eq!(core.transaction(0..10), Suspended);
        proxy.pass();
        advance(progress, &cluster, slot, from, to);
        for _ in 0..2 {
            assert_eq!(core.try_resume(), Suspended, "{progress:?}");
            assert_eq!(core.worker.unsettled(), 10, "{progress:?}");
        }
        assert!(core.log.text().contains("is on its way to"), "{}", core.log.text());
        let left = cluster.keys(slot, from);
        cluster.move_keys(&left.iter().map(String::as_str).collect::<Vec<_>>(), from, to);
        cluster.end_move(slot, from, to);
        core.resume();
        core.replay(10);
        core.send(20..30, 10);
        assert_exact(&cluster, "audit", 0..30);
    }
}
