//! The kit against what it starts: every server and every rsyslogd.

use std::fs;
use std::time::{Duration, Instant};

use redis::{Connection, RedisResult, Value};
use testkit::{
    Count, Fault, Flavour, Proxy, Rsyslogd, RsyslogdBuilder, Scratch, SentinelGroup, Server,
    Version, entries, numbers, record, record_of, wait_until,
};

const SOON: Duration = Duration::from_secs(20);

fn add(connection: &mut Connection, number: u64) -> RedisResult<String> {
    redis::cmd("XADD").arg("audit").arg("*").arg("msg").arg(record(number)).query(connection)
}

fn to_file(version: Version) -> RsyslogdBuilder {
    Rsyslogd::builder(version).without_plugin()
}

/// The action that writes what it sees to `out`, one record a line, and closes the file at once.
fn file_action(scratch: &Scratch, template: &str) -> String {
    let out = scratch.join("out");
    format!(
        "action(type=\"omfile\" file=\"{}\" template=\"{template}\" asyncWriting=\"off\")",
        out.display()
    )
}

#[test]
fn every_server_keeps_its_address_and_with_an_append_only_file_its_data() {
    for flavour in Flavour::ALL {
        let scratch = Scratch::new();
        let server =
            Server::builder(flavour).unix().tcp().append_only().password("secret").start(&scratch);
        for number in 1..=3 {
            add(&mut server.connection(), number).unwrap();
        }
        let before = (server.address(), server.tcp_address());
        server.restart();
        add(&mut server.connection(), 4).unwrap();
        server.kill();
        server.start();
        assert_eq!((server.address(), server.tcp_address()), before);
        let count = Count::of(numbers(&entries(&mut server.connection(), "audit")), 1..5);
        assert!(count.is_exact() && count.is_in_order(), "{flavour}: {count}");
        assert!(server.cpu_seconds() < 20.0 && server.rss_kib() > 0 && server.pid() > 0);
        assert!(server.log().contains("Ready to accept connections"), "{}", server.log());
    }
}

/// Oracle: what the sentinels and the servers say, and the data on the server that took over.
#[test]
fn a_group_has_another_primary_after_a_failover_and_after_the_primary_was_killed() {
    for flavour in [Flavour::Redis70, Flavour::Valkey91] {
        let scratch = Scratch::new();
        let group = SentinelGroup::builder(flavour).replicas(2).start(&scratch);
        let first = group.primary();
        assert_eq!(first.port(), group.servers()[0].port());
        add(&mut first.connection(), 1).unwrap();
        group.wait_replicated();
        let second = group.fail_over(&[]);
        assert_ne!(second.port(), first.port());
        add(&mut second.connection(), 2).unwrap();
        group.wait_replicated();
        second.kill();
        let third = group.wait_failover(second);
        let count = Count::of(numbers(&entries(&mut third.connection(), "audit")), 1..3);
        assert!(count.is_exact() && count.is_in_order(), "{flavour}: {count}");
    }
}

/// Oracle: the time of the last reply that the sentinel got, by its own word, and a client who gets none.
#[test]
fn a_sentinel_that_watches_through_the_proxy_is_spared() {
    let scratch = Scratch::new();
    let server = Server::builder(Flavour::Valkey91).tcp().start(&scratch);
    let proxy = Proxy::tcp(server.tcp_address());
    let sentinel = SentinelGroup::lone_sentinel(Flavour::Valkey91, proxy.port());
    let sentinel = sentinel.tcp().start(&scratch);
    wait_until("the sentinel's two connections", SOON, || proxy.connections() >= 2);
    let quiet_since = |name: &str| -> Duration {
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("MASTER").arg(SentinelGroup::name());
        let state: std::collections::HashMap<String, String> =
            ask.query(&mut sentinel.connection()).unwrap();
        Duration::from_millis(state[name].parse().unwrap())
    };
    proxy.set(Fault::BlackHole);
    let begin = Instant::now();
    wait_until("an answer to a later PING", SOON, || {
        quiet_since("last-ok-ping-reply") < begin.elapsed()
    });
    let client = redis::Client::open(format!("redis://{}/", proxy.address())).unwrap();
    assert!(client.get_connection_with_timeout(Duration::from_millis(300)).is_err());
    assert!(proxy.fired(Fault::BlackHole) > 0);
}

// Oracle: the entries of a transaction that a kill has torn in the file. They are written again, and must not come
// twice with the start after the next.
#[test]
fn a_transaction_that_a_kill_has_torn_stays_undone() {
    for flavour in Flavour::ALL {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).unix().append_only().start(&scratch);
        let commit = |first: u64| {
            let mut pipeline = redis::pipe();
            pipeline.atomic();
            for number in first..first + 3 {
                pipeline.cmd("XADD").arg("audit").arg("*").arg("msg").arg(record(number));
            }
            pipeline.exec(&mut server.connection()).unwrap();
        };
        commit(0);
        commit(3);
        server.kill();
        let folder = server.folder().join("appendonlydir");
        let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let file = files.find(|path| path.to_string_lossy().ends_with(".incr.aof")).unwrap();
        let text = fs::read(&file).unwrap();
        let last = text.windows(4).rposition(|bytes| bytes == b"XADD").unwrap();
        fs::write(&file, &text[..last + 6]).unwrap();
        server.start();
        assert_eq!(numbers(&entries(&mut server.connection(), "audit")), [0, 1, 2], "{flavour}");
        commit(3);
        server.kill();
        server.start();
        let all = numbers(&entries(&mut server.connection(), "audit"));
        assert_eq!(all, [0, 1, 2, 3, 4, 5], "{flavour}");
    }
}

#[test]
fn a_server_without_an_append_only_file_forgets() {
    let scratch = Scratch::new();
    let server = Server::builder(Flavour::Valkey91).tcp().start(&scratch);
    add(&mut server.connection(), 1).unwrap();
    server.restart();
    assert_eq!(entries(&mut server.connection(), "audit"), []);
}

#[test]
fn a_paused_server_answers_after_it_goes_on() {
    let scratch = Scratch::new();
    let server = Server::builder(Flavour::Valkey81).start(&scratch);
    let mut connection = server.connection();
    connection.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    server.pause();
    assert!(redis::cmd("PING").query::<String>(&mut connection).is_err());
    server.cont();
    assert_eq!(redis::cmd("PING").query::<String>(&mut server.connection()).unwrap(), "PONG");
}

#[test]
fn an_acl_user_may_do_what_its_rules_say() {
    let scratch = Scratch::new();
    let server =
        Server::builder(Flavour::Redis70).acl_user("audit on >word ~audit +xadd").start(&scratch);
    let mut connection = server.connection_as("audit", "word");
    add(&mut connection, 1).unwrap();
    let refused = redis::cmd("GET").arg("audit").query::<Value>(&mut connection).unwrap_err();
    assert_eq!(refused.code(), Some("NOPERM"), "{refused}");
}

#[test]
fn a_stream_longer_than_a_page_is_read_whole() {
    let scratch = Scratch::new();
    let server = Server::builder(Flavour::Valkey91).start(&scratch);
    let mut connection = server.connection();
    let mut pipeline = redis::pipe();
    for number in 0..25_000 {
        pipeline.cmd("XADD").arg("audit").arg("*").arg("n").arg(number).ignore();
    }
    pipeline.query::<()>(&mut connection).unwrap();
    let count = Count::of(numbers(&entries(&mut connection, "audit")), 0..25_000);
    assert!(count.is_exact() && count.is_in_order(), "{count}");
}

#[test]
fn what_msg_and_rawmsg_are_is_as_documented() {
    let cases: [(&str, &str); 10] = [
        (r#"{"a": 1}"#, r#"{"a": 1}"#),
        ("[1, 2]", "[1, 2]"),
        (r#" {"a": 1}"#, r#" {"a": 1}"#),
        (r#"<30>{"a": 1}"#, r#"{"a": 1}"#),
        (r#"<157>Nov 22 02:57:14 app[6]: {"a": 1}"#, r#" {"a": 1}"#),
        (r#"<157>1 2026-11-22T02:57:14Z host app 1 - - {"a": 1}"#, r#"{"a": 1}"#),
        (r#"@cee: {"a": 1}"#, r#" {"a": 1}"#),
        (r#""text""#, ""),
        ("\u{feff}{\"a\":1}", "1}"),
        ("{\"a\":\t1}\r", "{\"a\":\t1}\r"),
    ];
    for version in Version::ALL {
        let scratch = Scratch::new();
        let both = "template(name=\"both\" type=\"string\" string=\"%rawmsg%|%msg%\\n\")";
        let rsyslogd =
            to_file(version).config(both).action(&file_action(&scratch, "both")).start(&scratch);
        rsyslogd.send(cases.map(|(sent, _)| sent));
        wait_until("the last line", SOON, || {
            fs::read_to_string(scratch.join("out")).is_ok_and(|out| out.lines().count() == 10)
        });
        rsyslogd.stop();
        let expected: String = cases.map(|(sent, msg)| format!("{sent}|{msg}\n")).concat();
        assert_eq!(fs::read_to_string(scratch.join("out")).unwrap(), expected, "{version}");
    }
}

#[test]
fn control_characters_are_rewritten_only_when_asked_for() {
    let scratch = Scratch::new();
    let rsyslogd = to_file(Version::of_this_machine()).escaping_control_characters();
    let rsyslogd = rsyslogd.action(&file_action(&scratch, "line")).start(&scratch);
    rsyslogd.send(["{\"a\":\t1}\r"]);
    wait_until("the line", SOON, || {
        fs::read_to_string(scratch.join("out")).is_ok_and(|out| out == "{\"a\":#0111}#015\n")
    });
}

#[test]
fn frames_carry_line_feeds_and_megabytes() {
    for version in Version::ALL {
        let scratch = Scratch::new();
        let builder = to_file(version).tcp_input().max_message_bytes(4 << 20);
        let rsyslogd = builder.action(&file_action(&scratch, "line")).start(&scratch);
        let big = record_of(1, 3 << 20);
        let mut sender = rsyslogd.sender();
        sender.frame("{\"a\":\n1}").unwrap();
        sender.frame(&big).unwrap();
        sender.line(&big).unwrap();
        sender.finish().unwrap();
        let expected = format!("{{\"a\":\n1}}\n{big}\n{big}\n");
        wait_until("the file", SOON, || {
            fs::read_to_string(scratch.join("out")).is_ok_and(|out| out.len() >= expected.len())
        });
        assert!(fs::read_to_string(scratch.join("out")).unwrap() == expected, "{version}");
    }
}

#[test]
fn an_rsyslogd_stops_starts_hangs_up_and_counts() {
    for version in Version::ALL {
        let scratch = Scratch::new();
        let action = file_action(&scratch, "line").replace("action(", "action(name=\"out\" ");
        let rsyslogd = to_file(version).statistics(1).action(&action).start(&scratch);
        rsyslogd.send((0..1000).map(record));
        assert_eq!(rsyslogd.wait_counter("out", "processed", 1000, SOON), 1000);
        rsyslogd.hup();
        rsyslogd.wait_log("HUPed");
        assert!(
            rsyslogd.peak_rss_kib() > 1000
                && rsyslogd.with_process(|process| process.threads()) > 1
        );
        let stopped = rsyslogd.stop();
        assert!(stopped.status.success() && stopped.took < SOON, "{stopped:?}");
        rsyslogd.start();
        rsyslogd.kill();
        rsyslogd.start();
        rsyslogd.send([record(1000)]);
        rsyslogd.stop();
        let text = fs::read_to_string(scratch.join("out")).unwrap();
        let count =
            Count::of(text.lines().filter_map(|line| testkit::number_in(line.as_bytes())), 0..1001);
        assert!(count.is_exact() && count.is_in_order(), "{version}: {count}");
    }
}

#[test]
fn a_wrong_configuration_is_told_apart_from_a_right_one() {
    for version in Version::ALL {
        let scratch = Scratch::new();
        let right = to_file(version).action(&file_action(&scratch, "line")).check(&scratch);
        assert!(right.status.success(), "{}", right.output);
        let wrong = to_file(version)
            .action("action(type=\"omfile\" file=\"x\" fiel=\"x\")")
            .check(&scratch);
        assert!(!wrong.status.success() && wrong.output.contains("fiel"), "{}", wrong.output);
    }
}

#[test]
fn rsyslogs_own_redis_output_of_the_same_version_can_be_loaded() {
    for version in [Version::V8_2504, Version::V8_2610] {
        let scratch = Scratch::new();
        let server = Server::builder(Flavour::Valkey91).tcp().start(&scratch);
        let action = format!(
            "action(type=\"omhiredis\" server=\"127.0.0.1\" serverport=\"{}\" mode=\"stream\" key=\"audit\" template=\"raw\")",
            server.port()
        );
        let rsyslogd = to_file(version).module("omhiredis").action(&action).start(&scratch);
        rsyslogd.send((0..5000).map(record));
        server.wait_entries("audit", 5000, SOON);
        let count = Count::of(numbers(&entries(&mut server.connection(), "audit")), 0..5000);
        assert!(count.is_exact() && count.is_in_order(), "{version}: {count}");
    }
}
