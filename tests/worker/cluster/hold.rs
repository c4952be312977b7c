//! A worker that ends while a node of the cluster is away, and the next one that finds its hold file.

use super::{assert_exact, core, proxied};
use crate::core::Core;
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use testkit::{Cluster, Fault, Flavour, Scratch, record};

/// Of the keys, that many are on nodes of their own.
const KEYS: u64 = 6;

fn key(number: u64) -> String {
    format!("host:{}", number % KEYS)
}

fn batch(core: &mut Core, numbers: std::ops::Range<u64>) {
    core.load_keyed(numbers.map(|number| (key(number), record(number))));
}

// Oracle: exact count on each node: the part in doubt was committed or not, the others were, and the next
// worker, which knows the hold file only, writes what is missing and nothing else.
on_each_server!(a_part_in_doubt_outlives_a_stop);
fn a_part_in_doubt_outlives_a_stop(flavour: Flavour) {
    for fault in [Fault::DropReplies, Fault::BlackHole] {
        let scratch = Scratch::new();
        let cluster = Cluster::builder(flavour).without_replicas().start(&scratch);
        let proxy = proxied(&cluster, cluster.owner(&key(0)));
        let file = scratch.join("hold").display().to_string();
        let parameters = [
            ("dynakey", "on"),
            ("key", "template"),
            ("holdfile", file.as_str()),
            ("timeout.commit", "2000"),
            ("timeout.connect", "1000"),
        ];
        let mut first = core(&cluster, &parameters);
        batch(&mut first, 0..60);
        assert_eq!(first.transaction(0..60), Committed, "{}", first.log.text());
        proxy.set(fault);
        batch(&mut first, 60..120);
        assert_eq!(first.transaction(0..60), Suspended, "{fault:?}");
        let kept = first.worker.unsettled();
        assert!((1..60).contains(&kept), "{kept} of 60 wait, of which one node has some only");
        proxy.set(Fault::Refuse);
        proxy.cut_all();
        let log = first.stop();
        assert_eq!(log.count(&format!("held records that are not committed, count: {kept}")), 1);
        proxy.pass();
        let mut next = core(&cluster, &parameters);
        batch(&mut next, 120..180);
        assert_eq!(next.transaction(0..60), Committed, "{}", next.log.text());
        assert_eq!(next.log.count(&format!("held records committed, count: {kept}")), 1);
        for host in 0..KEYS {
            let expected: Vec<u64> = (0..180).filter(|number| number % KEYS == host).collect();
            let key = key(host);
            let found = testkit::entries(&mut cluster.owner(&key).connection(), &key);
            assert_eq!(testkit::numbers(&found), expected, "{fault:?} {key}");
        }
    }
}

// Oracle: exact count, in order: what is held comes first.
on_each_server!(held_records_of_a_cluster_come_before_new_ones);
fn held_records_of_a_cluster_come_before_new_ones(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(flavour).without_replicas().start(&scratch);
    let proxy = proxied(&cluster, cluster.owner("audit"));
    let file = scratch.join("hold").display().to_string();
    let parameters =
        [("holdfile", file.as_str()), ("timeout.commit", "2000"), ("timeout.connect", "1000")];
    let mut first = core(&cluster, &parameters);
    first.send(0..10, 10);
    proxy.set(Fault::Refuse);
    proxy.cut_all();
    first.load((10..20).map(record));
    assert_eq!(first.transaction(0..10), Suspended);
    assert_eq!(first.stop().count("held records that are not committed, count: 10"), 1);
    proxy.pass();
    let mut next = core(&cluster, &parameters);
    next.send(20..30, 10);
    assert_exact(&cluster, "audit", 0..30);
}
