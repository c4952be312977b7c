//! What is in the hold file where a simple answer would lose or double records: batches that the core has
//! given up, and held records that the server refuses.

use crate::core::{Core, PATIENCE, assert_exact, command};
use crate::durability::Scene;
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use omvalkeyaudit::params::Retries;
use omvalkeyaudit::worker::AtStop;
use redis::Value;
use std::fs;
use std::thread;
use std::time::Duration;
use testkit::{Fault, Flavour, Proxy, Scratch, Server, entries, numbers, record, wait_until};

// Oracle: the hold file and the log, where four records are committed of ten and tryResume has failed: with
// a count of 0 that is the end of the batch, with another one it may not be. A core that brings batches back
// does so all the same where it is stopped at that moment.
on_each_server!(a_batch_that_the_core_has_given_up_is_not_held);
fn a_batch_that_the_core_has_given_up_is_not_held(flavour: Flavour) {
    for (at_stop, retries, failures, is_left) in [
        (AtStop::Drops, 0, 1, false),
        (AtStop::Requeues, 0, 1, true),
        (AtStop::Drops, 0, 0, true),
        (AtStop::Requeues, 0, 0, true),
        (AtStop::Drops, 1, 2, true),
        (AtStop::Requeues, 1, 2, true),
    ] {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        let proxy = Proxy::unix(&scratch, server.address());
        let file = scratch.join("hold");
        let name = file.display().to_string();
        let parameters = [("batch.maxrecords", "4"), ("holdfile", name.as_str())];
        let retries = Retries::Finite(retries);
        let mut core = Core::that(at_stop, retries, &proxy.address(), &parameters);
        core.load((0..10).map(record));
        assert_eq!(core.transaction(0..4), Committed);
        proxy.set(Fault::Refuse);
        proxy.cut_all();
        assert_eq!(core.transaction(4..10), Suspended);
        for _ in 0..failures {
            assert_eq!(core.try_resume(), Suspended);
        }
        // The server may be back: what is given up is not tried once more, either.
        if !is_left {
            proxy.pass();
        }
        let log = core.stop();
        let case = format!("{at_stop:?} {retries:?} {failures}\n{}", log.text());
        assert_eq!(!fs::read(&file).unwrap().is_empty(), is_left, "{case}");
        let given_up = log.count("rsyslog gave up records that were not committed, count: 6");
        assert_eq!(given_up == 0, is_left, "{case}");
        assert_eq!(entries(&mut server.connection(), "audit").len(), 4, "{case}");
    }
}

// Oracle: the dead letters. The first held record is one already, but its key holds no stream; the second
// one fails in EXEC, for a reason that no key's type tells. The marker says that the flush took place.
on_each_server!(what_the_server_has_refused_of_held_records_never_counts_as_committed);
fn what_the_server_has_refused_of_held_records_never_counts_as_committed(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let name = scratch.join("hold").display().to_string();
    let parameters = [
        ("dynakey", "on"),
        ("key", "template"),
        ("deadletter.key", "dead"),
        ("marker.key", "m"),
        ("holdfile", name.as_str()),
    ];
    // No entry can follow one with the last id.
    command(&server, &["XADD", "full", "18446744073709551615-18446744073709551615", "f", "v"]);
    command(&server, &["SET", "dead", "not a stream"]);
    proxy.set(Fault::Refuse);
    let mut core = Core::new(&proxy.address(), &parameters);
    let keyed = |text: String| ("full".to_owned(), text);
    core.load_keyed([keyed("no JSON".to_owned()), keyed(record(1))]);
    assert_eq!(core.transaction(0..2), Suspended);
    core.stop();
    proxy.pass();
    let mut core = Core::new(&proxy.address(), &parameters);
    for _ in 0..3 {
        assert_eq!(core.try_resume(), Suspended);
    }
    command(&server, &["DEL", "dead"]);
    core.resume();
    let letters = entries(&mut server.connection(), "dead");
    let records: Vec<String> = letters.iter().map(|letter| letter.text("record")).collect();
    assert_eq!(records, ["no JSON".to_owned(), record(1)]);
    assert_eq!(entries(&mut server.connection(), "full").len(), 1);
}

// Oracle: the markers. The flush after the one in which a held record failed must have one of its own: by the
// held flush's, whoever comes after a crash would take it for that one, and write the dead letter again.
on_each_server!(a_held_record_that_failed_is_written_down_before_it_is_a_dead_letter);
fn a_held_record_that_failed_is_written_down_before_it_is_a_dead_letter(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let scratch = Scratch::new();
    let name = scratch.join("hold").display().to_string();
    let parameters = [
        ("dynakey", "on"),
        ("key", "template"),
        ("marker.key", "m"),
        ("holdfile", name.as_str()),
        ("durability.replicas", "1"),
    ];
    let start = || Core::new(&scene.proxy.address(), &parameters);
    command(&scene.primary, &["SET", "wrong", "not a stream"]);
    scene.proxy.set(Fault::Refuse);
    let mut core = start();
    core.load_keyed([("free".to_owned(), record(0)), ("wrong".to_owned(), record(1))]);
    assert_eq!(core.transaction(0..2), Suspended);
    core.stop();
    scene.proxy.pass();
    let mut core = start();
    // When the entry can be seen, the server has answered EXEC; WAIT is not answered for so long.
    scene.replication.set(Fault::DelayReplies(Duration::from_millis(100)));
    thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("the flush", PATIENCE, || {
                !entries(&mut scene.primary.connection(), "free").is_empty()
            });
            command(&scene.primary, &["CLIENT", "KILL", "TYPE", "normal"]);
        });
        core.resume();
    });
    let mut connection = scene.primary.connection();
    assert_eq!(numbers(&entries(&mut connection, "free")), [0]);
    assert_eq!(numbers(&entries(&mut connection, "omvalkeyaudit:deadletter")), [1]);
    let Value::Array(markers) = command(&scene.primary, &["KEYS", "m:*"]) else {
        panic!("no keys")
    };
    for marker in markers {
        let key: String = redis::from_redis_value(marker).unwrap();
        let value: String = redis::cmd("GET").arg(&key).query(&mut connection).unwrap();
        assert!(value.ends_with(":0") || value.ends_with(":1"), "{key}: {value}");
    }
}

// Oracle: exact count after the late EXEC of the last attempt has arrived. The attempt is made on a connection
// whose WATCH was refused when the server was asked last, behind another refusal.
on_each_server!(the_last_attempt_is_guarded_although_a_guard_was_refused);
fn the_last_attempt_is_guarded_although_a_guard_was_refused(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let name = scratch.join("hold").display().to_string();
    let mut core = Core::new(&proxy.address(), &[("holdfile", name.as_str())]);
    core.send(0..5, 5);
    let set_memory = |bytes| command(&server, &["CONFIG", "SET", "maxmemory", bytes]);
    let set_rule = |rule| command(&server, &["ACL", "SETUSER", "default", rule]);
    set_memory("1");
    core.load((5..10).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    set_rule("-watch");
    assert_eq!(core.try_resume(), Suspended);
    set_memory("0");
    set_rule("+watch");
    let late = Fault::LateExec(Duration::from_millis(200));
    let execs = proxy.execs();
    proxy.once(late);
    assert_eq!(core.stop().count("not committed"), 0);
    assert_eq!(proxy.fired(late), 1);
    // The late one, the new connection's fence and the flush.
    wait_until("the late EXEC", PATIENCE, || proxy.execs() >= execs + 3);
    assert_exact(&server, "audit", 0..10);
}
