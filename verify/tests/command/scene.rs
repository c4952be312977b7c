//! What the tests share: a server, records for its streams, and a run of the command.

use redis::{Cmd, Connection, Pipeline};
use serde_json::Value;
use std::process::Command;
use testkit::{Flavour, Scratch, Server};

/// A node's id as the audit source makes it.
pub(crate) const NODE: &str = "0123456789abcdef0123456789abcdef01234567";
/// Another one.
pub(crate) const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba98";

/// A server of its own for a test.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) connection: Connection,
    pub(crate) scratch: Scratch,
}

/// How a record is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    Fields,
    Record,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The JSON report.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// The run ended with 2 and one sentence that has all of `words`.
#[track_caller]
pub(crate) fn assert_refused(run: &Run, words: &[&str]) {
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    for word in words {
        assert!(run.stderr.contains(word), "{word}: {run:?}");
    }
}

impl Scene {
    pub(crate) fn new() -> Scene {
        Scene::with(Flavour::Valkey91, |server| server)
    }

    pub(crate) fn with(
        flavour: Flavour,
        change: impl FnOnce(testkit::ServerBuilder) -> testkit::ServerBuilder,
    ) -> Scene {
        let scratch = Scratch::new();
        let server = change(Server::builder(flavour)).start(&scratch);
        let connection = server.connection();
        Scene { server, connection, scratch }
    }

    /// Adds records of [`NODE`] to the stream "audit".
    pub(crate) fn add(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.add_to("audit", Layout::Fields, numbers.into_iter().map(|seq| plain(NODE, seq)));
    }

    /// Adds records to a stream.
    pub(crate) fn add_to(
        &mut self,
        key: &str,
        layout: Layout,
        records: impl IntoIterator<Item = Vec<(&'static str, String)>>,
    ) {
        let mut pipeline = Pipeline::new();
        for record in records {
            pipeline.add_command(xadd(key, layout, &record)).ignore();
        }
        pipeline.exec(&mut self.connection).unwrap();
    }

    /// Sends any command.
    pub(crate) fn command(&mut self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).exec(&mut self.connection).unwrap();
    }

    /// Runs the command on the stream "audit", or on whichever `arguments` name.
    pub(crate) fn verify(&self, arguments: &[&str]) -> Run {
        let server = self.server.address().to_string();
        verify(&[&["--server", &server], arguments].concat())
    }

    /// As [`Scene::verify`] with `--json`: the exit code and the report.
    pub(crate) fn report(&self, arguments: &[&str]) -> (i32, Value) {
        let run = self.verify(&[&["--json"], arguments].concat());
        let json = run.json();
        assert_eq!(json["exit_code"], run.code, "{run:?}");
        assert_eq!(run.stderr, "");
        (run.code, json)
    }
}

/// Runs the command.
pub(crate) fn verify(arguments: &[&str]) -> Run {
    let output = command().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().expect("no end by a signal");
    Run { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_omvalkeyaudit-verify"))
}

/// A record of a command.
pub(crate) fn plain(node: &str, seq: u64) -> Vec<(&'static str, String)> {
    of_event(node, seq, "success")
}

/// A record of an event.
pub(crate) fn of_event(node: &str, seq: u64, event: &str) -> Vec<(&'static str, String)> {
    vec![
        ("v", "1".into()),
        ("node", node.into()),
        ("seq", seq.to_string()),
        ("ts", format!("2026-03-01T12:{:02}:{:02}.000001Z", seq / 60 % 60, seq % 60)),
        ("event", event.into()),
        ("command_name", "set".into()),
        ("user", "app".into()),
    ]
}

/// A record that says that others are lost.
pub(crate) fn lost(
    node: &str,
    seq: u64,
    first: u64,
    last: u64,
    count: u64,
) -> Vec<(&'static str, String)> {
    let mut record = of_event(node, seq, "lost");
    record.extend([
        ("lost_count", count.to_string()),
        ("lost_first", first.to_string()),
        ("lost_last", last.to_string()),
    ]);
    record
}

/// The record's JSON text, as the audit source writes it.
pub(crate) fn json_of(record: &[(&'static str, String)]) -> String {
    let members = record.iter().map(|(name, value)| match value.parse::<u64>() {
        Ok(number) => format!("\"{name}\":{number}"),
        Err(_) => format!("\"{name}\":{}", Value::from(value.as_str())),
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn xadd(key: &str, layout: Layout, record: &[(&'static str, String)]) -> Cmd {
    let mut command = redis::cmd("XADD");
    command.arg(key).arg("*");
    match layout {
        Layout::Fields => record.iter().for_each(|(name, value)| {
            command.arg(*name).arg(value);
        }),
        Layout::Record => {
            command.arg("msg").arg(json_of(record));
        }
    }
    command
}
