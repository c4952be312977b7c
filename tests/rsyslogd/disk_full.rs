//! The hold file on a disk that is full. A limit of the size of rsyslogd's files stands for it: a write
//! ends in the middle, with an error.

use std::fs;

use testkit::{Fault, Proxy, Rsyslogd, Scratch, Server, Version, record};

use crate::scene::{SOON, action, count, flavour_for};

on_each_version!(
    a_batch_that_cannot_be_held_is_reported_and_harms_no_other,
    a_damaged_hold_file_that_cannot_be_put_aside_leaves_no_rests,
);

const LIMIT: usize = 200_000;

fn start(version: Version, scratch: &Scratch, action: &str) -> Rsyslogd {
    let limit = format!("--fsize={LIMIT}");
    Rsyslogd::builder(version)
        .action(action)
        .wrapper(&["prlimit", &limit])
        .max_message_bytes(1 << 20)
        .start(scratch)
}

/// Oracle: the line, that the file holds what it held before, and the count of what is sent later.
fn a_batch_that_cannot_be_held_is_reported_and_harms_no_other(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let hold = scratch.join("audit.hold");
    // A queue in memory: what is held is all that there is.
    let more = format!("record.maxbytes=\"1m\" holdfile=\"{}\"", hold.display());
    let rsyslogd = start(version, &scratch, &action(&proxy.address(), &more));
    let long = format!("{{\"n\":1,\"text\":\"{}\"}}", "x".repeat(LIMIT + 1));
    for (stops, text) in [record(0), long].into_iter().enumerate() {
        proxy.set(Fault::Refuse);
        proxy.cut_all();
        rsyslogd.send([text]);
        rsyslogd.wait_log("cannot commit, records wait");
        assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
        let log = rsyslogd.log();
        let is_reported = log.contains("records that are not committed, count: 2: cannot write to")
            || log.contains("records that are not committed, count: 1: cannot write to");
        assert_eq!(is_reported, stops == 1, "{log}");
        assert!(fs::read_to_string(&hold).is_ok_and(|text| text.contains(&record(0))));
        rsyslogd.start();
    }
    proxy.pass();
    rsyslogd.send([record(1)]);
    server.wait_entries("audit", 2, SOON);
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    let count = count(&server, "audit", 0..2);
    assert!(count.is_exact(), "{count}\n{}", rsyslogd.log());
    assert_eq!(fs::read(&hold).expect("the hold file"), b"");
}

/// Oracle: the folder after several flushes, each of which tries the file again, and the file itself.
fn a_damaged_hold_file_that_cannot_be_put_aside_leaves_no_rests(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let hold = scratch.join("spool/audit.hold");
    fs::create_dir(scratch.join("spool")).expect("make a folder");
    let content = format!("omvalkeyaudit hold file 1\n{}", "torn".repeat(LIMIT));
    fs::write(&hold, &content).expect("write");
    let more = format!("holdfile=\"{}\"", hold.display());
    let rsyslogd = start(version, &scratch, &action(&server.address(), &more));
    for number in 0..5 {
        rsyslogd.send([record(number)]);
        server.wait_entries("audit", number + 1, SOON);
    }
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    let log = rsyslogd.log();
    assert!(log.contains("parameter \"holdfile\": cannot use"), "{log}");
    let folder = fs::read_dir(hold.parent().expect("a folder")).expect("the folder");
    let names: Vec<_> = folder.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["audit.hold"]);
    assert_eq!(fs::read_to_string(&hold).expect("the hold file"), content);
}
