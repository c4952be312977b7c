//! Copies that the operator asks for: a batch is acknowledged when there are enough, held below that,
//! and never written again for it.

use crate::core::{Core, PATIENCE, assert_exact, command};
use omvalkeyaudit::error::Verdict::{Committed, Deferred, Suspended};
use omvalkeyaudit::params::Retries;
use omvalkeyaudit::stats::Counter;
use omvalkeyaudit::worker::AtStop;
use std::ops::Range;
use std::time::Duration;
use testkit::{
    Address, Count, Fault, Flavour, Proxy, Scratch, Server, entries, numbers, record, wait_until,
};

const ONE_REPLICA: (&str, &str) = ("durability.replicas", "1");
/// How long a call waits in vain.
const SHORTLY: (&str, &str) = ("durability.timeout", "200");

/// A primary and its replica. The worker and the replica reach it through proxies of their own.
pub(crate) struct Scene {
    scratch: Scratch,
    pub(crate) primary: Server,
    pub(crate) replica: Server,
    pub(crate) proxy: Proxy,
    pub(crate) replication: Proxy,
}

pub(crate) fn primary(flavour: Flavour, scratch: &Scratch, lines: &str) -> Server {
    Server::builder(flavour).tcp().config("repl-diskless-sync-delay 0").config(lines).start(scratch)
}

fn replica_of(address: &Address, flavour: Flavour, scratch: &Scratch, lines: &str) -> Server {
    let Address::Tcp(address) = address else { panic!("{address} is no TCP address") };
    let replicaof = format!("replicaof 127.0.0.1 {}", address.port());
    Server::builder(flavour).tcp().config(&replicaof).config(lines).start(scratch)
}

/// Waits until so many replicas answer a WAIT; the first answer of a new one takes a second.
fn wait_replicas(server: &Server, count: i64) {
    let mut connection = server.connection();
    wait_until("replicas that answer", PATIENCE, || {
        let mut info = redis::cmd("INFO");
        let info: String = info.arg("replication").query(&mut connection).unwrap();
        redis::cmd("SET").arg("replicas").arg(count).exec(&mut connection).unwrap();
        let answers: i64 = redis::cmd("WAIT").arg(count).arg(100).query(&mut connection).unwrap();
        answers == count && info.contains(&format!("connected_slaves:{count}"))
    });
}

impl Scene {
    pub(crate) fn new(flavour: Flavour) -> Self {
        Self::with(flavour, "", "")
    }

    fn with(flavour: Flavour, on_primary: &str, on_replica: &str) -> Self {
        let scratch = Scratch::new();
        let primary = primary(flavour, &scratch, on_primary);
        let replication = Proxy::tcp(primary.tcp_address());
        let replica = replica_of(&replication.address(), flavour, &scratch, on_replica);
        let proxy = Proxy::unix(&scratch, primary.address());
        wait_replicas(&primary, 1);
        Self { scratch, primary, replica, proxy, replication }
    }

    /// A worker that asks for a replica.
    pub(crate) fn core(&self, more: &[(&str, &str)]) -> Core {
        Core::new(&self.proxy.address(), &[&[ONE_REPLICA, SHORTLY], more].concat())
    }

    /// The replica loses the primary, and gets nothing more.
    fn part(&self) {
        self.replication.set(Fault::Refuse);
        self.replication.cut_all();
        wait_replicas(&self.primary, 0);
    }

    fn join(&self) {
        self.replication.pass();
        wait_replicas(&self.primary, 1);
    }
}

/// Loads and hands over a batch for which there are too few copies.
#[track_caller]
pub(crate) fn held_back(core: &mut Core, numbers: Range<u64>) -> usize {
    let count = usize::try_from(numbers.end - numbers.start).unwrap();
    core.load(numbers.map(record));
    assert_eq!(core.transaction(0..count), Suspended, "{}", core.log.text());
    count
}

fn flushes(core: &Core) -> u64 {
    core.action.stats.get(Counter::Flushes)
}

// Oracle: the replica's stream at the moment of each acknowledgement, without any waiting.
on_each_server!(what_is_acknowledged_is_on_the_replica);
fn what_is_acknowledged_is_on_the_replica(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let mut core = Core::new(&scene.primary.address(), &[ONE_REPLICA]);
    for batch in 0..50 {
        core.send(batch * 20..(batch + 1) * 20, 20);
        assert_exact(&scene.replica, "audit", 0..(batch + 1) * 20);
    }
    // One question for the connection, and one for each flush.
    assert_eq!(core.action.stats.get(Counter::DurabilityWaits), 51);
    assert_eq!(core.action.stats.get(Counter::DurabilityShort), 0);
}

// Oracle: the verdicts while the replica stands still, the line, and the count afterwards: the batch is
// written when the waiting begins, by one flush, and not again.
on_each_server!(a_replica_that_stands_still_holds_the_batch_which_is_written_once);
fn a_replica_that_stands_still_holds_the_batch_which_is_written_once(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let mut core = scene.core(&[]);
    core.send(0..10, 5);
    let before = flushes(&core);
    scene.replica.pause();
    let count = held_back(&mut core, 10..20);
    for _ in 0..3 {
        assert_eq!(core.try_resume(), Suspended);
    }
    assert_exact(&scene.primary, "audit", 0..20);
    let said = "records wait: ";
    let few = "0 of 1 replicas have what was written (check the server's replicas";
    assert_eq!((core.log.count(said), core.log.count(few)), (1, 1), "{}", core.log.text());
    assert_eq!(core.action.stats.get(Counter::DurabilityShort), 4);
    assert_eq!(core.action.stats.get(Counter::Committed), 10);
    scene.replica.cont();
    core.resume();
    core.replay(count);
    core.send(20..30, 10);
    assert_eq!(flushes(&core), before + 2);
    assert_eq!(scene.proxy.connections(), 1);
    assert_eq!(core.action.stats.get(Counter::Committed), 30);
    assert_exact(&scene.primary, "audit", 0..30);
    assert_exact(&scene.replica, "audit", 0..30);
}

// Oracle: the verdicts of doAction: a partial commit without its copies is none, and nothing that follows
// overtakes it.
on_each_server!(a_partial_commit_without_its_copies_is_not_told_as_one);
fn a_partial_commit_without_its_copies_is_not_told_as_one(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let mut core = scene.core(&[("batch.maxrecords", "4")]);
    core.load((0..10).map(record));
    assert_eq!(core.transaction(0..4), Committed);
    scene.replica.pause();
    core.verdicts.clear();
    assert_eq!(core.transaction(4..10), Suspended);
    assert_eq!(core.verdicts[..6], [Deferred; 6]);
    assert_exact(&scene.primary, "audit", 0..8);
    scene.replica.cont();
    core.resume();
    core.replay(10);
    assert_exact(&scene.primary, "audit", 0..10);
    assert_exact(&scene.replica, "audit", 0..10);
}

// Oracle: the count of flushes and records: a new connection looks at the marker, and waits again.
on_each_server!(a_connection_that_breaks_while_copies_are_missing_doubles_nothing);
fn a_connection_that_breaks_while_copies_are_missing_doubles_nothing(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let mut core = scene.core(&[]);
    core.send(0..10, 5);
    let before = flushes(&core);
    scene.replica.pause();
    let count = held_back(&mut core, 10..20);
    for _ in 0..3 {
        scene.proxy.cut_all();
        assert_eq!(core.try_resume(), Suspended);
    }
    scene.replica.cont();
    core.resume();
    core.replay(count);
    assert_eq!(flushes(&core), before + 1);
    assert!(scene.proxy.connections() >= 3, "{}", scene.proxy.connections());
    core.send(20..30, 10);
    assert_exact(&scene.primary, "audit", 0..30);
    assert_exact(&scene.replica, "audit", 0..30);
}

// Oracle: the longest call. The server gets the flush and answers nothing, WAIT included.
on_each_server!(a_server_that_never_answers_the_question_is_a_timeout);
fn a_server_that_never_answers_the_question_is_a_timeout(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let parameters = [ONE_REPLICA, ("timeout.commit", "1000"), ("durability.timeout", "600000")];
    let mut core = Core::new(&scene.proxy.address(), &parameters);
    core.send(0..10, 5);
    core.longest = Duration::ZERO;
    scene.proxy.once(Fault::DropReplies);
    let count = held_back(&mut core, 10..20);
    assert!(core.log.text().contains("did not answer in time"), "{}", core.log.text());
    // The server's own time for a WAIT in vain ends before the call's does: no connection is lost by it.
    scene.replica.pause();
    let connections = scene.proxy.connections();
    wait_until("a call that is told of too few copies", PATIENCE, || {
        assert_eq!(core.try_resume(), Suspended);
        core.log.count("0 of 1 replicas") == 1
    });
    assert_eq!(scene.proxy.connections(), connections + 1);
    assert!(core.longest < Duration::from_millis(2500), "{:?}", core.longest);
    scene.replica.cont();
    core.resume();
    core.replay(count);
    assert_exact(&scene.primary, "audit", 0..20);
}

/// Kills the primary while copies are missing, and makes the replica the primary; `has_batch` says whether
/// it got the batch before.
fn takes_over(flavour: Flavour, has_batch: bool) {
    let scene = Scene::new(flavour);
    let (first, second) = (scene.primary.address().to_string(), scene.replica.tcp_address());
    let second = second.to_string();
    let servers = [("server", first.as_str()), ("server", second.as_str())];
    let mut core = Core::new(&first, &[&[ONE_REPLICA, SHORTLY], &servers[..]].concat());
    core.send(0..10, 5);
    let before = flushes(&core);
    if has_batch {
        // What the primary has sent waits in the replica's socket.
        scene.replica.pause();
    } else {
        scene.part();
    }
    let count = held_back(&mut core, 10..20);
    assert_exact(&scene.primary, "audit", 0..20);
    scene.primary.kill();
    scene.replica.cont();
    if has_batch {
        wait_until("the replica to read", PATIENCE, || {
            command(&scene.replica, &["XLEN", "audit"]) == redis::Value::Int(20)
        });
    }
    command(&scene.replica, &["REPLICAOF", "NO", "ONE"]);
    // Nothing is acknowledged before the new primary has a replica of its own.
    assert_eq!(core.try_resume(), Suspended, "{}", core.log.text());
    assert_eq!(core.try_resume(), Suspended, "{}", core.log.text());
    let third = replica_of(&scene.replica.tcp_address(), flavour, &scene.scratch, "");
    wait_replicas(&scene.replica, 1);
    core.resume();
    core.replay(count);
    core.send(20..30, 10);
    assert_eq!(flushes(&core), before + if has_batch { 2 } else { 3 });
    assert_exact(&scene.replica, "audit", 0..30);
    assert_exact(&third, "audit", 0..30);
}

// Oracle: the count on the new primary and on its replica. Without the question, 10 to 19 were lost.
on_each_server!(a_batch_that_dies_with_its_primary_is_written_again);
fn a_batch_that_dies_with_its_primary_is_written_again(flavour: Flavour) {
    takes_over(flavour, false);
}

// Oracle: the same count: the replica has the batch and its marker.
on_each_server!(a_batch_that_the_new_primary_has_is_not_written_again);
fn a_batch_that_the_new_primary_has_is_not_written_again(flavour: Flavour) {
    takes_over(flavour, true);
}

// Oracle: the stream after the next start: what was written without its copies is looked up, not
// written again, and what had failed in it is not taken for written.
on_each_server!(a_stop_while_copies_are_missing_holds_what_the_next_start_looks_up);
fn a_stop_while_copies_are_missing_holds_what_the_next_start_looks_up(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let file = scene.scratch.join("hold").display().to_string();
    let holdfile = ("holdfile", file.as_str());
    let mut core = scene.core(&[holdfile]);
    core.send(0..10, 5);
    scene.replica.pause();
    held_back(&mut core, 10..20);
    let log = core.stop();
    assert_eq!(log.count("held records that are not committed, count: 10"), 1, "{}", log.text());
    // The next process finds the same, and leaves it as it is.
    let mut core = scene.core(&[holdfile]);
    held_back(&mut core, 20..30);
    core.stop();
    scene.replica.cont();
    let mut core = scene.core(&[holdfile]);
    core.send(30..40, 10);
    assert_exact(&scene.primary, "audit", 0..40);
    assert_exact(&scene.replica, "audit", 0..40);
    assert_eq!(std::fs::read(&file).unwrap(), b"");
}

// Oracle: the count, under a core that brings the batch back.
on_each_server!(a_batch_that_comes_back_after_a_stop_without_copies_is_not_doubled);
fn a_batch_that_comes_back_after_a_stop_without_copies_is_not_doubled(flavour: Flavour) {
    for is_lost in [false, true] {
        let scene = Scene::new(flavour);
        let file = scene.scratch.join("hold").display().to_string();
        let parameters = [ONE_REPLICA, SHORTLY, ("holdfile", file.as_str())];
        let start = |server: &Server| {
            let address = server.tcp_address();
            Core::that(AtStop::Requeues, Retries::Forever, &address, &parameters)
        };
        let mut core = start(&scene.primary);
        core.send(0..10, 5);
        scene.part();
        held_back(&mut core, 10..20);
        core.stop();
        if !is_lost {
            scene.join();
        }
        scene.primary.kill();
        command(&scene.replica, &["REPLICAOF", "NO", "ONE"]);
        let third = replica_of(&scene.replica.tcp_address(), flavour, &scene.scratch, "");
        wait_replicas(&scene.replica, 1);
        start(&scene.replica).send(10..30, 20);
        assert_exact(&scene.replica, "audit", 0..30);
        assert_exact(&third, "audit", 0..30);
    }
}

// Oracle: both streams. A record whose command failed inside EXEC becomes a dead letter when the copies are
// there, also where the connection breaks, or a stop comes, between.
on_each_server!(a_record_that_failed_while_copies_are_missing_is_a_dead_letter_once);
fn a_record_that_failed_while_copies_are_missing_is_a_dead_letter_once(flavour: Flavour) {
    for what in ["waits", "breaks", "stops"] {
        let scene = Scene::new(flavour);
        let file = scene.scratch.join("hold").display().to_string();
        let parameters = [("dynakey", "on"), ("key", "tpl"), ("holdfile", file.as_str())];
        // No entry can come behind this one: XADD fails, and the type of the key does not tell.
        let last = "18446744073709551615-18446744073709551615";
        command(&scene.primary, &["XADD", "full", last, "a", "b"]);
        let mut core = scene.core(&parameters);
        core.send(0..5, 5);
        scene.replica.pause();
        core.load_keyed((5..10).map(|number| {
            let key = if number == 7 { "full" } else { "free" };
            (key.to_owned(), record(number))
        }));
        assert_eq!(core.transaction(0..5), Suspended);
        match what {
            "breaks" => scene.proxy.cut_all(),
            "stops" => {
                core.stop();
                core = scene.core(&parameters);
            }
            _ => {}
        }
        assert_eq!(core.try_resume(), Suspended);
        scene.replica.cont();
        core.resume();
        let mut connection = scene.replica.connection();
        assert_eq!(numbers(&entries(&mut connection, "free")), [5, 6, 8, 9], "{what}");
        let letters = entries(&mut connection, "omvalkeyaudit:deadletter");
        // The first five have no key.
        let letters: Vec<String> =
            letters[5..].iter().map(|letter| letter.text("record")).collect();
        assert_eq!(letters, [record(7)], "{what}");
    }
}

// Oracle: the stream on a server killed right after the acknowledgement; the line where a disk is never
// waited for, and the count once it is.
#[test]
fn what_is_acknowledged_with_fsync_is_on_the_disk() {
    let scratch = Scratch::new();
    let server = primary(Flavour::Valkey91, &scratch, "appendonly yes\nappendfsync no");
    let fsync = ("durability.fsync", "local");
    let mut core = Core::new(&server.address(), &[fsync, SHORTLY]);
    let count = held_back(&mut core, 0..10);
    let said = "what was written is not on the server's disk yet";
    assert_eq!(core.log.count(said), 1, "{}", core.log.text());
    command(&server, &["CONFIG", "SET", "appendfsync", "always"]);
    core.resume();
    core.replay(count);
    core.send(10..50, 10);
    server.kill();
    server.start();
    assert_exact(&server, "audit", 0..50);
}

// Oracle: the replica's file, which has what was acknowledged when the replica is killed right then.
#[test]
fn what_is_acknowledged_with_fsync_of_replicas_is_on_their_disks() {
    let always = "appendonly yes\nappendfsync always";
    let scene = Scene::with(Flavour::Valkey91, always, always);
    let mut core = scene.core(&[("durability.fsync", "replicas"), ("durability.timeout", "3000")]);
    core.send(0..50, 10);
    scene.replica.kill();
    scene.primary.kill();
    scene.replica.start();
    assert_exact(&scene.replica, "audit", 0..50);
    // Both questions where the own disk and a replica's memory are asked for.
    let scene = Scene::with(Flavour::Valkey91, always, "");
    let mut core = scene.core(&[("durability.fsync", "local")]);
    core.send(0..10, 10);
    assert_exact(&scene.replica, "audit", 0..10);
    scene.replica.pause();
    let count = held_back(&mut core, 10..20);
    scene.replica.cont();
    core.resume();
    core.replay(count);
    assert_exact(&scene.primary, "audit", 0..20);
}

// Oracle: the count over many batches while replicas come and go, on the primary and on the replica.
on_each_server!(replicas_that_come_and_go_cost_no_record);
fn replicas_that_come_and_go_cost_no_record(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let mut core = scene.core(&[("batch.maxrecords", "7")]);
    for round in 0..6_u64 {
        let numbers = round * 50..(round + 1) * 50;
        core.load(numbers.clone().map(record));
        match round % 3 {
            0 => scene.replica.pause(),
            1 => scene.part(),
            _ => scene.proxy.cut_all(),
        }
        if core.transaction(0..50) == Suspended {
            scene.replica.cont();
            scene.join();
            core.resume();
            core.replay(50);
        }
        scene.replica.cont();
        scene.join();
        let stored = numbers_in(&scene.replica);
        let count = Count::of(stored, 0..numbers.end);
        assert!(count.is_exact() && count.is_in_order(), "round {round}: {count}");
    }
    assert_exact(&scene.primary, "audit", 0..300);
}

fn numbers_in(server: &Server) -> Vec<u64> {
    numbers(&entries(&mut server.connection(), "audit"))
}
