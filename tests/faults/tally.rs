//! Where each numbered record ended: in the stream, in the dead letter, nowhere, or more than once.

use std::collections::HashSet;
use std::ops::Range;

use testkit::Count;

/// The final count of a scenario.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Entries of the streams.
    pub(crate) stored: u64,
    /// Entries of the dead letter.
    pub(crate) dead: u64,
    /// Records that are nowhere, and were nowhere else.
    pub(crate) lost: u64,
    /// Records that are nowhere now; a former primary had them and did not pass them on before another took over.
    pub(crate) unreplicated: u64,
    /// Entries of a record beyond its first, wherever they are.
    pub(crate) doubled: u64,
    /// Good records in the dead letter, bad ones in a stream, and entries that nobody sent.
    pub(crate) misplaced: u64,
    /// Entries that stand behind a later record of the same stream.
    pub(crate) out_of_order: u64,
}

impl Tally {
    /// Compares what is in each stream and in the dead letter, in the server's order, with what was sent.
    pub(crate) fn of(
        streams: &[Vec<Option<u64>>],
        dead: &[Option<u64>],
        sent: Range<u64>,
        is_bad: fn(u64) -> bool,
        left_behind: &HashSet<u64>,
    ) -> Tally {
        let stored: Vec<Option<u64>> = streams.iter().flatten().copied().collect();
        let all = stored.iter().chain(dead).flatten().copied();
        let count = Count::of(all, sent.clone());
        let strange = stored.iter().chain(dead).filter(|number| number.is_none()).count();
        let wrong = stored.iter().flatten().filter(|number| is_bad(**number)).count()
            + dead.iter().flatten().filter(|number| !is_bad(**number)).count();
        let found: HashSet<u64> = stored.iter().chain(dead).flatten().copied().collect();
        let known = left_behind.iter().filter(|number| sent.contains(number));
        let unreplicated = known.filter(|number| !found.contains(number)).count() as u64;
        let order = streams
            .iter()
            .map(|stream| Count::of(stream.iter().flatten().copied(), sent.clone()).out_of_order);
        Tally {
            stored: stored.len() as u64,
            dead: dead.len() as u64,
            lost: count.lost - unreplicated,
            unreplicated,
            doubled: count.doubled,
            misplaced: (strange + wrong) as u64 + count.unexpected,
            out_of_order: order.sum(),
        }
    }
}
