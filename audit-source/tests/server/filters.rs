//! What is recorded, and whose it is.

use serde_json::Value;

use crate::client::Client;
use crate::scene::{Scene, assert_gapless};

/// The first two arguments of each command's record between the marks `begin` and `end`.
fn commands(scene: &Scene, run: impl FnOnce(&mut Client)) -> Vec<String> {
    let mut client = scene.client();
    // Commands that are recorded whatever the filters say stand before and behind.
    client.line("ACL USERS");
    scene.collector.wait_argv("ACL", "USERS");
    scene.collector.clear();
    run(&mut client);
    client.line("ACL WHOAMI");
    let records = scene.collector.wait_argv("ACL", "WHOAMI");
    let words = |record: &Value| {
        let argv = record["argv"].as_array()?;
        let words: Vec<&str> = argv.iter().take(2).filter_map(Value::as_str).collect();
        Some(words.join(" "))
    };
    let mut words: Vec<String> = records.iter().filter_map(words).collect();
    words.pop();
    words
}

fn set(client: &mut Client, name: &str, value: &str) {
    let reply = client.call(&["CONFIG", "SET", &format!("auditsource.{name}"), value]);
    assert_eq!(reply, "+OK", "{name} {value}");
}

// Oracle: the commands that were sent, against the filters' meaning in the reference.
#[test]
fn filters_choose_by_command_and_category() {
    let scene = Scene::new("");
    let mut admin = scene.client();
    let lines = ["SET a 1", "GET a", "PING", "CONFIG GET port", "NOSUCH x"];
    let mut with = |value: &str| {
        set(&mut admin, "commands", value);
        commands(&scene, |client| lines.iter().for_each(|line| drop(client.line(line))))
    };
    // The command that set the filter may come after the collector was cleared.
    let without = |mut words: Vec<String>| {
        words.retain(|words| words != "CONFIG SET");
        words
    };
    let all = ["SET a", "GET a", "PING", "CONFIG GET", "NOSUCH (redacted)"];
    assert_eq!(without(with("")), all);
    assert_eq!(without(with("set")), ["SET a", "NOSUCH (redacted)"]);
    assert_eq!(without(with("@read @admin")), ["GET a", "CONFIG GET", "NOSUCH (redacted)"]);
    assert_eq!(without(with("!@write !ping")), ["GET a", "CONFIG GET", "NOSUCH (redacted)"]);
    assert_eq!(without(with("!config|get")), ["SET a", "GET a", "PING", "NOSUCH (redacted)"]);
}

// Oracle: the same, by user and address; logging in is recorded whatever they say.
#[test]
fn filters_choose_by_user_and_address() {
    let scene = Scene::new("user bob on >secret1 ~* +@all\nauditsource.users bob");
    let as_bob = |client: &mut Client| {
        client.line("SET default 1");
        client.line("AUTH bob secret1");
        client.line("SET bob 1");
    };
    assert_eq!(commands(&scene, as_bob), ["AUTH bob", "SET bob"]);
    set(&mut scene.client(), "users", "!bob");
    scene.collector.wait_argv("CONFIG", "!bob");
    assert_eq!(commands(&scene, as_bob), ["SET default", "AUTH bob"]);
    set(&mut scene.client(), "users", "");
    set(&mut scene.client(), "addresses", "10.0.0.0/8");
    scene.collector.wait_argv("CONFIG", "10.0.0.0/8");
    assert_eq!(commands(&scene, as_bob), ["AUTH bob"]);
    set(&mut scene.client(), "addresses", "127.0.0.1");
    scene.collector.wait_argv("CONFIG", "127.0.0.1");
    assert_eq!(commands(&scene, as_bob), ["SET default", "AUTH bob", "SET bob"]);
}

// Oracle: the records; the command that switches successes off is the last success.
#[test]
fn an_outcome_can_be_switched_off_and_on_and_the_switching_is_recorded() {
    let scene = Scene::new("");
    let mut client = scene.client();
    client.line("SET a 1");
    set(&mut client, "events", "failure rejected");
    scene.collector.wait_argv("CONFIG", "failure rejected");
    // The server is told to report no more successes within a tick.
    testkit::wait_until("the success to be unsubscribed", crate::collector::DEADLINE, || {
        let before = scene.collector.records().len();
        client.line("ACL WHOAMI");
        client.line("LPUSH a b");
        let records = scene.collector.wait("a failure", |record| {
            record["event"] == "failure" && record["seq"].as_u64() > Some(before as u64)
        });
        records.last().unwrap()["event"] == "failure"
            && scene
                .collector
                .records()
                .iter()
                .skip(before)
                .all(|record| record["event"] != "success")
    });
    // The database is right although no SELECT is reported.
    client.line("SELECT 5");
    client.line("GET");
    let records = scene.collector.wait("a rejection", |record| record["event"] == "rejected");
    assert_eq!(records.last().unwrap()["db"], 5);
    set(&mut client, "events", "all");
    client.line("SET a 2");
    client.line("ECHO end");
    let records = scene.collector.wait_argv("ECHO", "end");
    assert_gapless(&records);
    let sets = records.iter().filter(|record| record["argv"][0] == "SET").count();
    assert_eq!(sets, 2);
}

// Oracle: the server's own CLIENT LIST; the peer module names admin after the failed login.
#[test]
fn commands_belong_to_whoever_is_logged_in() {
    let scene = Scene::new("user admin on >secret1 ~* &* +@all\nuser bob on >secret2 ~* &* +@all");
    let mut client = scene.client();
    let lines = [
        ("SET 1 default", "default"),
        ("AUTH admin wrong", "default"),
        ("SET 2 default", "default"),
        ("AUTH bob secret2", "bob"),
        ("SET 3 bob", "bob"),
        ("AUTH admin wrong", "bob"),
        ("SET 4 bob", "bob"),
        ("HELLO 3 AUTH admin wrong", "bob"),
        ("SET 5 bob", "bob"),
        ("HELLO 2 AUTH admin secret1", "admin"),
        ("SET 6 admin", "admin"),
        ("RESET", "default"),
        ("SET 7 default", "default"),
    ];
    for (line, _) in lines {
        client.line(line);
    }
    let records = scene.collector.wait_argv("SET", "default");
    assert_eq!(records.last().unwrap()["argv"][1], "1");
    let records = scene.collector.wait("the last", |record| record["argv"][1] == "7");
    let users: Vec<&str> = records
        .iter()
        .filter(|record| record["addr"].as_str().is_some_and(|addr| addr.starts_with("127.")))
        .filter(|record| {
            ["SET", "AUTH", "HELLO", "RESET"].iter().any(|name| record["argv"][0] == *name)
        })
        .map(|record| record["user"].as_str().unwrap())
        .collect();
    assert_eq!(users, lines.map(|(_, user)| user));
}

// Oracle: the reference's words about payload and the limits.
#[test]
fn the_payload_can_be_left_out() {
    let scene = Scene::new("auditsource.payload keys\nauditsource.argv-count 4");
    let mut client = scene.client();
    for line in ["MSET k1 v1 k2 v2", "CONFIG SET maxmemory 0", "EVAL return_1 1 k v", "ECHO end"] {
        client.line(line);
    }
    let records = scene.collector.wait("the end", |record| record["argv"][0] == "ECHO");
    let argv = |name: &str| {
        let record = records.iter().rfind(|record| record["argv"][0] == name).unwrap();
        (record["argv"].to_string(), record["argv_cut"].clone())
    };
    assert_eq!(argv("MSET"), (r#"["MSET","k1","(omitted)","k2"]"#.into(), Value::from(1)));
    assert_eq!(argv("EVAL"), (r#"["EVAL","(omitted)","(omitted)","k"]"#.into(), Value::from(1)));
    assert_eq!(argv("CONFIG"), (r#"["CONFIG","SET","maxmemory","0"]"#.into(), Value::Null));
    set(&mut client, "payload", "none");
    client.line("GET k1");
    let records = scene.collector.wait("a GET", |record| record["argv"][0] == "GET");
    assert_eq!(records.last().unwrap()["argv"].to_string(), r#"["GET","(omitted)"]"#);
}

// Oracle: the length of the lines; every byte needs six in JSON.
#[test]
fn no_record_is_longer_than_it_may_be() {
    let scene = Scene::new("auditsource.record-length 2000\nauditsource.argv-length 100kb");
    let mut client = scene.client();
    let nasty = vec![1_u8; 50_000];
    let mut words: Vec<&[u8]> = vec![b"RPUSH", &nasty];
    words.resize(3000, &[0xff; 20]);
    client.call_bytes(&words);
    client.call_bytes(&[b"GET", &nasty, &nasty]);
    client.line("ECHO end");
    let records = scene.collector.wait_argv("ECHO", "end");
    assert!(records.iter().any(|record| record["argc"] == 3000 && record["argv_cut"] == 2999));
    let bytes = scene.collector.bytes();
    let longest = bytes.split(|byte| *byte == b'\n').map(<[u8]>::len).max();
    assert!((1800..2000).contains(&longest.unwrap()), "{longest:?}");
}
