//! Configurations of omhiredis with nothing changed but the type: the examples of its documentation and
//! the behaviours of its tests.
//!
//! Oracle throughout: what the server holds in the end, as it is written down here; omhiredis itself,
//! where the version has it, must leave the same.

mod modes;
mod origin;
mod rules;

use std::collections::BTreeMap;

use redis::{Connection, Value};
use testkit::{Rsyslogd, Scratch, Server, ServerBuilder, Version, poll};

use crate::scene::{SOON, flavour_for};

/// One configuration, and what comes of it.
#[derive(Clone, Copy, Default)]
struct Case<'c> {
    /// Templates and the like.
    config: &'c str,
    /// What stands before the action.
    rule: &'c str,
    /// The parameters of the action, but for its type and the server.
    action: &'c str,
    /// The server wants it.
    password: Option<&'c str>,
    /// What the server is told before.
    before: &'c [&'c str],
    sent: &'c [&'c str],
    /// The keys afterwards, and what they hold.
    expected: &'c [(&'c str, &'c str)],
}

/// A record that omhiredis's tests send: its text is `message <n>`.
const SENT: &[&str] = &[
    "<134>1 2026-11-22T02:57:14Z server app 1 - - message 1",
    "<134>1 2026-11-22T02:57:15Z server app 1 - - message 2",
    "<134>1 2026-11-22T02:57:16Z server app 1 - - message 3",
];

const OUTFMT: &str = r#"template(name="outfmt" type="string" string="%msg%")"#;

/// The outputs to compare: omhiredis, where there is one that can stream, and ours.
fn outputs(version: Version) -> &'static [&'static str] {
    match version {
        Version::V8_2302 => &["omvalkeyaudit"],
        Version::V8_2504 | Version::V8_2610 => &["omhiredis", "omvalkeyaudit"],
    }
}

/// Runs a case with each output, on a server of its own.
#[track_caller]
fn assert_same(version: Version, case: &Case<'_>) {
    for output in outputs(version) {
        let scratch = Scratch::new();
        let server = Server::builder(flavour_for(version)).tcp();
        let server = case.password.into_iter().fold(server, ServerBuilder::password);
        let server = server.start(&scratch);
        for line in case.before {
            let mut command = redis::Cmd::new();
            line.split(' ').for_each(|word| {
                command.arg(word);
            });
            command.exec(&mut server.connection()).expect(line);
        }
        let rsyslogd = rsyslogd(version, output, case, &server, &scratch);
        rsyslogd.send(case.sent);
        let expected: BTreeMap<String, String> =
            case.expected.iter().map(|(key, held)| ((*key).into(), (*held).into())).collect();
        let is_there = poll(SOON, || (content(&server) == expected).then_some(()));
        assert!(
            is_there.is_some(),
            "{version} {output}: {:#?}\ninstead of {expected:#?}\n{}",
            content(&server),
            rsyslogd.log()
        );
        assert!(rsyslogd.stop().status.success());
        assert_eq!(content(&server), expected, "{version} {output}, after the stop");
    }
}

fn rsyslogd(
    version: Version,
    output: &str,
    case: &Case<'_>,
    server: &Server,
    scratch: &Scratch,
) -> Rsyslogd {
    let mut builder = Rsyslogd::builder(version).config(case.config);
    if output == "omhiredis" {
        builder = builder.module("omhiredis");
    }
    let action = format!(
        "action(type=\"{output}\" server=\"127.0.0.1\" serverport=\"{}\" {})",
        server.port(),
        case.action
    );
    builder.action(case.rule).action(&action).start(scratch)
}

/// What all keys hold, but for the plugin's markers.
fn content(server: &Server) -> BTreeMap<String, String> {
    let mut connection = server.connection();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).expect("KEYS");
    let keys = keys.into_iter().filter(|key| !key.contains(":marker:"));
    keys.map(|key| (key.clone(), held(&mut connection, &key))).collect()
}

/// What a key holds: its type and its texts; of a stream also how many entries of the group that the
/// cases use wait for an acknowledgement.
fn held(connection: &mut Connection, key: &str) -> String {
    let mut ask = |words: &[&str]| {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        command.query::<Value>(connection).ok()
    };
    let kind = texts(ask(&["TYPE", key])).concat();
    let (held, pending) = match kind.as_str() {
        "list" => (texts(ask(&["LRANGE", key, "0", "-1"])), None),
        "hash" => (texts(ask(&["HGETALL", key])), None),
        "stream" => (fields(ask(&["XRANGE", key, "-", "+"])), ask(&["XPENDING", key, "myGroup"])),
        _ => (texts(ask(&["GET", key])), None),
    };
    let expires = if ask(&["TTL", key]) == Some(Value::Int(-1)) { "" } else { ", expires" };
    let pending = texts(pending).first().map(|count| format!(", pending {count}"));
    format!("{kind} {}{expires}{}", held.join(" | "), pending.unwrap_or_default())
}

/// All texts and numbers of a reply.
fn texts(reply: Option<Value>) -> Vec<String> {
    match reply {
        Some(Value::Array(values)) => {
            values.into_iter().flat_map(|value| texts(Some(value))).collect()
        }
        Some(Value::BulkString(text)) => vec![String::from_utf8_lossy(&text).into_owned()],
        Some(Value::SimpleString(text)) => vec![text],
        Some(Value::Int(number)) => vec![number.to_string()],
        _ => Vec::new(),
    }
}

/// The fields of all entries; their ids are the server's.
fn fields(entries: Option<Value>) -> Vec<String> {
    let Some(Value::Array(entries)) = entries else { return Vec::new() };
    entries.into_iter().map(|entry| texts(Some(entry))[1..].join("=")).collect()
}
