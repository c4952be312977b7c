//! Shipped configurations in motion: the file as it is, with its addresses and its queue's place changed.

use std::fs;

use testkit::{Rsyslogd, Scratch, Server, Version, poll, shipped_config, wait_until};

use crate::scene::{SOON, entries, flavour_for};

on_each_version!(records_of_valkey_audit_are_stored_or_become_dead_letters);

// Oracle: the sample, of whose 74 lines a JSON parser refuses four; each is there once, over TCP without
// a header and over syslog with one.
fn records_of_valkey_audit_are_stored_or_become_dead_letters(version: Version) {
    let sample = fs::read_to_string("tests/data/valkey-audit-sample.jsonl").expect("the sample");
    let lines: Vec<&str> = sample.lines().collect();
    let broken: Vec<&str> = lines
        .iter()
        .filter(|line| serde_json::from_str::<serde_json::Value>(line).is_err())
        .copied()
        .collect();
    assert_eq!((lines.len(), broken.len()), (74, 4));
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let address = server.address().to_string();
    let port = testkit::free_port().to_string();
    let config = shipped_config(
        "valkey-audit.conf",
        &[("127.0.0.1:6379", &address), ("5514", &port), (" queue.filename=", " #queue.filename=")],
    );
    let config = config.replace("queue.maxDiskSpace", "#queue.maxDiskSpace");
    let config = config.replace("queue.saveOnShutdown", "#queue.saveOnShutdown");
    // The kit's input stands for that of the system's log.
    let rsyslogd = Rsyslogd::builder(version)
        .config(&config)
        .action("call RSYSLOG_DefaultRuleset")
        .start(&scratch);
    let both = (2 * (lines.len() - broken.len()) as u64, 2 * broken.len());
    rsyslogd
        .send(lines.iter().map(|line| format!("<157>Nov 22 02:57:14 valkey-audit[6510]: {line}")));
    let mut stream = poll(SOON, || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).ok())
        .expect("the input accepts");
    std::io::Write::write_all(&mut stream, sample.as_bytes()).expect("rsyslogd reads");
    drop(stream);
    server.wait_entries("audit", both.0, SOON);
    wait_until("the dead letters", SOON, || entries(&server, "audit:deadletter").len() == both.1);
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    assert_eq!(entries(&server, "audit").len() as u64, both.0);
    let dead = entries(&server, "audit:deadletter");
    for line in broken {
        let ends = |entry: &&testkit::Entry| {
            entry.get("record").is_some_and(|record| record.ends_with(line.as_bytes()))
        };
        assert_eq!(dead.iter().filter(ends).count(), 2, "{line}");
    }
}
