//! The dead letter: records of another source, some of them broken, and what became of each.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use testkit::{Count, Entry, numbers, record};

use crate::stage::Stage;
use crate::table::{cut, printable};

const NUMBERED: u64 = 1000;
const KEY: &str = "other";
const DEAD_KEY: &str = "other:deadletter";

/// Names and values.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The rule for records of the other source.
pub(crate) fn action(server: &str) -> String {
    format!(
        "action(type=\"omvalkeyaudit\" name=\"other\" server=\"{server}\" key=\"{KEY}\" template=\"raw\"\n\
         action.resumeRetryCount=\"-1\")"
    )
}

/// Sends numbered records and the sample.
pub(crate) fn send(stage: &Stage) {
    let numbered = (1..=NUMBERED).map(|number| record(number).into_bytes());
    stage.rsyslogd.send(numbered.chain(sample()));
}

pub(crate) fn has_arrived(stage: &Stage) -> bool {
    let length = |key: &str| stage.entries(key).len() as u64;
    length(KEY) + length(DEAD_KEY) >= NUMBERED + sample().len() as u64
}

/// Prints what became of the records; whether each arrived once.
pub(crate) fn print(stage: &Stage) -> bool {
    let sample = sample();
    let (stream, dead) = (stage.entries(KEY), stage.entries(DEAD_KEY));
    println!(
        "\n5. Another source writes broken records. {NUMBERED} numbered records and {} real ones of the",
        sample.len()
    );
    println!(
        "   module valkey-audit went the same way; those that are not JSON are in \"{DEAD_KEY}\":\n"
    );
    for entry in &dead {
        println!("   {} {}", entry.id, cut(&printable(&entry.text("reason").into_bytes()), 85));
    }
    if let Some(entry) = dead.last() {
        println!("\n   The record of the last one, as it came:");
        println!("   {}", around(&printable(entry.get("record").unwrap_or_default()), 110));
    }
    print_count(&sample, &stream, &dead)
}

/// The lines of the sample; see tests/data/README.md.
fn sample() -> Vec<Vec<u8>> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/valkey-audit-sample.jsonl");
    let text = fs::read(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()));
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

fn print_count(sample: &[Vec<u8>], stream: &[Entry], dead: &[Entry]) -> bool {
    let numbered = Count::of(numbers(stream), 1..NUMBERED + 1);
    let (others, total) =
        (stream.iter().filter(|entry| entry.number().is_none()), sample.len() as u64);
    let real = Count::of(lines_of(sample, others.chain(dead)), 1..total + 1);
    let in_stream = stream.len() as u64 - numbered.arrived;
    println!(
        "\n   {:<10} {:>6} {:>10} {:>12} {:>6} {:>8}",
        "", "sent", "in stream", "dead letter", "lost", "doubled"
    );
    for (name, count, in_stream, in_dead) in [
        ("numbered", &numbered, numbered.arrived, 0),
        ("real", &real, in_stream, dead.len() as u64),
    ] {
        let (sent, lost, doubled) = (count.expected, count.lost, count.doubled + count.unexpected);
        println!("   {name:<10} {sent:>6} {in_stream:>10} {in_dead:>12} {lost:>6} {doubled:>8}");
    }
    numbered.is_exact() && real.is_exact()
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

/// At most `width` characters, the arguments of an audit record among them.
fn around(text: &str, width: usize) -> String {
    match text.find("\"command_args\"") {
        Some(start) if text.chars().count() > width => cut(&format!("..{}", &text[start..]), width),
        _ => cut(text, width),
    }
}
