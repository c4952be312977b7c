//! A module for rsyslog that stands behind the plugin's C shim in the plugin's place: it answers each
//! call of the core by a script and writes the call down. Test only; tests/engine reads what it wrote.
//!
//! The action's parameter `script` names a file of three lines, `act=`, `end=` and `resume=`, each
//! followed by letters: the k-th call of doAction, endTransaction or tryResume gets the k-th letter's
//! answer. A `*` at the end repeats the letter before it for ever; otherwise all is well from there on.
//!
//! The trace is written next to it, its name with `.trace` added, a line for each call.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a probe that cannot read its script or write its trace must not look fine: it ends rsyslogd"
)]

#[allow(unsafe_code, reason = "the seam that omvalkeyaudit.h declares")]
mod ffi;

use std::fmt::Display;
use std::fs::{File, OpenOptions, read_to_string};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a call is answered with.
#[derive(Clone, Copy)]
enum Answer {
    Ok,
    Defer,
    PreviousCommitted,
    Suspended,
}

impl Answer {
    fn from_letter(letter: char) -> Self {
        match letter {
            'O' => Self::Ok,
            'D' => Self::Defer,
            'P' => Self::PreviousCommitted,
            'S' => Self::Suspended,
            _ => panic!("the probe's script has a letter that means nothing: {letter}"),
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Ok => 'O',
            Self::Defer => 'D',
            Self::PreviousCommitted => 'P',
            Self::Suspended => 'S',
        }
    }

    /// rsyslog's number for it; the plugin's tests hold the header to these.
    fn code(self) -> i32 {
        match self {
            Self::Ok => 0,
            Self::Defer => -2121,
            Self::PreviousCommitted => -2122,
            Self::Suspended => -2007,
        }
    }
}

/// The answers to one kind of call.
struct Answers {
    letters: Vec<char>,
    next: usize,
    is_endless: bool,
    otherwise: Answer,
}

impl Answers {
    /// The line of the script that starts with `name=`.
    fn of(script: &str, name: &str, otherwise: Answer) -> Self {
        let line = script.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let text = line.unwrap_or_else(|| panic!("the probe's script has no line {name}="));
        let (letters, is_endless) = match text.strip_suffix('*') {
            Some(letters) => (letters, true),
            None => (text, false),
        };
        Self { letters: letters.chars().collect(), next: 0, is_endless, otherwise }
    }

    fn next(&mut self) -> Answer {
        let letter = match self.letters.get(self.next) {
            None if self.is_endless => self.letters.last(),
            letter => letter,
        };
        self.next += 1;
        letter.map_or(self.otherwise, |letter| Answer::from_letter(*letter))
    }
}

/// One worker of the core.
struct Worker {
    trace: File,
    act: Answers,
    end: Answers,
    resume: Answers,
}

impl Worker {
    fn new(script: &Path) -> Self {
        let text = read_to_string(script).expect("the probe's script can be read");
        let mut trace = script.as_os_str().to_owned();
        trace.push(".trace");
        let trace = OpenOptions::new().create(true).append(true).open(PathBuf::from(trace));
        let mut worker = Self {
            trace: trace.expect("the probe's trace can be opened"),
            act: Answers::of(&text, "act", Answer::Defer),
            end: Answers::of(&text, "end", Answer::Ok),
            resume: Answers::of(&text, "resume", Answer::Ok),
        };
        worker.write("new");
        worker
    }

    fn begin(&mut self) -> Answer {
        self.answer("B", Answer::Ok)
    }

    fn act(&mut self, record: &str, address: usize) -> Answer {
        let answer = self.act.next();
        self.answer(format_args!("A {record} {address:x}"), answer)
    }

    fn end(&mut self) -> Answer {
        let answer = self.end.next();
        self.answer("E", answer)
    }

    fn resume(&mut self) -> Answer {
        let answer = self.resume.next();
        self.answer("R", answer)
    }

    fn free(mut self) {
        self.write("free");
    }

    fn answer(&mut self, call: impl Display, answer: Answer) -> Answer {
        self.write(format_args!("{call} {}", answer.letter()));
        answer
    }

    /// One write for a line, so that a reader never sees half of one.
    fn write(&mut self, line: impl Display) {
        self.trace
            .write_all(format!("{line}\n").as_bytes())
            .expect("the probe's trace can be written");
    }
}
