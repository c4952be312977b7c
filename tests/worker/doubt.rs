//! Connections that break around EXEC: whatever the client could not see, each record is stored
//! once.

use crate::core::{Core, assert_exact, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use std::time::Duration;
use testkit::{Fault, Flavour, Proxy, Scratch, Server, record, wait_until};

/// A server, a proxy in front of it, and a worker that has committed the first ten records.
fn started(scratch: &Scratch, parameters: &[(&str, &str)]) -> (Server, Proxy, Core) {
    let server = Server::builder(Flavour::Valkey91).start(scratch);
    let proxy = Proxy::unix(scratch, server.address());
    let mut core = Core::new(&proxy.address(), parameters);
    core.send(0..10, 5);
    (server, proxy, core)
}

/// Sends ten more records with one fault in the way, then ten without, and counts.
fn survives(fault: Fault, parameters: &[(&str, &str)]) -> (Scratch, Server, Proxy, Core) {
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(&scratch, parameters);
    proxy.once(fault);
    core.send(10..20, 10);
    assert_eq!(proxy.fired(fault), 1, "{fault:?} did not happen");
    core.send(20..30, 10);
    assert_exact(&server, "audit", 0..30);
    (scratch, server, proxy, core)
}

// Oracle: exact count; and no suspension, because one reconnect is made on the spot.
#[test]
fn a_connection_cut_before_exec_is_replaced_and_the_flush_repeated() {
    let (_scratch, _server, _proxy, core) = survives(Fault::CutBeforeExec, &[]);
    assert!(!core.verdicts.contains(&Suspended));
}

// Oracle: exact count: the marker tells that EXEC ran.
#[test]
fn a_commit_whose_confirmation_was_lost_is_not_repeated() {
    let (_scratch, _server, _proxy, core) = survives(Fault::CutAfterExec, &[]);
    assert!(!core.verdicts.contains(&Suspended));
}

// Oracle: exact count although the server gets the first EXEC after the second one: the guard breaks
// it. That it did get it shows in the server's own count of EXEC calls.
#[test]
fn an_exec_that_arrives_after_its_successor_writes_nothing() {
    let late = Fault::LateExec(Duration::from_millis(700));
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(&scratch, &[]);
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
#[test]
fn an_exec_that_arrives_between_the_look_up_and_the_repetition_writes_nothing() {
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(&scratch, &[]);
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
#[test]
fn a_connection_cut_within_a_command_is_replaced() {
    survives(Fault::CutInRequest, &[]);
}

// Oracle: exact count.
#[test]
fn a_connection_that_the_server_half_closes_is_replaced() {
    survives(Fault::HalfClose, &[]);
}

// Oracle: exact count, and a line that names what is wrong.
#[test]
fn garbage_instead_of_a_reply_is_never_taken_for_a_commit() {
    survives(Fault::Garbage, &[]);
}

// Oracle: the verdict and the longest call, which must not exceed the deadline by much.
#[test]
fn a_server_that_swallows_everything_suspends_within_the_deadline() {
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(&scratch, &[("timeout.commit", "400")]);
    core.longest = Duration::ZERO;
    proxy.set(Fault::BlackHole);
    core.load((10..15).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    assert_eq!(core.try_resume(), Suspended);
    assert!(core.longest < Duration::from_millis(1400), "{:?}", core.longest);
    assert_eq!(core.transaction(0..1), Suspended, "without a connection it says so at once");
    proxy.pass();
    core.resume();
    core.replay(5);
    assert_exact(&server, "audit", 0..15);
}

// Oracle: exact count after the server did run the commits whose replies were dropped.
#[test]
fn swallowed_replies_are_looked_up() {
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(&scratch, &[("timeout.commit", "400")]);
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
#[test]
fn a_server_that_was_stopped_and_goes_on_holds_every_record_once() {
    for _ in 0..5 {
        let scratch = Scratch::new();
        let server = Server::builder(Flavour::Valkey91).start(&scratch);
        let mut core =
            Core::new(&server.address(), &[("timeout.commit", "300"), ("timeout.connect", "300")]);
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
#[test]
fn a_replay_after_partial_commits_writes_only_what_is_missing() {
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(&scratch, &[("batch.maxrecords", "4")]);
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
#[test]
fn a_replay_of_the_whole_batch_writes_nothing_again() {
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(&scratch, &[]);
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
#[test]
fn a_record_that_failed_inside_a_commit_in_doubt_is_written_later() {
    let scratch = Scratch::new();
    let (server, proxy, mut core) = started(&scratch, &[]);
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
