//! The bytes of the records that are not settled yet: as the core gave them, and as they go out.
#![forbid(unsafe_code)]

use crate::commands::{self, DeadLetter};
use crate::hold::Letter;
use crate::params::Stream;
use crate::record::{self, Flaw, Numbering};
use crate::transaction::Kept;
use omvalkeyaudit_sequence::{Arrival, Claim};
use std::ops::Range;
use std::time::SystemTime;

/// Buffers that once held more than this are given back when they are empty again.
pub(super) const MAX_IDLE_BYTES: usize = 4 << 20;

/// One kept record: where its bytes are in [`Batch`].
#[derive(Debug)]
pub(super) struct Record {
    raw: Range<usize>,
    key: Range<usize>,
    wire: Range<usize>,
    /// Why it is a dead letter, if it is one.
    pub(super) letter: Option<Box<Letter>>,
    number: Option<Number>,
}

/// A record's number: where its node's id is in [`Batch`], and what it says if it is a `lost` record.
#[derive(Debug)]
struct Number {
    node: Range<usize>,
    seq: u64,
    claim: Option<Box<Claim>>,
}

impl Record {
    pub(super) fn is_dead_letter(&self) -> bool {
        self.letter.is_some()
    }

    /// Where its command is in [`Batch`].
    pub(super) fn wire(&self) -> Range<usize> {
        self.wire.clone()
    }

    /// Its size on the wire.
    pub(super) fn bytes(&self) -> usize {
        self.wire.len()
    }
}

/// The buffers of the open batch. `wire` holds the commands of all kept records, in order and
/// without gaps, so that a flush is one slice of it.
#[derive(Default)]
pub(super) struct Batch {
    raw: Vec<u8>,
    wire: Vec<u8>,
    /// The nodes' ids, one for each time that another one comes.
    nodes: Vec<u8>,
    node: Range<usize>,
}

impl Batch {
    /// Forgets all bytes; to be called when no record is kept.
    pub(super) fn clear(&mut self) {
        for buffer in [&mut self.raw, &mut self.wire, &mut self.nodes] {
            buffer.clear();
            buffer.shrink_to(MAX_IDLE_BYTES);
        }
        self.node = 0..0;
    }

    /// Takes a record's bytes and its encoded command in.
    pub(super) fn push(
        &mut self,
        record: &[u8],
        key: &[u8],
        command: &[u8],
        letter: Option<Box<Letter>>,
        numbering: Option<&Numbering>,
    ) -> Record {
        let number = numbering.and_then(Numbering::number).map(|number| self.number(&number));
        Record {
            raw: append(&mut self.raw, record),
            key: append(&mut self.raw, key),
            wire: append(&mut self.wire, command),
            letter,
            number,
        }
    }

    fn number(&mut self, number: &record::Number<'_>) -> Number {
        // Nearly always that of the record before.
        if self.nodes.get(self.node.clone()) != Some(number.node) {
            self.node = append(&mut self.nodes, number.node);
        }
        Number { node: self.node.clone(), seq: number.seq, claim: number.claim.map(Box::new) }
    }

    /// What is counted of a record once it is settled.
    pub(super) fn arrival(&self, record: &Record) -> Option<Arrival<'_>> {
        let Number { node, seq, claim } = record.number.as_ref()?;
        Some(Arrival {
            node: self.nodes.get(node.clone())?,
            number: *seq,
            is_dead: record.is_dead_letter(),
            claim: claim.as_deref().copied(),
        })
    }

    /// A record as the core gave it.
    pub(super) fn record(&self, record: &Record) -> &[u8] {
        self.raw.get(record.raw.clone()).unwrap_or_default()
    }

    /// The dynamic key of a record; empty where the key is fixed.
    pub(super) fn key(&self, record: &Record) -> &[u8] {
        self.raw.get(record.key.clone()).unwrap_or_default()
    }

    /// Where the commands of `kept` start and end.
    pub(super) fn span(kept: &[Kept<Record>]) -> Range<usize> {
        match (kept.first(), kept.last()) {
            (Some(first), Some(last)) => first.payload.wire.start..last.payload.wire.end,
            _ => 0..0,
        }
    }

    /// A stretch of the commands.
    pub(super) fn wire(&self, range: Range<usize>) -> &[u8] {
        self.wire.get(range).unwrap_or_default()
    }

    /// Writes the commands anew, without those of records that are gone and with the records that
    /// `flaws` names (by their place in `kept`, in order) as dead letters.
    pub(super) fn rewrite(
        &mut self,
        kept: &mut [Kept<Record>],
        flaws: &[(usize, Flaw)],
        settings: &Stream,
        action: &str,
    ) {
        let mut wire = Vec::with_capacity(self.wire.len());
        let mut flaws = flaws.iter().peekable();
        for (place, kept) in kept.iter_mut().enumerate() {
            let range = match flaws.next_if(|(at, _)| *at == place) {
                Some((_, flaw)) => {
                    let record = self.raw.get(kept.payload.raw.clone()).unwrap_or_default();
                    let letter = letter(flaw);
                    let range = write_letter(settings, action, record, &letter, &mut wire);
                    kept.payload.letter = Some(Box::new(letter));
                    range
                }
                None => {
                    append(&mut wire, self.wire.get(kept.payload.wire.clone()).unwrap_or_default())
                }
            };
            kept.resize(range.len());
            kept.payload.wire = range;
        }
        self.wire = wire;
    }
}

/// What a record that has this flaw now becomes.
pub(super) fn letter(flaw: &Flaw) -> Letter {
    let received = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    Letter { reason: flaw.to_string(), received }
}

/// Appends the command that stores a dead letter.
pub(super) fn write_letter(
    settings: &Stream,
    action: &str,
    record: &[u8],
    letter: &Letter,
    wire: &mut Vec<u8>,
) -> Range<usize> {
    let Letter { reason, received } = letter;
    commands::dead_letter(settings, &DeadLetter { record, reason, action, received }, wire)
}

fn append(buffer: &mut Vec<u8>, bytes: &[u8]) -> Range<usize> {
    let start = buffer.len();
    buffer.extend_from_slice(bytes);
    start..buffer.len()
}
