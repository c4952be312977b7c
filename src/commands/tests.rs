//! What goes out for a record, and what the replies to a flush mean.

use super::*;
use crate::error::{Cause, Error, Refusal};
use crate::params::{Settings, Values};
use redis::Value;

fn settings(pairs: &[(&str, &str)]) -> Stream {
    let mut values = Values::default();
    for (name, value) in pairs {
        values.add(name, value.as_bytes());
    }
    Settings::from_values(&values).unwrap().stream
}

/// The words of the commands in `wire`, read back by the client library's own parser.
fn words(wire: &[u8]) -> Vec<Vec<String>> {
    let mut parser = redis::Parser::new();
    let mut rest = wire;
    let mut commands = Vec::new();
    while let Ok(value) = parser.parse_value(&mut rest) {
        commands.push(redis::from_redis_value::<Vec<String>>(value).unwrap());
    }
    commands
}

fn entry(pairs: &[(&str, &str)], record: &str) -> Vec<String> {
    let mut wire = Vec::new();
    let range = super::entry(&settings(pairs), b"k", record.as_bytes(), None, &mut wire).unwrap();
    assert_eq!(range, 0..wire.len());
    words(&wire).remove(0)
}

#[test]
fn trimming_is_written_as_configured() {
    let record = r#"{"a":"b"}"#;
    assert_eq!(entry(&[], record), ["XADD", "k", "*", "a", "b"]);
    assert_eq!(
        entry(&[("stream.capacitylimit", "500")], record),
        ["XADD", "k", "MAXLEN", "~", "500", "*", "a", "b"]
    );
    assert_eq!(
        entry(&[("stream.maxage", "60"), ("stream.trim", "exact")], record),
        ["XADD", "k", "*", "a", "b"]
    );
}

#[test]
fn age_is_trimmed_once_for_each_key_by_the_servers_clock() {
    let trim = settings(&[("stream.maxage", "60")]).trim;
    let (wire, count) = trim_by_age(trim, [&b"b"[..], b"a", b"b"].into_iter(), 10_000_000);
    assert_eq!(count, 2);
    assert_eq!(
        words(&wire),
        [["XTRIM", "a", "MINID", "~", "9940000"], ["XTRIM", "b", "MINID", "~", "9940000"]]
    );
    assert_eq!(trim_by_age(settings(&[]).trim, [&b"b"[..]].into_iter(), 1), (vec![], 0));
}

#[test]
fn trimming_has_replies_of_its_own_that_are_no_records() {
    let queued = "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n";
    let wire = format!("{queued}*3\r\n$3\r\n1-0\r\n:5\r\n+OK\r\n+OK\r\n");
    assert_eq!(result_with_trims(1, 1, &wire), Ok(FlushResult::Executed { failures: vec![] }));
    let refused = "+OK\r\n+QUEUED\r\n-NOPERM xtrim\r\n+QUEUED\r\n-EXECABORT x\r\n+OK\r\n";
    let Ok(FlushResult::Aborted { failures, refusal }) = result_with_trims(1, 1, refused) else {
        panic!("taken for a commit");
    };
    assert!(failures.is_empty() && refusal.code == "NOPERM");
}

#[test]
fn a_flawed_record_leaves_nothing_on_the_wire() {
    let mut wire = b"before".to_vec();
    let flaw = super::entry(&settings(&[]), b"k", b"{\"a\":1,x", None, &mut wire);
    assert!(flaw.is_err());
    assert_eq!(
        super::entry(&settings(&[]), b"", b"{\"a\":1}", None, &mut wire),
        Err(Flaw::EmptyKey)
    );
    assert_eq!(wire, b"before");
}

#[test]
fn a_flush_ends_with_its_marker_and_the_guard_of_the_next() {
    let marker = Marker { key: "m:1".into(), worker: "w".into(), ttl_secs: 60 };
    assert_eq!(
        words(&marker.close_flush(7)),
        [vec!["SET", "m:1", "w:7", "EX", "60"], vec!["EXEC"], vec!["WATCH", "m:1"]]
    );
    assert_eq!(words(&marker.fence()).len(), 6);
}

/// Scripted replies, without the short cuts' speed.
pub(super) struct Script(std::collections::VecDeque<Value>);

impl Script {
    /// These replies, as they stand on the wire.
    pub(super) fn new(wire: &str) -> Self {
        let mut parser = redis::Parser::new();
        let mut rest = wire.as_bytes();
        let mut script = Self(std::collections::VecDeque::new());
        while let Ok(value) = parser.parse_value(&mut rest) {
            script.0.push_back(value);
        }
        script
    }

    fn skip(&mut self, max: usize, is_meant: impl Fn(&Value) -> bool) -> usize {
        let count = self.0.iter().take(max).take_while(|value| is_meant(value)).count();
        self.0.drain(..count);
        count
    }
}

impl Replies for Script {
    fn next(&mut self) -> Result<Value, Error> {
        Ok(self.0.pop_front().expect("the script is too short"))
    }

    fn skip_queued(&mut self, max: usize) -> Result<usize, Error> {
        Ok(self.skip(max, |value| matches!(value, Value::SimpleString(text) if text == "QUEUED")))
    }

    fn skip_ids(&mut self, max: usize) -> Result<usize, Error> {
        Ok(self.skip(max, |value| matches!(value, Value::BulkString(_))))
    }

    fn enter_array(&mut self) -> Result<Option<usize>, Error> {
        let Some(Value::Array(_)) = self.0.front() else { return Ok(None) };
        let Some(Value::Array(values)) = self.0.pop_front() else { return Ok(None) };
        let length = values.len();
        for value in values.into_iter().rev() {
            self.0.push_front(value);
        }
        Ok(Some(length))
    }
}

fn result(records: usize, wire: &str) -> Result<FlushResult, Error> {
    result_with_trims(records, 0, wire)
}

fn result_with_trims(records: usize, trims: usize, wire: &str) -> Result<FlushResult, Error> {
    read_flush(Shape { is_open: false, records, trims }, &mut Script::new(wire))
}

const TWO_QUEUED: &str = "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n";

#[test]
fn all_replies_fine_means_all_records_are_written() {
    let wire = format!("{TWO_QUEUED}*3\r\n$3\r\n1-0\r\n$3\r\n1-1\r\n+OK\r\n+OK\r\n");
    assert_eq!(result(2, &wire), Ok(FlushResult::Executed { failures: vec![] }));
}

#[test]
fn a_failure_inside_exec_is_matched_to_its_record() {
    let wire = format!("{TWO_QUEUED}*3\r\n$3\r\n1-0\r\n-WRONGTYPE no\r\n+OK\r\n+OK\r\n");
    let failures = vec![(1, Refusal::new("WRONGTYPE", Some("no")))];
    assert_eq!(result(2, &wire), Ok(FlushResult::Executed { failures }));
}

#[test]
fn a_refusal_before_exec_means_that_nothing_is_written() {
    let wire = "+OK\r\n+QUEUED\r\n-OOM full\r\n-OOM full\r\n-EXECABORT x\r\n+OK\r\n";
    let oom = Refusal::new("OOM", Some("full"));
    let expected = FlushResult::Aborted { failures: vec![(1, oom.clone())], refusal: oom };
    assert_eq!(result(2, wire), Ok(expected));
}

#[test]
fn a_broken_guard_means_that_nothing_is_written() {
    assert_eq!(result(2, &format!("{TWO_QUEUED}*-1\r\n+OK\r\n")), Ok(FlushResult::GuardBroken));
    assert_eq!(result(2, &format!("{TWO_QUEUED}$-1\r\n+OK\r\n")), Ok(FlushResult::GuardBroken));
}

#[test]
fn without_multi_each_record_stands_for_itself() {
    let wire = "-NOPERM m\r\n$3\r\n1-0\r\n-OOM full\r\n+OK\r\n-ERR EXEC without MULTI\r\n+OK\r\n";
    let Ok(FlushResult::Unprotected { failures, refusal }) = result(2, wire) else {
        panic!("taken for a transaction");
    };
    assert_eq!(failures, [(1, Refusal::new("OOM", Some("full")))]);
    assert_eq!(refusal.code, "NOPERM");
}

#[test]
fn replies_that_do_not_add_up_are_never_taken_for_a_commit() {
    for wire in [
        // one result too few, too many, of a wrong kind
        format!("{TWO_QUEUED}*2\r\n$3\r\n1-0\r\n+OK\r\n+OK\r\n"),
        format!("{TWO_QUEUED}*4\r\n$3\r\n1-0\r\n$3\r\n1-1\r\n$1\r\nx\r\n+OK\r\n+OK\r\n"),
        format!("{TWO_QUEUED}*3\r\n$3\r\n1-0\r\n:1\r\n+OK\r\n+OK\r\n"),
        format!("{TWO_QUEUED}+OK\r\n+OK\r\n"),
        // an id where QUEUED has to stand
        "+OK\r\n$3\r\n1-0\r\n+QUEUED\r\n+QUEUED\r\n*0\r\n+OK\r\n".to_owned(),
        // refused, and executed all the same
        "+OK\r\n-ERR x\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$1\r\n1\r\n+OK\r\n+OK\r\n".to_owned(),
        "+HELLO\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n+OK\r\n".to_owned(),
    ] {
        let error = result(2, &wire).expect_err(&wire);
        assert_eq!(error.cause, Cause::Protocol, "{wire:?}");
    }
}
