//! Commands at full speed: all of them in the stream once, or told as lost.
//!
//! PIPELINE_COMMANDS says how many; `make pipeline` takes a million.

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Version, wait_until};

use crate::chain::{Chain, DEADLINE, Told};

const VERSION: Version = Version::V8_2504;

fn commands() -> u64 {
    let number = std::env::var("PIPELINE_COMMANDS").ok();
    number.map_or(100_000, |number| number.parse().expect("PIPELINE_COMMANDS is a number"))
}

/// Nothing unexplained, nothing twice, and the numbers that the source itself gives.
#[track_caller]
fn assert_complete(chain: &Chain, told: &Told, commands: u64) -> Value {
    let report = chain.verify();
    let (json, node) = (&report.json, &report.json["nodes"][0]);
    let said = format!("{told:?}\n{json:#}\n{}", chain.rsyslogd.log());
    let numbers = ["missing", "doubled", "lost_by_source", "dead_lettered", "out_of_order"];
    println!(
        "{commands} commands: lost {}, written again {}; the report: {}",
        told.lost,
        told.resent,
        numbers.map(|name| format!("{name} {}", node[name])).join(", ")
    );
    assert_eq!((&node["missing"], &node["doubled"]), (&0.into(), &0.into()), "{said}");
    assert_eq!(report.code, 0, "{said}");
    assert_eq!(
        (&node["lost_by_source"], &node["dead_lettered"]),
        (&told.lost.into(), &0.into()),
        "{said}"
    );
    // The stop comes after the counters.
    assert_eq!(node["last_seq"], told.seq + 1, "{said}");
    assert!(told.seq >= commands, "not every command has a number: {said}");
    report.json
}

// Oracle: the command's report, beside the numbers that the source says it gave out and lost.
#[test]
fn every_command_at_full_speed_is_stored_once() {
    let commands = commands();
    let chain = Chain::new(VERSION, "auditsource.buffer 1gb", "");
    chain.load(commands).wait();
    let told = chain.end();
    assert_eq!(told.lost, 0);
    let report = assert_complete(&chain, &told, commands);
    assert_eq!(report["nodes"][0]["events"]["success"], told.events[0].1);
}

/// Stops rsyslogd while commands come, starts it when the first half is through, kills the store while the
/// other half comes.
fn disturb(chain: &Chain, commands: u64) {
    let wait_flow = || {
        let before = chain.stored();
        wait_until("records in the stream", DEADLINE, || chain.stored() > before + 200);
    };
    let mut load = chain.load(commands / 2);
    wait_flow();
    chain.rsyslogd.stop();
    let end = Instant::now() + Duration::from_secs(if commands < 1_000_000 { 0 } else { 5 });
    wait_until("the first half", DEADLINE, || load.is_over() && Instant::now() > end);
    chain.rsyslogd.start();
    let load = chain.load(commands - commands / 2);
    wait_flow();
    chain.store.kill();
    chain.store.start();
    load.wait();
}

// Oracle: the command's report.
#[test]
fn a_large_buffer_keeps_everything_while_rsyslogd_and_the_store_go_away() {
    let commands = commands();
    let chain = Chain::new(VERSION, "auditsource.buffer 1gb", "");
    disturb(&chain, commands);
    let told = chain.end();
    assert_eq!(told.lost, 0);
    assert_complete(&chain, &told, commands);
}

// Oracle: the command's report; the buffer is the default where it is less than what comes meanwhile.
#[test]
fn a_small_buffer_loses_and_every_lost_number_is_explained() {
    let commands = commands();
    let buffer = if commands < 1_000_000 { "auditsource.buffer 1mb" } else { "" };
    let chain = Chain::new(VERSION, buffer, "");
    disturb(&chain, commands);
    let told = chain.end();
    assert!(told.lost > 0, "nothing was lost");
    assert_complete(&chain, &told, commands);
}
