//! `make demo`: audit records on their way through rsyslog into a Valkey stream, in front of your eyes.
//!
//! Ends with 0 only when every record arrived once.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{
    Count, Entry, Flavour, Rsyslogd, Scratch, Server, Version, entries, numbers, poll, record,
};

const NUMBERED: u64 = 1000;
const DEADLINE: Duration = Duration::from_secs(30);
/// Entries in the table.
const SHOWN: usize = 8;

/// Names and values.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn main() -> ExitCode {
    println!("omvalkeyaudit demo: audit records through rsyslog into a Valkey stream\n");
    let scratch = Scratch::new();
    let sample = sample();
    let server = Server::builder(Flavour::Valkey91).start(&scratch);
    println!("1. Valkey {} is up, on a unix socket in a scratch folder.\n", version_of(&server));

    let action = format!(
        "action(type=\"omvalkeyaudit\" name=\"audit\"\n    \
         server=\"{}\"\n    \
         key=\"audit\" template=\"raw\"\n    \
         action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\")",
        server.address()
    );
    let version = Version::of_this_machine();
    let rsyslogd =
        Rsyslogd::builder(version).max_message_bytes(64 * 1024).action(&action).start(&scratch);
    println!("2. {version} is up, with the plugin loaded. Its rule is:\n");
    println!("  template(name=\"raw\" type=\"string\" string=\"%rawmsg%\")");
    action.lines().for_each(|line| println!("  {line}"));

    println!(
        "\n3. Sending {NUMBERED} numbered records and {} real ones of an audited server",
        sample.len()
    );
    println!("   over one connection to rsyslog's input imptcp.");
    let begin = Instant::now();
    rsyslogd.send(
        (1..=NUMBERED).map(|number| record(number).into_bytes()).chain(sample.iter().cloned()),
    );
    let sent = NUMBERED + sample.len() as u64;
    let mut connection = server.connection();
    let mut length =
        |key: &str| redis::cmd("XLEN").arg(key).query::<u64>(&mut connection).expect("XLEN");
    let arrived =
        poll(DEADLINE, || (length("audit") + length("audit:deadletter") >= sent).then_some(()));
    match arrived {
        Some(()) => println!("   They are in the server after {} ms.", begin.elapsed().as_millis()),
        None => println!(
            "   Not all of them are in the server after {DEADLINE:?}. rsyslogd says:\n{}",
            rsyslogd.log()
        ),
    }
    // What it would still write a second time, it writes before it stops.
    rsyslogd.stop();

    let stream = entries(&mut server.connection(), "audit");
    let dead = entries(&mut server.connection(), "audit:deadletter");
    println!("\n4. The stream \"audit\" has {} entries. The last {SHOWN}:\n", stream.len());
    print_table(&stream[stream.len().saturating_sub(SHOWN)..]);
    if let Some(last) = stream.last() {
        println!("\n   Each member of a record is a field of its entry. The last one in full:\n");
        println!("   {}", last.id);
        for (name, value) in &last.fields {
            println!("     {:<16} {}", printable(name), cut(&printable(value), 57));
        }
    }
    println!(
        "\n5. The stream \"audit:deadletter\" has {} entries: records that are not JSON.",
        dead.len()
    );
    for entry in &dead {
        println!("\n   {}", entry.id);
        for (name, value) in &entry.fields {
            println!("     {:<10} {}", printable(name), around(&printable(value), 63));
        }
    }
    let is_fine = print_count(&sample, &stream, &dead);
    if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The lines of the sample; see tests/data/README.md.
fn sample() -> Vec<Vec<u8>> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/valkey-audit-sample.jsonl");
    let text = fs::read(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()));
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

fn version_of(server: &Server) -> String {
    let output =
        Command::new(server.flavour().program()).arg("--version").output().expect("run the server");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
    version.unwrap_or("of an unknown version").to_string()
}

fn print_table(entries: &[Entry]) {
    let line = |id: &str, who: &str, from: &str, command: &str, outcome: &str| {
        let text = format!(
            "   {id:<17} {:<8} {:<16} {:<17} {}",
            cut(who, 8),
            cut(from, 16),
            cut(command, 17),
            cut(outcome, 13)
        );
        println!("{}", text.trim_end());
    };
    line("ENTRY", "WHO", "FROM", "COMMAND", "OUTCOME");
    for entry in entries {
        let (ip, port) = (entry.text("client_ip"), entry.text("client_port"));
        line(
            &entry.id,
            &entry.text("username"),
            &format!("{ip}:{port}"),
            &entry.text("command"),
            &entry.text("result"),
        );
    }
}

/// Prints what became of the records; whether each arrived once.
fn print_count(sample: &[Vec<u8>], stream: &[Entry], dead: &[Entry]) -> bool {
    let numbered = Count::of(numbers(stream), 1..NUMBERED + 1);
    let (others, total) =
        (stream.iter().filter(|entry| entry.number().is_none()), sample.len() as u64);
    let real = Count::of(lines_of(sample, others.chain(dead)), 1..total + 1);
    let in_stream = stream.len() as u64 - numbered.arrived;
    println!("\n6. The count:\n");
    println!(
        "   {:<10} {:>6} {:>10} {:>12} {:>6} {:>8}",
        "", "sent", "in stream", "dead letter", "lost", "doubled"
    );
    for (name, count, in_stream, in_dead) in [
        ("numbered", &numbered, numbered.arrived, 0),
        ("real", &real, in_stream, dead.len() as u64),
    ] {
        let (sent, lost, doubled) = (count.expected, count.lost, count.doubled + count.unexpected);
        println!("   {name:<10} {sent:>6} {in_stream:>10} {in_dead:>12} {lost:>6} {doubled:>8}");
    }
    let is_fine = numbered.is_exact() && real.is_exact();
    println!(
        "\n{}",
        if is_fine {
            "Nothing lost, nothing doubled."
        } else {
            "NOT every record arrived exactly once."
        }
    );
    is_fine
}

/// The lines of the sample, from 1, that entries hold, compared field by field or, in the dead letter, byte by byte.
/// Lines that are alike are given out one after another; an entry that is none of them is line 0.
fn lines_of<'a>(sample: &[Vec<u8>], entries: impl Iterator<Item = &'a Entry>) -> Vec<u64> {
    let mut places: HashMap<Fields, Vec<u64>> = HashMap::new();
    for (number, line) in (1..).zip(sample) {
        places.entry(fields_of(line)).or_default().push(number);
    }
    let mut seen: HashMap<Fields, usize> = HashMap::new();
    entries
        .map(|entry| {
            let fields = match entry.get("record") {
                Some(record) => fields_of(record),
                None => sorted(entry.fields.clone()),
            };
            let Some(lines) = places.get(&fields) else {
                return 0;
            };
            let times = seen.entry(fields).or_default();
            *times += 1;
            // One more than there are lines of this content is the last line once more.
            lines[(*times).min(lines.len()) - 1]
        })
        .collect()
}

/// What a line of the sample becomes: its members, strings unquoted; or, when it is not JSON, itself.
fn fields_of(line: &[u8]) -> Fields {
    let Ok(Value::Object(members)) = serde_json::from_slice(line) else {
        return vec![(b"record".to_vec(), line.to_vec())];
    };
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    sorted(
        members
            .into_iter()
            .map(|(name, value)| (name.into_bytes(), text(value).into_bytes()))
            .collect(),
    )
}

fn sorted(mut fields: Fields) -> Fields {
    fields.sort();
    fields
}

/// Text for a terminal: control bytes as their escapes.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

/// At most `width` characters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_string();
    }
    text.chars().take(width - 2).chain("..".chars()).collect()
}

/// At most `width` characters, the arguments of an audit record among them.
fn around(text: &str, width: usize) -> String {
    match text.find("\"command_args\"") {
        Some(start) if text.chars().count() > width => cut(&format!("..{}", &text[start..]), width),
        _ => cut(text, width),
    }
}
