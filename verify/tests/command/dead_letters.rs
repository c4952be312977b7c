//! Dead letters next to a stream.

use crate::scene::{NODE, Scene, json_of, plain};

fn dead(scene: &mut Scene, record: &str, reason: &str) {
    scene.command(&[
        "XADD",
        "dead",
        "*",
        "record",
        record,
        "reason",
        reason,
        "action",
        "audit",
        "received",
        "2026-03-01T12:00:00.000000Z",
    ]);
}

// Oracle: the numbers that were left out of the stream and put into the dead letter.
#[test]
fn what_is_in_the_dead_letter_is_told_and_not_missing() {
    let mut scene = Scene::new();
    scene.add((1..=50).filter(|seq| ![10, 20, 30].contains(seq)));
    dead(
        &mut scene,
        &json_of(&plain(NODE, 10)),
        "record has 700 bytes, record.maxbytes allows 500",
    );
    dead(
        &mut scene,
        &json_of(&plain(NODE, 20))[..70],
        "record has 80 bytes, record.maxbytes allows 8",
    );
    dead(&mut scene, "hello", "record is not JSON");
    // This one was stored all the same.
    dead(&mut scene, &json_of(&plain(NODE, 40)), "record has 1 bytes, record.maxbytes allows 0");
    let (code, report) = scene.report(&["--deadletter", "dead"]);
    let node = &report["nodes"][0];
    assert_eq!((code, &node["missing"], &node["dead_lettered"]), (1, &1.into(), &2.into()));
    assert_eq!(report["dead_letters"]["count"], 4);
    assert_eq!(report["dead_letters"]["unnumbered"], 1);
    let reasons = &report["dead_letters"]["by_reason"];
    assert_eq!(reasons["record has N bytes, record.maxbytes allows N"], 3);
    assert_eq!(reasons["record is not JSON"], 1);
    scene.add([30]);
    let (code, _) = scene.report(&["--deadletter", "dead"]);
    assert_eq!(code, 0);
    assert_eq!(scene.verify(&["--deadletter", "dead", "--strict"]).code, 1);
    let (code, report) = scene.report(&[]);
    assert_eq!((code, &report["nodes"][0]["missing"]), (1, &2.into()));
    let text = scene.verify(&["--deadletter", "dead"]).stdout;
    assert!(text.contains("dead letters: 4\n  3 x record has N bytes"), "{text}");
    assert!(text.contains("  gap      seq 10: in the dead letter\n"), "{text}");
}

// Oracle: a dead letter that never was is none.
#[test]
fn a_dead_letter_that_does_not_exist_is_empty() {
    let mut scene = Scene::new();
    scene.add(1..=5);
    let (code, report) = scene.report(&["--deadletter", "dead", "--strict"]);
    assert_eq!((code, &report["streams"][1]["exists"]), (0, &false.into()));
    assert_eq!(report["dead_letters"]["count"], 0);
}
