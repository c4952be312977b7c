//! The transaction protocol as a pure state machine: which records are kept, which are settled, what
//! the next flush holds, what is in doubt, and what the core's replays mean. No sockets, no clocks,
//! no threads: it takes what happened and answers what follows.
//!
//! A payload of type `P` travels with each kept record; the machine never looks into it.
#![forbid(unsafe_code)]

mod ledger;
mod parts;

use crate::params::Retries;
pub use ledger::{Address, Fingerprint};
use ledger::{Ledger, Position, Standing};
use parts::Doubts;
pub use parts::{InDoubt, Part, Sorted};

/// When the open batch is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Records per flush, at least 1.
    pub records: usize,
    /// Bytes per flush on the wire; a single larger record still goes out, alone.
    pub bytes: usize,
}

/// What is to be done with a record that the core hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// A record not seen before: encode it and [`Transaction::keep`] it.
    Fresh,
    /// A replayed record that is still kept: nothing to do, it will be settled with the others.
    Kept,
    /// A replayed record that is already committed or in the dead letter: nothing to do.
    Settled,
}

/// What became of one record of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// In the store, or in the dead letter: never written again.
    Settled,
    /// Still kept, in its old place.
    Unsettled,
}

/// A record that is not settled yet.
#[derive(Debug)]
pub struct Kept<P> {
    position: Position,
    bytes: usize,
    part: Part,
    /// The flush in doubt that it belongs to; 0 for none.
    flush: u64,
    /// What the caller needs to send the record.
    pub payload: P,
}

/// One worker's transactions.
#[derive(Debug)]
pub struct Transaction<P> {
    limits: Limits,
    retries: Retries,
    ledger: Ledger,
    kept: Vec<Kept<P>>,
    kept_bytes: usize,
    /// The parts of a flush whose confirmation was lost.
    doubts: Doubts,
    /// An `endTransaction` was answered with SUSPENDED and the core has not moved on since.
    is_replaying: bool,
    /// A flush failed since `beginTransaction`: the rest waits for `endTransaction`.
    is_stalled: bool,
    /// What the core handed over again since `beginTransaction`.
    replayed: Vec<Position>,
    /// The first transaction of the batch that is being replayed, as far as it has been seen.
    replay_start: Option<u64>,
    /// The first transaction of the batch at hand, as far as that is certain; earlier ones may belong to
    /// it too.
    batch_start: Option<u64>,
    /// What the core was told of the batch at hand, in a replay, to be settled.
    acknowledged: Vec<Fingerprint>,
    /// So many `tryResume` in a row were answered with SUSPENDED.
    failed_resumes: u64,
}

impl<P> Transaction<P> {
    /// A worker's state before its first record.
    pub fn new(limits: Limits, retries: Retries) -> Self {
        Self {
            limits,
            retries,
            ledger: Ledger::default(),
            kept: Vec::new(),
            kept_bytes: 0,
            doubts: Doubts::default(),
            is_replaying: false,
            is_stalled: false,
            replayed: Vec::new(),
            replay_start: None,
            batch_start: None,
            acknowledged: Vec::new(),
            failed_resumes: 0,
        }
    }

    /// The core starts a transaction.
    pub fn begin(&mut self) {
        self.is_stalled = false;
        self.failed_resumes = 0;
        self.replayed.clear();
        self.ledger.open_transaction();
        self.batch_start.get_or_insert(self.ledger.transaction());
    }

    /// The core hands a record over. The second value counts kept records that were dropped because
    /// the core gave their batch up.
    pub fn admit(&mut self, address: Address, fingerprint: Fingerprint) -> (Admission, usize) {
        if !self.is_replaying {
            // The address is known: the core has ended that batch without telling (a doAction that
            // returned OK may be the last call of a batch) and now reuses its buffers.
            // What came before the batch at hand began does not show that another one begins.
            let over = self.ledger.forget_through(address);
            if over.is_some_and(|over| self.batch_start.is_none_or(|start| start <= over)) {
                self.start_batch(Some(self.ledger.transaction()));
            }
            return (Admission::Fresh, 0);
        }
        if let Some((position, standing)) = self.ledger.find(address, fingerprint) {
            self.replayed.push(position);
            let transaction = self.ledger.transaction_of(position);
            self.replay_start =
                Some(self.replay_start.map_or(transaction, |start| start.min(transaction)));
            let admission = match standing {
                Standing::Settled => Admission::Settled,
                Standing::Kept => Admission::Kept,
                Standing::Dropped => Admission::Fresh,
            };
            return (admission, 0);
        }
        // The core has moved on: what it gave up is in its error file, not ours to write any more.
        let abandoned = self.kept.len();
        self.ledger.clear();
        self.drop_kept();
        self.is_replaying = false;
        self.replayed.clear();
        self.replay_start = None;
        self.start_batch(Some(self.ledger.transaction()));
        (Admission::Fresh, abandoned)
    }

    /// True when a record of so many bytes fits into the open batch beside what is there.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.kept.is_empty()
            || (self.kept.len() < self.limits.records
                && self.kept_bytes.saturating_add(bytes) <= self.limits.bytes)
    }

    /// True when the open batch has reached a limit.
    pub fn is_full(&self) -> bool {
        self.kept.len() >= self.limits.records || self.kept_bytes >= self.limits.bytes
    }

    /// Takes a fresh record into the open batch; `bytes` is its size on the wire.
    pub fn keep(
        &mut self,
        address: Address,
        fingerprint: Fingerprint,
        part: Part,
        bytes: usize,
        payload: P,
    ) {
        // One that was dropped, and comes again after all, has its place in the ledger.
        let known = self.ledger.find(address, fingerprint);
        let position = match known {
            Some((position, _)) => position,
            None => self.ledger.insert(address, fingerprint),
        };
        self.ledger.note(position, Standing::Kept);
        self.kept_bytes += bytes;
        self.kept.push(Kept { position, bytes, part, flush: 0, payload });
    }

    /// Whether a partial commit is worth trying: not after one has failed in this transaction.
    pub fn may_commit_partially(&self) -> bool {
        !self.is_stalled && !self.is_replaying
    }

    /// A flush failed; its records stay, and `endTransaction` settles them.
    pub fn stall(&mut self) {
        self.is_stalled = true;
    }

    /// The records that are not settled, in order.
    pub fn kept(&self) -> &[Kept<P>] {
        &self.kept
    }

    /// Lets the caller change what it stored with the kept records, their sizes included.
    pub fn rewrite(&mut self, change: impl FnOnce(&mut [Kept<P>])) {
        change(&mut self.kept);
        self.kept_bytes = self.kept.iter().map(|kept| kept.bytes).sum();
    }

    /// How many records, from the first, the next flush holds: as many as the limits allow.
    pub fn next_flush(&self) -> usize {
        let mut bytes = 0_usize;
        let fitting = self
            .kept
            .iter()
            .take(self.limits.records)
            .take_while(|kept| {
                bytes = bytes.saturating_add(kept.bytes);
                bytes <= self.limits.bytes
            })
            .count();
        fitting.max(1).min(self.kept.len())
    }

    /// The kept records of a flush in doubt, in order, with their places among all.
    pub fn kept_in(&self, flush: u64) -> impl Iterator<Item = (usize, &Kept<P>)> {
        self.kept.iter().enumerate().filter(move |(_, kept)| kept.flush == flush)
    }

    /// The EXEC for the first so many records of one part is about to leave: from here on, only a reply
    /// tells. Nothing of this part may be in doubt.
    pub fn doubt(&mut self, doubt: InDoubt, records: usize) {
        self.doubts.add(doubt);
        let of_part = self.kept.iter_mut().filter(|kept| kept.part == doubt.part);
        of_part.take(records).for_each(|kept| kept.flush = doubt.flush);
    }

    /// The same where everything kept was in that flush, whatever part it belongs to now.
    pub fn doubt_all(&mut self, doubt: InDoubt) {
        self.doubts.add(doubt);
        self.kept.iter_mut().for_each(|kept| kept.flush = doubt.flush);
    }

    /// The parts whose EXEC was sent and not answered.
    pub fn in_doubt(&self) -> &[InDoubt] {
        self.doubts.all()
    }

    /// What is kept, by what is known of it.
    pub fn sorted(&self) -> Sorted<'_, P> {
        self.doubts.sort(&self.kept)
    }

    /// The part in doubt turned out not to have taken place: its records are kept as before.
    pub fn not_committed(&mut self, flush: u64) {
        self.doubts.remove(flush);
        let in_doubt = self.kept.iter_mut().filter(|kept| kept.flush == flush);
        in_doubt.for_each(|kept| kept.flush = 0);
    }

    /// A part was answered: `fates` has one entry per record of it. Gives the places of those that are
    /// still kept.
    pub fn committed(&mut self, flush: u64, fates: &[Fate]) -> Vec<usize> {
        self.doubts.remove(flush);
        let mut fates = fates.iter();
        let places = self.settle(|kept| if kept.flush == flush { fates.next() } else { None });
        for place in &places {
            if let Some(kept) = self.kept.get_mut(*place) {
                kept.flush = 0;
            }
        }
        places
    }

    /// It turned out otherwise what became of the kept records: `fates` has one entry for each.
    pub fn found_out(&mut self, fates: &[Fate]) {
        let mut fates = fates.iter();
        self.settle(|_| fates.next());
    }

    /// Lets go of what is settled; gives the places of those that `fate` calls unsettled.
    fn settle<'f>(&mut self, mut fate: impl FnMut(&Kept<P>) -> Option<&'f Fate>) -> Vec<usize> {
        let ledger = &mut self.ledger;
        let (mut left, mut unsettled) = (0, Vec::new());
        self.kept.retain(|kept| {
            let fate = fate(kept);
            if fate == Some(&Fate::Settled) {
                ledger.note(kept.position, Standing::Settled);
                return false;
            }
            if fate.is_some() {
                unsettled.push(left);
            }
            left += 1;
            true
        });
        self.kept_bytes = self.kept.iter().map(|kept| kept.bytes).sum();
        unsettled
    }

    /// The core's `endTransaction` is answered with OK.
    pub fn end_committed(&mut self) {
        if self.is_replaying {
            // Only what was handed over in this very transaction is done with; the core may still
            // replay the rest of its batch.
            for position in self.replayed.drain(..) {
                self.acknowledged.extend(self.ledger.forget(position));
            }
            // What is older than the batch is left of one that ended without a last call; a new record
            // must never be taken for it.
            if self.ledger.is_empty_from(self.replay_start.unwrap_or(0)) {
                self.ledger.clear();
                self.is_replaying = false;
                self.replay_start = None;
                self.start_batch(None);
            }
        } else {
            self.ledger.clear();
            self.start_batch(None);
        }
    }

    /// The core's `endTransaction` is answered with SUSPENDED: a replay will follow.
    pub fn end_suspended(&mut self) {
        self.is_replaying = true;
        self.replayed.clear();
    }

    /// True when the core has not been told that the batch at hand is over: it takes all of it back
    /// when it is stopped now, or drops it.
    pub fn is_unfinished(&self) -> bool {
        self.is_replaying || !self.kept.is_empty()
    }

    /// What is settled of the batch at hand. Never anything of a batch before it, as long as one of
    /// the records since then stands in a buffer that is known: a batch that ended without a last call
    /// is recognised by that only.
    pub fn settled(&self) -> Vec<Fingerprint> {
        let start = self.batch_start.unwrap_or(u64::MAX);
        self.acknowledged.iter().copied().chain(self.ledger.settled_from(start)).collect()
    }

    /// A batch starts with this transaction, or with the next one.
    fn start_batch(&mut self, transaction: Option<u64>) {
        self.batch_start = transaction;
        self.acknowledged.clear();
    }

    /// A `tryResume` is answered with SUSPENDED.
    pub fn resume_failed(&mut self) {
        self.failed_resumes += 1;
    }

    /// The way to the server is open again, and nothing is in doubt. When `tryResume` has failed more
    /// often than the core is patient, it has given the batch up: the records that are not settled are
    /// in its error file, and are dropped here. Returns how many.
    ///
    /// Only with a count of 0 is that certain; with another one, later cores keep on trying all the same
    /// in places that cannot be told apart. So what is settled stays in the ledger, and a dropped
    /// record that comes again is taken in again.
    pub fn resumed(&mut self) -> usize {
        let failed = std::mem::take(&mut self.failed_resumes);
        let Retries::Finite(patience) = self.retries else { return 0 };
        if failed <= patience {
            return 0;
        }
        let dropped = self.kept.len();
        for kept in &self.kept {
            self.ledger.note(kept.position, Standing::Dropped);
        }
        self.drop_kept();
        if patience == 0 {
            self.ledger.clear();
            self.is_replaying = false;
            self.replay_start = None;
            self.start_batch(None);
        }
        dropped
    }

    /// The core ends the worker. What it has given up for certain is dropped, as in [`Self::resumed`];
    /// what it may not have given up is for the caller to save. Returns how many records that were.
    pub fn ended(&mut self) -> usize {
        if self.retries == Retries::Finite(0) { self.resumed() } else { 0 }
    }

    fn drop_kept(&mut self) {
        self.kept.clear();
        self.kept_bytes = 0;
        self.doubts.clear();
    }
}

impl<P> Kept<P> {
    /// Gives the record another encoding (a dead letter's) of another size.
    pub fn resize(&mut self, bytes: usize) {
        self.bytes = bytes;
    }

    /// The flush in doubt that it belongs to; 0 for none.
    pub fn flush(&self) -> u64 {
        self.flush
    }

    /// The part that it belongs to.
    pub fn part(&self) -> Part {
        self.part
    }

    /// It is written elsewhere from here on, a dead letter for instance.
    pub fn reroute(&mut self, part: Part) {
        self.part = part;
    }
}

#[cfg(test)]
mod tests;
