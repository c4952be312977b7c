//! Runs the seeds, on all cores, and counts what struck.
//!
//! Oracle: no run breaks a promise (`host.rs`, `oracle.rs`), and each kind of fault struck.

use crate::faults::{Fault, Strikes};
use crate::scenario::run;
use std::io::Write;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

const DEFAULT_SEEDS: u64 = 20_000;

/// From so many seeds on, each kind of fault must have struck.
const ENOUGH_SEEDS: u64 = 5_000;

/// Prints a line that the test harness does not capture.
pub(crate) fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("stderr");
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

#[test]
fn every_record_is_stored_once_and_in_order_whatever_breaks() {
    if let Some(seed) = number("SEED") {
        run(seed, true);
        return;
    }
    let seeds = number("SEEDS").unwrap_or(DEFAULT_SEEDS);
    let first = number("FIRST").unwrap_or(0);
    let begin = Instant::now();
    let (strikes, failed) = run_all(first, seeds);
    let took = begin.elapsed();
    say(&format!("simulation: {seeds} seeds from {first} in {took:.1?}"));
    for fault in Fault::ALL {
        say(&format!("  {fault:?}: {}", strikes.count(*fault)));
    }
    assert!(failed.is_empty(), "seeds that failed: {failed:?}; replay one with SEED={}", failed[0]);
    if seeds >= ENOUGH_SEEDS {
        for fault in Fault::ALL {
            assert!(
                strikes.count(*fault) > 0,
                "{fault:?} never struck: the simulation is blind there"
            );
        }
    }
}

/// Runs until the end, or until a seed fails.
fn run_all(first: u64, seeds: u64) -> (Strikes, Vec<u64>) {
    let next = AtomicU64::new(first);
    let is_over = AtomicBool::new(false);
    let all = Mutex::new((Strikes::default(), Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let mut strikes = Strikes::default();
                let mut failed = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    if let Ok(struck) = catch_unwind(|| run(seed, false)) {
                        strikes.add(&struck);
                    } else {
                        say(&format!("simulation: seed {seed} failed; replay it with SEED={seed}"));
                        failed.push(seed);
                        is_over.store(true, Ordering::Relaxed);
                    }
                }
                let mut all = all.lock().expect("no panic while it is held");
                all.0.add(&strikes);
                all.1.append(&mut failed);
            });
        }
    });
    all.into_inner().expect("no panic while it was held")
}

// Oracle: the same seed strikes alike, so a failing one can be replayed.
#[test]
fn a_seed_runs_the_same_way_twice() {
    for seed in 0..50 {
        assert_eq!(format!("{:?}", run(seed, false)), format!("{:?}", run(seed, false)));
    }
}
