//! rsyslogd is stopped while the server is away: every record is in the store, once, after the next
//! start. Older rsyslogds drop the batch at hand, so the plugin holds it; newer ones bring it back,
//! also what is settled of it, so the plugin notes that.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use testkit::{Fault, Proxy, Rsyslogd, Scratch, Server, Version, record, wait_until};

use crate::scene::{SOON, action, count, entries, flavour_for, lasting_server};

on_each_version!(
    the_batch_at_hand_survives_a_stop,
    a_batch_of_which_a_part_was_committed_survives_a_stop,
    a_commit_in_doubt_survives_a_stop,
    two_stops_in_a_row_lose_nothing_and_double_nothing,
    several_workers_hold_their_batches,
    dead_letters_survive_a_stop,
    an_action_without_a_queue_of_its_own_keeps_its_batch,
    a_batch_from_any_kind_of_queue_survives_a_stop,
    a_commit_that_the_server_runs_after_the_stop_is_not_repeated,
);

/// A queue that outlives a stop, and a hold file; batches of at most this size.
fn parameters(scratch: &Scratch, batch: usize, more: &str) -> String {
    format!(
        "queue.filename=\"q\" queue.saveOnShutdown=\"on\" queue.timeoutShutdown=\"500\"\n\
         \x20 queue.dequeueBatchSize=\"{batch}\" holdfile=\"{}\" {more}",
        hold_file(scratch).display()
    )
}

fn hold_file(scratch: &Scratch) -> PathBuf {
    scratch.join("audit.hold")
}

/// How many workers, of all processes so far, have found that they cannot commit.
fn failures(rsyslogd: &Rsyslogd) -> usize {
    let own = fs::read_to_string(rsyslogd.folder().join("own")).unwrap_or_default();
    own.matches("cannot commit, records wait").count()
}

/// Waits for the last record, ends rsyslogd, and asserts that each record arrived once.
#[track_caller]
fn assert_exact(rsyslogd: &Rsyslogd, server: &Server, sent: Range<u64>, scratch: &Scratch) {
    server.wait_entries("audit", sent.end - sent.start, SOON);
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    let count = count(server, "audit", sent);
    assert!(count.is_exact(), "{count}\n{}", rsyslogd.log());
    assert_eq!(fs::read(hold_file(scratch)).expect("the hold file"), b"", "{}", rsyslogd.log());
}

/// Oracle: the count; on newer versions rsyslogd's own memory does it, and nothing is doubled by ours.
fn the_batch_at_hand_survives_a_stop(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).start(&scratch);
    server.stop();
    let action = action(&server.address(), &parameters(&scratch, 5, ""));
    let rsyslogd = Rsyslogd::builder(version).action(&action).start(&scratch);
    rsyslogd.send((0..13).map(record));
    rsyslogd.wait_log("cannot commit, records wait");
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    server.start();
    rsyslogd.start();
    assert_exact(&rsyslogd, &server, 0..13, &scratch);
}

/// Oracle: the count of 5,000 records, of which the first were committed in parts, also in the batch
/// at hand, when the connection breaks within a commit and nobody accepts another.
fn a_batch_of_which_a_part_was_committed_survives_a_stop(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let action = action(&proxy.address(), &parameters(&scratch, 1000, "batch.maxrecords=\"100\""));
    let rsyslogd = Rsyslogd::builder(version).action(&action).start(&scratch);
    // Slow enough to be met in the middle.
    proxy.set(Fault::DelayReplies(Duration::from_millis(20)));
    rsyslogd.send((0..5000).map(record));
    wait_until("some commits", SOON, || proxy.execs() > 15);
    proxy.set(Fault::Refuse);
    proxy.cut_all();
    rsyslogd.wait_log("cannot commit, records wait");
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    let before = entries(&server, "audit").len();
    assert!((1..5000).contains(&before), "{before} records were committed before the stop");
    proxy.pass();
    rsyslogd.start();
    assert_exact(&rsyslogd, &server, 0..5000, &scratch);
}

/// Oracle: the count, after a stop with a commit that had taken place, and after one with a commit that
/// had not: rsyslogd knew neither.
fn a_commit_in_doubt_survives_a_stop(version: Version) {
    for fault in [Fault::CutAfterExec, Fault::CutBeforeExec] {
        let scratch = Scratch::new();
        let server = Server::builder(flavour_for(version)).start(&scratch);
        let proxy = Proxy::unix(&scratch, server.address());
        let action = action(&proxy.address(), &parameters(&scratch, 100, ""));
        let rsyslogd = Rsyslogd::builder(version).action(&action).start(&scratch);
        rsyslogd.send([record(0)]);
        server.wait_entries("audit", 1, SOON);
        proxy.once(fault);
        proxy.set(Fault::Refuse);
        rsyslogd.send((1..200).map(record));
        rsyslogd.wait_log("cannot commit, records wait");
        assert_eq!(proxy.fired(fault), 1);
        assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
        proxy.pass();
        rsyslogd.start();
        assert_exact(&rsyslogd, &server, 0..200, &scratch);
    }
}

/// Oracle: the count, after a start in between that met no server, and got more records.
fn two_stops_in_a_row_lose_nothing_and_double_nothing(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).start(&scratch);
    server.stop();
    let action = action(&server.address(), &parameters(&scratch, 5, ""));
    let rsyslogd = Rsyslogd::builder(version).action(&action).start(&scratch);
    for (stops, sent) in [(0, 0..13), (1, 13..20)] {
        rsyslogd.send(sent.map(record));
        wait_until("this process's try", SOON, || failures(&rsyslogd) > stops);
        assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
        if stops == 0 {
            rsyslogd.start();
        }
    }
    server.start();
    rsyslogd.start();
    assert_exact(&rsyslogd, &server, 0..20, &scratch);
}

/// Oracle: the count; each of the workers has a batch at hand when rsyslogd is stopped.
fn several_workers_hold_their_batches(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).start(&scratch);
    server.stop();
    let workers = "queue.workerThreads=\"3\" queue.workerThreadMinimumMessages=\"10\"";
    let action = action(&server.address(), &parameters(&scratch, 10, workers));
    let rsyslogd = Rsyslogd::builder(version).action(&action).start(&scratch);
    rsyslogd.send((0..200).map(record));
    wait_until("all workers to fail", SOON, || failures(&rsyslogd) == 3);
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    server.start();
    rsyslogd.start();
    assert_exact(&rsyslogd, &server, 0..200, &scratch);
}

/// Oracle: the streams; the broken record is a dead letter once.
fn dead_letters_survive_a_stop(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).start(&scratch);
    server.stop();
    let action = action(&server.address(), &parameters(&scratch, 100, ""));
    let rsyslogd = Rsyslogd::builder(version).action(&action).start(&scratch);
    rsyslogd.send([record(0), "no JSON".to_owned(), record(1)]);
    rsyslogd.wait_log("cannot commit, records wait");
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    server.start();
    rsyslogd.start();
    // Held records wait for the first new one where rsyslogd brings none back.
    rsyslogd.send([record(2)]);
    assert_exact(&rsyslogd, &server, 0..3, &scratch);
    let letters = entries(&server, "audit:deadletter");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0].text("record"), "no JSON");
}

/// Oracle: the count. The batch at hand is one of the ruleset's queue here.
fn an_action_without_a_queue_of_its_own_keeps_its_batch(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).start(&scratch);
    server.stop();
    let action = format!(
        "action(type=\"omvalkeyaudit\" name=\"audit\" server=\"{}\" template=\"raw\"\n\
         \x20 action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\" holdfile=\"{}\")",
        server.address(),
        hold_file(&scratch).display()
    );
    let queue = "queue.type=\"LinkedList\" queue.filename=\"q\" queue.saveOnShutdown=\"on\"\n\
                 queue.timeoutShutdown=\"500\" queue.dequeueBatchSize=\"5\"";
    let builder = Rsyslogd::builder(version).action(&action).ruleset_parameters(queue);
    let rsyslogd = builder.start(&scratch);
    rsyslogd.send((0..13).map(record));
    rsyslogd.wait_log("cannot commit, records wait");
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    server.start();
    rsyslogd.start();
    assert_exact(&rsyslogd, &server, 0..13, &scratch);
}

/// Oracle: the count, for the kinds of queue that outlive a stop.
fn a_batch_from_any_kind_of_queue_survives_a_stop(version: Version) {
    for kind in ["Disk", "FixedArray"] {
        let scratch = Scratch::new();
        let server = lasting_server(version).start(&scratch);
        server.stop();
        let action = action(&server.address(), &parameters(&scratch, 5, ""));
        let action = action.replace("LinkedList", kind);
        let rsyslogd = Rsyslogd::builder(version).action(&action).start(&scratch);
        rsyslogd.send((0..13).map(record));
        rsyslogd.wait_log("cannot commit, records wait");
        assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
        server.start();
        rsyslogd.start();
        assert_exact(&rsyslogd, &server, 0..13, &scratch);
    }
}

/// Oracle: the count. The server stands still with a whole commit in its socket's buffer, and goes on
/// before the next rsyslogd asks for it.
fn a_commit_that_the_server_runs_after_the_stop_is_not_repeated(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let more = "timeout.commit=\"1000\" timeout.connect=\"1000\"";
    let action = action(&proxy.address(), &parameters(&scratch, 100, more));
    let rsyslogd = Rsyslogd::builder(version).action(&action).start(&scratch);
    rsyslogd.send([record(0)]);
    server.wait_entries("audit", 1, SOON);
    let before = proxy.execs();
    server.pause();
    rsyslogd.send((1..50).map(record));
    wait_until("a commit to be under way", SOON, || proxy.execs() > before);
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    server.cont();
    rsyslogd.start();
    // Held records wait for the first new one where rsyslogd brings none back.
    rsyslogd.send((50..60).map(record));
    assert_exact(&rsyslogd, &server, 0..60, &scratch);
}
