//! SIGTERM: rsyslogd ends by itself, with status 0, and within the time that its calls into the
//! plugin may take.

use std::time::Duration;

use testkit::{Proxy, Rsyslogd, Scratch, Server, Version, record, wait_until};

use crate::debug_log::DebugLog;
use crate::scene::{SOON, action, flavour_for, rsyslogd_with};

on_each_version!(
    an_idle_rsyslogd_ends_at_once,
    an_rsyslogd_whose_server_is_absent_ends_soon,
    an_rsyslogd_whose_server_stands_still_ends_by_the_commits_deadline,
);

/// `timeout.commit` where it matters.
const COMMIT: Duration = Duration::from_secs(2);

/// What rsyslogd itself, on a busy machine, may take for its end.
const GRACE: Duration = Duration::from_secs(4);

#[track_caller]
fn assert_ends_within(rsyslogd: &Rsyslogd, limit: Duration) {
    let stopped = rsyslogd.stop();
    assert!(stopped.status.success() && stopped.took < limit, "{stopped:?}\n{}", rsyslogd.log());
}

/// Oracle: status 0 within the grace; everything was committed before.
fn an_idle_rsyslogd_ends_at_once(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let rsyslogd = rsyslogd_with(version, &scratch, &action(&server.address(), ""));
    rsyslogd.send((0..100).map(record));
    server.wait_entries("audit", 100, SOON);
    assert_ends_within(&rsyslogd, GRACE);
    assert!(!rsyslogd.log().contains("not committed"), "{}", rsyslogd.log());
}

/// Oracle: status 0 within the grace and rsyslog's own patience with a suspended action.
fn an_rsyslogd_whose_server_is_absent_ends_soon(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    server.stop();
    let rsyslogd = rsyslogd_with(version, &scratch, &action(&server.address(), ""));
    rsyslogd.send((0..100).map(record));
    rsyslogd.wait_log("cannot commit, records wait");
    assert_ends_within(&rsyslogd, GRACE);
}

/// Oracle: the signal meets the worker within a commit that nobody answers; status 0, so no abort,
/// within the commit's deadline and the grace. (What the call returned is in no log: the core
/// cancels its thread as soon as it is out of it.)
fn an_rsyslogd_whose_server_stands_still_ends_by_the_commits_deadline(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let parameters = format!("timeout.commit=\"{}\"", COMMIT.as_millis());
    let builder = Rsyslogd::builder(version).action(&action(&proxy.address(), &parameters));
    let (builder, debug_log) = DebugLog::of(builder, &scratch);
    let rsyslogd = builder.start(&scratch);
    rsyslogd.send([record(0)]);
    // The worker is out of its call, so that what hangs later is the next one.
    debug_log.wait_returned("endTransaction", 0, 1);
    let before = proxy.execs();
    server.pause();
    rsyslogd.send((1..100).map(record));
    wait_until("a commit to be under way", SOON, || proxy.execs() > before);
    assert_ends_within(&rsyslogd, COMMIT + GRACE);
}
