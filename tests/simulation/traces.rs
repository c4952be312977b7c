//! Holds the model of the action engine to what real rsyslogds did: the recorded scripts are played
//! to it by a scripted plugin.
//!
//! Oracle: the recorded calls, one by one, and the records in the error file. Where a recording was
//! cut off, as far as it goes.

use crate::engine::{Answer, Engine, Plugin, Version};
use crate::seeds::say;
use crate::turns::finish;

const TRACES: &str = include_str!("../data/action-engine-traces.txt");

/// The recordings had `queue.dequeueBatchSize="5"`.
const BATCH: usize = 5;

/// A call sequence that is longer than this is a hot loop, and no recording goes that far.
const LONG_ENOUGH: usize = 150;

/// One recording.
struct Case {
    name: String,
    version: Version,
    script: Vec<Rule>,
    resume_retry_count: Option<u32>,
    calls: Vec<String>,
    error_file: Vec<usize>,
    is_cut_off: bool,
}

/// `E:SUSP:3`: the first three endTransaction calls are answered with SUSPENDED.
struct Rule {
    call: String,
    answer: Answer,
    word: String,
    /// `None` for ever.
    times: Option<usize>,
}

/// Answers by the script and writes the calls down as the recordings have them.
struct Scripted {
    script: Vec<Rule>,
    /// Number of the record before the first one of the batch.
    base: usize,
    seen: Vec<usize>,
    calls: Vec<String>,
}

impl Scripted {
    fn answer(&mut self, call: &str, otherwise: Answer) -> (Answer, String) {
        assert!(self.calls.len() < 10 * LONG_ENOUGH, "the model does not come to an end");
        for (rule, seen) in self.script.iter_mut().zip(&mut self.seen) {
            if rule.call == call {
                *seen += 1;
                let is_due = rule.times.is_none_or(|times| *seen <= times);
                if is_due && self.calls.len() < LONG_ENOUGH {
                    return (rule.answer, format!("({})", rule.word));
                }
            }
        }
        (otherwise, String::new())
    }
}

impl Plugin for Scripted {
    fn begin(&mut self) -> Answer {
        let (answer, word) = self.answer("B", Answer::Ok);
        self.calls.push(format!("B{word}"));
        answer
    }

    fn act(&mut self, record: usize) -> Answer {
        let number = self.base + record + 1;
        let (answer, word) = self.answer(&format!("D{number}"), Answer::Defer);
        self.calls.push(format!("{number}{word}"));
        answer
    }

    fn end(&mut self) -> Answer {
        let (answer, word) = self.answer("E", Answer::Ok);
        self.calls.push(format!("E{word}"));
        answer
    }

    fn resume(&mut self) -> Answer {
        let (answer, word) = self.answer("R", Answer::Ok);
        let word = if word.is_empty() { "(OK)".to_owned() } else { word };
        self.calls.push(format!("R{word}"));
        answer
    }

    fn has_interval_passed(&mut self, _: bool) -> bool {
        false
    }
}

/// The text between quotes after `name=`.
fn quoted<'t>(line: &'t str, name: &str) -> Option<&'t str> {
    line.split(&format!("{name}=\"")).nth(1)?.split('"').next()
}

fn parse_rule(text: &str) -> Option<Rule> {
    let mut parts = text.split(':');
    let call = parts.next()?.to_owned();
    let word = parts.next()?.to_owned();
    let times: i64 = parts.next()?.parse().ok()?;
    if parts.next().is_some() {
        // One recording has a fourth part, which its probe did not act on.
        return None;
    }
    let answer = match word.as_str() {
        "OK" => Answer::Ok,
        "PREV" => Answer::Previous,
        "SUSP" => Answer::Suspended,
        "DATAFAIL" | "ERR" => Answer::DataFail,
        _ => return None,
    };
    Some(Rule { call, answer, word, times: usize::try_from(times).ok() })
}

/// A case from its lines; `None` where it holds what the model leaves out.
fn parse_case(head: &str, lines: &[&str]) -> Option<Case> {
    let (name, _) = head.split_once(':')?;
    let version = if name.ends_with("8.2610") { Version::New } else { Version::Old };
    let script = quoted(head, "script")?;
    let script: Option<Vec<Rule>> =
        script.split(',').filter(|rule| !rule.is_empty()).map(parse_rule).collect();
    let resume_retry_count = match quoted(head, "resumeRetryCount") {
        None => Some(0),
        Some(text) => u32::try_from(text.parse::<i64>().ok()?).ok(),
    };
    let mut case = Case {
        name: name.to_owned(),
        version,
        script: script?,
        resume_retry_count,
        calls: Vec::new(),
        error_file: Vec::new(),
        is_cut_off: false,
    };
    for line in lines {
        let line = line.trim();
        if line.starts_with("... total") {
            case.is_cut_off = true;
        } else if let Some(list) = line.strip_prefix("ERRFILE:") {
            case.error_file = error_file(list);
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let calls = line.split_whitespace().skip(1).filter(|word| *word != "w1");
            case.calls.extend(calls.map(str::to_owned));
        }
    }
    Some(case)
}

/// The numbers in either of the two forms that the recordings have.
fn error_file(list: &str) -> Vec<usize> {
    if list.contains("msgnum:") {
        let numbers = list.split("msgnum:").skip(1).map(|rest| rest[..8].parse());
        return numbers.map(|number| number.expect("a number")).collect();
    }
    let entries = list.split_whitespace().filter_map(|entry| entry.split_once(":-"));
    entries.map(|(number, _)| number.parse().expect("a number")).collect()
}

/// The parts that the model is about: not what happens when rsyslogd is stopped or killed.
fn cases() -> (Vec<Case>, Vec<String>) {
    let mut cases = Vec::new();
    let mut left_out = Vec::new();
    let mut rest = TRACES.split("\n--- ");
    rest.next();
    for text in rest {
        let mut lines = text.lines();
        let head = lines.next().expect("a head");
        let lines: Vec<&str> = lines.take_while(|line| !line.starts_with('#')).collect();
        match parse_case(head, &lines) {
            Some(case) if !case.name.starts_with("h-") => cases.push(case),
            _ => left_out.push(head.split(':').next().unwrap_or_default().to_owned()),
        }
    }
    (cases, left_out)
}

/// What the model does with the case's script: its calls, and the records in the error file.
fn play(case: Case) -> (Vec<String>, Vec<usize>) {
    let numbers =
        case.calls.iter().filter_map(|call| call.split('(').next()?.parse::<usize>().ok());
    let count = numbers.chain(case.error_file.iter().copied()).max().unwrap_or(0);
    let mut engine = Engine::new(case.version, case.resume_retry_count);
    let seen = vec![0; case.script.len()];
    let mut plugin = Scripted { script: case.script, base: 0, seen, calls: Vec::new() };
    let mut error_file = Vec::new();
    let mut requeued = 0;
    while plugin.base < count {
        let size = BATCH.min(count - plugin.base);
        let outcome = finish(engine.batch(&mut plugin, size));
        error_file.extend(outcome.error_file.iter().map(|record| plugin.base + record + 1));
        requeued = requeued.max(outcome.requeued.len());
        plugin.base += size;
    }
    // What the queue took back comes again; in the recordings only the first records of the first
    // batch do.
    if requeued > 0 {
        plugin.base = 0;
        finish(engine.batch(&mut plugin, requeued));
    }
    (plugin.calls, error_file)
}

#[test]
fn the_model_calls_what_real_engines_called() {
    let (cases, left_out) = cases();
    let mut compared = 0;
    let mut cut_off = 0;
    let mut wrong = Vec::new();
    for case in cases {
        let name = case.name.clone();
        let (recorded, is_cut_off) = (case.calls.clone(), case.is_cut_off);
        let recorded_file = case.error_file.clone();
        let (mut calls, mut error_file) = play(case);
        if is_cut_off {
            cut_off += 1;
            calls.truncate(recorded.len());
            error_file.clone_from(&recorded_file);
        }
        compared += 1;
        if calls != recorded || error_file != recorded_file {
            wrong.push(format!(
                "{name}\n  recorded {} {recorded_file:?}\n  model    {} {error_file:?}",
                recorded.join(" "),
                calls.join(" ")
            ));
        }
    }
    say(&format!(
        "action engine: {compared} recorded cases compared, {cut_off} of them as far as the \
         recording goes; left out: {}",
        left_out.join(", ")
    ));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= 70, "only {compared} cases were compared");
}
