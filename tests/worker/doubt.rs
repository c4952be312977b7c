//! Connections that break around EXEC: whatever the client could not see, each record is stored
//! once.

use crate::core::{Core, assert_exact, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use std::time::Duration;
use testkit::{Fault, Flavour, Proxy, Scratch, Server, record, wait_until};

/// A server, a proxy in front of it, and a worker that has committed the first ten records.
fn started(
    flavour: Flavour,
    scratch: &Scratch,
    parameters: &[(&str, &str)],
) -> (Server, Proxy, Core) {
    let server = Server::builder(flavour).start(scratch);
    let proxy = Proxy::unix(scratch, server.address());
    let mut core = Core::new(&proxy.address(), parameters);
    core.send(0..10, 5);
    (server, proxy, core)
}

/// Sends ten more records with one fault in the way, then ten without, and counts.
fn survives(flavour: Flavour, fault: Fault) -> (Scratch, Server, Proxy, Core) {
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(flavour, &scratch, &[]);
    proxy.once(fault);
    core.send(10..20, 10);
    assert_eq!(proxy.fired(fault), 1, "{fault:?} did not happen");
    core.send(20..30, 10);
    assert_exact(&server, "audit", 0..30);
    (scratch, server, proxy, core)
}

// Oracle: exact count; and no suspension, because one reconnect is made on the spot.
on_each_server!(a_connection_cut_before_exec_is_replaced_and_the_flush_repeated);
fn a_connection_cut_before_exec_is_replaced_and_the_flush_repeated(flavour: Flavour) {
    let (_scratch, _server, _proxy, core) = survives(flavour, Fault::CutBeforeExec);
    assert!(!core.verdicts.contains(&Suspended), "{}", core.log.text());
}

// Oracle: exact count: the marker tells that EXEC ran.
on_each_server!(a_commit_whose_confirmation_was_lost_is_not_repeated);
fn a_commit_whose_confirmation_was_lost_is_not_repeated(flavour: Flavour) {
    let (_scratch, _server, _proxy, core) = survives(flavour, Fault::CutAfterExec);
    assert!(!core.verdicts.contains(&Suspended), "{}", core.log.text());
}

// Oracle: exact count although the server gets the first EXEC after the second one: the guard breaks
// it. That it did get it shows in the server's own count of EXEC calls.
on_each_server!(an_exec_that_arrives_after_its_successor_writes_nothing);
fn an_exec_that_arrives_after_its_successor_writes_nothing(flavour: Flavour) {
    let late = Fault::LateExec(Duration::from_millis(700));
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(flavour, &scratch, &[]);
    proxy.once(late);
    core.send(10..20, 10);
    assert_eq!(proxy.fired(late), 1);
    assert_exact(&server, "audit", 0..20);
    let before = exec_calls(&server);
    wait_until("the late EXEC to arrive", crate::core::PATIENCE, || exec_calls(&server) > before);
    assert_exact(&server, "audit", 0..20);
    core.send(20..30, 10);
    assert_exact(&server, "audit", 0..30);
}

// Oracle: exact count although the late EXEC reaches the server after the new connection has looked
// the marker up, and before its own flush: what the look-up said must stay true.
on_each_server!(an_exec_that_arrives_between_the_look_up_and_the_repetition_writes_nothing);
fn an_exec_that_arrives_between_the_look_up_and_the_repetition_writes_nothing(flavour: Flavour) {
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(flavour, &scratch, &[]);
    let late = Fault::LateExec(Duration::from_millis(300));
    let slow = Fault::DelayReplies(Duration::from_millis(700));
    proxy.once(late);
    proxy.once(slow);
    core.send(10..20, 10);
    assert_eq!((proxy.fired(late), proxy.fired(slow)), (1, 1));
    core.send(20..30, 10);
    assert_exact(&server, "audit", 0..30);
}

/// How many EXEC commands the server has run, refused ones included.
fn exec_calls(server: &Server) -> u64 {
    let stats: String =
        redis::cmd("INFO").arg("commandstats").query(&mut server.connection()).unwrap();
    let line = stats.lines().find(|line| line.starts_with("cmdstat_exec:")).unwrap();
    let calls = line.split(['=', ',']).nth(1).unwrap();
    calls.parse().unwrap()
}

// Oracle: exact count.
on_each_server!(a_connection_cut_within_a_command_is_replaced);
fn a_connection_cut_within_a_command_is_replaced(flavour: Flavour) {
    survives(flavour, Fault::CutInRequest);
}

// Oracle: exact count.
on_each_server!(a_connection_that_the_server_half_closes_is_replaced);
fn a_connection_that_the_server_half_closes_is_replaced(flavour: Flavour) {
    survives(flavour, Fault::HalfClose);
}

// Oracle: exact count, and a line that names what is wrong.
on_each_server!(garbage_instead_of_a_reply_is_never_taken_for_a_commit);
fn garbage_instead_of_a_reply_is_never_taken_for_a_commit(flavour: Flavour) {
    survives(flavour, Fault::Garbage);
}

// Oracle: the verdict and the longest call, which must not exceed the deadline by much.
on_each_server!(a_server_that_swallows_everything_suspends_within_the_deadline);
fn a_server_that_swallows_everything_suspends_within_the_deadline(flavour: Flavour) {
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(flavour, &scratch, &[("timeout.commit", "1000")]);
    core.longest = Duration::ZERO;
    proxy.set(Fault::BlackHole);
    core.load((10..15).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    assert_eq!(core.try_resume(), Suspended);
    assert!(core.longest < Duration::from_millis(2500), "{:?}", core.longest);
    assert_eq!(core.transaction(0..1), Suspended, "without a connection it says so at once");
    proxy.pass();
    core.resume();
    core.replay(5);
    assert_exact(&server, "audit", 0..15);
}

// Oracle: exact count after the server did run the commits whose replies were dropped.
on_each_server!(swallowed_replies_are_looked_up);
fn swallowed_replies_are_looked_up(flavour: Flavour) {
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(flavour, &scratch, &[("timeout.commit", "1000")]);
    proxy.once(Fault::DropReplies);
    core.load((10..15).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    proxy.pass();
    core.resume();
    core.replay(5);
    assert_exact(&server, "audit", 0..15);
}

// Oracle: exact count although the stopped server finds two connections' worth of commands when it
// goes on.
on_each_server!(a_server_that_was_stopped_and_goes_on_holds_every_record_once);
fn a_server_that_was_stopped_and_goes_on_holds_every_record_once(flavour: Flavour) {
    for _ in 0..5 {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        let mut core = Core::new(
            &server.address(),
            &[("timeout.commit", "1000"), ("timeout.connect", "1000")],
        );
        core.send(0..10, 5);
        server.pause();
        core.load((10..20).map(record));
        assert_eq!(core.transaction(0..10), Suspended);
        assert_eq!(core.try_resume(), Suspended);
        assert_eq!(core.try_resume(), Suspended);
        server.cont();
        core.resume();
        core.replay(10);
        core.send(20..30, 10);
        assert_exact(&server, "audit", 0..30);
    }
}

// Oracle: exact count of a batch that was committed partially before the connection broke for good.
on_each_server!(a_replay_after_partial_commits_writes_only_what_is_missing);
fn a_replay_after_partial_commits_writes_only_what_is_missing(flavour: Flavour) {
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(flavour, &scratch, &[("batch.maxrecords", "4")]);
    core.load((10..20).map(record));
    assert_eq!(core.transaction(0..4), Committed);
    proxy.set(Fault::Refuse);
    proxy.cut_all();
    assert_eq!(core.transaction(4..10), Suspended);
    assert_exact(&server, "audit", 0..14);
    proxy.pass();
    core.resume();
    assert_exact(&server, "audit", 0..20);
    core.replay(10);
    assert_exact(&server, "audit", 0..20);
}

// Oracle: the count, when the whole batch is replayed at once as newer cores do it.
on_each_server!(a_replay_of_the_whole_batch_writes_nothing_again);
fn a_replay_of_the_whole_batch_writes_nothing_again(flavour: Flavour) {
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(flavour, &scratch, &[]);
    proxy.set(Fault::Refuse);
    proxy.cut_all();
    core.load((10..20).map(record));
    assert_eq!(core.transaction(0..10), Suspended);
    proxy.pass();
    core.resume();
    assert_eq!(core.transaction(0..10), Committed);
    core.send(20..30, 10);
    assert_exact(&server, "audit", 0..30);
}

// Oracle: the stream; what was in doubt and failed inside EXEC must not be taken for stored.
on_each_server!(a_record_that_failed_inside_a_commit_in_doubt_is_written_later);
fn a_record_that_failed_inside_a_commit_in_doubt_is_written_later(flavour: Flavour) {
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(flavour, &scratch, &[]);
    command(&server, &["RENAME", "audit", "before"]);
    command(&server, &["SET", "audit", "not a stream"]);
    proxy.once(Fault::CutAfterExec);
    core.load((10..15).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    assert_eq!(proxy.fired(Fault::CutAfterExec), 1);
    assert!(core.log.text().contains("WRONGTYPE"), "{}", core.log.text());
    command(&server, &["DEL", "audit"]);
    core.resume();
    core.replay(5);
    assert_exact(&server, "audit", 10..15);
}

// Oracle: the stream. The key whose wrong type made the commit fail is deleted, as the log advises,
// before the worker is back to look: it must not take the empty place for success.
on_each_server!(a_key_that_is_gone_at_the_look_up_is_written_again);
fn a_key_that_is_gone_at_the_look_up_is_written_again(flavour: Flavour) {
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(flavour, &scratch, &[]);
    command(&server, &["SET", "audit", "not a stream"]);
    proxy.once(Fault::CutAfterExec);
    // The reconnect on the spot must fail, so that the operator is faster.
    proxy.set(Fault::Refuse);
    core.load((10..15).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    assert_eq!(proxy.fired(Fault::CutAfterExec), 1);
    command(&server, &["DEL", "audit"]);
    proxy.pass();
    core.resume();
    core.replay(5);
    assert_exact(&server, "audit", 10..15);
}

// Oracle: the longest call, and the second server's stream.
on_each_server!(a_first_server_that_hangs_leaves_time_for_the_second);
fn a_first_server_that_hangs_leaves_time_for_the_second(flavour: Flavour) {
    let scratch = Scratch::new();
    let hanging = Server::builder(flavour).start(&scratch);
    let server = Server::builder(flavour).start(&scratch);
    hanging.pause();
    let (first, second) = (hanging.address().to_string(), server.address().to_string());
    let parameters = [
        ("server", first.as_str()),
        ("server", second.as_str()),
        ("timeout.connect", "1000"),
        ("timeout.commit", "3000"),
    ];
    let mut core = Core::new(&second, &parameters);
    core.send(0..5, 5);
    hanging.cont();
    assert_exact(&server, "audit", 0..5);
    assert!(core.longest < Duration::from_millis(2800), "{:?}", core.longest);
}
