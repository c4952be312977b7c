//! A million entries: the count stays exact and the memory small.

use crate::scene::{NODE, Scene, command};
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};
use testkit::{Process, poll_every};

const ENTRIES: u64 = 1_000_000;

/// A prime above it. The powers of a primitive root, modulo the prime, are all numbers below it, and
/// follow each other as if by chance.
const PRIME: u64 = 1_000_003;
const ROOT: u64 = 5;

/// Memory that the command may have, in KiB.
const MAX_PEAK_KIB: u64 = 32 << 10;

const DEADLINE: Duration = Duration::from_secs(300);

/// Adds entries to "audit" within the server: the numbers from 1 on, or as they are in disorder.
fn fill(scene: &mut Scene, is_in_order: bool, entries: u64) {
    let script = r"
        local seq = tonumber(ARGV[1])
        for i = 1, tonumber(ARGV[2]) do
            redis.call('XADD', 'audit', '*', 'v', '1', 'node', ARGV[3], 'seq', string.format('%d', seq),
                'ts', '2026-03-01T12:00:00.000001Z', 'event', 'success', 'command_name', 'set',
                'argc', '3', 'argv', '[\'set\',\'key\',\'value\']', 'user', 'app', 'via', 'client')
            seq = (seq * tonumber(ARGV[4]) + tonumber(ARGV[5])) % tonumber(ARGV[6])
        end
        return seq";
    let (factor, summand) = if is_in_order { (1, 1) } else { (ROOT, 0) };
    let (mut left, mut seq) = (entries, 1_u64);
    while left > 0 {
        // The server serves nobody while a script runs.
        let count = left.min(50_000);
        let mut eval = redis::cmd("EVAL");
        eval.arg(script).arg(0).arg(seq).arg(count).arg(NODE).arg(factor).arg(summand).arg(PRIME);
        seq = eval.query(&mut scene.connection).unwrap();
        left -= count;
    }
}

/// Runs the command to its end: its exit code and the entries it read, its peak of resident memory
/// in KiB, and the time it took.
pub(crate) fn peak_of(scene: &Scene, arguments: &[&str]) -> ((Option<i32>, u64), u64, Duration) {
    let output = scene.scratch.join("report");
    drop(fs::remove_file(&output));
    let start = Instant::now();
    let server = scene.server.address().to_string();
    let mut command = command();
    let process =
        Process::spawn(command.args(["--json", "--server", &server]).args(arguments), &output);
    let mut peak_kib = 0;
    let status = poll_every(Duration::from_millis(2), DEADLINE, || {
        // The peak never falls; when the process has ended, the kernel does not tell it any more.
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        peak_kib = kib.unwrap_or(peak_kib);
        process.ended()
    });
    let took = start.elapsed();
    let text = fs::read_to_string(&output).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert!(peak_kib > 0, "the peak was not seen");
    let entries = report["entries"].as_u64().unwrap_or_default();
    ((status.expect("an end in time").code(), entries), peak_kib, took)
}

// Oracle: exit code, number of entries, and the kernel's peak of resident memory.
#[test]
fn a_million_entries_need_little_memory() {
    let mut scene = Scene::new();
    fill(&mut scene, true, ENTRIES);
    let (run, peak_kib, took) = peak_of(&scene, &["--strict"]);
    println!("1,000,000 entries in order: {took:.1?}, peak {peak_kib} KiB");
    assert_eq!(run, (Some(0), ENTRIES));
    assert!(peak_kib < MAX_PEAK_KIB, "{peak_kib} KiB");
}

// Oracle: the same, with numbers of which nearly none follows its neighbour.
#[test]
fn a_million_entries_in_disorder_need_little_memory() {
    let mut scene = Scene::new();
    fill(&mut scene, false, PRIME - 1);
    let (run, peak_kib, took) = peak_of(&scene, &["--from-start"]);
    println!("1,000,002 entries in disorder: {took:.1?}, peak {peak_kib} KiB");
    assert_eq!(run, (Some(0), PRIME - 1));
    assert!(peak_kib < MAX_PEAK_KIB, "{peak_kib} KiB");
}
