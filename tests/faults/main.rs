//! `make faults`: breaks real servers under a real rsyslogd while numbered records flow, in each version of rsyslogd,
//! and prints where every record ended. docs/faults.md describes the scenarios.
//!
//! `cargo test` runs the small form: each scenario once, with few records, the versions in turns.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test program: it prints its table, and what cannot go on has failed"
)]

mod guest;
mod network;
mod options;
mod poison;
mod rsyslogd;
mod scenario;
mod server;
mod stage;
mod subject;
mod table;
mod tally;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use options::Options;
use scenario::{SCENARIOS, Scenario};
use stage::{Outcome, Stage};
use subject::Subject;
use table::Row;

/// Runs at a time. They mostly wait.
const SIDE_BY_SIDE: usize = 6;

fn main() -> ExitCode {
    let Some(options) = Options::of(std::env::args().skip(1)) else {
        eprintln!("{}", options::USAGE);
        return ExitCode::FAILURE;
    };
    let runs = options.runs(&SCENARIOS);
    if options.is_list {
        for (scenario, _) in &runs {
            println!("{}: test", scenario.name);
        }
        return ExitCode::SUCCESS;
    }
    let rows = play_all(&runs, &options);
    table::print(&rows, &options);
    let failed = rows.iter().filter(|row| row.has_failed()).count();
    if failed > 0 {
        println!("faults: {failed} of {} runs FAILED", rows.len());
        return ExitCode::FAILURE;
    }
    println!("faults: {} runs, nothing lost or doubled but what is said", rows.len());
    ExitCode::SUCCESS
}

/// Some side by side, the results in the order of the runs.
fn play_all(runs: &[(&'static Scenario, Subject)], options: &Options) -> Vec<Row> {
    let next = AtomicUsize::new(0);
    let rows: Mutex<Vec<(usize, Row)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some((index, (scenario, subject))) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    runs.get(index).map(|run| (index, *run))
                } {
                    let outcome = play(scenario, subject, options);
                    let row = Row { scenario: scenario.name, subject, outcome };
                    eprintln!("{}", row.line());
                    rows.lock().expect("no panic under the lock").push((index, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("no panic under the lock");
    rows.sort_by_key(|(index, _)| *index);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// One run in a thread of its own: a panic of the kit's, as when a program does not start, fails this run only.
fn play(scenario: &'static Scenario, subject: Subject, options: &Options) -> Outcome {
    let records = (options.records / scenario.setting.share).max(1);
    let rounds = options.rounds(scenario);
    let run = thread::spawn(move || Stage::new(scenario, subject, rounds, records).play(scenario));
    run.join().unwrap_or_else(|_| Outcome {
        failures: vec!["panicked, see above".to_owned()],
        ..Outcome::default()
    })
}
