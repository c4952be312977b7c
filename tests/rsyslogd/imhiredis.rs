//! rsyslog's own reader of streams, imhiredis, on the stream that the plugin writes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use testkit::{Count, Rsyslogd, Scratch, Server, Version, poll, record, wait_until};

use crate::scene::{SOON, action, flavour_for, rsyslogd_with};

/// The only one of the tested releases that comes with it and reads consumer groups.
const VERSION: Version = Version::V8_2504;

/// The configuration of docs/reading.md, with its address and its file in their places here.
fn documented(server: &Server, file: &Path) -> String {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reading.md");
    let text = fs::read_to_string(document).expect("docs/reading.md");
    let (_, rest) = text.split_once("```\nmodule(load=\"imhiredis\")").expect("the configuration");
    let config = rest.split("```").next().expect("its end");
    let changes = [
        ("port=\"6379\"", format!("port=\"{}\"", server.port())),
        ("/var/log/audit.jsonl", file.display().to_string()),
    ];
    changes.iter().fold(format!("module(load=\"imhiredis\"){config}"), |config, (from, to)| {
        assert!(config.contains(from), "{config}");
        config.replace(from, to)
    })
}

/// The numbers in a file of JSON lines.
fn numbers(file: &Path) -> Vec<u64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let number = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).ok()?;
        record["n"].as_str()?.parse().ok()
    };
    text.lines().filter_map(number).collect()
}

/// How many entries a group has read and not acknowledged.
fn pending(server: &Server) -> u64 {
    let mut command = redis::cmd("XPENDING");
    let summary: (u64, Option<String>, Option<String>, redis::Value) =
        command.arg("audit").arg("archive").query(&mut server.connection()).expect("XPENDING");
    summary.0
}

// Oracle: the file has each number once and in order, and nothing is left to acknowledge; the reader was
// stopped and started again while it read, and the writer went on meanwhile.
#[test]
fn imhiredis_reads_each_record_once_also_over_a_restart() {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(VERSION)).tcp().start(&scratch);
    let writer = rsyslogd_with(VERSION, &scratch, &action(&server.tcp_address(), ""));
    let file = scratch.join("archive");
    writer.send((0..5000).map(record));
    server.wait_entries("audit", 5000, SOON);
    let reader = Rsyslogd::builder(VERSION)
        .without_plugin()
        .config(&documented(&server, &file))
        .action("stop")
        .start(&scratch);
    wait_until("the reader to begin", SOON, || !numbers(&file).is_empty());
    let stopped = reader.stop();
    assert!(stopped.status.success(), "{}", reader.log());
    assert!(numbers(&file).len() < 5000, "it was stopped too late");
    writer.send((5000..8000).map(record));
    reader.start();
    writer.send((8000..10_000).map(record));
    let is_all = poll(SOON, || (numbers(&file).len() >= 10_000).then_some(()));
    let count = Count::of(numbers(&file), 0..10_000);
    assert!(is_all.is_some(), "{count}, pending {}: {}", pending(&server), reader.log());
    wait_until("the last acknowledgement", Duration::from_secs(10), || pending(&server) == 0);
    reader.stop();
    let count = Count::of(numbers(&file), 0..10_000);
    assert!(count.is_exact() && count.is_in_order(), "{count}\n{}", reader.log());
}
