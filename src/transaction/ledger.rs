//! The ledger: which records the core may still hand over again, and what became of them.
//!
//! The core gives no record an identity, but it replays a batch out of the same buffers, and no two
//! records of a batch share one. So a record is known by its buffer's address, and a fingerprint of
//! its bytes tells a replayed record from a new one in a reused buffer.
#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// Where the core keeps a record's text. Only compared, never followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(pub usize);

/// A hash over a record's bytes (and its key's, where that is dynamic).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub u64);

/// The position of an entry in the order in which records were first handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position(u64);

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not settled, and kept.
    Kept,
    /// Committed or in the dead letter.
    Settled,
    /// Not settled, and no longer kept: the core is taken to have given it up.
    Dropped,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    address: Address,
    fingerprint: Fingerprint,
    standing: Standing,
    /// In which of the core's transactions it came.
    transaction: u64,
}

/// An insertion-ordered map from address to entry.
#[derive(Default, Debug)]
pub(super) struct Ledger {
    /// Position of the first slot in `slots`.
    first: u64,
    /// `None` where an entry was taken out before its turn.
    slots: VecDeque<Option<Entry>>,
    by_address: HashMap<Address, Position, BuildHasherDefault<AddressHasher>>,
    /// Counts the core's transactions.
    transaction: u64,
}

impl Ledger {
    /// The core starts a transaction.
    pub(super) fn open_transaction(&mut self) {
        self.transaction += 1;
    }

    /// In which of the core's transactions the record at `position` came.
    pub(super) fn transaction_of(&self, position: Position) -> u64 {
        self.entry(position).map_or(self.transaction, |entry| entry.transaction)
    }

    /// True when nothing is left of what came in `transaction` or later.
    pub(super) fn is_empty_from(&self, transaction: u64) -> bool {
        !self.slots.iter().flatten().any(|entry| entry.transaction >= transaction)
    }

    /// Adds a record that is not settled yet. Any older entry at the address must be gone.
    pub(super) fn insert(&mut self, address: Address, fingerprint: Fingerprint) -> Position {
        let position = Position(self.first + self.slots.len() as u64);
        let (standing, transaction) = (Standing::Kept, self.transaction);
        self.slots.push_back(Some(Entry { address, fingerprint, standing, transaction }));
        self.by_address.insert(address, position);
        position
    }

    /// The entry of this very record.
    pub(super) fn find(
        &self,
        address: Address,
        fingerprint: Fingerprint,
    ) -> Option<(Position, Standing)> {
        let position = *self.by_address.get(&address)?;
        let entry = self.entry(position)?;
        (entry.fingerprint == fingerprint).then_some((position, entry.standing))
    }

    /// The number of the core's latest transaction.
    pub(super) fn transaction(&self) -> u64 {
        self.transaction
    }

    /// What is settled of what came in `transaction` or later, in order.
    pub(super) fn settled_from(&self, transaction: u64) -> impl Iterator<Item = Fingerprint> {
        let entries = self.slots.iter().flatten();
        let settled = entries.filter(|entry| entry.standing == Standing::Settled);
        settled.filter(move |entry| entry.transaction >= transaction).map(|entry| entry.fingerprint)
    }

    /// Forgets the entry at `address`, everything older than it, and what came in the same
    /// transaction: no transaction spans two batches. Returns that transaction; nothing where the
    /// address is not known.
    pub(super) fn forget_through(&mut self, address: Address) -> Option<u64> {
        let &position = self.by_address.get(&address)?;
        let over = self.entry(position).map_or(0, |entry| entry.transaction);
        let is_over = |slot: &Option<Entry>| slot.is_none_or(|entry| entry.transaction <= over);
        while self.slots.front().is_some_and(is_over) {
            if let Some(Some(entry)) = self.slots.pop_front() {
                self.by_address.remove(&entry.address);
            }
            self.first += 1;
        }
        Some(over)
    }

    /// Forgets one entry, because the core has been told for good that it is settled.
    pub(super) fn forget(&mut self, position: Position) -> Option<Fingerprint> {
        let entry = self.slot(position).and_then(Option::take);
        if let Some(entry) = &entry {
            self.by_address.remove(&entry.address);
        }
        while matches!(self.slots.front(), Some(None)) {
            self.slots.pop_front();
            self.first += 1;
        }
        entry.map(|entry| entry.fingerprint)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.first += self.slots.len() as u64;
        self.slots.clear();
        self.by_address.clear();
    }

    /// Notes what became of the record. A forgotten one is left alone.
    pub(super) fn note(&mut self, position: Position, standing: Standing) {
        if let Some(Some(entry)) = self.slot(position) {
            entry.standing = standing;
        }
    }

    fn entry(&self, position: Position) -> Option<&Entry> {
        let index = usize::try_from(position.0.checked_sub(self.first)?).ok()?;
        self.slots.get(index)?.as_ref()
    }

    fn slot(&mut self, position: Position) -> Option<&mut Option<Entry>> {
        let index = usize::try_from(position.0.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(index)
    }
}

/// Spreads addresses over the table: they come from the host's allocator, not from an attacker, so
/// a keyed hash would only cost time.
#[derive(Default, Debug)]
pub(super) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_usize(usize::from(byte));
        }
    }

    fn write_usize(&mut self, value: usize) {
        // Fibonacci hashing; the multiplication moves the low bits, where addresses differ, upwards.
        self.0 = (self.0.rotate_left(5) ^ value as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 ^= self.0 >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address(0x1000);
    const B: Address = Address(0x2000);
    const C: Address = Address(0x3000);
    const D: Address = Address(0x4000);
    const F: Fingerprint = Fingerprint(7);

    #[test]
    fn a_reused_buffer_ends_the_memory_of_its_transaction_and_of_older_ones_and_of_no_younger_one()
    {
        let mut ledger = Ledger::default();
        ledger.insert(A, F);
        ledger.open_transaction();
        ledger.insert(B, F);
        ledger.insert(D, F);
        ledger.open_transaction();
        let c = ledger.insert(C, F);
        ledger.forget_through(B);
        assert_eq!(ledger.find(A, F), None);
        assert_eq!(ledger.find(B, F), None);
        assert_eq!(ledger.find(D, F), None);
        assert_eq!(ledger.find(C, F), Some((c, Standing::Kept)));
        assert!(!ledger.is_empty_from(ledger.transaction_of(c)));
    }

    #[test]
    fn another_text_in_the_same_buffer_is_another_record() {
        let mut ledger = Ledger::default();
        ledger.insert(A, F);
        assert_eq!(ledger.find(A, Fingerprint(8)), None);
    }

    #[test]
    fn entries_taken_out_of_turn_leave_the_others_reachable() {
        let mut ledger = Ledger::default();
        let a = ledger.insert(A, F);
        let b = ledger.insert(B, F);
        let c = ledger.insert(C, F);
        ledger.forget(b);
        ledger.note(c, Standing::Settled);
        ledger.forget(a);
        assert_eq!(ledger.find(C, F), Some((c, Standing::Settled)));
        ledger.forget(c);
        assert!(ledger.by_address.is_empty() && ledger.slots.is_empty());
        ledger.note(c, Standing::Settled);
        assert!(ledger.by_address.is_empty());
    }
}
