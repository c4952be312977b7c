//! What a whole run found: the report of the check and the streams that were read.
#![forbid(unsafe_code)]

use crate::checker::{Report, Verdict};
use crate::stream::{Facts, StreamId};

/// A stream that was read.
#[derive(Clone, Debug)]
pub struct StreamRead {
    /// Its key.
    pub key: String,
    /// The server that it was read from.
    pub server: String,
    /// Its entries are dead letters.
    pub is_dead_letter: bool,
    /// What the server said of it; `None` for a dead letter or a shard that does not exist.
    pub facts: Option<Facts>,
    /// Entries that were read.
    pub entries: u64,
    /// The ids of the first and the last of them.
    pub ids: Option<(StreamId, StreamId)>,
}

impl StreamRead {
    /// How many entries were removed since the stream was made, where the server says it.
    pub fn removed(&self) -> Option<u64> {
        let facts = self.facts?;
        Some(facts.added?.saturating_sub(facts.length))
    }
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The address of the server that was read, or asked for the others.
    pub server: String,
    /// The streams, in the order in which they were read.
    pub streams: Vec<StreamRead>,
    /// What the check found in them.
    pub report: Report,
    /// Warnings are failures.
    pub is_strict: bool,
}

impl Outcome {
    /// 0 or 1, as documented.
    pub fn exit_code(&self) -> u8 {
        match self.report.verdict() {
            Verdict::Complete => 0,
            Verdict::CompleteWithWarnings => u8::from(self.is_strict),
            Verdict::Incomplete => 1,
        }
    }
}
