//! The commands of a flush as far as they are written: which reply belongs to which records.
#![forbid(unsafe_code)]

use crate::error::Refusal;
use std::ops::Range;

/// What a command is answered with when all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `QUEUED`, as all within MULTI are.
    Queued,
    /// A short string: the id of an entry.
    Id,
    /// `OK`.
    Ok,
    /// A number that is not negative.
    Count,
    /// Anything but an error.
    Any,
}

/// The commands between MULTI and the marker's.
#[derive(Debug, Default)]
pub struct Plan {
    runs: Vec<Run>,
    /// The records of commands that store several, by their places in the flush.
    places: Vec<usize>,
}

/// Commands in a row that are alike.
#[derive(Debug)]
pub(super) struct Run {
    part: Part,
    pub(super) commands: usize,
    pub(super) answer: Answer,
}

#[derive(Debug)]
enum Part {
    /// Each stores one record, from this place on.
    Each(usize),
    /// One stores several records: a stretch of `places`.
    Together(Range<usize>),
    /// For the entry that the record at this place came from.
    Aside(usize),
    /// Removes what is old.
    Trim,
}

/// What was refused. Each with the record's place in the flush, from 0, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Commands that store records: once for each record.
    pub records: Vec<(usize, Refusal)>,
    /// The first of the commands for the entry that a record came from.
    pub asides: Vec<(usize, Refusal)>,
    /// The first of the others.
    pub other: Option<Refusal>,
}

impl Refusals {
    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.asides.is_empty() && self.other.is_none()
    }
}

impl Plan {
    /// Forgets all commands.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.places.clear();
    }

    /// A command that stores the record at this place.
    pub fn each(&mut self, place: usize, answer: Answer) {
        if let Some(Run { part: Part::Each(first), commands, answer: last }) = self.runs.last_mut()
            && *first + *commands == place
            && *last == answer
        {
            *commands += 1;
        } else {
            self.runs.push(Run { part: Part::Each(place), commands: 1, answer });
        }
    }

    /// A command that stores all of these.
    pub fn together(&mut self, places: impl IntoIterator<Item = usize>) {
        let first = self.places.len();
        self.places.extend(places);
        let part = Part::Together(first..self.places.len());
        self.runs.push(Run { part, commands: 1, answer: Answer::Count });
    }

    /// So many commands for the entry that the record at this place came from.
    pub fn asides(&mut self, place: usize, commands: usize) {
        if commands > 0 {
            self.runs.push(Run { part: Part::Aside(place), commands, answer: Answer::Count });
        }
    }

    /// So many commands that remove what is old.
    pub fn trims(&mut self, commands: usize) {
        if commands > 0 {
            self.runs.push(Run { part: Part::Trim, commands, answer: Answer::Count });
        }
    }

    /// How many commands there are.
    pub fn commands(&self) -> usize {
        self.runs.iter().map(|run| run.commands).sum()
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The command with this number, from 0, was refused.
    pub(super) fn blame(&self, mut command: usize, refusal: Refusal, refusals: &mut Refusals) {
        for run in &self.runs {
            if command < run.commands {
                return self.blame_in(run, command, refusal, refusals);
            }
            command -= run.commands;
        }
    }

    /// The same, counted from the beginning of its run.
    pub(super) fn blame_in(
        &self,
        run: &Run,
        command: usize,
        refusal: Refusal,
        refusals: &mut Refusals,
    ) {
        match &run.part {
            Part::Each(first) => refusals.records.push((first + command, refusal)),
            Part::Together(range) => {
                let places = self.places.get(range.clone()).unwrap_or_default();
                refusals.records.extend(places.iter().map(|place| (*place, refusal.clone())));
            }
            Part::Aside(place) if refusals.asides.last().is_some_and(|(last, _)| last == place) => {
            }
            Part::Aside(place) => refusals.asides.push((*place, refusal)),
            Part::Trim => refusals.other = refusals.other.take().or(Some(refusal)),
        }
    }
}
