//! `make demo`: commands of an audited Valkey on their way through rsyslog into a stream, in front of your eyes.
//!
//! Ends with 0 only when every check holds: each record there once, no secret anywhere.

mod actors;
mod broken;
mod questions;
mod secrets;
mod stage;
mod table;

use std::process::ExitCode;

use stage::Stage;

fn main() -> ExitCode {
    println!("omvalkeyaudit demo: who did what in a Valkey, through rsyslog, in a stream\n");
    let stage = Stage::new();
    actors::play(&stage);
    broken::send(&stage);
    stage.end();
    let stream = stage.entries("audit");
    table::print(&stream);
    let checks = [
        ("each line that was typed has its record, in order", actors::are_all_in(&stream)),
        ("every number from the first record to the last is there once", stage.verify()),
        ("the questions find what happened", questions::ask(&stage)),
        ("no secret is in stream, dead letter, logs or any other file", secrets::search(&stage)),
        ("every record of the other source is stored once", broken::print(&stage)),
    ];
    println!("\n6. The checks:\n");
    for (what, holds) in checks {
        println!("   {} {what}", if holds { "ok    " } else { "FAILED" });
    }
    if checks.iter().all(|(_, holds)| *holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
