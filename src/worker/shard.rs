//! Which shard of a fixed key a worker writes to: the one that the fewest others write to, for as long
//! as it lives, so that its records stay in order.
#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many workers each shard has. Shared by an action's workers.
#[derive(Debug)]
pub(super) struct Shards(Mutex<Vec<usize>>);

impl Shards {
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(vec![0; count])))
    }

    /// The first of those with the fewest workers.
    pub(super) fn claim(self: &Arc<Self>) -> Shard {
        let mut workers = self.workers();
        let fewest = workers.iter_mut().enumerate().min_by_key(|(_, workers)| **workers);
        let number = fewest.map_or(0, |(number, workers)| {
            *workers += 1;
            number
        });
        Shard { shards: Arc::clone(self), number }
    }

    fn workers(&self) -> MutexGuard<'_, Vec<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker's place at a shard; given back when dropped.
#[derive(Debug)]
pub(super) struct Shard {
    shards: Arc<Shards>,
    pub(super) number: usize,
}

impl Drop for Shard {
    fn drop(&mut self) {
        if let Some(workers) = self.shards.workers().get_mut(self.number) {
            *workers = workers.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_spread_evenly_and_a_new_one_takes_the_place_of_one_that_ended() {
        let shards = Shards::new(3);
        let mut held: Vec<Shard> = (0..4).map(|_| shards.claim()).collect();
        let numbers = |held: &[Shard]| held.iter().map(|shard| shard.number).collect::<Vec<_>>();
        assert_eq!(numbers(&held), [0, 1, 2, 0]);
        drop(held.remove(2));
        assert_eq!(shards.claim().number, 2);
    }
}
