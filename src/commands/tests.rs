//! What goes out for a record, and what the replies to a flush mean.

use super::*;
use crate::error::{Cause, Error, Refusal};
use crate::params::{Settings, Store, Values};
use crate::record::{Flaw, OriginTexts, Texts};
use redis::Value;

fn settings(pairs: &[(&str, &str)]) -> Store {
    let mut values = Values::default();
    for (name, value) in pairs {
        values.add(name, value.as_bytes());
    }
    Settings::from_values(&values).unwrap().store
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

fn encode_at_its_key(settings: &Store, texts: &Texts<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    encode(settings, key(settings, texts.key), texts, None, wire)
}

/// What goes out for a record with the key `k`.
fn stored(pairs: &[(&str, &str)], record: &str) -> Vec<String> {
    let mut wire = Vec::new();
    let pairs = [pairs, &[("key", "k")]].concat();
    let texts = Texts { record: record.as_bytes(), ..Texts::default() };
    encode_at_its_key(&settings(&pairs), &texts, &mut wire).unwrap();
    words(&wire).remove(0)
}

#[test]
fn trimming_is_written_as_configured() {
    let record = r#"{"a":"b"}"#;
    assert_eq!(stored(&[], record), ["XADD", "k", "*", "a", "b"]);
    assert_eq!(
        stored(&[("stream.capacitylimit", "500")], record),
        ["XADD", "k", "MAXLEN", "~", "500", "*", "a", "b"]
    );
    assert_eq!(
        stored(&[("stream.maxage", "60"), ("stream.trim", "exact")], record),
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
    let mut plan = Plan::default();
    plan.each(0, Answer::Id);
    plan.trims(1);
    assert_eq!(result_of(&plan, &wire), executed());
    let no = "+OK\r\n+QUEUED\r\n-NOPERM xtrim\r\n+QUEUED\r\n-EXECABORT x\r\n+OK\r\n";
    let Ok(FlushResult::Aborted { refusals, refusal }) = result_of(&plan, no) else {
        panic!("taken for a commit");
    };
    assert!(refusals.is_empty() && refusal.code == "NOPERM");
}

#[test]
fn a_flawed_record_leaves_nothing_on_the_wire() {
    let mut wire = b"before".to_vec();
    let mut encode = |pairs: &[(&str, &str)], record: &[u8]| {
        let texts = Texts { record, ..Texts::default() };
        encode_at_its_key(&settings(pairs), &texts, &mut wire).unwrap_err()
    };
    encode(&[], b"{\"a\":1,x");
    let dynamic = [("dynakey", "on"), ("key", "template")];
    assert_eq!(encode(&dynamic, b"{\"a\":1}"), Flaw::EmptyKey);
    for mode in ["queue", "publish", "set"] {
        assert_eq!(encode(&[("mode", mode), ("key", "k")], b""), Flaw::Empty, "{mode}");
    }
    let command = [("mode", "template"), ("template", "t")];
    encode(&command, b"SET k 'v");
    assert_eq!(encode(&command, b"'select' 1"), Flaw::Forbidden { command: "SELECT" });
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
}

impl Replies for Script {
    fn next(&mut self) -> Result<Value, Error> {
        Ok(self.0.pop_front().expect("the script is too short"))
    }

    fn skip(&mut self, answer: Answer, max: usize) -> Result<usize, Error> {
        let is_meant = |value: &&Value| match (answer, value) {
            (Answer::Queued, Value::SimpleString(text)) => text == "QUEUED",
            (Answer::Any, value) => !matches!(value, Value::ServerError(_)),
            (Answer::Id, Value::BulkString(_))
            | (Answer::Ok, Value::Okay)
            | (Answer::Count, Value::Int(_)) => true,
            _ => false,
        };
        let count = self.0.iter().take(max).take_while(is_meant).count();
        self.0.drain(..count);
        Ok(count)
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

/// What `wire`, the replies to a flush with this plan, means.
fn result_of(plan: &Plan, wire: &str) -> Result<FlushResult, Error> {
    read_flush(plan, false, &mut Script::new(wire))
}

/// The same for so many entries of a stream.
fn result(records: usize, wire: &str) -> Result<FlushResult, Error> {
    let mut plan = Plan::default();
    (0..records).for_each(|place| plan.each(place, Answer::Id));
    result_of(&plan, wire)
}

fn executed() -> Result<FlushResult, Error> {
    Ok(FlushResult::Executed { refusals: Refusals::default() })
}

fn refused(records: &[(usize, &Refusal)]) -> Refusals {
    let records = records.iter().map(|(place, refusal)| (*place, (*refusal).clone())).collect();
    Refusals { records, ..Refusals::default() }
}

const TWO_QUEUED: &str = "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n";

#[test]
fn all_replies_fine_means_all_records_are_written() {
    let wire = format!("{TWO_QUEUED}*3\r\n$3\r\n1-0\r\n$3\r\n1-1\r\n+OK\r\n+OK\r\n");
    assert_eq!(result(2, &wire), executed());
}

#[test]
fn a_failure_inside_exec_is_matched_to_its_record() {
    let wire = format!("{TWO_QUEUED}*3\r\n$3\r\n1-0\r\n-WRONGTYPE no\r\n+OK\r\n+OK\r\n");
    let refusals = refused(&[(1, &Refusal::new("WRONGTYPE", Some("no")))]);
    assert_eq!(result(2, &wire), Ok(FlushResult::Executed { refusals }));
}

#[test]
fn a_refusal_before_exec_means_that_nothing_is_written() {
    let wire = "+OK\r\n+QUEUED\r\n-OOM full\r\n-OOM full\r\n-EXECABORT x\r\n+OK\r\n";
    let oom = Refusal::new("OOM", Some("full"));
    let expected = FlushResult::Aborted { refusals: refused(&[(1, &oom)]), refusal: oom };
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
    let Ok(FlushResult::Unprotected { refusals, refusal }) = result(2, wire) else {
        panic!("taken for a transaction");
    };
    assert_eq!(refusals, refused(&[(1, &Refusal::new("OOM", Some("full")))]));
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

// Oracle: the places that the plan was given.
#[test]
fn a_refused_push_is_blamed_on_all_of_its_records_and_on_no_other() {
    let mut plan = Plan::default();
    plan.each(1, Answer::Id);
    plan.together([0, 3]);
    plan.together([2]);
    let queued = "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n";
    let wrong = Refusal::new("WRONGTYPE", Some("no"));
    let wire = format!("{queued}*4\r\n$3\r\n1-0\r\n-WRONGTYPE no\r\n:1\r\n+OK\r\n+OK\r\n");
    let refusals = refused(&[(0, &wrong), (3, &wrong)]);
    assert_eq!(result_of(&plan, &wire), Ok(FlushResult::Executed { refusals }));
    // In the order of the records, which is not that of the commands.
    let wire = format!("{queued}*4\r\n-WRONGTYPE no\r\n-WRONGTYPE no\r\n-OOM a\r\n+OK\r\n+OK\r\n");
    let oom = Refusal::new("OOM", Some("a"));
    let refusals = refused(&[(0, &wrong), (1, &wrong), (2, &oom), (3, &wrong)]);
    assert_eq!(result_of(&plan, &wire), Ok(FlushResult::Executed { refusals }));
    let wire = "+OK\r\n-OOM a\r\n-OOM a\r\n-OOM a\r\n+QUEUED\r\n-EXECABORT x\r\n+OK\r\n";
    let refusals = refused(&[(0, &oom), (1, &oom), (2, &oom), (3, &oom)]);
    let refusal = Refusal::new("EXECABORT", Some("x"));
    assert_eq!(result_of(&plan, wire), Ok(FlushResult::Aborted { refusals, refusal }));
}

// Oracle: a reply that the command cannot have is an error of the protocol, a refusal is the entry's.
#[test]
fn an_acknowledgement_that_fails_leaves_its_record_stored() {
    let mut plan = Plan::default();
    for place in 0..2 {
        plan.each(place, Answer::Id);
        plan.asides(place, 2);
    }
    let queued = "+OK\r\n".to_owned() + &"+QUEUED\r\n".repeat(7);
    let results = "*7\r\n$3\r\n1-0\r\n:1\r\n:0\r\n$3\r\n1-1\r\n-ERR id\r\n:1\r\n";
    let wire = format!("{queued}{results}+OK\r\n+OK\r\n");
    let asides = vec![(1, Refusal::new("ERR", Some("id")))];
    let refusals = Refusals { asides, ..Refusals::default() };
    assert_eq!(result_of(&plan, &wire), Ok(FlushResult::Executed { refusals }));
    let wire = wire.replace(":0\r\n", "+OK\r\n");
    assert_eq!(result_of(&plan, &wire).unwrap_err().cause, Cause::Protocol);
}

// Oracle: an entry that is on its way is that of no record alone.
#[test]
fn an_entry_whose_slot_is_on_its_way_sends_all_of_the_part_elsewhere() {
    let mut plan = Plan::default();
    plan.each(0, Answer::Id);
    plan.asides(0, 1);
    let wire = "+OK\r\n+QUEUED\r\n-ASK 7 h:1\r\n+QUEUED\r\n-EXECABORT x\r\n+OK\r\n";
    let result = result_of(&plan, wire).unwrap();
    assert_eq!(result.redirection(), Some(&Refusal::new("ASK", Some("7 h:1"))));
}

#[test]
fn each_mode_has_its_commands() {
    let queue = [("mode", "queue"), ("key", "k")];
    let mut wire = Vec::new();
    for text in ["a", "\r\n*1"] {
        let texts = Texts { record: text.as_bytes(), ..Texts::default() };
        encode_at_its_key(&settings(&queue), &texts, &mut wire).unwrap();
    }
    let arguments = [&wire[..7], &wire[7..]];
    let mut command = Vec::new();
    push(false, b"k", arguments.into_iter(), &mut command);
    push(true, b"k", arguments[1..].iter().copied(), &mut command);
    let expected = [vec!["LPUSH", "k", "a", "\r\n*1"], vec!["RPUSH", "k", "\r\n*1"]];
    assert_eq!(words(&command), expected);

    let text = "not JSON";
    assert_eq!(stored(&[("mode", "publish")], text), ["PUBLISH", "k", text]);
    assert_eq!(stored(&[("mode", "set")], text), ["SET", "k", text]);
    let expiring = [("mode", "set"), ("expiration", "60")];
    assert_eq!(stored(&expiring, text), ["SET", "k", text, "EX", "60"]);
    let command = [("mode", "template"), ("template", "t")];
    assert_eq!(stored(&command, "HSET h 'a b' %s"), ["HSET", "h", "a b", "%s"]);
}

#[test]
fn an_entry_is_acknowledged_and_deleted_as_the_record_says() {
    let origin = OriginTexts { key: b"in", group: b"readers", index: b"2-0" };
    let texts = Texts { record: b"x", key: b"", origin };
    let fixed = [
        ("stream.keyack", "s"),
        ("stream.groupack", "g"),
        ("stream.indexack", "i"),
        ("stream.dynakeyack", "on"),
        ("stream.dynaindexack", "on"),
    ];
    let asides = |switches: &[(&str, &str)], texts: &Texts<'_>| {
        let mut wire = Vec::new();
        let asides = super::asides(&settings(&[&fixed[..], switches].concat()), texts, &mut wire);
        assert_eq!(asides.commands, words(&wire).len());
        (words(&wire), asides.is_nameless)
    };
    let (ack, del) = (("stream.ack", "on"), ("stream.del", "on"));
    let xack = vec!["XACK".to_owned(), "in".into(), "g".into(), "2-0".into()];
    let xdel = vec!["XDEL".to_owned(), "in".into(), "2-0".into()];
    assert_eq!(asides(&[ack], &texts), (vec![xack.clone()], false));
    assert_eq!(asides(&[ack, del], &texts), (vec![xack, xdel.clone()], false));
    assert_eq!(asides(&[del], &texts), (vec![xdel], false));
    let nameless = Texts { origin: OriginTexts { index: b"", ..origin }, ..texts };
    assert_eq!(asides(&[ack, del], &nameless), (vec![], true));
    assert_eq!(asides(&[], &nameless), (vec![], false));
}
