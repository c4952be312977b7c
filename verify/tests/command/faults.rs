//! Streams in which something is wrong.

use crate::scene::{Layout, NODE, Scene, json_of, lost, of_event, plain};
use serde_json::json;
use std::fs;

// Oracle: the numbers that were left out.
#[test]
fn a_gap_fails() {
    let mut scene = Scene::new();
    scene.add((1..=100).filter(|seq| ![10, 20, 21, 22].contains(seq)));
    let (code, report) = scene.report(&[]);
    assert_eq!((code, &report["verdict"]), (1, &"incomplete".into()));
    let node = &report["nodes"][0];
    assert_eq!(node["missing"], 4);
    let gaps = json!([
        { "first": 10, "last": 10, "count": 1, "why": "unexplained" },
        { "first": 20, "last": 22, "count": 3, "why": "unexplained" },
    ]);
    assert_eq!(node["gaps"], gaps);
    let text = scene.verify(&[]).stdout;
    for line in [
        "  FAILURE  missing: 4 records, in gaps: 2\n",
        "  gap      seq 10: MISSING\n",
        "  gap      seq 20 to 22 (3): MISSING\n",
        "result: INCOMPLETE, records missing: 4, doubled: 0\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

// Oracle: the numbers that were left out, and those that the lost records name; in both layouts.
#[test]
fn a_gap_that_the_source_explains_warns_and_fails_only_if_strict() {
    for layout in [Layout::Fields, Layout::Record] {
        let mut scene = Scene::new();
        let records = (1..=9).chain(20..=40).map(|seq| match seq {
            20 => lost(NODE, seq, 10, 14, 5),
            25 => lost(NODE, seq, 15, 19, 5),
            _ => plain(NODE, seq),
        });
        scene.add_to("audit", layout, records);
        let (code, report) = scene.report(&[]);
        assert_eq!((code, &report["verdict"]), (0, &"complete_with_warnings".into()), "{report}");
        let node = &report["nodes"][0];
        assert_eq!((&node["missing"], &node["lost_by_source"]), (&0.into(), &10.into()));
        let gap = json!([{ "first": 10, "last": 19, "count": 10, "why": "lost" }]);
        assert_eq!(node["gaps"], gap);
        assert_eq!(node["events"]["lost"], 2);
        let text = scene.verify(&[]).stdout;
        assert!(text.contains("  warning  lost by the source, by its own account: 10 records\n"));
        assert!(text.contains("result: complete, with warnings\n"));
        let strict = scene.verify(&["--strict"]);
        assert_eq!(strict.code, 1);
        assert!(strict.stdout.contains("result: FAILED"), "{strict:?}");
    }
}

// Oracle: the numbers that no lost record names, or that are more than it counts.
#[test]
fn a_gap_that_is_explained_in_part_fails() {
    for (claim, missing) in [(lost(NODE, 20, 12, 15, 4), 6), (lost(NODE, 20, 8, 25, 7), 3)] {
        let mut scene = Scene::new();
        let records = (1..=9).chain(20..=40);
        let records = records.map(|seq| if seq == 20 { claim.clone() } else { plain(NODE, seq) });
        scene.add_to("audit", Layout::Fields, records);
        let (code, report) = scene.report(&[]);
        let node = &report["nodes"][0];
        assert_eq!((code, &node["missing"]), (1, &missing.into()), "{report}");
        assert_eq!(node["lost_by_source"], 10 - missing);
    }
}

// Oracle: the numbers that were written twice.
#[test]
fn a_double_fails() {
    let mut scene = Scene::new();
    scene.add((1..=50).chain([7, 50, 7]));
    let (code, report) = scene.report(&[]);
    let node = &report["nodes"][0];
    assert_eq!((code, &node["doubled"]), (1, &3.into()));
    assert_eq!(node["first_doubled"], json!([7, 50, 7]));
    let text = scene.verify(&[]).stdout;
    assert!(
        text.contains("FAILURE  doubled: 3 records more than once in the streams, first seq 7\n")
    );
}

// Oracle: the numbers that were written after higher ones.
#[test]
fn disorder_warns_and_fails_only_if_strict() {
    let mut scene = Scene::new();
    scene.add([1, 2, 5, 3, 4, 6]);
    let (code, report) = scene.report(&[]);
    let node = &report["nodes"][0];
    assert_eq!(
        (code, &node["out_of_order"], &node["first_out_of_order"]),
        (0, &2.into(), &3.into())
    );
    assert_eq!(scene.verify(&["--strict"]).code, 1);
}

// Oracle: where the trimmed stream starts.
#[test]
fn a_trimmed_stream_starts_later_and_fails_only_if_its_start_is_expected() {
    let mut scene = Scene::new();
    scene.add(1..=100);
    scene.command(&["XTRIM", "audit", "MAXLEN", "=", "40"]);
    let (code, report) = scene.report(&[]);
    assert_eq!((code, &report["nodes"][0]["first_seq"]), (0, &61.into()));
    assert_eq!(report["streams"][0]["removed"], 60);
    let text = scene.verify(&[]).stdout;
    assert!(text.contains("warning  starts at seq 61"), "{text}");
    let (code, report) = scene.report(&["--from-start"]);
    assert_eq!((code, &report["nodes"][0]["missing"]), (1, &60.into()));
    assert_eq!(scene.verify(&["--strict"]).code, 1);
}

// Oracle: entries that were written to be no records, each of a kind.
#[test]
fn entries_that_are_no_records_are_counted_and_named() {
    let mut scene = Scene::new();
    scene.add(1..=10);
    for words in [
        &["XADD", "audit", "*", "hello", "world"][..],
        &["XADD", "audit", "*", "msg", "hello"],
        &["XADD", "audit", "*", "msg", "[1,2]"],
    ] {
        scene.command(words);
    }
    scene.command(&["XADD", "audit", "99999999999999-7", "node", NODE, "seq", "eleven"]);
    for words in [
        &["XADD", "audit", "*", "node", NODE][..],
        &["XADD", "audit", "*", "seq", "11"],
        &["XADD", "audit", "*", "node", NODE, "seq", "11", "seq", "12"],
        &["XADD", "audit", "*", "msg", &json_of(&plain(NODE, 11))[..70]],
    ] {
        scene.command(words);
    }
    scene.command(&["XADD", "audit", "*", "v", "2", "node", NODE, "seq", "11"]);
    let (code, report) = scene.report(&[]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["foreign"]["count"], 3);
    assert_eq!(report["broken"]["count"], 5);
    assert_eq!(report["broken"]["first_id"], "99999999999999-7");
    assert_eq!(
        (&report["of_other_version"], &report["nodes"][0]["last_seq"]),
        (&1.into(), &11.into())
    );
    assert_eq!(scene.verify(&["--strict"]).code, 1);
    // What follows a broken record shows that it is missing.
    scene.add([13]);
    assert_eq!(scene.verify(&[]).code, 1);
}

// Oracle: the report of records in a field of another name.
#[test]
fn the_field_of_a_record_can_be_named() {
    let mut scene = Scene::new();
    for seq in 1..=10 {
        scene.command(&[
            "XADD",
            "audit",
            "*",
            "line",
            &format!("@cee: {}", json_of(&plain(NODE, seq))),
        ]);
    }
    assert_eq!(scene.report(&["--field", "line", "--strict"]).0, 0);
    let (code, report) = scene.report(&[]);
    assert_eq!((code, &report["foreign"]["count"]), (0, &10.into()));
    assert!(scene.verify(&[]).stdout.contains("result: NOTHING CHECKED, "));
}

// Oracle: no node, a warning, and a failure only if strict.
#[test]
fn an_empty_stream_warns() {
    let mut scene = Scene::new();
    scene.add(1..=10);
    scene.command(&["XTRIM", "audit", "MAXLEN", "0"]);
    let (code, report) = scene.report(&[]);
    assert_eq!((code, &report["verdict"]), (0, &"complete_with_warnings".into()));
    assert_eq!(report["warnings"], json!(["there is no audit record, so nothing was checked"]));
    assert_eq!(report["streams"][0]["removed"], 10);
    assert_eq!(scene.verify(&["--strict"]).code, 1);
}

// Oracle: the README, to the letter.
#[test]
fn the_readmes_example_is_what_the_command_prints() {
    let mut scene = Scene::new();
    for seq in (1..=1000).filter(|seq| ![100, 200, 201, 202].contains(seq)) {
        let record = match seq {
            1 => of_event(NODE, seq, "start"),
            500..=509 => continue,
            510 => lost(NODE, seq, 500, 509, 10),
            1000 => of_event(NODE, seq, "stop"),
            _ => plain(NODE, seq),
        };
        let id = format!("{}-0", 1_793_434_800_000 + seq * 67);
        let fields = record.iter().flat_map(|(name, value)| [*name, value.as_str()]);
        scene.command(&["XADD", "audit", &id].into_iter().chain(fields).collect::<Vec<_>>());
    }
    let run = scene.verify(&["--deadletter", "audit:deadletter"]);
    let text = run.stdout.replace(&scene.server.address().to_string(), "127.0.0.1:6379");
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    assert_eq!(run.code, 1);
    assert!(readme.contains(&text), "README.md does not show this:\n{text}");
}

// Oracle: the help text.
#[test]
fn the_documentation_has_every_option() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verify.md");
    let text = fs::read_to_string(path).unwrap();
    let help = crate::scene::verify(&["--help"]).stdout;
    let options = help.split_whitespace().filter(|word| word.starts_with("--"));
    for option in options.map(|option| option.trim_end_matches(',')) {
        let is_there =
            text.contains(&format!("| `{option}`")) || text.contains(&format!("| `{option} "));
        assert!(is_there || ["--help", "--version"].contains(&option), "{option}");
    }
}
