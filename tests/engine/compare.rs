//! Sampled scripts: the calls of the real core and of the model, one by one.
//!
//! Oracle: what rsyslogd did. Equal are the calls and their order, the records in the error file, and
//! which calls got the same buffer. The one thing that the model asks the recording is whether the
//! interval of a suspension was over when a batch came (a matter of real time): it was where tryResume is
//! called next.

use crate::engine::{Answer, Engine, Plugin, Version as Model};
use crate::probe::{Call, Line, Queue, Stage, show};
use crate::script::Script;
use crate::turns::finish;
use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::time::Duration;
use testkit::{Version, poll};

/// Suspensions of some seconds add up, and the machine may be busy.
pub(crate) const SOON: Duration = Duration::from_secs(120);

const SCRIPTS: u64 = 40;

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Plays the script to the model, next to a recording.
struct Played<'r> {
    script: &'r Script,
    recorded: &'r [Line],
    batch: Vec<usize>,
    acts: usize,
    ends: usize,
    resumes: usize,
    calls: Vec<Line>,
    /// Whether it was the less likely of the two, for each time that the interval may have been over.
    guesses: Vec<bool>,
    guessed: usize,
}

impl Played<'_> {
    fn answer(&mut self, call: Call, answer: Answer) -> Answer {
        assert!(self.calls.len() < 2000, "the model does not come to an end");
        self.calls.push(Line { call, answer: Some(answer), address: 0 });
        answer
    }
}

fn scripted(answers: &[Answer], next: &mut usize, otherwise: Answer) -> Answer {
    *next += 1;
    answers.get(*next - 1).copied().unwrap_or(otherwise)
}

impl Plugin for Played<'_> {
    fn begin(&mut self) -> Answer {
        self.answer(Call::Begin, Answer::Ok)
    }

    fn act(&mut self, place: usize) -> Answer {
        let answer = scripted(&self.script.act, &mut self.acts, Answer::Defer);
        self.answer(Call::Act(self.batch[place]), answer)
    }

    fn end(&mut self) -> Answer {
        let answer = scripted(&self.script.end, &mut self.ends, Answer::Ok);
        self.answer(Call::End, answer)
    }

    fn resume(&mut self) -> Answer {
        let answer = scripted(&self.script.resume, &mut self.resumes, Answer::Ok);
        self.answer(Call::Resume, answer)
    }

    fn has_interval_passed(&mut self, is_between_batches: bool) -> bool {
        let may_have = self.recorded.get(self.calls.len()).map(|line| &line.call);
        if may_have != Some(&Call::Resume) {
            return false;
        }
        // From one record to the next it is only where the clock's second ends just then.
        if self.guessed == self.guesses.len() {
            self.guesses.push(false);
        }
        self.guessed += 1;
        is_between_batches != self.guesses[self.guessed - 1]
    }
}

/// What the model does.
struct Run {
    calls: Vec<Line>,
    /// Which of the calls start a batch.
    starts: Vec<usize>,
    error_file: Vec<usize>,
}

fn run(version: Model, script: &Script, recorded: &[Line], guesses: &mut Vec<bool>) -> Run {
    let mut engine = Engine::new(version, script.retries);
    let mut played = Played {
        script,
        recorded,
        batch: Vec::new(),
        acts: 0,
        ends: 0,
        resumes: 0,
        calls: Vec::new(),
        guesses: std::mem::take(guesses),
        guessed: 0,
    };
    let mut starts = Vec::new();
    let mut error_file = Vec::new();
    let mut queue: VecDeque<usize> = (0..script.records).collect();
    while !queue.is_empty() {
        starts.push(played.calls.len());
        played.batch = queue.drain(..queue.len().min(script.batch)).collect();
        let size = played.batch.len();
        let outcome = finish(engine.batch(&mut played, size));
        error_file.extend(outcome.error_file.iter().map(|place| played.batch[*place]));
        queue.extend(outcome.requeued.iter().map(|place| played.batch[*place]));
    }
    *guesses = played.guesses;
    Run { calls: played.calls, starts, error_file }
}

/// The model's run that is like the recording, or else the first one.
fn like(version: Model, script: &Script, recorded: &[Line], error_file: &[usize]) -> Run {
    let shown = show(recorded);
    let mut guesses = Vec::new();
    let mut first = None;
    loop {
        let run = run(version, script, recorded, &mut guesses);
        if show(&run.calls) == shown && run.error_file == error_file {
            return run;
        }
        let first = first.get_or_insert(run);
        // The next guess, in the order of counting.
        while guesses.pop_if(|guess| *guess).is_some() {}
        match guesses.last_mut() {
            Some(guess) => *guess = true,
            None => {
                return Run {
                    calls: std::mem::take(&mut first.calls),
                    starts: std::mem::take(&mut first.starts),
                    error_file: std::mem::take(&mut first.error_file),
                };
            }
        }
    }
}

/// Within a batch, a record keeps its buffer and no two share one.
fn assert_buffers(calls: &[Line], starts: &[usize]) -> Result<(), String> {
    let ends = starts.iter().skip(1).copied().chain([calls.len()]);
    for (start, end) in starts.iter().zip(ends) {
        let mut at = BTreeMap::new();
        for line in &calls[*start..end] {
            let Call::Act(record) = line.call else { continue };
            let first = *at.entry(record).or_insert(line.address);
            if first != line.address {
                return Err(format!("record {} moved within its batch", record + 1));
            }
        }
        let mut addresses: Vec<usize> = at.values().copied().collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.len() != at.len() {
            return Err("two records of a batch share a buffer".to_owned());
        }
    }
    Ok(())
}

/// What differs; nothing where all is equal.
fn compare(stage: &Stage, version: Model, script: &Script) -> Option<String> {
    let trace = stage.trace(script);
    let calls: Vec<Line> =
        trace.iter().filter(|line| !matches!(line.call, Call::New | Call::Free)).cloned().collect();
    let file = stage.error_file(script);
    let run = like(version, script, &calls, &file);
    let is_life_whole = trace.first().map(|line| &line.call) == Some(&Call::New)
        && trace.last().map(|line| &line.call) == Some(&Call::Free)
        && trace.len() == calls.len() + 2;
    let what = if show(&calls) != show(&run.calls) {
        "other calls".to_owned()
    } else if file != run.error_file {
        format!("in the error file are {file:?}, and not {:?}", run.error_file)
    } else if !is_life_whole {
        "not one worker, made at first and freed at last".to_owned()
    } else {
        assert_buffers(&calls, &run.starts).err()?
    };
    Some(format!(
        "{what}: {script:?}\n  rsyslogd {}\n  model    {}",
        show(&calls),
        show(&run.calls)
    ))
}

fn hold_the_model_to(version: Version, model: Model) {
    let first = number("ENGINE_FIRST", 0);
    let scripts: Vec<(Script, Queue)> = (first..first + number("ENGINE_SCRIPTS", SCRIPTS))
        .map(|seed| (Script::sample(seed), Queue::Memory))
        .collect();
    let stage = Stage::play(version, &scripts);
    // When the last batches are through, nothing more comes.
    let differs = |is_final: bool| {
        scripts
            .iter()
            .filter_map(|(script, _)| compare(&stage, model, script))
            .filter(|why| is_final || !why.starts_with("not one worker"))
            .collect::<Vec<_>>()
    };
    let patience = Duration::from_secs(number("ENGINE_PATIENCE", SOON.as_secs()));
    poll(patience, || differs(false).is_empty().then_some(()));
    stage.rsyslogd.stop();
    let wrong = differs(true);
    assert!(
        wrong.is_empty(),
        "{version}: {} of {} scripts differ\n{}\n",
        wrong.len(),
        scripts.len(),
        wrong.join("\n"),
    );
}

#[test]
fn the_model_calls_what_rsyslogd_8_2302_calls() {
    hold_the_model_to(Version::V8_2302, Model::Old);
}

#[test]
fn the_model_calls_what_rsyslogd_8_2504_calls() {
    hold_the_model_to(Version::V8_2504, Model::Old);
}

#[test]
fn the_model_calls_what_rsyslogd_8_2610_calls() {
    hold_the_model_to(Version::V8_2610, Model::New);
}
