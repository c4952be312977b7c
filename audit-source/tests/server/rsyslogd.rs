//! The whole way: an audited server, rsyslogd, and a stream in another server.

use std::time::Duration;

use serde_json::Value;
use testkit::{Flavour, Rsyslogd, Scratch, Server, Version, wait_until};

use crate::client::Client;
use crate::collector::DEADLINE;
use crate::scene::{assert_gapless, counter, module_path};

/// The records of the stream, their fields as members.
fn stored(store: &Server) -> Vec<Value> {
    let numbers = ["v", "seq", "lost_count", "lost_first", "lost_last"];
    let text = |bytes: &[u8]| String::from_utf8(bytes.into()).expect("UTF-8");
    let record = |entry: &testkit::Entry| {
        let member = |(name, value): &(Vec<u8>, Vec<u8>)| {
            let (name, value) = (text(name), text(value));
            let is_number = numbers.contains(&name.as_str());
            let value = if is_number { value.parse::<u64>().unwrap().into() } else { value.into() };
            (name, value)
        };
        Value::Object(entry.fields.iter().map(member).collect())
    };
    testkit::entries(&mut store.connection(), "audit").iter().map(record).collect()
}

// Oracle: the numbers in the stream, each command's too; rsyslogd is stopped and started in the middle.
#[test]
fn every_command_reaches_the_stream_over_a_restart_of_rsyslogd() {
    let scratch = Scratch::new();
    let store = Server::builder(Flavour::Valkey91).start(&scratch);
    let action = format!(
        r#"action(type="omvalkeyaudit" name="audit" server="{}" key="audit" template="raw"
           action.resumeRetryCount="-1" action.resumeInterval="1")"#,
        store.address()
    );
    let rsyslogd = Rsyslogd::builder(Version::of_this_machine())
        .config(r#"template(name="raw" type="string" string="%rawmsg%")"#)
        .action(&action)
        .start(&scratch);
    let server = Server::builder(Flavour::Valkey91)
        .tcp()
        .config(&format!(
            "loadmodule {}\nauditsource.target {}\nauditsource.heartbeat 1",
            module_path().display(),
            rsyslogd.input()
        ))
        .start(&scratch);
    let mut client = Client::connect(server.port());
    let mut send = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            client.line(&format!("SET n {number}"));
        }
    };
    send(0..3000);
    rsyslogd.stop();
    send(3000..4000);
    rsyslogd.start();
    send(4000..6000);
    wait_until("all records confirmed", DEADLINE, || {
        let sent = counter(&mut client, "seq");
        counter(&mut client, "confirmed") + 5 > sent
    });
    server.stop();
    let last = |store: &Server| -> bool {
        stored(store).iter().any(|record| record["reason"] == "shutdown")
    };
    wait_until("the last record in the stream", Duration::from_secs(30), || last(&store));
    let records = stored(&store);
    assert_gapless(&records);
    let mut numbers: Vec<u32> = records
        .iter()
        .filter_map(|record| {
            let argv = record["argv"].as_str()?.strip_prefix("[\"SET\",\"n\",\"")?;
            argv.strip_suffix("\"]")?.parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..6000).collect::<Vec<_>>());
    let dead = testkit::entries(&mut store.connection(), "audit:deadletter");
    assert!(dead.is_empty(), "{}", rsyslogd.log());
}
