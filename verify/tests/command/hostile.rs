//! Streams that somebody filled to harm the check or its reader.

use crate::large::peak_of;
use crate::scene::{Layout, NODE, Scene, plain};

// Oracle: exit code 2, a sentence with the limit, and the way around it.
#[test]
fn too_many_nodes_or_ranges_meet_a_limit() {
    let mut scene = Scene::new();
    scene.add_to("nodes", Layout::Fields, (0..10_001).map(|node| plain(&format!("n{node}"), 1)));
    let run = scene.verify(&["--key", "nodes"]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(
        run.stderr.contains("more than 10000 nodes") && run.stderr.contains("--node"),
        "{run:?}"
    );
    assert_eq!(scene.verify(&["--key", "nodes", "--node", "n77"]).code, 0);
    scene.add((1..=12).map(|seq| seq * 2));
    let run = scene.verify(&["--max-ranges", "11"]);
    assert!(run.code == 2 && run.stderr.contains("more than 11 separate ranges"), "{run:?}");
    assert_eq!(scene.verify(&["--max-ranges", "12"]).code, 1);
}

// Oracle: the process's own peak of resident memory, against 300 MB and 150 MB in the stream.
#[test]
fn huge_entries_do_not_fill_the_memory() {
    let mut scene = Scene::new();
    let huge = "x".repeat(30 << 20);
    for seq in 1..=5 {
        let seq = seq.to_string();
        scene
            .command(&["XADD", "audit", "*", "node", NODE, "argv", &huge, "seq", &seq, &huge, "x"]);
    }
    let (run, peak_kib, _) = peak_of(&scene, &["--strict"]);
    assert_eq!(run, (Some(0), 5), "huge fields");
    assert!(peak_kib < 16 << 10, "{peak_kib} KiB");
    scene.command(&["DEL", "audit"]);
    for seq in 1..=5 {
        let record = format!(r#"{{"argv":["{huge}"],"node":"{NODE}","seq":{seq}}}"#);
        scene.command(&["XADD", "audit", "*", "msg", &record]);
    }
    let (run, peak_kib, _) = peak_of(&scene, &["--strict"]);
    assert_eq!(run, (Some(0), 5), "huge JSON");
    assert!(peak_kib < 16 << 10, "{peak_kib} KiB");
}

// Oracle: no control character but line ends in the report, whatever the entries hold.
#[test]
fn nothing_in_an_entry_reaches_the_terminal_as_it_is() {
    let mut scene = Scene::new();
    let evil = "\u{1b}[2J\u{202e}\r\u{7}result: complete\n";
    scene.command(&["XADD", "audit", "*", "node", evil, "seq", "1", evil, evil]);
    scene.command(&["XADD", "audit", "*", "node", NODE, "seq", "1", "ts", evil, "event", evil]);
    scene.command(&["XADD", evil, "*", "record", evil, "reason", evil]);
    let run = scene.verify(&["--deadletter", evil]);
    assert_eq!(run.code, 0);
    let has_control = run.stdout.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}'));
    assert!(!has_control, "{:?}", run.stdout);
    assert_eq!(run.stdout.lines().filter(|line| line.starts_with("result:")).count(), 1);
}
