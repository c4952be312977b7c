//! What a worker counts, while the server or the way to it fails.

use crate::core::{Core, command};
use omvalkeyaudit::error::Verdict::Suspended;
use omvalkeyaudit::stats::Counter;
use testkit::{Fault, Flavour, Proxy, Scratch, Server, entries, record};

/// Asserts the counters' values.
#[track_caller]
fn assert_counted(core: &Core, expected: &[(Counter, u64)]) {
    for (counter, value) in expected {
        let counted = core.action.stats.get(*counter);
        assert_eq!(counted, *value, "{counter:?}; the log: {}", core.log.text());
    }
}

/// How many entries a stream has.
fn stored(server: &Server, key: &str) -> u64 {
    entries(&mut server.connection(), key).len().try_into().unwrap()
}

// Oracle: the streams' lengths, the core's own count of its calls, and the proxy's of EXECs.
on_each_server!(an_undisturbed_flow_counts_what_was_stored_and_nothing_else);
fn an_undisturbed_flow_counts_what_was_stored_and_nothing_else(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let mut core = Core::new(&proxy.address(), &[("batch.maxrecords", "4")]);
    for batch in 0..5_u64 {
        // Ten records of which one is broken: commits after the 4th, the 8th and at the end.
        core.load((0..10).map(|place| match place {
            3 => "[]".to_owned(),
            _ => record(batch * 10 + place),
        }));
        core.settle();
    }
    let expected = [
        (Counter::Received, 50),
        (Counter::Committed, stored(&server, "audit")),
        (Counter::DeadLettered, stored(&server, "audit:deadletter")),
        (Counter::Batches, 5),
        (Counter::Flushes, proxy.execs() - 1), // one is the new connection's fence
        (Counter::PartialCommits, 10),
    ];
    assert_counted(&core, &expected);
    assert_counted(&core, &[(Counter::Committed, 45), (Counter::Flushes, 15)]);
    let sent = core.action.stats.get(Counter::BytesSent);
    let records: u64 = (0..50).map(|number| record(number).len() as u64).sum();
    assert!((records..records + 50 * 200).contains(&sent), "{sent} bytes for {records}");
    let (sum, max) = (Counter::CommitMicros, Counter::CommitMicrosMax);
    let (sum, max) = (core.action.stats.get(sum), core.action.stats.get(max));
    assert!(max > 0 && max <= sum && sum <= max * 15, "{max} of {sum}");
    let quiet = [
        Counter::Abandoned,
        Counter::Suppressed,
        Counter::InDoubt,
        Counter::Reconnects,
        Counter::Suspensions,
        Counter::ErrorsConnect,
        Counter::ErrorsAuth,
        Counter::ErrorsTimeout,
        Counter::ErrorsBusy,
        Counter::ErrorsReadOnly,
        Counter::ErrorsOutOfMemory,
        Counter::ErrorsRefused,
        Counter::ErrorsProtocol,
    ];
    assert_counted(&core, &quiet.map(|counter| (counter, 0)));
}

// Oracle: the core replays ten records of which four were committed before the suspension.
on_each_server!(replayed_records_are_suppressed_and_not_received_again);
fn replayed_records_are_suppressed_and_not_received_again(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), &[]);
    core.send(0..4, 4);
    server.stop();
    core.load((4..14).map(record));
    assert_eq!(core.transaction(0..10), Suspended);
    assert_eq!(core.try_resume(), Suspended);
    assert_counted(&core, &[(Counter::Received, 14), (Counter::Committed, 4)]);
    server.start();
    core.resume();
    // What tryResume has committed is committed, whether the replay comes or not.
    assert_counted(&core, &[(Counter::Committed, 14), (Counter::Suppressed, 0)]);
    core.replay(10);
    let expected = [
        (Counter::Received, 14),
        (Counter::Committed, 14),
        (Counter::Suppressed, 10),
        (Counter::Batches, 2),
        (Counter::Suspensions, 1),
        (Counter::Reconnects, 1),
        (Counter::Abandoned, 0),
    ];
    assert_counted(&core, &expected);
}

// Oracle: the fault struck once, and the flush is in the stream once.
on_each_server!(a_lost_confirmation_is_counted_as_one_doubt_and_its_records_once);
fn a_lost_confirmation_is_counted_as_one_doubt_and_its_records_once(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let mut core = Core::new(&proxy.address(), &[]);
    core.send(0..10, 5);
    proxy.once(Fault::CutAfterExec);
    core.send(10..20, 10);
    assert_eq!((proxy.fired(Fault::CutAfterExec), stored(&server, "audit")), (1, 20));
    let expected = [
        (Counter::InDoubt, 1),
        (Counter::Committed, 20),
        (Counter::Reconnects, 1),
        (Counter::ErrorsConnect, 1),
        (Counter::Suspensions, 0),
        (Counter::Flushes, 3),
    ];
    assert_counted(&core, &expected);
}

// Oracle: the stream. Five records are given up by a core that comes with others, and never stored.
on_each_server!(records_that_the_core_gave_up_are_abandoned_and_not_committed);
fn records_that_the_core_gave_up_are_abandoned_and_not_committed(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    server.stop();
    let mut core = Core::new(&server.address(), &[]);
    core.load((0..5).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    // A core that comes again without a tryResume brings nothing new, and nothing is settled yet.
    assert_eq!(core.transaction(0..5), Suspended);
    assert_counted(
        &core,
        &[(Counter::Received, 5), (Counter::Batches, 1), (Counter::Suppressed, 0)],
    );
    // These come while the first ones are still kept.
    core.load((5..8).map(record));
    assert_eq!(core.transaction(0..3), Suspended);
    server.start();
    core.resume();
    core.replay(3);
    let expected = [
        (Counter::Received, 8),
        (Counter::Abandoned, 5),
        (Counter::Committed, stored(&server, "audit")),
        (Counter::Suspensions, 3),
    ];
    assert_counted(&core, &expected);
    assert_counted(&core, &[(Counter::Committed, 3)]);
}

// Oracle: what was done to the server names the counter; no other error counter moves. One suspended
// batch and one vain attempt to resume are two errors at least.
on_each_server!(each_error_of_the_server_has_a_counter_of_its_own);
fn each_error_of_the_server_has_a_counter_of_its_own(flavour: Flavour) {
    let cases: [(&[&str], Counter); 5] = [
        (&["CONFIG", "SET", "maxmemory", "1"], Counter::ErrorsOutOfMemory),
        (&["REPLICAOF", "127.0.0.1", "1"], Counter::ErrorsReadOnly),
        (&["CONFIG", "SET", "min-replicas-to-write", "1"], Counter::ErrorsBusy),
        (&["SET", "audit", "no stream"], Counter::ErrorsRefused),
        (&["ACL", "SETUSER", "default", "-xadd"], Counter::ErrorsAuth),
    ];
    for (breaks, counter) in cases {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        let mut core = Core::new(&server.address(), &[]);
        core.send(0..1, 1);
        command(&server, breaks);
        assert_only_error(&mut core, counter);
    }
}

// Oracle: the fault names the counter, as above.
on_each_server!(each_fault_on_the_way_has_a_counter_of_its_own);
fn each_fault_on_the_way_has_a_counter_of_its_own(flavour: Flavour) {
    let cases = [
        (Fault::BlackHole, Counter::ErrorsTimeout),
        (Fault::CutBeforeExec, Counter::ErrorsConnect),
        (Fault::Garbage, Counter::ErrorsProtocol),
    ];
    for (fault, counter) in cases {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        let proxy = Proxy::unix(&scratch, server.address());
        let mut core = Core::new(&proxy.address(), &[("timeout.commit", "1000")]);
        core.send(0..1, 1);
        proxy.set(fault);
        assert_only_error(&mut core, counter);
    }
}

/// Has a batch and an attempt to resume fail.
#[track_caller]
fn assert_only_error(core: &mut Core, expected: Counter) {
    core.load((0..3).map(record));
    assert_eq!(core.transaction(0..3), Suspended);
    assert_eq!(core.try_resume(), Suspended);
    for counter in [
        Counter::ErrorsConnect,
        Counter::ErrorsAuth,
        Counter::ErrorsTimeout,
        Counter::ErrorsBusy,
        Counter::ErrorsReadOnly,
        Counter::ErrorsOutOfMemory,
        Counter::ErrorsRefused,
        Counter::ErrorsProtocol,
    ] {
        let count = core.action.stats.get(counter);
        let is_as_expected = if counter == expected { count >= 2 } else { count == 0 };
        assert!(is_as_expected, "{count} {counter:?}, for {expected:?}: {}", core.log.text());
    }
}

// Oracle: a wrong password is refused at the login, before any flush.
on_each_server!(a_refused_login_is_an_error_of_authorisation_and_no_flush);
fn a_refused_login_is_an_error_of_authorisation_and_no_flush(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).password("right").start(&scratch);
    let mut core = Core::new(&server.address(), &[("serverpassword", "wrong")]);
    assert_only_error(&mut core, Counter::ErrorsAuth);
    assert_counted(&core, &[(Counter::Flushes, 0), (Counter::BytesSent, 0)]);
}

// Oracle: a flush that is sent ahead, in pieces of more than 64 KiB, counts the bytes that the same
// records take in one piece.
on_each_server!(bytes_sent_ahead_are_counted_once);
fn bytes_sent_ahead_are_counted_once(flavour: Flavour) {
    let sent_in_batches_of = |size: usize| {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        let mut core = Core::new(&server.address(), &[("record.format", "raw")]);
        core.send(0..1, 1);
        let before = core.action.stats.get(Counter::BytesSent);
        let text = |number: u64| testkit::record_of(number, 4000);
        for batch in (1..101).collect::<Vec<_>>().chunks(size) {
            core.load(batch.iter().map(|number| text(*number)));
            core.settle();
        }
        assert_eq!(stored(&server, "audit"), 101);
        core.action.stats.get(Counter::BytesSent) - before
    };
    let (ahead, alone) = (sent_in_batches_of(100), sent_in_batches_of(10));
    // Ten flushes have nine MULTI, markers and EXECs more than one.
    let overhead = (alone - ahead) / 9;
    assert!((100..400).contains(&overhead), "{ahead} and {alone}");
}
