//! A worker that ends before its batch is over, under a core that brings the whole batch back: what is
//! settled of it is noted, and not written again.

use crate::core::{Core, assert_exact};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use omvalkeyaudit::params::Retries;
use omvalkeyaudit::worker::AtStop;
use std::fs;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use testkit::{Fault, Flavour, Proxy, Scratch, Server, entries, record, wait_until};

struct Scene {
    scratch: Scratch,
    server: Server,
    proxy: Proxy,
}

impl Scene {
    fn new(flavour: Flavour) -> Self {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        let proxy = Proxy::unix(&scratch, server.address());
        Self { scratch, server, proxy }
    }

    fn start(&self) -> Core {
        let file = self.scratch.join("hold").display().to_string();
        let parameters = [("batch.maxrecords", "4"), ("holdfile", file.as_str())];
        Core::that(AtStop::Requeues, Retries::Forever, &self.proxy.address(), &parameters)
    }

    fn is_noted(&self) -> bool {
        !fs::read(self.scratch.join("hold")).expect("a hold file").is_empty()
    }

    fn count(&self, key: &str) -> usize {
        entries(&mut self.server.connection(), key).len()
    }
}

// Oracle: the count: four of the ten were committed, and all ten come back, behind others.
on_each_server!(what_was_committed_of_a_batch_that_comes_back_is_not_written_again);
fn what_was_committed_of_a_batch_that_comes_back_is_not_written_again(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let mut core = scene.start();
    // A whole batch before it, which ends with a full flush and so without a last call.
    core.send(0..8, 8);
    core.load((8..18).map(record));
    assert_eq!(core.transaction(0..4), Committed);
    scene.proxy.set(Fault::Refuse);
    scene.proxy.cut_all();
    assert_eq!(core.transaction(4..10), Suspended);
    core.stop();
    assert!(scene.is_noted());
    scene.proxy.pass();
    let mut core = scene.start();
    core.send(18..20, 2);
    core.send(8..18, 10);
    let numbers = testkit::numbers(&entries(&mut scene.server.connection(), "audit"));
    let count = testkit::Count::of(numbers, 0..20);
    assert!(count.is_exact(), "{count}");
    assert!(!scene.is_noted(), "each note is used up");
}

// Oracle: the count: the core has been told of some that they are settled, one at a time, and brings
// them back all the same.
on_each_server!(what_was_acknowledged_singly_is_noted_too);
fn what_was_acknowledged_singly_is_noted_too(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let mut core = scene.start();
    scene.proxy.set(Fault::Refuse);
    core.load((0..6).map(record));
    assert_eq!(core.transaction(0..6), Suspended);
    scene.proxy.pass();
    core.resume();
    core.replay(3);
    core.stop();
    scene.start().send(0..6, 6);
    assert_exact(&scene.server, "audit", 0..6);
    assert!(!scene.is_noted());
}

// Oracle: the count, after a commit that had taken place, and after one that had not.
on_each_server!(notes_of_a_commit_in_doubt_are_looked_up);
fn notes_of_a_commit_in_doubt_are_looked_up(flavour: Flavour) {
    for fault in [Fault::CutAfterExec, Fault::CutBeforeExec] {
        let scene = Scene::new(flavour);
        let mut core = scene.start();
        core.send(0..3, 3);
        scene.proxy.once(fault);
        scene.proxy.set(Fault::Refuse);
        core.load((3..6).map(record));
        assert_eq!(core.transaction(0..3), Suspended);
        core.stop();
        scene.proxy.pass();
        scene.start().send(3..8, 5);
        assert_exact(&scene.server, "audit", 0..8);
        assert!(!scene.is_noted());
    }
}

// Oracle: the count of records with the same bytes: as many as were ever sent, whoever takes the note.
on_each_server!(a_new_record_with_the_same_bytes_is_not_lost);
fn a_new_record_with_the_same_bytes_is_not_lost(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let mut core = scene.start();
    core.load((0..6).map(|_| record(7)));
    assert_eq!(core.transaction(0..4), Committed);
    scene.proxy.set(Fault::Refuse);
    scene.proxy.cut_all();
    assert_eq!(core.transaction(4..6), Suspended);
    core.stop();
    scene.proxy.pass();
    let mut core = scene.start();
    // Two new ones first, then the six that come back, then three more new ones.
    for count in [2, 6, 3] {
        core.load((0..count).map(|_| record(7)));
        core.settle();
    }
    assert_eq!(scene.count("audit"), 11);
}

// Oracle: the file: a batch that is over leaves nothing, however its last call was.
on_each_server!(a_batch_that_is_over_is_not_noted);
fn a_batch_that_is_over_is_not_noted(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let mut core = scene.start();
    core.send(0..8, 8);
    core.send(8..11, 3);
    scene.proxy.set(Fault::Refuse);
    scene.proxy.cut_all();
    core.load((11..13).map(record));
    assert_eq!(core.transaction(0..2), Suspended);
    scene.proxy.pass();
    core.resume();
    core.replay(2);
    core.stop();
    assert!(!scene.is_noted());
    assert_exact(&scene.server, "audit", 0..13);
}

// Oracle: the count of records that come as new: what an earlier batch, which ended without a last call,
// left in the ledger is not noted for the batch at hand.
on_each_server!(what_an_earlier_batch_has_left_is_not_noted);
fn what_an_earlier_batch_has_left_is_not_noted(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let mut core = scene.start();
    core.load((0..8).map(record));
    // As the core does it: a transaction ends where a call says that everything is committed.
    assert_eq!(core.transaction(0..4), Committed);
    assert_eq!(core.transaction(4..8), Committed);
    scene.proxy.set(Fault::Refuse);
    scene.proxy.cut_all();
    core.load((8..10).map(record));
    assert_eq!(core.transaction(0..2), Suspended);
    core.stop();
    scene.proxy.pass();
    // The same texts again, as new records.
    scene.start().send(0..10, 10);
    assert_eq!(scene.count("audit"), 18);
}

// Oracle: the count. A worker looks up what was in doubt, and meanwhile what the core brings back comes
// to another one: the two halves of a disk-assisted queue have a worker each.
on_each_server!(what_comes_back_to_another_worker_waits_for_the_look_up);
fn what_comes_back_to_another_worker_waits_for_the_look_up(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let mut core = scene.start();
    core.send(0..1, 1);
    scene.proxy.once(Fault::CutAfterExec);
    scene.proxy.set(Fault::Refuse);
    core.load((1..4).map(record));
    assert_eq!(core.transaction(0..3), Suspended);
    core.stop();
    scene.proxy.pass();
    let mut first = scene.start();
    let mut second = Core::worker_of(Arc::clone(&first.action));
    let delay = Fault::DelayReplies(Duration::from_secs(1));
    scene.proxy.once(delay);
    thread::scope(|scope| {
        scope.spawn(|| first.send(4..6, 2));
        wait_until("the look-up to be under way", Duration::from_secs(60), || {
            scene.proxy.fired(delay) == 1
        });
        second.send(1..4, 3);
    });
    let numbers = testkit::numbers(&entries(&mut scene.server.connection(), "audit"));
    let count = testkit::Count::of(numbers, 0..6);
    assert!(count.is_exact(), "{count}");
}

// Oracle: the count: each of several workers was left with a commit in doubt, and the batches come back to
// several workers at once, of which one looks all of them up.
on_each_server!(no_worker_writes_before_another_one_has_looked_up_what_was_in_doubt);
fn no_worker_writes_before_another_one_has_looked_up_what_was_in_doubt(flavour: Flavour) {
    const WORKERS: u64 = 4;
    let scene = Scene::new(flavour);
    let first = scene.start();
    let mut left = Vec::new();
    for worker in 0..WORKERS {
        let mut core = Core::worker_of(Arc::clone(&first.action));
        scene.proxy.pass();
        assert_eq!(core.try_resume(), Committed);
        scene.proxy.once(Fault::CutAfterExec);
        scene.proxy.set(Fault::Refuse);
        core.load([record(worker)]);
        assert_eq!(core.transaction(0..1), Suspended);
        left.push(core);
    }
    for core in left {
        core.stop();
    }
    drop(first);
    scene.proxy.set(Fault::DelayReplies(Duration::from_millis(30)));
    let action = Arc::clone(&scene.start().action);
    let barrier = Arc::new(Barrier::new(usize::try_from(WORKERS).expect("few")));
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let (action, barrier) = (Arc::clone(&action), Arc::clone(&barrier));
            thread::spawn(move || {
                let mut core = Core::worker_of(action);
                barrier.wait();
                core.send(number..number + 1, 1);
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("no panic");
    }
    let numbers = testkit::numbers(&entries(&mut scene.server.connection(), "audit"));
    let count = testkit::Count::of(numbers, 0..WORKERS);
    assert!(count.is_exact(), "{count}");
    assert!(!scene.is_noted(), "each note is used up");
}
