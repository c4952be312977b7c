//! What an action counts, for impstats: which counters there are, and their values. Who counts, and
//! who reads, is elsewhere.
#![forbid(unsafe_code)]

mod table;

pub use table::{Counter, Declaration, TABLE};

use crate::error::Cause;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The values of one action's counters, shared by its workers. All accesses are relaxed: each value
/// stands for itself, and impstats reads them one by one, and sets all but the levels to 0 where
/// `resetCounters="on"`, without asking anybody.
#[derive(Debug, Default)]
pub struct Stats([AtomicU64; TABLE.len()]);

impl Stats {
    /// The value of a counter now.
    pub fn get(&self, counter: Counter) -> u64 {
        self.cell(counter).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// Adds to a counter.
    pub fn add(&self, counter: Counter, amount: u64) {
        if let Some(cell) = self.cell(counter)
            && amount > 0
        {
            cell.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// Sets a level.
    pub fn set(&self, level: Counter, value: u64) {
        if let Some(cell) = self.cell(level) {
            cell.store(value, Ordering::Relaxed);
        }
    }

    /// Adds a number of things in memory.
    pub fn add_len(&self, counter: Counter, amount: usize) {
        self.add(counter, u64::try_from(amount).unwrap_or(u64::MAX));
    }

    /// A flush was answered after so long.
    pub fn answered_after(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.add(Counter::CommitMicros, micros);
        if let Some(cell) = self.cell(Counter::CommitMicrosMax) {
            cell.fetch_max(micros, Ordering::Relaxed);
        }
    }

    /// Something between us and the server went wrong.
    pub fn failed(&self, cause: Cause) {
        self.add(counter_of(cause), 1);
    }

    /// The counter at this place of the table, for whoever publishes it.
    pub fn at(&self, number: usize) -> Option<&AtomicU64> {
        self.0.get(number)
    }

    fn cell(&self, counter: Counter) -> Option<&AtomicU64> {
        self.at(counter as usize)
    }
}

/// Which counter an error belongs to.
fn counter_of(cause: Cause) -> Counter {
    match cause {
        Cause::Connect | Cause::Lost | Cause::Sentinel | Cause::SentinelMaster => {
            Counter::ErrorsConnect
        }
        Cause::Tls(_) => Counter::ErrorsTls,
        Cause::Auth | Cause::SentinelLogin => Counter::ErrorsAuth,
        Cause::Timeout => Counter::ErrorsTimeout,
        Cause::Busy => Counter::ErrorsBusy,
        Cause::NotDurable => Counter::DurabilityShort,
        Cause::ReadOnly => Counter::ErrorsReadOnly,
        Cause::OutOfMemory => Counter::ErrorsOutOfMemory,
        Cause::WrongType | Cause::Refused => Counter::ErrorsRefused,
        Cause::Protocol => Counter::ErrorsProtocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    // Oracle: the table itself. A counter out of its place would count as its neighbour.
    #[test]
    fn each_counter_stands_at_its_number_under_a_name_of_its_own() {
        let mut names = HashSet::new();
        for (number, declaration) in TABLE.iter().enumerate() {
            assert_eq!(declaration.counter as usize, number, "{}", declaration.name);
            assert!(names.insert(declaration.name), "{} is declared twice", declaration.name);
            let is_plain = |c: char| c.is_ascii_lowercase() || c == '.';
            assert!(declaration.name.chars().all(is_plain), "{}", declaration.name);
            assert!(declaration.about.ends_with('.'), "{}", declaration.name);
        }
    }

    #[test]
    fn what_is_added_to_a_counter_is_at_its_place_and_nowhere_else() {
        for (place, declaration) in TABLE.iter().enumerate() {
            let stats = Stats::default();
            stats.add(declaration.counter, 7);
            for number in 0..TABLE.len() {
                let expected = if number == place { 7 } else { 0 };
                assert_eq!(stats.at(number).unwrap().load(Ordering::Relaxed), expected);
            }
            assert!(stats.at(TABLE.len()).is_none());
        }
    }

    #[test]
    fn times_are_summed_and_the_longest_is_kept() {
        let stats = Stats::default();
        for micros in [30, 50, 20] {
            stats.answered_after(Duration::from_micros(micros));
        }
        assert_eq!(stats.get(Counter::CommitMicros), 100);
        assert_eq!(stats.get(Counter::CommitMicrosMax), 50);
    }
}
