//! `make faults`: breaks real servers under a real rsyslogd while numbered records flow, in each setting, and prints
//! where every record ended. docs/faults.md describes the scenarios.
//!
//! `cargo test` runs the small form: each scenario once, with few records, servers and rsyslogds in turns.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test program: it prints its table, and what cannot go on has failed"
)]

mod case;
mod guest;
mod keys;
mod list;
mod network;
mod options;
mod poison;
mod rsyslogd;
mod scenario;
mod server;
mod setting;
mod stage;
mod store;
mod subject;
mod table;
mod takeover;
mod tally;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use case::Case;
use list::SCENARIOS;
use options::Options;
use stage::{Outcome, Stage};
use table::Row;

/// Runs at a time. They mostly wait.
const SIDE_BY_SIDE: usize = 6;

fn main() -> ExitCode {
    let Some(options) = Options::of(std::env::args().skip(1)) else {
        eprintln!("{}", options::USAGE);
        return ExitCode::FAILURE;
    };
    let cases = options.cases(&SCENARIOS);
    if options.is_list {
        for case in &cases {
            println!("{} ({}): test", case.scenario.name, case.setting);
        }
        return ExitCode::SUCCESS;
    }
    let rows = play_all(&cases);
    table::print(&rows, &options);
    let failed = rows.iter().filter(|row| row.has_failed()).count();
    if failed > 0 {
        println!("faults: {failed} of {} runs FAILED", rows.len());
        return ExitCode::FAILURE;
    }
    println!("faults: {} runs, nothing lost or doubled but what is said", rows.len());
    ExitCode::SUCCESS
}

/// Some side by side, the results in the order of the cases.
fn play_all(cases: &[Case]) -> Vec<Row> {
    let next = AtomicUsize::new(0);
    let rows: Mutex<Vec<(usize, Row)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some((index, case)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    cases.get(index).map(|case| (index, *case))
                } {
                    let row = Row { case, outcome: play(case) };
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
fn play(case: Case) -> Outcome {
    let run = thread::spawn(move || Stage::new(case).play(case.scenario.run));
    run.join().unwrap_or_else(|_| Outcome {
        failures: vec!["panicked, see above".to_owned()],
        ..Outcome::default()
    })
}
