//! Each kind of record, good and bad.

use super::*;
use crate::params::{Settings, Values};

fn settings(pairs: &[(&str, &str)]) -> Store {
    let mut values = Values::default();
    for (name, value) in pairs {
        values.add(name, value.as_bytes());
    }
    Settings::from_values(&values).unwrap().store
}

fn map(settings: &Store, record: &[u8]) -> Result<Vec<(String, String)>, Flaw> {
    let mut out = Vec::new();
    fields(settings, record, None, &mut |name, value| {
        out.push((
            String::from_utf8(name.to_vec()).unwrap(),
            String::from_utf8_lossy(value).into_owned(),
        ));
    })?;
    Ok(out)
}

fn json(record: &str) -> Result<Vec<(String, String)>, Flaw> {
    map(&settings(&[]), record.as_bytes())
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn each_member_becomes_a_field_in_order_and_by_kind() {
    let record = r#"{"s":"a b","n":-1.50e3,"t":true,"z":null,"o":{ "x" : [1, "y z\" ,"] },"e":"","s":"again"}"#;
    assert_eq!(
        json(record).unwrap(),
        pairs(&[
            ("s", "a b"),
            ("n", "-1.50e3"),
            ("t", "true"),
            ("z", "null"),
            ("o", r#"{"x":[1,"y z\" ,"]}"#),
            ("e", ""),
            ("s", "again"),
        ])
    );
}

#[test]
fn escapes_are_resolved_in_names_and_values() {
    let record = r#"{"a\"\u00e9":"line\nfeed \ud83d\ude00 \\ \u0000"}"#;
    assert_eq!(json(record).unwrap(), pairs(&[("a\"é", "line\nfeed 😀 \\ \0")]));
}

#[test]
fn a_cookie_and_blanks_before_the_object_are_skipped() {
    for record in ["  {\"a\":1}", "@cee:{\"a\":1}", " @cee: {\"a\":1}  "] {
        assert_eq!(json(record).unwrap(), pairs(&[("a", "1")]), "{record}");
    }
}

#[test]
fn what_is_no_object_is_told_apart() {
    assert_eq!(json(""), Err(Flaw::Empty));
    assert_eq!(json(" \t "), Err(Flaw::Empty));
    assert_eq!(json("@cee: "), Err(Flaw::Empty));
    assert_eq!(json("{}"), Err(Flaw::NoMembers));
    for record in ["[1]", "1", "\"x\"", "null"] {
        assert_eq!(json(record), Err(Flaw::NotAnObject), "{record}");
    }
    for record in [
        "{",
        "{\"a\"",
        "{\"a\":1}x",
        "{\"a\":1}{\"b\":2}",
        "{a:1}",
        "{\"a\":\"\n\"}",
        "%s%n",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":01}",
        "[1",
        "{\"a\":1,}",
    ] {
        assert!(matches!(json(record), Err(Flaw::NotJson { .. })), "{record}");
    }
    assert_eq!(map(&settings(&[]), b"{\"a\":\"\xff\"}"), Err(Flaw::NotUtf8 { at: 6 }));
}

#[test]
fn a_flaw_never_repeats_the_record() {
    let Err(flaw) = json("{\"password\":hunter2}") else { panic!("accepted") };
    let text = flaw.to_string();
    assert!(!text.contains("hunter2") && !text.contains("password"), "{text}");
}

#[test]
fn a_flaw_tells_the_byte_also_behind_lines_a_cookie_and_in_a_value() {
    for (record, at) in [
        ("{\"a\":x}", 6),
        ("{\"a\":1,\n\n \"b\":x}", 15),
        ("@cee: {\"a\":x}", 12),
        (" {\"a\":\"\\ud800\"}", 14),
    ] {
        let Err(Flaw::NotJson { why }) = json(record) else { panic!("accepted: {record}") };
        assert!(why.ends_with(&format!(" at byte {at}")), "{record}: {why}");
    }
}

#[test]
fn nesting_of_any_depth_is_kept_as_text_and_costs_no_stack() {
    for depth in [100, 100_000] {
        let value = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(json(&format!("{{\"d\":{value}}}")).unwrap(), pairs(&[("d", &value)]));
    }
}

#[test]
fn the_verbatim_layouts_keep_every_byte() {
    let record = b"  @cee: {\"a\" : 1 } ";
    let stored = map(&settings(&[("layout", "record")]), record).unwrap();
    assert_eq!(stored, pairs(&[("msg", "  @cee: {\"a\" : 1 } ")]));
    assert!(map(&settings(&[("layout", "record")]), b"no json").is_err());
    for empty in [&b"{}"[..], b" @cee: { \n} "] {
        assert_eq!(map(&settings(&[("layout", "record")]), empty), Err(Flaw::NoMembers));
    }
    // A lone surrogate is JSON; only as a field of text it has no meaning.
    assert!(map(&settings(&[("layout", "record")]), b"{\"a\":\"\\ud800\"}").is_ok());
    let raw = settings(&[("record.format", "raw"), ("stream.outfield", "text")]);
    assert_eq!(map(&raw, b" %s%n\x01").unwrap(), pairs(&[("text", " %s%n\u{1}")]));
    assert!(map(&raw, b"\xff\xfe").is_ok());
    assert!(map(&raw, b"  ").is_ok());
    assert_eq!(map(&raw, b""), Err(Flaw::Empty));
}

#[test]
fn the_length_limit_is_exact() {
    let raw = settings(&[("record.format", "raw"), ("record.maxbytes", "5")]);
    assert!(map(&raw, b"12345").is_ok());
    assert_eq!(map(&raw, b"123456"), Err(Flaw::TooLong { bytes: 6, limit: 5 }));
}
