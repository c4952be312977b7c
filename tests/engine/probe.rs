//! Real rsyslogds with the probe in the plugin's place: one action with a queue of its own for each
//! script, all of them fed with the same records.

use crate::engine::Answer;
use crate::script::Script;
use std::fs;
use std::path::{Path, PathBuf};
use testkit::{Rsyslogd, Scratch, Version, probe_path};

/// One call that the core made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    New,
    Begin,
    /// The number of the record, from 0.
    Act(usize),
    End,
    Resume,
    Free,
}

/// A line of a probe's trace.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) call: Call,
    pub(crate) answer: Option<Answer>,
    /// Of the record's buffer.
    pub(crate) address: usize,
}

/// An rsyslogd in which probes play scripts.
pub(crate) struct Stage {
    pub(crate) rsyslogd: Rsyslogd,
    folder: PathBuf,
    // Last: all of the above live in it.
    _scratch: Scratch,
}

/// How an action's queue is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    Memory,
    /// Written to disk when rsyslogd stops.
    DiskAssisted,
    Disk,
}

impl Stage {
    /// Plays the scripts, each of which gets its records.
    pub(crate) fn play(version: Version, scripts: &[(Script, Queue)]) -> Self {
        let scratch = Scratch::new();
        let folder = scratch.path().to_path_buf();
        let mut actions = String::new();
        for (script, queue) in scripts {
            fs::write(folder.join(name(script)), script.to_string()).expect("write a script");
            actions.push_str(&action(script, *queue, &folder));
        }
        let rsyslogd = Rsyslogd::builder(version)
            .without_plugin()
            .config(&format!("module(load=\"{}\")", probe_path().display()))
            .action(&actions)
            .start(&scratch);
        // All in one message: the records of an action must be there at once, so that its batches are
        // as large as they may be.
        let records = (0..scripts.iter().map(|(script, _)| script.records).max().unwrap_or(0))
            .map(|number| format!("r{number:02}"));
        rsyslogd.send(records);
        Self { rsyslogd, folder, _scratch: scratch }
    }

    /// The calls that the core has made of a script's probe.
    pub(crate) fn trace(&self, script: &Script) -> Vec<Line> {
        let path = self.folder.join(format!("{}.trace", name(script)));
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(parse).collect()
    }

    /// All is well from now on for a script's probe: to be called while rsyslogd is stopped.
    pub(crate) fn heal(&self, script: &Script) {
        fs::write(self.folder.join(name(script)), "act=\nend=\nresume=\n").expect("write a script");
    }

    /// The numbers of the records that the core has written to the action's error file.
    pub(crate) fn error_file(&self, script: &Script) -> Vec<usize> {
        let path = self.folder.join(format!("{}.errors", name(script)));
        let text = fs::read_to_string(path).unwrap_or_default();
        let numbers = text.lines().filter_map(|line| line.split("\"template0\": \"r").nth(1));
        numbers
            .map(|rest| rest.split_once('"').expect("a text").0.parse().expect("a record's number"))
            .collect()
    }
}

fn name(script: &Script) -> String {
    format!("script{}", script.seed)
}

fn action(script: &Script, queue: Queue, folder: &Path) -> String {
    let Script { seed, records, batch, .. } = script;
    let name = name(script);
    let folder = folder.display();
    let kind = match queue {
        Queue::Memory => "queue.type=\"LinkedList\"".to_owned(),
        Queue::DiskAssisted => format!("queue.type=\"LinkedList\" queue.filename=\"{name}\""),
        Queue::Disk => format!("queue.type=\"Disk\" queue.filename=\"{name}\""),
    };
    let saved = if queue == Queue::Memory { "" } else { "queue.saveOnShutdown=\"on\"" };
    format!(
        r#"if $rawmsg < "r{records:02}" then action(type="omvalkeyaudit" name="{name}"
  script="{folder}/{name}" action.errorfile="{folder}/{name}.errors"
  action.resumeRetryCount="{}" action.resumeInterval="1"
  {kind} {saved} queue.size="1000" queue.workerThreads="1" queue.timeoutShutdown="100"
  queue.dequeueBatchSize="{batch}" queue.minDequeueBatchSize="{batch}"
  queue.minDequeueBatchSize.timeout="{PATIENCE_MS}")
# seed {seed}
"#,
        script.resume_retry_count()
    )
}

/// So long a queue waits for a batch to get full: its last one may not.
const PATIENCE_MS: u32 = 2000;

fn parse(line: &str) -> Line {
    let words: Vec<&str> = line.split(' ').collect();
    let (call, address) = match words[0] {
        "new" => (Call::New, 0),
        "B" => (Call::Begin, 0),
        "A" => {
            let number = words[1].strip_prefix('r').expect("a record").parse();
            let address = usize::from_str_radix(words[2], 16).expect("an address");
            (Call::Act(number.expect("a number")), address)
        }
        "E" => (Call::End, 0),
        "R" => (Call::Resume, 0),
        "free" => (Call::Free, 0),
        other => panic!("the probe wrote a line that means nothing: {other}"),
    };
    let answer = match words.last().copied() {
        Some("O") => Some(Answer::Ok),
        Some("D") => Some(Answer::Defer),
        Some("P") => Some(Answer::Previous),
        Some("S") => Some(Answer::Suspended),
        _ => None,
    };
    Line { call, answer, address }
}

/// A sequence of calls for people, as the recorded traces have it; records from 1.
pub(crate) fn show(lines: &[Line]) -> String {
    let word = |line: &Line| {
        let (name, usual) = match line.call {
            Call::New => ("new".to_owned(), None),
            Call::Begin => ("B".to_owned(), Some(Answer::Ok)),
            Call::Act(number) => ((number + 1).to_string(), Some(Answer::Defer)),
            Call::End => ("E".to_owned(), Some(Answer::Ok)),
            Call::Resume => ("R".to_owned(), Some(Answer::Ok)),
            Call::Free => ("free".to_owned(), None),
        };
        match line.answer {
            answer if answer == usual => name,
            None => name,
            Some(answer) => format!("{name}({})", crate::script::letter(answer)),
        }
    };
    lines.iter().map(word).collect::<Vec<_>>().join(" ")
}
