//! From the buffer to the target: losses, broken connections, stops, other targets, forks.

use std::io::Read;
use std::os::unix::net::UnixListener;

use serde_json::Value;
use testkit::{Flavour, Scratch, Server, wait_until};

use crate::client::Client;
use crate::collector::{Collector, DEADLINE};
use crate::scene::{Scene, assert_gapless, audited, counter, module_path};

/// Sends numbered commands in one go, and reads the replies.
pub(crate) fn number(client: &mut Client, numbers: std::ops::Range<u64>) {
    for chunk in numbers.clone().collect::<Vec<_>>().chunks(500) {
        for number in chunk {
            client.send(&[b"SET", b"n", number.to_string().as_bytes()]);
        }
        for _ in chunk {
            assert_eq!(client.reply(), "+OK");
        }
    }
}

/// The numbers of the commands in the records, each once, in order.
pub(crate) fn numbers(records: &[Value]) -> Vec<u64> {
    let number = |record: &Value| {
        (record["argv"][1] == "n").then(|| record["argv"][2].as_str()?.parse().ok())?
    };
    let mut numbers: Vec<u64> = records.iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

// Oracle: the numbers of the commands that were sent, and the first and last number of the lost record.
#[test]
fn a_full_buffer_drops_the_newest_and_says_exactly_which() {
    let scene = Scene::new("auditsource.buffer 1mb");
    scene.collector.wait_connection();
    scene.collector.read(false);
    let mut client = scene.client();
    number(&mut client, 0..20_000);
    let lost = counter(&mut client, "lost");
    assert!(lost > 1000, "only {lost} lost");
    scene.collector.read(true);
    scene.collector.wait("the lost record", |record| record["event"] == "lost");
    client.line("ECHO end");
    let records = scene.collector.wait_argv("ECHO", "end");
    assert_gapless(&records);
    let told: Vec<&Value> = records.iter().filter(|record| record["event"] == "lost").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    // Of the commands, all up to the first lost record are there, and none of those that were lost.
    let (first, last) =
        (told[0]["lost_first"].as_u64().unwrap(), told[0]["lost_last"].as_u64().unwrap());
    let seqs: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert!(seqs.iter().all(|seq| !(first..=last).contains(seq)));
    let kept = numbers(&records);
    assert_eq!(kept, (0..kept.len() as u64).collect::<Vec<_>>());
    assert_eq!(told[0]["lost_count"].as_u64().unwrap(), last - first + 1);
    assert!(last - first + 1 >= 20_000 - kept.len() as u64);
    assert_eq!(counter(&mut client, "lost"), last - first + 1);
}

// Oracle: the numbers; the reader closes with records unread in the socket, and comes back.
#[test]
fn what_the_reader_left_in_the_socket_is_sent_again() {
    let mut scene = Scene::new("");
    scene.collector.wait_connection();
    let mut client = scene.client();
    number(&mut client, 0..100);
    scene.collector.wait_argv("SET", "99");
    scene.collector.read(false);
    number(&mut client, 100..5000);
    wait_until("records in the socket", DEADLINE, || {
        counter(&mut client, "sent") > counter(&mut client, "confirmed")
    });
    scene.collector.close();
    number(&mut client, 5000..6000);
    scene.collector.open();
    scene.collector.read(true);
    client.line("ECHO end");
    let records = scene.collector.wait_argv("ECHO", "end");
    assert_gapless(&records);
    assert_eq!(numbers(&records), (0..6000).collect::<Vec<_>>());
    assert_eq!(counter(&mut client, "lost"), 0);
    assert_eq!(counter(&mut client, "reconnects"), 1);
    assert!(counter(&mut client, "resent") > 0);
}

// Oracle: the numbers, over ten readers that each close in the middle of a stream of records.
#[test]
fn nothing_is_missing_whenever_the_reader_goes_away() {
    let mut scene = Scene::new("");
    let mut client = scene.client();
    for round in 0..10 {
        scene.collector.wait_connection();
        let before = scene.collector.bytes().len();
        number(&mut client, round * 2000..(round + 1) * 2000);
        wait_until("some records", DEADLINE, || scene.collector.bytes().len() > before + 5000);
        scene.collector.close();
        scene.collector.open();
    }
    client.line("ECHO end");
    let records = scene.collector.wait_argv("ECHO", "end");
    assert_gapless(&records);
    assert_eq!(numbers(&records), (0..20_000).collect::<Vec<_>>());
}

// Oracle: the numbers; each reader takes what there is in one read and closes at once.
#[test]
fn a_reader_that_takes_what_there_is_gets_nothing_twice() {
    const READERS: usize = 30;
    let scratch = Scratch::new();
    let listener = UnixListener::bind(scratch.join("target")).unwrap();
    let server = audited(&scratch, "").start(&scratch);
    let mut client = Client::connect(server.port());
    number(&mut client, 0..20_000);
    let mut records: Vec<Value> = Vec::new();
    let mut add = |text: &[u8]| {
        // What the end cut comes again as a whole.
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = text[..end].split_inclusive(|byte| *byte == b'\n');
        records.extend(lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()));
    };
    let mut buffer = vec![0; 128 * 1024];
    for _ in 0..READERS {
        let (mut reader, _) = listener.accept().unwrap();
        let count = reader.read(&mut buffer).unwrap();
        drop(reader);
        add(&buffer[..count]);
    }
    let mut reader = listener.accept().unwrap().0;
    let stop = std::thread::spawn(move || server.stop());
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    add(&rest);
    assert!(stop.join().unwrap().success());
    let seqs: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    assert_eq!(numbers(&records), (0..20_000).collect::<Vec<_>>());
}

// Oracle: start is the first record and stop the last; the numbers go on over an unload in the same run.
#[test]
fn the_trail_has_a_beginning_and_an_end() {
    let scene = Scene::new("auditsource.heartbeat 1");
    let mut client = scene.client();
    client.line("SET n 1");
    assert_eq!(client.line("MODULE UNLOAD auditsource"), "+OK");
    client.line("SET n 2");
    let target = scene.scratch.join("target");
    let load = format!(
        "MODULE LOADEX {} CONFIG auditsource.target unix:{}",
        module_path().display(),
        target.display()
    );
    assert_eq!(client.line(&load), "+OK");
    client.line("SET n 3");
    scene.server.stop();
    let records = scene.collector.wait("the end", |record| record["reason"] == "shutdown");
    assert_gapless(&records);
    let own: Vec<&str> = records
        .iter()
        .filter(|record| ["start", "stop"].contains(&record["event"].as_str().unwrap()))
        .map(|record| record["reason"].as_str().unwrap_or("start"))
        .collect();
    assert_eq!(own, ["start", "unload", "start", "shutdown"]);
    assert_eq!(records[0]["event"], "start");
    assert_eq!(records[0]["server_version"].as_str().unwrap().split('.').next(), Some("9"));
    assert_eq!(records[0]["settings"]["payload"], "full");
    assert_eq!(numbers(&records), [1, 3]);
    // A second run is another node and counts from 1 again.
    scene.collector.clear();
    scene.server.start();
    let again = scene.collector.wait("a start", |record| record["event"] == "start");
    assert_gapless(&again);
    assert_ne!(again[0]["node"], records[0]["node"]);
    assert_eq!(again[0]["node"].as_str().unwrap().len(), 40);
}

/// The hour now, as date(1) has it.
fn hour() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%Y-%m-%dT%H:"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

// Oracle: the heartbeat's own numbers, and date(1).
#[test]
fn an_idle_server_sends_heartbeats() {
    let before = hour();
    let scene = Scene::new("auditsource.heartbeat 1");
    let is_second =
        |record: &Value| record["event"] == "heartbeat" && record["confirmed"].as_u64() > Some(2);
    let records = scene.collector.wait("a heartbeat", is_second);
    let last = records.last().unwrap();
    assert_gapless(&records);
    let hours = [before, hour()];
    for record in &records {
        assert!(
            hours.iter().any(|hour| record["ts"].as_str().unwrap().starts_with(hour)),
            "{record}"
        );
    }
    assert_eq!((&last["lost"], &last["connected"]), (&Value::from(0), &Value::from(1)));
}

// Oracle: the numbers, half at one target and half at the other.
#[test]
fn another_target_takes_over_without_a_gap() {
    let scene = Scene::new("");
    let second = Collector::listen(&scene.scratch.join("second"));
    let mut client = scene.client();
    number(&mut client, 0..1000);
    scene.collector.wait_argv("SET", "999");
    let path = scene.scratch.join("second");
    let set = format!("CONFIG SET auditsource.target unix:{}", path.display());
    assert_eq!(client.line(&set), "+OK");
    number(&mut client, 1000..2000);
    client.line("ECHO end");
    let mut records = second.wait_argv("ECHO", "end");
    records.extend(scene.collector.records());
    assert_gapless(&records);
    assert_eq!(numbers(&records), (0..2000).collect::<Vec<_>>());
    let rewrite = client.line("CONFIG GET auditsource.target");
    assert_eq!(rewrite, format!("auditsource.target\nunix:{}", path.display()));
}

// Oracle: the numbers over TCP.
#[test]
fn records_go_over_tcp_too() {
    let scratch = Scratch::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("auditsource.target {}", listener.local_addr().unwrap());
    let server = audited(&scratch, &target).start(&scratch);
    let (mut stream, _) = listener.accept().unwrap();
    number(&mut Client::connect(server.port()), 0..5000);
    server.stop();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let records: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_gapless(&records);
    assert_eq!(numbers(&records), (0..5000).collect::<Vec<_>>());
}

// Oracle: the server's own answers, and the numbers; nobody reads, so the buffer fills and stays full.
#[test]
fn the_server_answers_and_stops_while_the_target_hangs() {
    let scene = Scene::new("auditsource.buffer 1mb\nauditsource.drain 100");
    scene.collector.wait_connection();
    scene.collector.read(false);
    let mut client = scene.client();
    number(&mut client, 0..20_000);
    assert!(counter(&mut client, "lost") > 1000);
    assert!(scene.server.stop().success());
}

// Oracle: the numbers, and the children's success in the server's INFO.
#[test]
fn a_snapshot_and_a_rewrite_disturb_nothing() {
    let scene = Scene::new("auditsource.heartbeat 1");
    let mut client = scene.client();
    for round in 0..5 {
        assert_eq!(client.line("BGSAVE"), "+Background saving started");
        number(&mut client, round * 1000..round * 1000 + 500);
        let ended =
            |client: &mut Client, field: &str| client.line("INFO persistence").contains(field);
        wait_until("the snapshot", DEADLINE, || ended(&mut client, "rdb_bgsave_in_progress:0"));
        client.line("BGREWRITEAOF");
        number(&mut client, round * 1000 + 500..(round + 1) * 1000);
        wait_until("the rewrite", DEADLINE, || ended(&mut client, "aof_rewrite_in_progress:0"));
    }
    let info = client.line("INFO persistence");
    assert!(info.contains("rdb_last_bgsave_status:ok"), "{info}");
    assert!(info.contains("aof_last_bgrewrite_status:ok"), "{info}");
    client.line("ECHO end");
    let records = scene.collector.wait_argv("ECHO", "end");
    assert_gapless(&records);
    assert_eq!(numbers(&records), (0..5000).collect::<Vec<_>>());
}

// Oracle: the `via` of the same commands, told by the server's flags at the time.
#[test]
fn loading_and_replication_are_told_from_clients() {
    let scratch = Scratch::new();
    let collector = Collector::listen(&scratch.join("target"));
    let server = audited(&scratch, "").append_only().start(&scratch);
    let mut client = Client::connect(server.port());
    // The load runs what stands in a transaction, and applies the rest without an event.
    for line in ["MULTI", "SET n 0", "SET n 1", "EXEC", "SET n 2"] {
        client.line(line);
    }
    collector.wait_argv("SET", "2");
    drop(client);
    server.restart();
    let records = collector.wait("a record of the load", |record| record["via"] == "load");
    let last = records.last().unwrap();
    assert!(["SELECT", "SET"].iter().any(|name| last["argv"][0] == *name), "{last}");
    assert!(["user", "addr", "db"].iter().all(|name| last[name].is_null()), "{last}");

    let primary = Server::builder(Flavour::Valkey91).tcp().start(&scratch);
    let mut client = Client::connect(server.port());
    client.line(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_until("the link", DEADLINE, || {
        client.line("INFO replication").contains("master_link_status:up")
    });
    Client::connect(primary.port()).line("SET n 3");
    let records = collector.wait_argv("SET", "3");
    let last = records.last().unwrap();
    assert_eq!(
        (&last["via"], &last["user"]),
        (&Value::from("replication"), &Value::Null),
        "{last}"
    );
}
