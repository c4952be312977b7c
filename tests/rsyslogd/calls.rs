//! The call sequences that each core makes of what the plugin returns, call by call, and that
//! whatever the core replays is in the store once.
//!
//! A batch has exactly five records in each of these tests: the queue hands nothing over before it
//! has five (`queue.minDequeueBatchSize`, with a timeout that is never reached), and never more
//! than five (`queue.dequeueBatchSize`). Five records sent are therefore one batch, on every
//! version, however slow the machine.

use std::ops::RangeInclusive;

use testkit::{
    Address, Fault, Proxy, Rsyslogd, Scratch, Server, Version, record, record_of, wait_until,
};

use crate::debug_log::{DebugLog, SUSPENDED};
use crate::scene::{SOON, action, assert_delivered, entries, flushes, lasting_server};

const BATCHES_OF_FIVE: &str = "queue.dequeueBatchSize=\"5\" queue.minDequeueBatchSize=\"5\"\n\
                               \x20 queue.minDequeueBatchSize.timeout=\"600000\"";

/// For a server that is made to stand still for a while.
const PATIENT: &str = "timeout.commit=\"60000\"";

/// A batch that goes through without any event.
const BATCH: &str = "B d d d d d E";
/// What follows an outage that was over at the first attempt or the second: the records one by one,
/// on all versions.
const ONE_BY_ONE: &str = "B d E B d E B d E B d E B d E";

/// What follows an outage that lasted longer: one by one on old cores, the batch as a whole on new
/// ones.
fn replay_after_attempts(version: Version) -> &'static str {
    match version {
        Version::V8_2302 | Version::V8_2504 => ONE_BY_ONE,
        Version::V8_2610 => BATCH,
    }
}

/// A server, a proxy before it, and an rsyslogd in debug mode that writes through the proxy in
/// batches of five.
struct Stage {
    rsyslogd: Rsyslogd,
    debug_log: DebugLog,
    proxy: Proxy,
    server: Server,
    // Last: all of the above live in it.
    _scratch: Scratch,
}

impl Stage {
    fn new(version: Version, parameters: &str) -> Stage {
        let scratch = Scratch::new();
        let server = lasting_server(version).start(&scratch);
        let proxy = Proxy::unix(&scratch, server.address());
        let (rsyslogd, debug_log) = start(version, &proxy.address(), parameters, &scratch);
        Stage { rsyslogd, debug_log, proxy, server, _scratch: scratch }
    }

    /// As `new`, and records 1 to 5 are committed.
    fn connected(version: Version, parameters: &str) -> Stage {
        let stage = Stage::new(version, parameters);
        stage.rsyslogd.send((1..=5).map(record));
        stage.server.wait_entries("audit", 5, SOON);
        // The entries can be seen before the plugin has its reply.
        wait_until("the first batch to end", SOON, || {
            let calls = stage.debug_log.calls();
            calls.ends_with(" E") || calls.ends_with(" OK")
        });
        stage
    }

    /// Lets the next commit fail: its connection is cut at EXEC, and the reconnect in the same call
    /// finds nobody.
    fn fail_next_commit(&self, cut: Fault) {
        self.proxy.once(cut);
        self.proxy.once(Fault::Refuse);
    }

    /// Sends a batch whose first commit succeeds and whose second fails as above. The server stands
    /// still until the first EXEC is on its way: the faults, which are put in place then, meet the
    /// second.
    fn fail_second_commit(&self, records: impl Iterator<Item = String>) {
        let before = self.proxy.execs();
        self.server.pause();
        self.rsyslogd.send(records);
        wait_until("the first EXEC", SOON, || self.proxy.execs() > before);
        self.fail_next_commit(Fault::CutBeforeExec);
        self.server.cont();
        self.debug_log.wait_returned("tryResume", 0, 1);
    }

    /// Waits for records 1 to `last`, ends rsyslogd, and asserts that all arrived exactly once and
    /// in order, by these calls and in so many flushes, those that were begun and failed included.
    #[track_caller]
    fn assert_ends(self, last: u64, calls: &[&str], expected_flushes: u64) {
        self.assert_ends_within(last, calls, expected_flushes..=expected_flushes);
    }

    /// As above, where the number of flushes that failed is not certain.
    #[track_caller]
    fn assert_ends_within(self, last: u64, calls: &[&str], expected: RangeInclusive<u64>) {
        assert_delivered(&self.rsyslogd, &self.server, 1..last + 1);
        assert_eq!(self.debug_log.calls(), calls.join(" "), "\n{}", self.rsyslogd.log());
        let flushes = flushes(&self.server);
        assert!(flushes.len() == 1 && expected.contains(&flushes[0]), "{flushes:?}");
    }
}

fn start(
    version: Version,
    server: &Address,
    parameters: &str,
    scratch: &Scratch,
) -> (Rsyslogd, DebugLog) {
    let action = action(server, &format!("{BATCHES_OF_FIVE} {parameters}"));
    let (builder, debug_log) = DebugLog::of(Rsyslogd::builder(version).action(&action), scratch);
    (builder.start(scratch), debug_log)
}

on_each_version!(
    a_batch_is_one_commit,
    reaching_the_limit_of_records_commits_in_the_middle_of_a_batch,
    a_commit_at_the_last_record_ends_the_batch_without_another_call,
    a_limit_of_one_record_commits_each,
    a_record_that_does_not_fit_commits_those_before_it,
    a_record_larger_than_the_limit_of_bytes_is_committed_at_once,
    a_connection_lost_before_exec_is_made_up_for_in_the_same_call,
    a_confirmation_that_was_lost_is_looked_up_in_the_same_call,
    a_failed_commit_is_made_by_try_resume_and_replayed_from_memory,
    a_lost_confirmation_is_looked_up_by_try_resume,
    an_outage_of_one_attempt_ends_with_one_commit,
    an_outage_of_several_attempts_ends_with_one_commit,
    a_server_that_is_absent_at_start_suspends_and_then_gets_all,
    a_failed_partial_commit_leaves_its_records_to_the_end_of_the_batch,
    records_of_a_partial_commit_are_not_written_again_by_the_replay,
    records_before_one_that_did_not_fit_are_not_written_again_by_the_replay,
    an_answer_that_comes_too_late_is_looked_up,
    identical_records_are_each_stored,
);

/// Oracle: the calls of two batches without any event, and two flushes for them.
fn a_batch_is_one_commit(version: Version) {
    let stage = Stage::connected(version, "");
    stage.rsyslogd.send((6..=10).map(record));
    stage.assert_ends(10, &[BATCH, BATCH], 2);
}

/// Oracle: with a limit of 3, the third doAction returns OK, and the core begins anew with the
/// fourth record.
fn reaching_the_limit_of_records_commits_in_the_middle_of_a_batch(version: Version) {
    let stage = Stage::connected(version, "batch.maxrecords=\"3\"");
    stage.rsyslogd.send((6..=10).map(record));
    let batch = "B d d OK B d d E";
    stage.assert_ends(10, &[batch, batch], 4);
}

/// Oracle: with a limit of 5, the fifth doAction returns OK, and the core neither ends nor begins
/// anything before the next batch, whose records lie in the same buffers.
fn a_commit_at_the_last_record_ends_the_batch_without_another_call(version: Version) {
    let stage = Stage::connected(version, "batch.maxrecords=\"5\"");
    stage.rsyslogd.send((6..=15).map(record));
    let batch = "B d d d d OK";
    stage.assert_ends(15, &[batch, batch, batch], 3);
}

/// Oracle: with a limit of 1, each doAction returns OK and stands for itself.
fn a_limit_of_one_record_commits_each(version: Version) {
    let stage = Stage::connected(version, "batch.maxrecords=\"1\"");
    stage.assert_ends(5, &["B OK B OK B OK B OK B OK"], 5);
}

/// Oracle: two records of 400 bytes fit into 1 KiB and a third does not, so the third and the fifth
/// doAction return PREVIOUS_COMMITTED, and the core goes on in the same transaction.
fn a_record_that_does_not_fit_commits_those_before_it(version: Version) {
    let stage = Stage::new(version, "batch.maxbytes=\"1k\" record.format=\"raw\"");
    stage.rsyslogd.send((1..=5).map(|number| record_of(number, 400)));
    stage.assert_ends(5, &["B d d PREV d PREV E"], 3);
}

/// Oracle: the third record alone is over the limit: those before it are committed, then it alone,
/// and its doAction returns OK, which speaks for both.
fn a_record_larger_than_the_limit_of_bytes_is_committed_at_once(version: Version) {
    let stage = Stage::new(version, "batch.maxbytes=\"1k\" record.format=\"raw\"");
    stage
        .rsyslogd
        .send((1..=5).map(|number| record_of(number, if number == 3 { 3000 } else { 400 })));
    stage.assert_ends(5, &["B d d OK B d d E"], 3);
}

/// Oracle: no call returns anything but success, although the connection was cut before the server
/// had EXEC.
fn a_connection_lost_before_exec_is_made_up_for_in_the_same_call(version: Version) {
    let stage = Stage::connected(version, "");
    stage.proxy.once(Fault::CutBeforeExec);
    stage.rsyslogd.send((6..=10).map(record));
    // The flush that was cut had a number of its own.
    stage.assert_ends(10, &[BATCH, BATCH], 3);
}

/// Oracle: no call returns anything but success, and nothing is there twice, although the
/// connection was cut after the server had run EXEC.
fn a_confirmation_that_was_lost_is_looked_up_in_the_same_call(version: Version) {
    let stage = Stage::connected(version, "");
    stage.proxy.once(Fault::CutAfterExec);
    stage.rsyslogd.send((6..=10).map(record));
    stage.assert_ends(10, &[BATCH, BATCH], 2);
}

/// Oracle: the core resumes at once and replays the records one by one; no replayed record causes a
/// flush.
fn a_failed_commit_is_made_by_try_resume_and_replayed_from_memory(version: Version) {
    let stage = Stage::connected(version, "");
    stage.fail_next_commit(Fault::CutBeforeExec);
    stage.rsyslogd.send((6..=10).map(record));
    stage.debug_log.wait_returned("endTransaction", 0, 6);
    stage.assert_ends(10, &[BATCH, "B d d d d d E(SUSP) R", ONE_BY_ONE], 3);
}

/// Oracle: as above, with a flush that had taken place: there is no other one.
fn a_lost_confirmation_is_looked_up_by_try_resume(version: Version) {
    let stage = Stage::connected(version, "");
    stage.fail_next_commit(Fault::CutAfterExec);
    stage.rsyslogd.send((6..=10).map(record));
    stage.debug_log.wait_returned("endTransaction", 0, 6);
    stage.assert_ends(10, &[BATCH, "B d d d d d E(SUSP) R", ONE_BY_ONE], 2);
}

/// Oracle: the batch is committed by the second attempt, in one flush, and the replay writes
/// nothing.
fn an_outage_of_one_attempt_ends_with_one_commit(version: Version) {
    let stage = Stage::connected(version, "");
    stage.fail_next_commit(Fault::CutBeforeExec);
    stage.proxy.once(Fault::Refuse);
    stage.rsyslogd.send((6..=10).map(record));
    stage.debug_log.wait_returned("endTransaction", 0, 6);
    stage.assert_ends(10, &[BATCH, "B d d d d d E(SUSP) R(SUSP) R", ONE_BY_ONE], 3);
}

/// Oracle: as above, with the replay that each core makes after a longer outage. The batch after it
/// goes its normal way.
fn an_outage_of_several_attempts_ends_with_one_commit(version: Version) {
    let stage = Stage::connected(version, "");
    stage.server.stop();
    stage.rsyslogd.send((6..=10).map(record));
    stage.debug_log.wait_returned("tryResume", SUSPENDED, 2);
    stage.server.start();
    stage.rsyslogd.send((11..=15).map(record));
    let replay = replay_after_attempts(version);
    let calls = [BATCH, "B d d d d d E(SUSP) R(SUSP) R", replay, BATCH];
    // A flush is begun where the end of the connection is not known yet.
    stage.assert_ends_within(15, &calls, 3..=4);
}

/// Oracle: as above, for a worker that has never had a connection.
fn a_server_that_is_absent_at_start_suspends_and_then_gets_all(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).start(&scratch);
    server.stop();
    let (rsyslogd, debug_log) = start(version, &server.address(), "", &scratch);
    rsyslogd.send((1..=10).map(record));
    debug_log.wait_returned("tryResume", SUSPENDED, 2);
    server.start();
    assert_delivered(&rsyslogd, &server, 1..11);
    let replay = replay_after_attempts(version);
    let calls = ["B d d d d d E(SUSP) R(SUSP) R", replay, BATCH].join(" ");
    assert_eq!(debug_log.calls(), calls, "\n{}", rsyslogd.log());
    assert_eq!(flushes(&server), [2]);
}

/// Oracle: the doAction whose partial commit fails defers, as do those after it; endTransaction
/// says SUSPENDED.
fn a_failed_partial_commit_leaves_its_records_to_the_end_of_the_batch(version: Version) {
    let stage = Stage::connected(version, "batch.maxrecords=\"3\"");
    stage.fail_next_commit(Fault::CutBeforeExec);
    stage.rsyslogd.send((6..=10).map(record));
    stage.debug_log.wait_returned("endTransaction", 0, 6);
    // One flush of the second batch is cut, two are made by tryResume.
    stage.assert_ends(10, &["B d d OK B d d E", "B d d d d d E(SUSP) R", ONE_BY_ONE], 5);
}

/// Oracle: of a batch whose first three records are committed and whose last two are not, the core
/// replays all five; each is stored once.
fn records_of_a_partial_commit_are_not_written_again_by_the_replay(version: Version) {
    let stage = Stage::connected(version, &format!("batch.maxrecords=\"3\" {PATIENT}"));
    stage.fail_second_commit((6..=10).map(record));
    let calls = ["B d d OK B d d E", "B d d OK B d d E(SUSP) R", ONE_BY_ONE];
    stage.assert_ends(10, &calls, 5);
}

/// Oracle: as above, where the first two were committed because the third did not fit.
fn records_before_one_that_did_not_fit_are_not_written_again_by_the_replay(version: Version) {
    let parameters = format!("batch.maxbytes=\"2k\" record.format=\"raw\" {PATIENT}");
    let stage = Stage::connected(version, &parameters);
    let size = |number| if number <= 7 { 900 } else { 500 };
    stage.fail_second_commit((6..=10).map(|number| record_of(number, size(number))));
    let calls = [BATCH, "B d d PREV d d E(SUSP) R", ONE_BY_ONE];
    stage.assert_ends(10, &calls, 4);
}

/// Oracle: the commit's deadline passes while the server stands still, so nobody knows whether it
/// will take place; it does when the server goes on, or never, and no record is there twice.
fn an_answer_that_comes_too_late_is_looked_up(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).start(&scratch);
    let parameters = "timeout.commit=\"300\" timeout.connect=\"300\"";
    let (rsyslogd, debug_log) = start(version, &server.address(), parameters, &scratch);
    rsyslogd.send((1..=5).map(record));
    debug_log.wait_returned("endTransaction", 0, 1);
    server.pause();
    rsyslogd.send((6..=15).map(record));
    debug_log.wait_returned("tryResume", SUSPENDED, 2);
    server.cont();
    assert_delivered(&rsyslogd, &server, 1..16);
    let replay = replay_after_attempts(version);
    let calls = [BATCH, "B d d d d d E(SUSP) R(SUSP) R", replay, BATCH].join(" ");
    assert_eq!(debug_log.calls(), calls, "\n{}", rsyslogd.log());
}

/// Oracle: twenty records of the same bytes, in the same buffers batch after batch, with one
/// outage: twenty entries.
fn identical_records_are_each_stored(version: Version) {
    let stage = Stage::new(version, "batch.maxrecords=\"5\"");
    stage.rsyslogd.send((0..5).map(|_| record(1)));
    stage.server.wait_entries("audit", 5, SOON);
    stage.fail_next_commit(Fault::CutBeforeExec);
    stage.rsyslogd.send((0..15).map(|_| record(1)));
    stage.server.wait_entries("audit", 20, SOON);
    stage.rsyslogd.stop();
    assert_eq!(entries(&stage.server, "audit").len(), 20, "{}", stage.debug_log.calls());
    let full = "B d d d d OK";
    let calls = [full, "B d d d d d E(SUSP) R", ONE_BY_ONE, full, full].join(" ");
    assert_eq!(stage.debug_log.calls(), calls);
}
