//! How far the reading is, on stderr.
#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// So often a line is written.
const INTERVAL: Duration = Duration::from_secs(1);

/// The clock is looked at once in so many entries.
const ENTRIES_PER_LOOK: u64 = 4096;

/// Tells how many entries were read; on a terminal always in the same line.
#[derive(Debug)]
pub struct Progress {
    is_shown: bool,
    is_terminal: bool,
    last: Instant,
    has_line: bool,
}

impl Progress {
    /// Shown on a terminal, or wherever stderr leads if it `is_wanted`; never when `is_quiet`.
    pub fn new(is_wanted: bool, is_quiet: bool) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let is_shown = !is_quiet && (is_wanted || is_terminal);
        Self { is_shown, is_terminal, last: Instant::now(), has_line: false }
    }

    /// Another entry of a stream was read, the `read`th of about `total`.
    pub fn step(&mut self, key: &str, read: u64, total: u64) {
        if self.is_shown && read.is_multiple_of(ENTRIES_PER_LOOK) && self.last.elapsed() >= INTERVAL
        {
            self.last = Instant::now();
            self.write(key, read, total);
        }
    }

    /// A stream was read to its end.
    pub fn end(&mut self, key: &str, read: u64) {
        if self.is_shown && (!self.is_terminal || self.has_line) {
            self.write(key, read, read);
            if self.is_terminal {
                tell("\n");
            }
        }
        self.has_line = false;
    }

    fn write(&mut self, key: &str, read: u64, total: u64) {
        let (start, end) = if self.is_terminal { ("\r", "") } else { ("", "\n") };
        self.has_line = true;
        tell(&format!("{start}{}: {read} of {total} entries{end}", key.escape_debug()));
    }
}

/// Where stderr is closed nobody wants to know.
fn tell(text: &str) {
    drop(io::stderr().write_all(text.as_bytes()));
}
