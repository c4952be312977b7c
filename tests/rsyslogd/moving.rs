//! Entries that go from one stream to another, by the configuration in docs/omhiredis.md. Not on 8.2302,
//! whose imhiredis cannot read streams.

use std::fs;
use std::path::Path;

use redis::Value;
use testkit::{Fault, Proxy, Rsyslogd, Scratch, Server, Version, record, wait_until};

use crate::scene::{SOON, count, flavour_for};

#[test]
fn on_v8_2504() {
    entries_move_from_stream_to_stream(Version::V8_2504);
}

#[test]
fn on_v8_2610() {
    entries_move_from_stream_to_stream(Version::V8_2610);
}

const ENTRIES: u64 = 2_000;

/// Oracle: the target holds each number once, nothing is left in the source or pending, and the dead
/// letter is empty, although the way to the target was cut around and before EXEC.
fn entries_move_from_stream_to_stream(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).tcp().start(&scratch);
    let proxy = Proxy::tcp(server.tcp_address());
    let mut connection = server.connection();
    let mut ask = |words: &[&str]| -> Value {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        command.query(&mut connection).expect("an answer")
    };
    ask(&["XGROUP", "CREATE", "source", "movers", "0", "MKSTREAM"]);
    for number in 0..ENTRIES / 2 {
        ask(&["XADD", "source", "*", "msg", &record(number)]);
    }
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/omhiredis.md"))
        .expect("docs/omhiredis.md");
    let (_, text) = text.split_once("module(load=\"omvalkeyaudit\")\n").expect("the configuration");
    let (text, _) = text.split_once("```").expect("its end");
    let config = text
        .replace("port=\"6379\"", &format!("port=\"{}\"", server.port()))
        .replace("\"127.0.0.1:6379\"", &format!("\"{}\"", proxy.address()))
        .replace("resumeRetryCount=\"-1\"", "resumeRetryCount=\"-1\" action.resumeInterval=\"1\"");
    assert!(config.contains(&server.port().to_string()), "{config}");
    let rsyslogd = Rsyslogd::builder(version).module("imhiredis").config(&config).start(&scratch);
    server.wait_entries("target", ENTRIES / 2, SOON);
    let cuts = [Fault::CutAfterExec, Fault::CutBeforeExec, Fault::CutInRequest];
    for (part, fault) in cuts.into_iter().enumerate() {
        proxy.once(fault);
        for number in (ENTRIES / 2..ENTRIES).skip(part).step_by(cuts.len()) {
            ask(&["XADD", "source", "*", "msg", &record(number)]);
        }
        wait_until("a cut", SOON, || proxy.fired(fault) > 0);
    }
    wait_until("the source to be empty", SOON, || ask(&["XLEN", "source"]) == Value::Int(0));
    rsyslogd.stop();
    let count = count(&server, "target", 0..ENTRIES);
    assert!(count.is_exact(), "{count}\n{}", rsyslogd.log());
    let pending = ask(&["XPENDING", "source", "movers"]);
    assert!(matches!(pending, Value::Array(parts) if parts.first() == Some(&Value::Int(0))));
    assert_eq!(ask(&["EXISTS", "target:deadletter"]), Value::Int(0));
}
