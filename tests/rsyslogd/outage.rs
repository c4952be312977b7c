//! Servers that are absent, vanish in the middle of a flow and come back, or refuse the login:
//! nothing is lost, doubled or out of order, and nobody has to do anything in rsyslogd.

use std::time::Duration;

use testkit::{Fault, Proxy, Rsyslogd, Scratch, Version, record, wait_until};

use crate::debug_log::DebugLog;
use crate::scene::{SOON, action, assert_delivered, lasting_server, rsyslogd_with};

on_each_version!(
    a_server_that_appears_late_gets_everything,
    a_server_that_is_killed_and_stopped_in_the_flow_gets_everything_once,
    every_fault_on_the_way_to_the_server_is_survived,
    a_corrected_password_file_is_noticed_without_a_restart,
    the_core_still_sees_how_often_it_shall_retry,
    the_disk_queue_to_copy_takes_more_records_than_rsyslogs_default,
);

const WAITS: &str = "cannot commit, records wait";

fn lines_with(rsyslogd: &Rsyslogd, text: &str) -> usize {
    rsyslogd.log().matches(text).count()
}

/// Oracle: 5,000 numbers, each once and in order, all of which were sent before there was a server.
fn a_server_that_appears_late_gets_everything(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).tcp().start(&scratch);
    server.stop();
    let rsyslogd = rsyslogd_with(version, &scratch, &action(&server.tcp_address(), ""));
    rsyslogd.send((0..5000).map(record));
    rsyslogd.wait_log(WAITS);
    rsyslogd.wait_log("check server, serverport or socketpath and that the server runs");
    server.start();
    assert_delivered(&rsyslogd, &server, 0..5000);
}

/// Oracle: 12,000 numbers, each once and in order, over a SIGKILL and a SIGTERM of the server, with
/// records on their way before, during and after each outage.
fn a_server_that_is_killed_and_stopped_in_the_flow_gets_everything_once(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).start(&scratch);
    // Small batches: the server goes away between two of them, or within one.
    let parameters = "queue.dequeueBatchSize=\"16\"";
    let rsyslogd = rsyslogd_with(version, &scratch, &action(&server.address(), parameters));
    let mut sender = rsyslogd.sender();
    let mut next = 0;
    let mut send = |count: u64| {
        for number in next..next + count {
            sender.line(record(number)).expect("rsyslogd reads");
        }
        sender.flush().expect("rsyslogd reads");
        next += count;
    };
    for (outage, is_kill) in [(0, true), (1, false)] {
        send(3000);
        server.wait_entries("audit", outage * 6000 + 100, SOON);
        let before = lines_with(&rsyslogd, WAITS);
        if is_kill {
            server.kill();
        } else {
            server.stop();
        }
        send(3000);
        wait_until("the outage to be noticed", SOON, || lines_with(&rsyslogd, WAITS) > before);
        server.start();
        wait_until("the outage to be over", SOON, || {
            lines_with(&rsyslogd, "commits again") as u64 > outage
        });
    }
    sender.finish().expect("rsyslogd reads");
    assert_delivered(&rsyslogd, &server, 0..12_000);
}

/// Oracle: each number once and in order, over faults of every kind. Each is set while there is a
/// connection and nothing under way, so that it strikes in the next commit; a second one strikes
/// what the plugin does about the first.
fn every_fault_on_the_way_to_the_server_is_survived(version: Version) {
    const RECORDS: u64 = 200;
    let scratch = Scratch::new();
    let server = lasting_server(version).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let parameters = "queue.dequeueBatchSize=\"64\" batch.maxrecords=\"25\"\n\
                      timeout.connect=\"400\" timeout.commit=\"400\"";
    let rsyslogd = rsyslogd_with(version, &scratch, &action(&proxy.address(), parameters));
    let cuts = [
        Fault::CutBeforeExec,
        Fault::CutAfterExec,
        Fault::CutInRequest,
        Fault::HalfClose,
        Fault::Garbage,
        Fault::LateExec(Duration::from_millis(20)),
    ];
    let silences =
        [Fault::DropReplies, Fault::BlackHole, Fault::DelayReplies(Duration::from_millis(900))];
    let twice = |cut| [vec![cut], vec![cut, Fault::Refuse], vec![cut, cut]];
    let faults = cuts.into_iter().flat_map(twice).chain(silences.map(|silence| vec![silence]));
    rsyslogd.send([record(0)]);
    let mut sent = 1;
    for faults in faults {
        server.wait_entries("audit", sent, SOON);
        faults.iter().for_each(|&fault| proxy.once(fault));
        rsyslogd.send((sent..sent + RECORDS).map(record));
        sent += RECORDS;
        wait_until(&format!("{faults:?} to strike"), SOON, || proxy.waiting() == 0);
    }
    assert_delivered(&rsyslogd, &server, 0..sent);
}

/// Oracle: with a wrong password nothing is written, and a line says which parameters to look at;
/// when the file has the right one, all numbers arrive, each once and in order.
fn a_corrected_password_file_is_noticed_without_a_restart(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).password("right-9b41").start(&scratch);
    let file = scratch.write("password", "wrong-5e02\n");
    let parameters = format!("passwordfile=\"{}\"", file.display());
    let rsyslogd = rsyslogd_with(version, &scratch, &action(&server.address(), &parameters));
    rsyslogd.send((0..1000).map(record));
    rsyslogd.wait_log("omvalkeyaudit[audit]: cannot commit, records wait: cannot log in as user \"default\": WRONGPASS");
    rsyslogd.wait_log("(check user, serverpassword or passwordfile and the ACL rule of this user)");
    let nothing: bool =
        redis::cmd("EXISTS").arg("audit").query(&mut server.connection()).expect("EXISTS");
    assert!(!nothing);
    scratch.write("password", "right-9b41\n");
    rsyslogd.wait_log("omvalkeyaudit[audit]: commits again");
    assert_delivered(&rsyslogd, &server, 0..1000);
}

/// Oracle: the core's own debug lines name the limit that the action was given, while it counts its
/// attempts up to it. (What it does then differs between the versions.)
fn the_core_still_sees_how_often_it_shall_retry(version: Version) {
    for (given, warning) in [("-1", None), ("2", Some("action.resumeRetryCount is 2, so"))] {
        let scratch = Scratch::new();
        let server = lasting_server(version).start(&scratch);
        server.stop();
        let action = action(&server.address(), "")
            .replace("resumeRetryCount=\"-1\"", &format!("resumeRetryCount=\"{given}\""));
        let builder = Rsyslogd::builder(version).action(&action);
        let (builder, debug_log) = DebugLog::of(builder, &scratch);
        let rsyslogd = builder.start(&scratch);
        rsyslogd.send((0..5).map(record));
        let line = format!("check for max retries, iResumeRetryCount {given}, iRetries 2");
        wait_until(&line, SOON, || debug_log.text().contains(&line));
        let log = rsyslogd.log();
        let is_as_expected = match warning {
            Some(warning) => log.contains(warning),
            None => !log.contains("action.resumeRetryCount is"),
        };
        assert!(is_as_expected, "{log}");
    }
}

/// Oracle: while the server is absent, the action of rsyslog.d/omvalkeyaudit-disk.conf takes 1,500 records, and rsyslog's
/// own counter says that none was dropped; when the server is there, each arrives once and in order. (rsyslog's own limit
/// for an action's queue is 1,000: it takes two seconds for each record beyond, and drops it.)
fn the_disk_queue_to_copy_takes_more_records_than_rsyslogs_default(version: Version) {
    const RECORDS: u64 = 1500;
    let scratch = Scratch::new();
    let server = lasting_server(version).start(&scratch);
    server.stop();
    let config = include_str!("../../rsyslog.d/omvalkeyaudit-disk.conf");
    let (_, rules) = config.split_once("ruleset(").expect("a ruleset");
    let (_, rules) = rules.split_once('{').expect("the ruleset's beginning");
    let (action, _) = rules.rsplit_once('}').expect("the ruleset's end");
    let action = action
        .replace("127.0.0.1:6379", &server.address().to_string())
        .replace("audit-record", "raw")
        .replace("action.resumeInterval=\"5\"", "action.resumeInterval=\"1\"");
    let rsyslogd = Rsyslogd::builder(version)
        .ruleset_parameters("queue.type=\"Direct\"")
        .statistics(1)
        .action(&action)
        .start(&scratch);
    rsyslogd.send((0..RECORDS).map(record));
    rsyslogd.wait_counter("audit queue", "enqueued", RECORDS, SOON);
    assert_eq!(rsyslogd.counter("audit queue", "discarded.full"), Some(0));
    server.start();
    assert_delivered(&rsyslogd, &server, 0..RECORDS);
}
