//! The bytes of the records that are not settled yet: as the core gave them, and as they go out.
#![forbid(unsafe_code)]

use crate::commands::{self, Answer, DeadLetter, Plan};
use crate::hold::Letter;
use crate::params::{Mode, Store};
use crate::record::{self, Flaw, Numbering, OriginTexts, Texts};
use crate::transaction::Kept;
use omvalkeyaudit_sequence::{Arrival, Claim};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::SystemTime;

/// Buffers that once held more than this are given back when they are empty again.
pub(super) const MAX_IDLE_BYTES: usize = 4 << 20;

/// One kept record: where its bytes are in [`Batch`].
#[derive(Debug)]
pub(super) struct Record {
    raw: Range<usize>,
    key: Range<usize>,
    /// What it says of the entry that it came from; nearly always nothing.
    origin: Option<Box<Origin>>,
    wire: Range<usize>,
    /// So many bytes of that store it; the rest is for the entry that it came from.
    main: usize,
    /// So many commands are in that rest.
    pub(super) asides: usize,
    /// Why it is a dead letter, if it is one.
    pub(super) letter: Option<Box<Letter>>,
    number: Option<Number>,
}

/// Where in [`Batch`] the texts of [`OriginTexts`] are.
#[derive(Debug)]
struct Origin {
    key: Range<usize>,
    group: Range<usize>,
    index: Range<usize>,
}

/// What a record's commands are.
#[derive(Default)]
pub(super) struct Encoded {
    /// So many bytes of them store it.
    pub(super) main: usize,
    /// So many commands come behind those, for the entry that it came from.
    pub(super) asides: usize,
    /// Why it is a dead letter, if it is one.
    pub(super) letter: Option<Box<Letter>>,
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

    /// Takes a record's texts and its commands in.
    pub(super) fn push(
        &mut self,
        texts: &Texts<'_>,
        commands: &[u8],
        encoded: Encoded,
        numbering: Option<&Numbering>,
    ) -> Record {
        let number = numbering.and_then(Numbering::number).map(|number| self.number(&number));
        let origin = (texts.origin != OriginTexts::default()).then(|| {
            let OriginTexts { key, group, index } = texts.origin;
            Box::new(Origin {
                key: append(&mut self.raw, key),
                group: append(&mut self.raw, group),
                index: append(&mut self.raw, index),
            })
        });
        let Encoded { main, asides, letter } = encoded;
        Record {
            raw: append(&mut self.raw, texts.record),
            key: append(&mut self.raw, texts.key),
            origin,
            wire: append(&mut self.wire, commands),
            main,
            asides,
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

    /// Its texts, as they were taken in.
    pub(super) fn texts(&self, record: &Record) -> Texts<'_> {
        texts(&self.raw, record)
    }

    /// How many bytes the commands of `kept` take.
    pub(super) fn bytes(kept: &[Kept<Record>]) -> usize {
        Self::span(kept).len()
    }

    /// The commands of these records as they go out, which `plan` is told of; what is adjacent is one piece.
    /// The first record has the place `first` in the flush.
    pub(super) fn commands<'r>(
        &self,
        records: impl Iterator<Item = &'r Record>,
        first: usize,
        settings: &Store,
        plan: &mut Plan,
    ) -> Vec<Cow<'_, [u8]>> {
        if let Mode::Queue { at_tail } = settings.mode {
            return vec![Cow::Owned(self.pushes(records, first, at_tail, settings, plan))];
        }
        let answer = commands::answer(settings.mode);
        let mut spans: Vec<Range<usize>> = Vec::new();
        for (place, record) in (first..).zip(records) {
            plan.each(place, if record.is_dead_letter() { Answer::Id } else { answer });
            plan.asides(place, record.asides);
            match spans.last_mut() {
                Some(last) if last.end == record.wire.start => last.end = record.wire.end,
                _ => spans.push(record.wire.clone()),
            }
        }
        let pieces = spans.into_iter().map(|span| self.wire.get(span).unwrap_or_default());
        pieces.map(Cow::Borrowed).collect()
    }

    /// One command for all records of a key.
    fn pushes<'r>(
        &self,
        records: impl Iterator<Item = &'r Record>,
        first: usize,
        at_tail: bool,
        settings: &Store,
        plan: &mut Plan,
    ) -> Vec<u8> {
        let mut wire = Vec::new();
        let mut bytes = 0;
        let mut keys: BTreeMap<&[u8], Vec<(usize, &[u8])>> = BTreeMap::new();
        for (place, record) in (first..).zip(records) {
            if record.is_dead_letter() {
                wire.extend_from_slice(self.wire(record));
                plan.each(place, Answer::Id);
            } else {
                let key = commands::key(settings, self.key(record));
                keys.entry(key).or_default().push((place, self.wire(record)));
                bytes += record.bytes();
            }
        }
        wire.reserve(bytes + 64);
        for (key, elements) in keys {
            let arguments = elements.iter().map(|(_, argument)| *argument);
            commands::push(at_tail, key, arguments, &mut wire);
            plan.together(elements.iter().map(|(place, _)| *place));
        }
        wire
    }

    /// Where the commands of `kept` start and end.
    fn span(kept: &[Kept<Record>]) -> Range<usize> {
        match (kept.first(), kept.last()) {
            (Some(first), Some(last)) => first.payload.wire.start..last.payload.wire.end,
            _ => 0..0,
        }
    }

    fn wire(&self, record: &Record) -> &[u8] {
        self.wire.get(record.wire.clone()).unwrap_or_default()
    }

    /// Writes the commands anew, without those of records that are gone and with these changes, by the
    /// records' places in `kept` and in that order.
    pub(super) fn rewrite(
        &mut self,
        kept: &mut [Kept<Record>],
        changes: &[(usize, Change)],
        settings: &Store,
        action: &str,
    ) {
        let mut wire = Vec::with_capacity(self.wire.len());
        let mut changes = changes.iter().peekable();
        for (place, kept) in kept.iter_mut().enumerate() {
            let start = wire.len();
            let record = &mut kept.payload;
            let old = self.wire.get(record.wire.clone()).unwrap_or_default();
            let (main, asides) = old.split_at_checked(record.main).unwrap_or((old, &[]));
            let mut keeps_asides = true;
            let mut flaw = None;
            while let Some((_, change)) = changes.next_if(|(at, _)| *at == place) {
                match change {
                    Change::DeadLetter(why) => flaw = Some(why),
                    Change::WithoutAsides => keeps_asides = false,
                }
            }
            if let Some(flaw) = flaw {
                let texts = texts(&self.raw, record);
                let letter = letter(flaw);
                record.main = write_letter(settings, action, &texts, &letter, &mut wire).len();
                record.letter = Some(Box::new(letter));
            } else {
                wire.extend_from_slice(main);
            }
            if keeps_asides {
                wire.extend_from_slice(asides);
            } else {
                record.asides = 0;
            }
            record.wire = start..wire.len();
            kept.resize(wire.len() - start);
        }
        self.wire = wire;
    }
}

/// What becomes of a kept record.
pub(super) enum Change {
    /// A dead letter, because of this.
    DeadLetter(Flaw),
    /// The entry that it came from stays as it is.
    WithoutAsides,
}

/// What a record that has this flaw now becomes.
pub(super) fn letter(flaw: &Flaw) -> Letter {
    let received = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    Letter { reason: flaw.to_string(), received }
}

/// Appends the command that stores a dead letter.
pub(super) fn write_letter(
    settings: &Store,
    action: &str,
    texts: &Texts<'_>,
    letter: &Letter,
    wire: &mut Vec<u8>,
) -> Range<usize> {
    let key = &commands::dead_letter_key(settings, texts);
    let (record, Letter { reason, received }) = (texts.record, letter);
    commands::dead_letter(&DeadLetter { key, record, reason, action, received }, wire)
}

/// A record's texts, which are in `raw`.
fn texts<'r>(raw: &'r [u8], record: &Record) -> Texts<'r> {
    let text = |range: &Range<usize>| raw.get(range.clone()).unwrap_or_default();
    let origin = record.origin.as_ref().map(|origin| OriginTexts {
        key: text(&origin.key),
        group: text(&origin.group),
        index: text(&origin.index),
    });
    let (record, key) = (text(&record.raw), text(&record.key));
    Texts { record, key, origin: origin.unwrap_or_default() }
}

fn append(buffer: &mut Vec<u8>, bytes: &[u8]) -> Range<usize> {
    let start = buffer.len();
    buffer.extend_from_slice(bytes);
    start..buffer.len()
}
