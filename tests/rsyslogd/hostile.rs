//! Records that are made to do harm: whatever rsyslog can hand over is stored byte by byte, or
//! becomes a dead letter with the exact reason, and disturbs no other record.

use testkit::{Entry, Rsyslogd, Scratch, Server, Version, record, wait_until};

use crate::scene::{SOON, action, entries, flavour_for};

on_each_version!(
    hostile_records_become_exact_fields_or_dead_letters,
    hostile_records_are_stored_verbatim_in_one_field,
    the_reason_tells_the_place_in_the_record,
    every_byte_but_nul_arrives_as_it_was_sent,
    a_template_that_makes_nothing_makes_a_dead_letter,
);

/// `record.maxbytes` of the default configuration.
const LIMIT: usize = 256 * 1024;

/// What no line of any log may hold.
const CANARY: &str = "canary-7d1f";

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A record and what must become of it.
struct Case {
    /// What is sent.
    sent: Vec<u8>,
    /// What rsyslog makes of it before the plugin sees it.
    seen: Vec<u8>,
    /// Its fields, or the reason why it is a dead letter.
    outcome: Result<Fields, String>,
}

fn stored(sent: impl AsRef<[u8]>, fields: &[(&str, &str)]) -> Case {
    let fields =
        fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    let sent = sent.as_ref().to_vec();
    Case { seen: sent.clone(), sent, outcome: Ok(fields.collect()) }
}

fn letter(sent: impl AsRef<[u8]>, reason: &str) -> Case {
    let sent = sent.as_ref().to_vec();
    Case { seen: sent.clone(), sent, outcome: Err(reason.to_owned()) }
}

fn not_json(sent: impl AsRef<[u8]>, why: &str) -> Case {
    letter(sent, &format!("record is not JSON: {why}"))
}

/// A record of one member, `a`, in `bytes` bytes.
fn record_of_bytes(bytes: usize) -> (String, String) {
    let value = "x".repeat(bytes - r#"{"a":""}"#.len());
    (format!(r#"{{"a":"{value}"}}"#), value)
}

fn nested(depth: usize, open: &str, inner: &str, close: &str) -> String {
    format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
}

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    let mut cases = vec![
        // What a careless program takes for a format, a command or an end.
        not_json("%s%s%s%n", "syntax error at byte 1"),
        stored(r#"{"%s%n":"%s%s%s%n%99999d"}"#, &[("%s%n", "%s%s%s%n%99999d")]),
        stored(r#"{"a":"\r\n*1\r\n$8\r\nFLUSHALL\r\n"}"#, &[("a", "\r\n*1\r\n$8\r\nFLUSHALL\r\n")]),
        stored("{\"a\":\r\n1\r\n}\r", &[("a", "1")]),
        // Quotes, backslashes and escapes.
        stored(r#"{"a":"\"\\\"\\\\'`\/"}"#, &[("a", "\"\\\"\\\\'`/")]),
        stored(r#"{"a\"b":1,"":2,"\u0000\n":3}"#, &[("a\"b", "1"), ("", "2"), ("\0\n", "3")]),
        stored(r#"{"a":"\u0000\u0001\n\r\t\u001b[31m\u007f\ud83d\ude00"}"#,
            &[("a", "\0\u{1}\n\r\t\u{1b}[31m\u{7f}😀")]),
        not_json(r#"{"a":"\x41"}"#, "syntax error at byte 8"),
        // Bytes that have no place in JSON.
        not_json(b"{\"a\":\"\x01\"}", "syntax error at byte 6"),
        letter(b"{\"a\":\"\xff\xfe\"}", "record is not UTF-8 after byte 6"),
        letter(b"{\"a\":\"\xe2\x82\"}", "record is not UTF-8 after byte 6"),
        letter(b"\xc0\x80", "record is not UTF-8 after byte 0"),
        not_json("\u{feff}{\"a\":1}", "syntax error at byte 1"),
        // rsyslog itself writes a NUL in these four characters.
        Case { seen: br#"{"a":"x#000y"}"#.to_vec(), ..stored(b"{\"a\":\"x\0y\"}", &[("a", "x#000y")]) },
        // Not quite objects.
        letter(" ", "record is empty"),
        letter(" \t \t ", "record is empty"),
        letter("@cee:", "record is empty"),
        letter("{}", "record is an object without members"),
        letter("[{\"a\":1}]", "record is JSON but not an object"),
        letter("null", "record is JSON but not an object"),
        letter("\"text\"", "record is JSON but not an object"),
        not_json(r#"{"a":1"#, "it ends too early at byte 6"),
        not_json(r#"{"a":1,}"#, "syntax error at byte 8"),
        not_json(r#"{"a":1}{"b":2}"#, "syntax error at byte 8"),
        not_json(format!(r#"{{"a":{CANARY}}}"#), "syntax error at byte 6"),
        stored("@cee: {\"a\":1}", &[("a", "1")]),
        // Numbers that fit into no type, and the same name again.
        stored(r#"{"a":1e999,"b":-0,"c":12345678901234567890123}"#,
            &[("a", "1e999"), ("b", "-0"), ("c", "12345678901234567890123")]),
        stored(r#"{"a":1,"a":"2","a":null}"#, &[("a", "1"), ("a", "2"), ("a", "null")]),
        // Sizes.
        letter(vec![b'x'; 300 * 1024], "record has 307200 bytes, record.maxbytes allows 262144"),
    ];
    for bytes in [64 * 1024, LIMIT] {
        let (record, value) = record_of_bytes(bytes);
        cases.push(stored(record, &[("a", &value)]));
    }
    let (too_long, _) = record_of_bytes(LIMIT + 1);
    cases.push(letter(too_long, "record has 262145 bytes, record.maxbytes allows 262144"));
    // Depth.
    for depth in [100, 5000] {
        let lists = nested(depth, "[", "", "]");
        cases.push(stored(format!(r#"{{"a":{lists}}}"#), &[("a", &lists)]));
        let objects = nested(depth, r#"{"o":"#, "1", "}");
        let inner = nested(depth - 1, r#"{"o":"#, "1", "}");
        cases.push(stored(objects, &[("o", &inner)]));
    }
    cases.push(not_json("[".repeat(5000), "it ends too early at byte 5000"));
    cases.push(not_json(format!("{{\"a\":{}", "[".repeat(5000)), "it ends too early at byte 5005"));
    // Width.
    let numbers: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
    let text: Vec<String> = numbers.iter().map(|number| format!("\"{number}\":{number}")).collect();
    let members: Vec<(&str, &str)> = numbers.iter().map(|n| (n.as_str(), n.as_str())).collect();
    cases.push(stored(format!("{{{}}}", text.join(",")), &members));
    cases
}

/// Sends each hostile record, and after each a harmless one with the number of the case, and gives
/// back both streams.
fn run(version: Version, parameters: &str, cases: &[Case]) -> (Vec<Entry>, Vec<Entry>) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let rsyslogd = Rsyslogd::builder(version)
        .max_message_bytes(1 << 20)
        .action(&action(&server.address(), parameters))
        .start(&scratch);
    let mut sender = rsyslogd.sender();
    for (number, case) in (0..).zip(cases) {
        sender.frame(&case.sent).expect("rsyslogd reads");
        sender.frame(record(number)).expect("rsyslogd reads");
    }
    sender.finish().expect("rsyslogd reads");
    wait_for_records(&server, 2 * cases.len());
    assert!(rsyslogd.ended().is_none(), "{}", rsyslogd.log());
    let status = rsyslogd.stop().status;
    assert!(status.success(), "{status}");
    assert!(!rsyslogd.log().contains(CANARY), "{}", rsyslogd.log());
    (entries(&server, "audit"), entries(&server, "audit:deadletter"))
}

/// Waits until both streams together have so many entries.
fn wait_for_records(server: &Server, count: usize) {
    let mut connection = server.connection();
    wait_until(&format!("{count} records in the stream and the dead letter"), SOON, || {
        let lengths =
            redis::pipe().cmd("XLEN").arg("audit").cmd("XLEN").arg("audit:deadletter").to_owned();
        let (stream, letters): (usize, usize) = lengths.query(&mut connection).expect("XLEN");
        stream + letters >= count
    });
}

/// What a record of [`record`] becomes in the layout `fields`.
fn fields_of_harmless(number: u64) -> Fields {
    let client = number % 100;
    [
        ("v", "1".to_owned()),
        ("n", number.to_string()),
        ("event", "success".to_owned()),
        ("command_name", "set".to_owned()),
        ("user", format!("app{client}")),
        ("addr", format!("10.0.0.{client}:6000")),
        ("db", "0".to_owned()),
        ("pad", String::new()),
    ]
    .map(|(name, value)| (name.as_bytes().to_vec(), value.into_bytes()))
    .to_vec()
}

/// A piece of a long text for a message.
fn shown(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(60)];
    format!("{:?}, {} bytes", String::from_utf8_lossy(start), bytes.len())
}

#[track_caller]
fn assert_stored(entries: &[Entry], expected: &[(&Case, Fields)]) {
    for (entry, (case, fields)) in entries.iter().zip(expected) {
        assert!(entry.fields == *fields, "{} became {entry:.200?}", shown(&case.sent));
    }
    assert_eq!(entries.len(), expected.len());
}

#[track_caller]
fn assert_letters(letters: &[Entry], cases: &[Case]) {
    let expected: Vec<(&Case, &String)> =
        cases.iter().filter_map(|case| Some((case, case.outcome.as_ref().err()?))).collect();
    for (letter, (case, reason)) in letters.iter().zip(&expected) {
        let names: Vec<&[u8]> = letter.fields.iter().map(|(name, _)| name.as_slice()).collect();
        assert_eq!(names, [b"record" as &[u8], b"reason", b"action", b"received"]);
        assert_eq!(&letter.text("reason"), *reason, "{}", shown(&case.sent));
        assert!(letter.get("record") == Some(&case.seen), "{}", shown(&case.sent));
        assert_eq!(letter.text("action"), "audit");
        let received = letter.text("received");
        let shape: String =
            received.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{received}");
    }
    assert_eq!(letters.len(), expected.len());
}

/// Oracle: for each case the fields or the reason that stand beside it, in order, and every
/// harmless record behind a hostile one; together as many as were sent.
fn hostile_records_become_exact_fields_or_dead_letters(version: Version) {
    let cases = cases();
    let (stream, letters) = run(version, "", &cases);
    let mut expected = Vec::new();
    for (number, case) in (0..).zip(&cases) {
        expected.extend(case.outcome.clone().ok().map(|fields| (case, fields)));
        expected.push((case, fields_of_harmless(number)));
    }
    assert_stored(&stream, &expected);
    assert_letters(&letters, &cases);
}

/// Oracle: the same records are dead letters, for the same reasons; the others hold the very bytes
/// that were sent.
fn hostile_records_are_stored_verbatim_in_one_field(version: Version) {
    let cases = cases();
    let (stream, letters) = run(version, "layout=\"record\"", &cases);
    let whole = |bytes: &[u8]| vec![(b"msg".to_vec(), bytes.to_vec())];
    let mut expected = Vec::new();
    for (number, case) in (0..).zip(&cases) {
        if case.outcome.is_ok() {
            expected.push((case, whole(&case.seen)));
        }
        expected.push((case, whole(record(number).as_bytes())));
    }
    assert_stored(&stream, &expected);
    assert_letters(&letters, &cases);
}

/// Oracle: the byte that the reason names is the first wrong byte in the record, or the one beside
/// it, also where the record has several lines or a cookie, or the parser finds out when it looks
/// at the member's value.
fn the_reason_tells_the_place_in_the_record(version: Version) {
    let cases = [
        ("{\"a\":x}", 6),
        (r#"{"a":"\ud800"}"#, 13),
        ("{\"a\":\"\n\"}", 7),
        ("{\"a\":1,\n\n \"b\":x}", 15),
        ("@cee: {\"a\":x}", 12),
    ];
    let sent = cases.map(|(record, _)| letter(record, ""));
    let (_, letters) = run(version, "", &sent);
    let bytes: Vec<i64> = letters
        .iter()
        .filter_map(|letter| letter.text("reason").rsplit(' ').next()?.parse().ok())
        .collect();
    let places = cases.map(|(_, place)| place);
    let is_near = bytes.iter().zip(places).all(|(byte, place)| (byte - place).abs() <= 1);
    assert!(bytes.len() == places.len() && is_near, "{bytes:?}, not {places:?}");
}

/// Oracle: a raw record of all byte values but NUL, which rsyslog itself rewrites, holds them all
/// in their order.
fn every_byte_but_nul_arrives_as_it_was_sent(version: Version) {
    let bytes: Vec<u8> = (1..=255).collect();
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let rsyslogd = Rsyslogd::builder(version)
        .action(&action(&server.address(), "record.format=\"raw\""))
        .start(&scratch);
    let mut sender = rsyslogd.sender();
    sender.frame(&bytes).expect("rsyslogd reads");
    sender.finish().expect("rsyslogd reads");
    wait_for_records(&server, 1);
    rsyslogd.stop();
    let stored = entries(&server, "audit");
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].fields, [(b"msg".to_vec(), bytes)]);
}

/// Oracle: an empty record is a dead letter like any other; the one of which the template makes
/// something is not. (An empty line is no record: rsyslog itself passes it over.)
fn a_template_that_makes_nothing_makes_a_dead_letter(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let text = action(&server.address(), "").replace("\"raw\"", "\"second-line\"");
    let rsyslogd = Rsyslogd::builder(version)
        .config("template(name=\"second-line\" type=\"string\" string=\"%rawmsg:F,10:2%\")")
        .action(&text)
        .start(&scratch);
    let mut sender = rsyslogd.sender();
    sender.line("").expect("rsyslogd reads");
    for frame in ["x\n\nx", "x\n{\"n\":1}\nx", "x\n\nx"] {
        sender.frame(frame).expect("rsyslogd reads");
    }
    sender.finish().expect("rsyslogd reads");
    wait_for_records(&server, 3);
    rsyslogd.stop();
    assert_eq!(testkit::numbers(&entries(&server, "audit")), [1]);
    let empty = || letter("", "record is empty");
    assert_letters(&entries(&server, "audit:deadletter"), &[empty(), empty()]);
}
