//! The parts of a flush: records that one EXEC writes, and those parts whose confirmation was lost.
#![forbid(unsafe_code)]

use super::Kept;

/// Which of a flush's transactions a record belongs to. In a cluster each slot has one; elsewhere there is
/// only [`Part::WHOLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part(pub u16);

impl Part {
    /// All of a flush, where one server has all keys.
    pub const WHOLE: Self = Self(0);
}

/// A part whose EXEC was sent: only a reply tells whether it took place, or the part's marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InDoubt {
    /// Which.
    pub part: Part,
    /// The number that its marker has, if it took place; never 0, and no other part's.
    pub flush: u64,
}

/// The parts in doubt; few, and nearly always none or one.
#[derive(Debug, Default)]
pub(super) struct Doubts(Vec<InDoubt>);

impl Doubts {
    pub(super) fn add(&mut self, doubt: InDoubt) {
        self.remove(doubt.flush);
        self.0.push(doubt);
    }

    pub(super) fn remove(&mut self, flush: u64) {
        self.0.retain(|doubt| doubt.flush != flush);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn all(&self) -> &[InDoubt] {
        &self.0
    }

    /// Sorts what is kept into the parts in doubt and the rest, each in order.
    pub(super) fn sort<'k, P>(&self, kept: &'k [Kept<P>]) -> Sorted<'k, P> {
        let mut in_doubt: Vec<(InDoubt, Vec<&Kept<P>>)> =
            self.0.iter().map(|doubt| (*doubt, Vec::new())).collect();
        let mut rest = Vec::new();
        for kept in kept {
            let is_of = |(doubt, _): &&mut (InDoubt, Vec<_>)| doubt.flush == kept.flush;
            match in_doubt.iter_mut().find(is_of) {
                Some((_, records)) => records.push(kept),
                None => rest.push(kept),
            }
        }
        Sorted { in_doubt, rest }
    }
}

/// What is kept, by what is known of it.
#[derive(Debug)]
pub struct Sorted<'k, P> {
    /// The parts in doubt and their records.
    pub in_doubt: Vec<(InDoubt, Vec<&'k Kept<P>>)>,
    /// What was not committed for certain.
    pub rest: Vec<&'k Kept<P>>,
}
