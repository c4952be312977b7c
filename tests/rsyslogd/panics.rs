//! A defect of the plugin's own code: a panic, which the test build provokes on request, ends no
//! rsyslogd and loses no record.

use std::fs;

use testkit::{Rsyslogd, Scratch, Server, Version, record};

use crate::scene::{SOON, action, assert_delivered, count, flavour_for, lasting_server};

on_each_version!(
    a_panic_in_a_commit_becomes_a_suspension,
    a_panic_while_resuming_is_recovered_from,
    a_panic_over_one_record_loses_none,
);

const BATCHES: &str = "queue.dequeueBatchSize=\"100\"";

fn rsyslogd_that_panics(
    version: Version,
    scratch: &Scratch,
    server: &Server,
    at: &str,
) -> Rsyslogd {
    Rsyslogd::builder(version)
        .action(&action(&server.address(), BATCHES))
        .environment("OMVALKEYAUDIT_PANIC", at)
        .start(scratch)
}

/// What rsyslogd has written to its own log, without what it said on its standard error.
fn internal_errors(rsyslogd: &Rsyslogd) -> usize {
    let own = fs::read_to_string(rsyslogd.folder().join("own")).unwrap_or_default();
    own.matches("internal error").count()
}

/// Oracle: each record once and in order; the log speaks of one internal error.
fn a_panic_in_a_commit_becomes_a_suspension(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let rsyslogd = rsyslogd_that_panics(version, &scratch, &server, "Flush 3");
    rsyslogd.send((0..5000).map(record));
    assert_delivered(&rsyslogd, &server, 0..5000);
    assert_eq!(internal_errors(&rsyslogd), 1, "{}", rsyslogd.log());
}

/// Oracle: each record once and in order, when the server is there at last.
fn a_panic_while_resuming_is_recovered_from(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).start(&scratch);
    server.stop();
    let rsyslogd = rsyslogd_that_panics(version, &scratch, &server, "TryResume 1");
    rsyslogd.send((0..500).map(record));
    rsyslogd.wait_log("internal error");
    server.start();
    assert_delivered(&rsyslogd, &server, 0..500);
}

/// Oracle: the count: none lost, and doubled at most the batch in which it happened.
fn a_panic_over_one_record_loses_none(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let rsyslogd = rsyslogd_that_panics(version, &scratch, &server, "DoAction 250");
    rsyslogd.send((0..5000).map(record));
    server.wait_entries("audit", 5000, SOON);
    let status = rsyslogd.stop().status;
    assert!(status.success(), "{status}:\n{}", rsyslogd.log());
    let count = count(&server, "audit", 0..5000);
    assert!(count.lost == 0 && count.doubled <= 100, "{count}\n{}", rsyslogd.log());
    assert_eq!(internal_errors(&rsyslogd), 1, "{}", rsyslogd.log());
}
