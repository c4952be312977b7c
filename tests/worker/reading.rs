//! The commands of docs/reading.md, run as they stand there, each as the user that docs/acl.md has for it.

use crate::core::{Core, PATIENCE, command};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use testkit::{AclRule, Flavour, Process, Scratch, Server, wait_until};

/// Headings of the document that have no command of ours below them.
const OTHERS: [&str; 4] =
    ["Once per shell", "Whether it is complete", "A program that does all this", "With rsyslog"];

/// The block under this heading that every other one needs.
const FUNCTIONS: &str = "Once per shell";

/// So many records are written; the numbers from 100 on stand for older ones.
const RECORDS: u64 = 30;

/// What is written: every tenth is denied, every seventh failed, and alice and bob take turns.
fn written(number: u64) -> String {
    let user = if number.is_multiple_of(2) { "alice" } else { "bob" };
    let event = match number {
        _ if number % 10 == 9 => "acl_denied",
        _ if number % 7 == 6 => "failure",
        _ => "success",
    };
    format!(
        r#"{{"v":1,"n":{number},"ts":"2026-11-22T09:00:00.000000Z","event":"{event}","user":"{user}","addr":"10.0.0.1:6000","command_name":"set","argv":["SET","it's \"{number}\"","é"]}}"#
    )
}

fn numbers_of(event: &str) -> Vec<u64> {
    (0..RECORDS).filter(|number| written(*number).contains(event)).collect()
}

/// The document's headings with the commands below them.
fn recipes() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reading.md");
    let text = fs::read_to_string(path).expect("docs/reading.md");
    let section = |section: &str| {
        let (heading, rest) = section.split_once('\n').unwrap();
        let blocks = rest.split("```").skip(1).step_by(2).map(str::trim);
        (heading.to_owned(), blocks.collect::<Vec<_>>().join("\n"))
    };
    text.split("\n### ").skip(1).map(section).collect()
}

/// A server with a trail, and a shell whose valkey-cli talks to it.
struct Desk {
    scratch: Scratch,
    server: Server,
    writer: Core,
    recipes: Vec<(String, String)>,
}

impl Desk {
    fn new(flavour: Flavour, layout: &str) -> Self {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        for user in ["reader", "consumer"] {
            command(&server, &AclRule::of(user)[0].without(""));
            Self::client(&scratch, &server, user);
        }
        Self::client(&scratch, &server, "default");
        // Two entries of forty days ago and three of ninety minutes ago.
        for (number, minutes) in [(100, 57_600), (101, 57_600), (102, 90), (103, 90), (104, 90)] {
            let id = format!("{}-{number}", now_ms() - minutes * 60_000);
            let record = format!(r#"{{"n":{number},"event":"success","user":"old"}}"#);
            let number = number.to_string();
            let fields = ["n", &number, "event", "success", "user", "old"];
            let whole = ["msg", record.as_str()];
            let fields = if layout == "record" { &whole[..] } else { &fields };
            command(&server, &[&["XADD", "audit", id.as_str()], fields].concat());
        }
        let mut writer = Core::new(&server.address(), &[("layout", layout)]);
        writer.load((0..RECORDS).map(written).chain(["{broken}".to_owned(), String::new()]));
        writer.settle();
        Self { scratch, server, writer, recipes: recipes() }
    }

    /// Makes valkey-cli and redis-cli commands that log in as `user`.
    fn client(scratch: &Scratch, server: &Server, user: &str) {
        let folder = scratch.join(user);
        fs::create_dir(&folder).unwrap();
        let address = server.address().to_string();
        let socket = address.strip_prefix("unix:").expect("a unix socket");
        let login = if user == "default" {
            String::new()
        } else {
            format!("--user {user} --pass password")
        };
        let client = server.flavour().client();
        let script = format!(
            "#!/bin/sh\nexec {} -s {socket} {login} --no-auth-warning \"$@\"\n",
            client.display()
        );
        for name in ["valkey-cli", "redis-cli"] {
            let path = folder.join(name);
            fs::write(&path, &script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn commands(&self, heading: &str) -> &str {
        let found = self.recipes.iter().find(|(name, _)| name == heading);
        found.map(|(_, commands)| commands.as_str()).unwrap_or_else(|| panic!("no {heading:?}"))
    }

    fn shell(&self, user: &str, commands: &str) -> Command {
        let mut shell = Command::new("sh");
        let path = std::env::var("PATH").unwrap();
        shell.env("PATH", format!("{}:{path}", self.scratch.join(user).display()));
        shell.current_dir(self.scratch.path());
        shell.arg("-c").arg(format!("{}\n{commands}", self.commands(FUNCTIONS)));
        shell
    }

    /// What the commands below a heading print.
    #[track_caller]
    fn run(&self, user: &str, heading: &str) -> String {
        let commands = self.commands(heading);
        let output = self.shell(user, commands).stdin(Stdio::null()).output().expect("sh");
        let said = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.is_empty(),
            "{heading}: {printed}{said}; is jq there?"
        );
        for refusal in ["NOPERM", "ERR", "NOAUTH", "WRONG"] {
            assert!(!printed.contains(refusal), "{heading}: {printed}");
        }
        printed
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// The member `n` of each JSON line, a number or its digits.
#[track_caller]
fn numbers(lines: &str) -> Vec<u64> {
    let number = |line: &str| {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let text = value["n"].as_str().map(str::to_owned);
        text.unwrap_or_else(|| value["n"].to_string()).parse().expect("a number")
    };
    lines.lines().map(number).collect()
}

/// The ids in what valkey-cli prints.
fn ids(text: &str) -> usize {
    let is_id = |line: &&str| {
        let parts = line.trim_matches('"').split_once('-');
        parts.is_some_and(|(ms, seq)| {
            ms.len() == 13 && (ms.to_owned() + seq).bytes().all(|b| b.is_ascii_digit())
        })
    };
    text.split_whitespace().filter(is_id).count()
}

/// Lines of `uniq -c` as pairs of count and text.
fn counts(text: &str) -> Vec<(u64, String)> {
    let pair = |line: &str| {
        let (count, text) = line.trim_start().split_once(' ').expect("a count");
        (count.parse().expect("a count"), text.to_owned())
    };
    text.lines().map(pair).collect()
}

// Oracle: the numbers that were written, told apart by who wrote them, what became of them, and when.
on_each_server!(the_commands_for_reading_find_what_was_written_in_both_layouts);
fn the_commands_for_reading_find_what_was_written_in_both_layouts(flavour: Flavour) {
    let all: Vec<u64> = (100..105).chain(0..RECORDS).collect();
    for layout in ["fields", "record"] {
        let mut desk = Desk::new(flavour, layout);
        let newest = desk.run("reader", "The newest entries");
        assert_eq!(ids(&newest), 10, "{newest}");
        assert_eq!(desk.run("reader", "How many there are").trim(), all.len().to_string());
        assert_eq!(numbers(&desk.run("reader", "Between two times")), [102, 103, 104]);
        let even: Vec<u64> = (0..RECORDS).filter(|number| number % 2 == 0).collect();
        assert_eq!(numbers(&desk.run("reader", "What a user did")), even);
        assert_eq!(numbers(&desk.run("reader", "One kind of event")), numbers_of("failure"));
        let denied = desk.run("reader", "What was denied in the last minute");
        assert_eq!(denied.lines().count(), numbers_of("acl_denied").len(), "{denied}");
        assert!(
            denied.contains("bob") && denied.contains("29") && denied.contains('é'),
            "{denied}"
        );
        let denied = counts(&desk.run("reader", "Who was denied most"));
        assert_eq!(denied, [(3, "bob".to_owned())]);
        let hours = counts(&desk.run("reader", "How many in each hour"));
        assert_eq!(
            hours.iter().map(|(count, _)| count).sum::<u64>(),
            all.len() as u64,
            "{hours:?}"
        );
        assert!(hours[0].0 == 2 && hours[1].0 == 3 && hours.len() <= 4, "{hours:?}");
        let first = Command::new("date").args(["-u", "-d", "40 days ago", "+%Y-%m-%d"]).output();
        let first = String::from_utf8(first.unwrap().stdout).unwrap();
        assert!(hours[0].1.starts_with(first.trim()), "{hours:?} {first}");
        assert_eq!(desk.run("reader", "Into a file"), "");
        let file = fs::read_to_string(desk.file("audit.jsonl")).unwrap();
        assert_eq!(numbers(&file), all);
        assert!(file.lines().all(|line| line.starts_with("{\"id\":\"1")), "{file}");
        assert!(file.contains("it's"), "{file}");
        let dead = desk.run("reader", "The dead letter");
        assert!(
            dead.contains("1 record is empty") && dead.contains("1 record is not JSON"),
            "{dead}"
        );
        assert!(dead.lines().any(|line| line == "{broken}"), "{dead}");
        follow(&mut desk);
    }
}

/// Records that come while the commands run are printed, each once, and nothing of what was there before.
fn follow(desk: &mut Desk) {
    let output = desk.file("live");
    let mut shell = desk.shell("reader", desk.commands("Follow it live"));
    File::create(&output).unwrap();
    let process = Process::spawn(&mut shell, &output);
    let read = || fs::read_to_string(&output).unwrap();
    let mut number = 200;
    // Until it has begun, a record is one of those that were there before.
    wait_until("the first line", PATIENCE, || {
        desk.writer.load([written(number)]);
        desk.writer.settle();
        number += 1;
        !read().is_empty()
    });
    for _ in 0..20 {
        desk.writer.load([written(number)]);
        desk.writer.settle();
        number += 1;
    }
    let is_there = || read().ends_with('\n') && numbers(&read()).last() == Some(&(number - 1));
    wait_until("the last line", PATIENCE, is_there);
    process.kill();
    let seen = numbers(&read());
    assert_eq!(seen, (seen[0]..number).collect::<Vec<_>>(), "{}", read());
    assert!(seen[0] >= 200);
}

// Oracle: what each command leaves behind for the next: read, not acknowledged, acknowledged.
on_each_server!(the_commands_for_consumer_groups_do_what_they_say);
fn the_commands_for_consumer_groups_do_what_they_say(flavour: Flavour) {
    let desk = Desk::new(flavour, "fields");
    let total = RECORDS + 5;
    assert_eq!(desk.run("consumer", "Make a group").trim(), "OK");
    let read = desk.run("consumer", "Read what is new");
    assert_eq!(ids(&read), 10, "{read}");
    let pending = desk.run("consumer", "What was read and not acknowledged");
    assert!(pending.starts_with("10\n") && pending.contains("by-hand"), "{pending}");
    assert_eq!(desk.run("consumer", "Acknowledge").trim(), "10");
    assert_eq!(
        desk.run("consumer", "What was read and not acknowledged").lines().next(),
        Some("0")
    );
    // Another consumer reads, and is gone for longer than a minute.
    let other = ["XREADGROUP", "GROUP", "siem", "gone", "COUNT", "4", "STREAMS", "audit", ">"];
    command(&desk.server, &other);
    assert_eq!(ids(&desk.run("consumer", "Take over what another consumer has left")), 0);
    let mut pending: Vec<(String, String, u64, u64)> = redis::cmd("XPENDING")
        .arg(&["audit", "siem", "-", "+", "10"])
        .query(&mut desk.server.connection())
        .unwrap();
    assert_eq!(pending.len(), 4);
    for (id, ..) in pending.drain(..) {
        command(
            &desk.server,
            &["XCLAIM", "audit", "siem", "gone", "0", &id, "IDLE", "70000", "JUSTID"],
        );
    }
    let taken = desk.run("consumer", "Take over what another consumer has left");
    assert_eq!(ids(&taken), 4, "{taken}");
    let behind = desk.run("consumer", "How far behind a group is");
    let expected = format!(r#"{{"name":"siem","lag":{},"pending":4}}"#, total - 14);
    assert_eq!(behind.trim(), expected);
}

// Oracle: the two entries of forty days ago are in the file and not in the stream; all others are.
on_each_server!(the_commands_for_trimming_keep_a_copy_and_remove_what_is_old);
fn the_commands_for_trimming_keep_a_copy_and_remove_what_is_old(flavour: Flavour) {
    let desk = Desk::new(flavour, "fields");
    command(&desk.server, &["XGROUP", "CREATE", "audit", "siem", "0"]);
    let groups = desk.run("default", "Which groups have not read what shall go");
    assert!(groups.contains(r#""last-delivered-id":"0-0","lag":35,"pending":0"#), "{groups}");
    assert!(desk.run("default", "Keep a copy").starts_with("2 "));
    assert_eq!(numbers(&fs::read_to_string(desk.file("audit-old.jsonl")).unwrap()), [100, 101]);
    assert_eq!(desk.run("default", "Remove it").trim(), "2");
    desk.run("reader", "Into a file");
    let left = numbers(&fs::read_to_string(desk.file("audit.jsonl")).unwrap());
    assert_eq!(left, (102..105).chain(0..RECORDS).collect::<Vec<_>>());
}

// Oracle: this file. A command that nobody runs here does not stand in the document.
#[test]
fn every_command_for_reading_is_tried() {
    let tests = include_str!("reading.rs");
    for (heading, commands) in recipes() {
        let is_tried =
            tests.contains(&format!("\"{heading}\")")) || OTHERS.contains(&heading.as_str());
        assert!(
            is_tried && (!commands.is_empty() || OTHERS.contains(&heading.as_str())),
            "{heading}"
        );
    }
}

// Oracle: the server's no to whatever would change the trail, and the document, which has a command for each right.
on_each_server!(those_who_read_may_change_nothing_and_have_no_right_without_a_use);
fn those_who_read_may_change_nothing_and_have_no_right_without_a_use(flavour: Flavour) {
    let desk = Desk::new(flavour, "fields");
    let trials = [
        "XADD audit * n 1",
        "XTRIM audit MAXLEN 0",
        "XDEL audit 0-1",
        "XSETID audit 0-1",
        "DEL audit",
        "EXPIRE audit 1",
        "RENAME audit other",
        "SET audit x",
        "XGROUP DESTROY audit siem",
        "FLUSHALL",
    ];
    let commands: String = desk.recipes.iter().map(|(_, commands)| commands.as_str()).collect();
    for user in ["reader", "consumer"] {
        for trial in trials {
            let output = desk.shell(user, &format!("valkey-cli {trial}")).output().expect("sh");
            let answer = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(answer.starts_with("NOPERM"), "{user}: {trial}: {answer}");
        }
        for right in AclRule::of(user)[0].rights() {
            if let Some(command) = right.strip_prefix('+') {
                let command = command.to_uppercase().replace('|', " ");
                assert!(commands.contains(&command), "{user} has no use for {right}");
            }
        }
    }
}

// Oracle: every number once, in order; one page of the function is a thousand entries.
#[test]
fn an_export_of_a_long_stream_is_whole() {
    let scratch = Scratch::new();
    let server = Server::builder(Flavour::Valkey91).start(&scratch);
    let mut writer = Core::new(&server.address(), &[]);
    writer.send(0..2500, 500);
    command(&server, &AclRule::of("reader")[0].without(""));
    Desk::client(&scratch, &server, "reader");
    let desk = Desk { scratch, server, writer, recipes: recipes() };
    desk.run("reader", "Into a file");
    let file = fs::read_to_string(desk.file("audit.jsonl")).unwrap();
    assert_eq!(numbers(&file), (0..2500).collect::<Vec<_>>());
}
