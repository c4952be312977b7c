//! The source without a server and without a writer: losses, attribution, and what is asked of the server.
#![forbid(unsafe_code)]

use super::*;
use crate::event::{ClientInfo, DenyReason, Running};
use serde_json::{Value, json};
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A server with one connection, number 7.
struct Fake {
    user: Option<&'static str>,
    db: u16,
    running: Running,
    asked: Cell<u32>,
}

impl Fake {
    fn new() -> Self {
        Fake { user: Some("alice"), db: 0, running: Running::default(), asked: Cell::new(0) }
    }
}

impl Host for Fake {
    fn client(&self, id: u64) -> Option<ClientInfo> {
        self.asked.set(self.asked.get() + 1);
        (id == 7).then(|| ClientInfo {
            user: self.user.map(|user| user.as_bytes().to_vec()),
            addr: "127.0.0.1:6000".into(),
            db: self.db,
            is_primary: false,
            is_in_multi: self.running.is_exec,
        })
    }

    fn running(&self) -> Running {
        self.running
    }

    fn key_positions(&self, positions: &mut Vec<usize>) {
        positions.push(1);
    }
}

fn result(name: &'static str, client_id: u64) -> CommandResult<'static> {
    CommandResult {
        kind: Kind::Success,
        acl_deny_reason: None,
        command_name: Some(name.as_bytes()),
        duration_us: 1,
        dirty: 0,
        client_id,
        is_module_client: false,
        context: None,
    }
}

const SET: [&[u8]; 3] = [b"SET", b"k", b"v"];

/// The process has one set of counters: tests that look at the sequence number take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn source() -> (Source, Outbox) {
    source_with(&[])
}

fn source_with(values: &[(&str, &str)]) -> (Source, Outbox) {
    let mut settings = Settings::new();
    for (name, value) in [("buffer", "1mb")].iter().chain(values) {
        settings.set(name, value).unwrap();
    }
    let (mut source, outbox) = Source::new("b7d1...8c21", |_| 1_795_333_816_540_112, settings);
    source.subscribed(true);
    (source, outbox)
}

/// The records that were written since this was asked last.
fn lines(outbox: &mut Outbox) -> Vec<Value> {
    let text = text(outbox);
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn text(outbox: &mut Outbox) -> String {
    let mut bytes = Vec::new();
    loop {
        let batch = outbox.pending().to_vec();
        if batch.is_empty() {
            break;
        }
        outbox.wrote(batch.len());
        outbox.settle(0);
        bytes.extend(batch);
    }
    String::from_utf8(bytes).expect("UTF-8")
}

fn last(outbox: &mut Outbox) -> Value {
    lines(outbox).pop().expect("a record")
}

// Oracle: how often the server was asked. Asking about a script's client crashes Valkey 9.1.2.
#[test]
fn a_connection_is_asked_for_once_and_a_modules_client_never() {
    let _turn = alone();
    let (mut source, _outbox) = source();
    let host = Fake::new();
    for _ in 0..10 {
        source.command(&result("set", 7), SET.as_slice(), &host);
    }
    assert_eq!(host.asked.get(), 1);
    let of_module = CommandResult { is_module_client: true, ..result("set", 3) };
    source.command(&of_module, SET.as_slice(), &host);
    source.command(&result("set", APPEND_ONLY_FILE), SET.as_slice(), &host);
    assert_eq!(host.asked.get(), 1);
    source.command(&result("select", 7), SET.as_slice(), &host);
    source.login_tried(7);
    source.command(&result("set", 7), SET.as_slice(), &host);
    assert_eq!(host.asked.get(), 3);
    source.client_gone(7);
    source.command(&result("set", 7), SET.as_slice(), &host);
    assert_eq!(host.asked.get(), 4);
    // Without reports of successes nothing is known about the database.
    source.subscribed(false);
    source.command(&result("set", 7), SET.as_slice(), &host);
    source.command(&result("set", 7), SET.as_slice(), &host);
    assert_eq!(host.asked.get(), 6);
}

// Oracle: the words of the reference.
#[test]
fn via_tells_where_a_command_came_from() {
    let _turn = alone();
    let (mut source, mut outbox) = source();
    let mut via = |source: &mut Source, id: u64, is_module_client: bool, running: Running| {
        let host = Fake { running, ..Fake::new() };
        source.login_tried(7);
        let result = CommandResult { is_module_client, ..result("set", id) };
        source.command(&result, SET.as_slice(), &host);
        last(&mut outbox)["via"].as_str().unwrap().to_owned()
    };
    let idle = Running::default();
    let script = Running { is_script: true, ..idle };
    assert_eq!(via(&mut source, 7, false, idle), "client");
    assert_eq!(via(&mut source, 7, false, Running { is_exec: true, ..idle }), "multi");
    assert_eq!(via(&mut source, 7, false, script), "client");
    assert_eq!(via(&mut source, 2, false, script), "script");
    assert_eq!(via(&mut source, 2, true, script), "module");
    assert_eq!(via(&mut source, 2, false, Running { is_loading: true, ..idle }), "load");
    assert_eq!(via(&mut source, APPEND_ONLY_FILE, false, idle), "load");
}

// Oracle: the numbers in the ring, added up with those of the lost records.
#[test]
fn a_loss_is_told_once_there_is_room_and_leaves_no_number_out() {
    let _turn = alone();
    let (mut source, mut outbox) = source();
    let host = Fake::new();
    let first = next_seq();
    let mut seen = Vec::new();
    let mut told = 0;
    let long: [&[u8]; 3] = [b"SET", b"k", &[b'v'; 100]];
    for round in 0..20_000_u64 {
        source.command(&result("set", 7), long.as_slice(), &host);
        // The reader sleeps most of the time, and then takes all that is there.
        if round % 7000 != 6999 && round != 19_999 {
            continue;
        }
        for record in lines(&mut outbox) {
            seen.push(record["seq"].as_u64().unwrap());
            if record["event"] == "lost" {
                told += 1;
                let [first, last] =
                    ["lost_first", "lost_last"].map(|name| record[name].as_u64().unwrap());
                assert_eq!(record["lost_count"], last - first + 1);
                seen.extend(first..=last);
            }
        }
    }
    assert!(told > 1, "only {told} losses");
    seen.sort_unstable();
    assert_eq!(seen, (first..first + seen.len() as u64).collect::<Vec<_>>());
    assert!(source.lost.is_some() && seen.len() > 18_000);
}

// Oracle: the record after the failed login.
#[test]
fn nobody_is_nobody_until_the_login_succeeds() {
    let _turn = alone();
    let (mut source, mut outbox) = source();
    let host = Fake { user: None, ..Fake::new() };
    source.login_tried(7);
    let failed = CommandResult { kind: Kind::Failure, ..result("auth", 7) };
    source.command(&failed, [&b"AUTH"[..], b"admin", b"wrong"].as_slice(), &host);
    let record = last(&mut outbox);
    assert_eq!(record["argv"], json!(["AUTH", "admin", "(redacted)"]));
    assert_eq!(record["user"], Value::Null);
}

/// Removes what differs from run to run: the number and the time.
fn without_number_and_time(line: &str) -> String {
    let (head, rest) = line.split_once("\"seq\":").expect("a number");
    let (_, rest) = rest.split_once("Z\"").expect("a time");
    format!("{head}{rest}")
}

// Oracle: the examples of the reference, written by hand, byte for byte.
#[test]
fn the_records_are_those_of_the_reference() {
    let _turn = alone();
    let (mut source, mut outbox) = source();
    let bob = Fake { user: Some("bob"), ..Fake::new() };
    let set = CommandResult { duration_us: 2, dirty: 1, ..result("set", 7) };
    source.command(&set, [&b"SET"[..], b"k", b"12345"].as_slice(), &bob);
    source.login_tried(7);
    let auth = CommandResult { kind: Kind::Failure, duration_us: 8, ..result("auth", 7) };
    let nobody = Fake { user: None, ..Fake::new() };
    source.command(&auth, [&b"AUTH"[..], b"bob", b"pw"].as_slice(), &nobody);
    source.login_tried(7);
    let get = CommandResult {
        kind: Kind::AclDenied,
        acl_deny_reason: Some(DenyReason(2)),
        context: Some(b"zz"),
        duration_us: 0,
        ..result("get", 7)
    };
    let bob = Fake { db: 3, ..bob };
    source.command(&get, [&b"GET"[..], b"zz"].as_slice(), &bob);
    let unknown = CommandResult {
        kind: Kind::Rejected,
        command_name: None,
        context: Some(b"unknown command 'AUHT', with args beginning with: 'pw'"),
        duration_us: 0,
        ..result("", 7)
    };
    source.command(&unknown, [&b"AUHT"[..], b"pw"].as_slice(), &bob);
    let written =
        text(&mut outbox).replace("127.0.0.1:6000", "ADDR").replace("\"client_id\":7", "ID");
    let expected =
        include_str!("../README.md").lines().skip_while(|line| !line.starts_with("{\"v\":1"));
    let expected: Vec<String> = expected
        .take(4)
        .map(|line| {
            let line = line.replace("127.0.0.1:39062", "ADDR").replace("127.0.0.1:39063", "ADDR");
            let line = line.replace("\"client_id\":5", "ID").replace("\"client_id\":6", "ID");
            without_number_and_time(&line)
        })
        .collect();
    assert!(written.starts_with("{\"v\":1,\"node\":\"b7d1...8c21\",\"seq\":"), "{written}");
    assert!(written.contains(",\"ts\":\"2026-11-22T07:50:16.540112Z\","), "{written}");
    assert_eq!(written.lines().map(without_number_and_time).collect::<Vec<_>>(), expected);
}

// Oracle: what the server said about the client at the time.
#[test]
fn each_record_has_the_client_of_its_moment() {
    let _turn = alone();
    let (mut source, mut outbox) = source();
    let mut who = |id: u64, user: Option<&'static str>, db: u16| {
        let host = Fake { user, db, ..Fake::new() };
        // What SELECT changes is asked for again at once.
        source.command(&result("select", id), [&b"SELECT"[..], b"1"].as_slice(), &host);
        let record = last(&mut outbox);
        ["client_id", "user", "addr", "db"].map(|name| record[name].clone())
    };
    let is = |id: u64, user: &str, db: u16| json!([id, user, "127.0.0.1:6000", db]);
    assert_eq!(json!(who(7, Some("alice"), 0)), is(7, "alice", 0));
    assert_eq!(json!(who(7, Some("alice"), 3)), is(7, "alice", 3));
    assert_eq!(json!(who(2, Some("alice"), 3)), json!([2, null, null, null]));
    assert_eq!(json!(who(7, Some("alice"), 3)), is(7, "alice", 3));
    assert_eq!(json!(who(7, Some("alic"), 3)), is(7, "alic", 3));
    assert_eq!(json!(who(7, None, 3)), json!([7, null, "127.0.0.1:6000", 3]));
    assert_eq!(json!(who(7, Some(""), 3)), is(7, "", 3));
}

// Oracle: the arguments themselves, and the settings.
#[test]
fn no_record_is_longer_than_it_may_be_and_what_is_cut_is_counted() {
    const LONGEST: usize = 1024;
    // Behind the arguments; the room that they are not begun in is less.
    const OTHERS: usize = 400;
    let _turn = alone();
    let (long, binary, controls) = ("x€".repeat(2000), [0xff; 300], [7; 300]);
    let pieces: [&[u8]; 8] =
        [b"", b"seven..", b"eight...", &[0xff; 3], long.as_bytes(), &binary, &controls, b"\"\n\0"];
    for length in [2, 100, 700, 2000] {
        let text = length.to_string();
        let settings = [("record-length", "1kb"), ("argv-count", "500"), ("argv-length", &text)];
        let (mut source, mut outbox) = source_with(&settings);
        for (count, from) in
            (0..16).chain([100, 1000]).flat_map(|count| (0..8).map(move |from| (count, from)))
        {
            let args: Vec<&[u8]> = pieces.iter().cycle().skip(from).take(count).copied().collect();
            source.command(&result("set", 7), args.as_slice(), &Fake::new());
            let line = self::text(&mut outbox);
            let record: Value = serde_json::from_str(&line).expect(&line);
            let shown = record["argv"].as_array().unwrap();
            assert!(line.len() <= LONGEST, "{} bytes: {line}", line.len());
            assert!(shown.len() == count.min(500) || line.len() > LONGEST - OTHERS, "{line}");
            assert_eq!(record["argc"], count);
            let mut whole = 0;
            for (arg, shown) in args.iter().zip(shown) {
                let bytes = match shown.as_str() {
                    Some(text) => text.len(),
                    // Four characters stand for three bytes; here a multiple of three, or cut.
                    None => shown["b64"].as_str().unwrap().trim_end_matches('=').len() * 3 / 4,
                };
                let is_prefix = shown.as_str().is_none_or(|text| arg.starts_with(text.as_bytes()));
                assert!(is_prefix && bytes <= length, "{line}");
                whole += usize::from(bytes == arg.len());
            }
            assert_eq!(record["argv_cut"].as_u64().unwrap_or(0), (count - whole) as u64, "{line}");
        }
    }
}

// Oracle: the ring's memory, searched; it has what is no secret, so the search finds what there is.
#[test]
fn no_secret_gets_into_the_ring() {
    let _turn = alone();
    const SECRET: &str = "hunter2-hunter2";
    let lines = [
        ("auth", "AUTH bob SECRET"),
        ("auth", "AUTH SECRET"),
        ("auth", "AUTH a SECRET b"),
        ("hello", "HELLO 3 AUTH bob SECRET SETNAME me"),
        ("hello", "HELLO 3 AUHT bob SECRET"),
        ("acl|setuser", "ACL SETUSER bob on >SECRET #SECRET SECRET"),
        ("acl|dryrun", "ACL DRYRUN bob AUTH x SECRET"),
        ("config|set", "CONFIG SET requirepass SECRET"),
        ("config|set", "CONFIG SET tls-key-file-pass SECRET maxmemory 1"),
        ("migrate", "MIGRATE h 1 k 0 10 AUTH2 bob SECRET"),
        ("sentinel|set", "SENTINEL SET m auth-pass SECRET"),
        ("sentinel|config", "SENTINEL CONFIG SET sentinel-pass SECRET"),
        ("module|load", "MODULE LOAD /m.so SECRET"),
        ("module|loadex", "MODULE LOADEX /m.so CONFIG m.password SECRET ARGS SECRET"),
        ("eval", "EVAL redis.call('auth','SECRET') 0"),
        ("eval_ro", "EVAL_RO redis.call('auth','SECRET') 0"),
        ("evalsha", "EVALSHA f 0 AUTH SECRET"),
        ("evalsha_ro", "EVALSHA_RO f 0 AUTH SECRET"),
        ("fcall", "FCALL f 0 AUTH SECRET"),
        ("fcall_ro", "FCALL_RO f 0 AUTH SECRET"),
        ("script|load", "SCRIPT LOAD redis.call('auth','SECRET')"),
        ("function|load", "FUNCTION LOAD REPLACE redis.call('auth','SECRET')"),
        ("function|restore", "FUNCTION RESTORE SECRET"),
        ("command|getkeys", "COMMAND GETKEYS AUTH SECRET"),
        ("command|getkeysandflags", "COMMAND GETKEYSANDFLAGS AUTH SECRET"),
        ("some.command", "SOME.COMMAND AUTH SECRET"),
        ("", "AUHT SECRET"),
    ];
    for (name, _) in crate::redact::TABLE {
        assert!(lines.iter().any(|(line, _)| line == name), "no line for {name}");
    }
    let in_ring = |values: &[(&str, &str)], name: &'static str, line: &str, kind: Kind| {
        let (mut source, mut outbox) = source_with(values);
        let words: Vec<String> =
            line.split(' ').map(|word| word.replace("SECRET", SECRET)).collect();
        let args: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let echo = format!("cannot do this: '{}'", words.join(" "));
        let result = CommandResult {
            kind,
            command_name: (!name.is_empty()).then_some(name.as_bytes()),
            context: (kind == Kind::Rejected).then_some(echo.as_bytes()),
            ..result("", 7)
        };
        source.command(&result, args.as_slice(), &Fake::new());
        let memory = String::from_utf8_lossy(&source.producer.memory()).into_owned();
        assert_eq!(last(&mut outbox)["argc"], args.len());
        memory.contains(SECRET)
    };
    for (name, line) in lines {
        for kind in [Kind::Success, Kind::Failure, Kind::Rejected] {
            assert!(!in_ring(&[], name, line, kind), "{line}, {}", kind.name());
        }
    }
    assert!(in_ring(&[], "set", "SET k SECRET", Kind::Success));
    assert!(!in_ring(&[("payload", "keys")], "set", "SET k SECRET", Kind::Success));
    assert!(!in_ring(&[("argv-count", "2")], "set", "SET k SECRET", Kind::Success));
    assert!(!in_ring(&[("argv-length", "14")], "set", "SET k SECRET", Kind::Success));
}
