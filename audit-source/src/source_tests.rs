//! The source without a server and without a writer: losses, attribution, and what is asked of the server.
#![forbid(unsafe_code)]

use super::*;
use crate::event::{ClientInfo, Running};
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A server with one connection, number 7.
struct Fake {
    user: Option<&'static str>,
    running: Running,
    asked: Cell<u32>,
}

impl Fake {
    fn new() -> Self {
        Fake { user: Some("alice"), running: Running::default(), asked: Cell::new(0) }
    }
}

impl Host for Fake {
    fn client(&self, id: u64) -> Option<ClientInfo> {
        self.asked.set(self.asked.get() + 1);
        (id == 7).then(|| ClientInfo {
            user: self.user.map(|user| user.as_bytes().to_vec()),
            addr: "127.0.0.1:6000".into(),
            db: 0,
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
    let mut settings = Settings::new();
    settings.set("buffer", "1mb").unwrap();
    let (mut source, outbox) = Source::new("node", |_| 0, settings);
    source.subscribed(true);
    (source, outbox)
}

fn line(source: &Source) -> String {
    String::from_utf8(source.recorder.line().to_vec()).unwrap()
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
    let (mut source, _outbox) = source();
    let via = |source: &mut Source, id: u64, is_module_client: bool, running: Running| {
        let host = Fake { running, ..Fake::new() };
        source.login_tried(7);
        let result = CommandResult { is_module_client, ..result("set", id) };
        source.command(&result, SET.as_slice(), &host);
        let line = line(source);
        line.rsplit_once("\"via\":\"").unwrap().1.split('"').next().unwrap().to_owned()
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
    for round in 0..20_000_u64 {
        source.command(&result("set", 7), SET.as_slice(), &host);
        // The reader sleeps most of the time, and then takes all that is there.
        if round % 7000 != 6999 && round != 19_999 {
            continue;
        }
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
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let record: serde_json::Value = serde_json::from_slice(line).unwrap();
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
    let (mut source, _outbox) = source();
    let host = Fake { user: None, ..Fake::new() };
    source.login_tried(7);
    let failed = CommandResult { kind: Kind::Failure, ..result("auth", 7) };
    source.command(&failed, [&b"AUTH"[..], b"admin", b"wrong"].as_slice(), &host);
    assert!(line(&source).contains(r#""argv":["AUTH","admin","(redacted)"]"#), "{}", line(&source));
    assert!(line(&source).contains(r#""user":null"#), "{}", line(&source));
}
