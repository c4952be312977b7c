//! What impstats shows: the plugin's counters compared with what is in the server.

use std::fs;
use std::path::Path;

use serde_json::Value;
use testkit::{Rsyslogd, Scratch, Server, Version, record, wait_until};

use crate::scene::{SOON, action, count, flavour_for, flushes, lasting_server};

on_each_version!(
    the_counters_agree_with_the_streams_over_an_outage,
    each_action_has_an_object_of_its_own,
    four_workers_add_up_in_one_object,
    impstats_may_reset_the_counters,
    missing_numbers_stay_a_level_under_resets,
    a_check_of_the_configuration_has_no_trouble_with_statistics,
);

/// The object of the action that the tests share.
const OBJECT: &str = "omvalkeyaudit(audit)";

/// The newest values of an object's counters.
fn counters(rsyslogd: &Rsyslogd, object: &str) -> impl Fn(&str) -> u64 {
    let statistics = rsyslogd.statistics(object).expect("statistics");
    move |name| statistics[name].as_u64().expect(name)
}

fn length(server: &Server, key: &str) -> u64 {
    redis::cmd("XLEN").arg(key).query(&mut server.connection()).expect("XLEN")
}

/// Oracle: the lengths of both streams, the number in the worker's marker, and the sizes of what was
/// sent; seven records of 5,000 are broken, and the server is away for a while.
fn the_counters_agree_with_the_streams_over_an_outage(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).start(&scratch);
    let rsyslogd = Rsyslogd::builder(version)
        .statistics(1)
        .action(&action(&server.address(), "queue.dequeueBatchSize=\"128\""))
        .start(&scratch);
    let send = |numbers: std::ops::Range<u64>| {
        rsyslogd.send(numbers.map(|number| match number % 700 {
            699 => "[]".to_owned(),
            _ => record(number),
        }));
    };
    send(0..2000);
    server.wait_entries("audit", 1998, SOON);
    server.stop();
    send(2000..5000);
    rsyslogd.wait_log("cannot commit, records wait");
    rsyslogd.wait_counter(OBJECT, "errors.connect", 1, SOON);
    server.start();
    server.wait_entries("audit", 4993, SOON);
    server.wait_entries("audit:deadletter", 7, SOON);
    rsyslogd.wait_counter(OBJECT, "records.deadlettered", 7, SOON);
    rsyslogd.wait_counter(OBJECT, "records.committed", 4993, SOON);
    let statistics = rsyslogd.statistics(OBJECT).expect("statistics");
    assert_eq!(statistics["origin"], "omvalkeyaudit");
    let counted = counters(&rsyslogd, OBJECT);
    assert_eq!(counted("records.received"), 5000, "{statistics}");
    assert_eq!(counted("records.committed"), length(&server, "audit"), "{statistics}");
    assert_eq!(counted("records.deadlettered"), length(&server, "audit:deadletter"));
    assert_eq!(counted("records.abandoned"), 0);
    assert!((40..=5000).contains(&counted("batches")), "{statistics}");
    assert!((40..=5000).contains(&counted("flushes")), "{statistics}");
    assert_eq!([counted("flushes")], flushes(&server)[..], "{statistics}");
    assert_eq!(counted("partial.commits"), 0);
    assert!(counted("suspensions") >= 1, "{statistics}");
    assert_eq!(counted("reconnects"), 1, "{statistics}");
    let bytes: u64 = (0..5000).map(|number| record(number).len() as u64).sum();
    assert!(counted("bytes.sent") > bytes, "{statistics}");
    let (sum, max) = (counted("commit.usec"), counted("commit.usec.max"));
    assert!(0 < max && max <= sum, "{statistics}");
    let quiet = ["auth", "timeout", "busy", "readonly", "oom", "refused", "protocol"];
    // A server that starts may say LOADING.
    for name in quiet.iter().filter(|name| **name != "busy") {
        assert_eq!(counted(&format!("errors.{name}")), 0, "{name}");
    }
    let status = rsyslogd.stop().status;
    assert!(status.success(), "{status}:\n{}", rsyslogd.log());
    assert_eq!(length(&server, "audit"), 4993);
}

/// Oracle: 300 and 200 records for two actions, each under its name: the one it was given, and the
/// one that its key makes.
fn each_action_has_an_object_of_its_own(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let to = |condition: &str, parameters: &str| {
        let action = action(&server.address(), parameters).replace("name=\"audit\"", "");
        format!("if {condition} then {action}")
    };
    let rsyslogd = Rsyslogd::builder(version)
        .statistics(1)
        .action(&to("$rawmsg contains \"one\"", "key=\"one\" statsname=\"the first\""))
        .action(&to("$rawmsg contains \"two\"", "key=\"two\""))
        .start(&scratch);
    rsyslogd.send((0..300).map(|number| format!("{{\"n\":{number},\"to\":\"one\"}}")));
    rsyslogd.send((0..200).map(|number| format!("{{\"n\":{number},\"to\":\"two\"}}")));
    for (object, key, records) in [("the first", "one", 300), ("omvalkeyaudit(two)", "two", 200)] {
        rsyslogd.wait_counter(object, "records.committed", records, SOON);
        let counted = counters(&rsyslogd, object);
        assert_eq!(counted("records.received"), records);
        assert_eq!(counted("records.committed"), length(&server, key));
    }
}

/// Oracle: the stream's length, and the numbers in the markers of all four workers.
fn four_workers_add_up_in_one_object(version: Version) {
    const RECORDS: u64 = 10_000;
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let parameters = "queue.workerThreads=\"4\" queue.workerThreadMinimumMessages=\"10\"\n\
                      queue.dequeueBatchSize=\"16\" timeout.connect=\"60000\" timeout.commit=\"60000\"";
    let rsyslogd = Rsyslogd::builder(version)
        .statistics(1)
        .action(&action(&server.address(), parameters))
        .start(&scratch);
    // While the server stands still each new worker is held in its first call, so the core starts
    // all of them.
    server.pause();
    rsyslogd.send((0..RECORDS).map(record));
    server.cont();
    rsyslogd.wait_counter(OBJECT, "records.committed", RECORDS, SOON);
    let counted = counters(&rsyslogd, OBJECT);
    assert_eq!(counted("records.received"), RECORDS);
    assert_eq!(counted("records.committed"), RECORDS);
    assert_eq!(flushes(&server).len(), 4);
    assert_eq!(counted("flushes"), flushes(&server).iter().sum::<u64>());
    rsyslogd.stop();
    let count = count(&server, "audit", 0..RECORDS);
    assert!(count.is_exact(), "{count}");
}

/// Oracle: with resetCounters="on", each line has what was counted since the line before: the sum
/// over all lines is what was sent, and the last line has nothing.
fn impstats_may_reset_the_counters(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let file = scratch.join("resetting");
    let impstats = format!(
        "module(load=\"impstats\" interval=\"1\" format=\"json\" resetCounters=\"on\"\n\
         log.syslog=\"off\" log.file=\"{}\")",
        file.display()
    );
    let rsyslogd = Rsyslogd::builder(version)
        .config(&impstats)
        .action(&action(&server.address(), ""))
        .start(&scratch);
    let committed = || values(&file, "records.committed");
    for total in [700, 1000] {
        let before = committed().iter().sum::<u64>();
        rsyslogd.send((before..total).map(record));
        wait_until("the sum over all lines", SOON, || committed().iter().sum::<u64>() == total);
        wait_until("a line without a commit", SOON, || committed().last() == Some(&0));
    }
}

/// What each line of impstats that there is so far says of a counter.
fn values(file: &Path, counter: &str) -> Vec<u64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let objects = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.get(line.find('{')?..)?).ok());
    objects
        .filter(|object| object["name"] == OBJECT)
        .filter_map(|object| object[counter].as_u64())
        .collect()
}

/// Oracle: the numbers that were sent. Line after line shows what is missing, though impstats resets and
/// nothing comes any more; the log names the gap; and both tell when it closes.
fn missing_numbers_stay_a_level_under_resets(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let file = scratch.join("resetting");
    let impstats = format!(
        "module(load=\"impstats\" interval=\"1\" format=\"json\" resetCounters=\"on\"\n\
         log.syslog=\"off\" log.file=\"{}\")",
        file.display()
    );
    let rsyslogd = Rsyslogd::builder(version)
        .config(&impstats)
        .action(&action(&server.address(), ""))
        .start(&scratch);
    let send = |numbers: &[u64]| {
        let record =
            |seq| format!("{{\"v\":1,\"node\":\"b7d1\",\"seq\":{seq},\"event\":\"success\"}}");
        rsyslogd.send(numbers.iter().map(record));
    };
    send(&[7, 8, 9, 13, 13, 14]);
    let lines = |counter: &str| values(&file, counter);
    wait_until("the gap", SOON, || lines("sequence.gaps").last() == Some(&3));
    let before = lines("sequence.gaps").len();
    wait_until("lines after it", SOON, || lines("sequence.gaps").len() > before + 1);
    assert_eq!(lines("sequence.gaps")[before..], vec![3; lines("sequence.gaps").len() - before]);
    assert_eq!(lines("sequence.repeated").iter().sum::<u64>(), 1);
    let lost = "{\"node\":\"b7d1\",\"seq\":15,\"event\":\"lost\",\"lost_count\":1,\"lost_first\":11,\"lost_last\":11}";
    rsyslogd.send([lost]);
    wait_until("what is lost", SOON, || lines("sequence.lost").last() == Some(&1));
    // It is told when it has stood for a while, and something comes.
    let told = "records are missing, node: \"b7d1\", from: 12, to: 12, missing in all: 2";
    let mut seq = 16;
    wait_until("the line about the gap", SOON, || {
        send(&[seq]);
        seq += 1;
        rsyslogd.log().contains(told)
    });
    send(&[12, 10]);
    wait_until("no gap", SOON, || lines("sequence.gaps").last() == Some(&0));
    rsyslogd.wait_log("no records are missing any more, node: \"b7d1\", lost by the source: 1");
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    assert_eq!(length(&server, "audit"), 9 + seq - 16);
}

/// Oracle: `rsyslogd -N1` is content, and silent, with and without impstats.
fn a_check_of_the_configuration_has_no_trouble_with_statistics(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let action = action(&server.address(), "statsname=\"mine\"");
    for builder in [Rsyslogd::builder(version), Rsyslogd::builder(version).statistics(1)] {
        let check = builder.action(&action).check(&scratch);
        assert!(check.status.success(), "{}", check.output);
        assert!(!check.output.contains("omvalkeyaudit"), "{}", check.output);
    }
}
