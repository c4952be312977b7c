//! Records and settings in, commands on the wire out; replies in, outcome per record out. The only
//! place that knows which commands an action uses.
#![forbid(unsafe_code)]

use crate::error::{Cause, Error, Refusal};
use crate::params::{Retention, Stream, Trim};
use crate::record::{self, Flaw};
use redis::{Cmd, Value};
use std::ops::Range;

/// Milliseconds since the epoch, as stream ids count them.
pub type UnixMillis = u64;

/// A dead letter: the record as it came, and why it is one.
pub struct DeadLetter<'a> {
    /// The record's bytes.
    pub record: &'a [u8],
    /// Why it could not be stored as configured.
    pub flaw: &'a Flaw,
    /// The action's name.
    pub action: &'a str,
    /// When the plugin got it: RFC 3339, UTC, microseconds.
    pub received: &'a str,
}

/// Writes commands; one per worker, so that its buffers are reused.
#[derive(Default)]
pub struct Encoder {
    command: Cmd,
}

impl Encoder {
    /// Appends the XADD of a record to `wire` and returns where it stands.
    ///
    /// # Errors
    /// The record's flaw; `wire` is as before.
    pub fn entry(
        &mut self,
        settings: &Stream,
        key: &[u8],
        record: &[u8],
        now: UnixMillis,
        wire: &mut Vec<u8>,
    ) -> Result<Range<usize>, Flaw> {
        if key.is_empty() {
            return Err(Flaw::EmptyKey);
        }
        let command = &mut self.command;
        command.clear();
        command.arg("XADD").arg(key);
        trim(command, settings.trim, now);
        command.arg("*");
        record::fields(settings, record, &mut |name, value| {
            command.arg(name).arg(value);
        })?;
        Ok(self.append(wire))
    }

    /// Appends the XADD of a dead letter to `wire` and returns where it stands.
    pub fn dead_letter(
        &mut self,
        settings: &Stream,
        letter: &DeadLetter<'_>,
        wire: &mut Vec<u8>,
    ) -> Range<usize> {
        let command = &mut self.command;
        command.clear();
        command.arg("XADD").arg(&settings.dead_letter_key).arg("*");
        command.arg("record").arg(letter.record);
        command.arg("reason").arg(letter.flaw.to_string());
        command.arg("action").arg(letter.action);
        command.arg("received").arg(letter.received);
        self.append(wire)
    }

    fn append(&self, wire: &mut Vec<u8>) -> Range<usize> {
        let start = wire.len();
        self.command.write_packed_command(wire);
        start..wire.len()
    }
}

fn trim(command: &mut Cmd, trim: Trim, now: UnixMillis) {
    let how = if trim.is_exact { "=" } else { "~" };
    match trim.retention {
        Retention::Forever => {}
        Retention::Entries(entries) => {
            command.arg("MAXLEN").arg(how).arg(entries);
        }
        Retention::Age(age) => {
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            command.arg("MINID").arg(how).arg(now.saturating_sub(age));
        }
    }
}

/// What a flush starts with.
pub fn open_flush() -> Vec<u8> {
    redis::cmd("MULTI").get_packed_command()
}

/// Identifies a flush of a worker: what its marker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The marker's key.
    pub key: String,
    /// The worker's id, never used by another one.
    pub worker: String,
    /// Lifetime in seconds.
    pub ttl_secs: u64,
}

impl Marker {
    /// The marker's value once flush `number` has taken place.
    pub fn value(&self, number: u64) -> String {
        format!("{}:{number}", self.worker)
    }

    /// What flush `number` ends with: the marker, EXEC, and the WATCH that guards the next flush.
    pub fn close_flush(&self, number: u64) -> Vec<u8> {
        let mut wire = Vec::new();
        redis::cmd("SET")
            .arg(&self.key)
            .arg(self.value(number))
            .arg("EX")
            .arg(self.ttl_secs)
            .write_packed_command(&mut wire);
        redis::cmd("EXEC").write_packed_command(&mut wire);
        self.watch().write_packed_command(&mut wire);
        wire
    }

    /// What a connection starts with: touches the marker, and with that breaks every transaction
    /// that an earlier connection may have left behind (it watched the marker), then reads it.
    /// [`read_fence`] reads the replies.
    pub fn fence(&self) -> Vec<u8> {
        let mut wire = open_flush();
        redis::cmd("SET")
            .arg(&self.key)
            .arg(self.value(0))
            .arg("NX")
            .arg("EX")
            .arg(self.ttl_secs)
            .write_packed_command(&mut wire);
        redis::cmd("EXPIRE").arg(&self.key).arg(self.ttl_secs).write_packed_command(&mut wire);
        redis::cmd("GET").arg(&self.key).write_packed_command(&mut wire);
        redis::cmd("EXEC").write_packed_command(&mut wire);
        self.watch().write_packed_command(&mut wire);
        wire
    }

    fn watch(&self) -> Cmd {
        let mut command = redis::cmd("WATCH");
        command.arg(&self.key);
        command
    }
}

/// Replies to [`Marker::fence`]: MULTI, three QUEUED, EXEC, WATCH.
const FENCE_REPLIES: usize = 6;

/// Reads the replies to [`Marker::fence`]: what the marker held, or the server's no.
///
/// # Errors
/// The connection's, or a reply that cannot stand where it does.
pub fn read_fence(replies: &mut dyn Replies) -> Result<Result<Vec<u8>, Refusal>, Error> {
    let mut all = Vec::with_capacity(FENCE_REPLIES);
    for _ in 0..FENCE_REPLIES {
        all.push(replies.next()?);
    }
    // EXECABORT only repeats that an earlier command was refused, which says why.
    if let Some(refusal) = all.iter().find_map(refusal) {
        return Ok(Err(refusal));
    }
    let exec = all.into_iter().nth(FENCE_REPLIES - 2).unwrap_or(Value::Nil);
    let Value::Array(mut results) = exec else { return Err(unexpected("EXEC", &exec)) };
    if let Some(refusal) = results.iter().find_map(refusal) {
        return Ok(Err(refusal));
    }
    match results.pop() {
        Some(Value::BulkString(held)) => Ok(Ok(held)),
        other => Err(unexpected("GET", &other.unwrap_or(Value::Nil))),
    }
}

/// What became of a flush. A failure's number is the record's place in the flush, from 0.
#[derive(Debug, PartialEq, Eq)]
pub enum FlushResult {
    /// EXEC ran; all records but these are written.
    Executed {
        /// The commands that failed inside EXEC.
        failures: Vec<(usize, Refusal)>,
    },
    /// Nothing is written.
    Aborted {
        /// The commands that were refused before EXEC; they are the reason.
        failures: Vec<(usize, Refusal)>,
        /// What EXEC, or the marker's command, answered.
        refusal: Refusal,
    },
    /// Nothing is written, because the marker was touched since the last flush.
    GuardBroken,
    /// MULTI was refused, and so each command went its own way; all but these are written.
    Unprotected {
        /// The commands that failed.
        failures: Vec<(usize, Refusal)>,
        /// What MULTI answered.
        refusal: Refusal,
    },
}

/// A source of replies. Nearly all replies to a flush are of two kinds, so these have a way of their
/// own that builds no value for each.
pub trait Replies {
    /// The next reply, whatever it is.
    ///
    /// # Errors
    /// The connection, when it breaks or does not speak the protocol.
    fn next(&mut self) -> Result<Value, Error>;

    /// Passes over at most `max` successive `+QUEUED` and says how many there were; fewer mean that
    /// another reply comes next.
    ///
    /// # Errors
    /// As for [`Replies::next`].
    fn skip_queued(&mut self, max: usize) -> Result<usize, Error>;

    /// The same for short bulk strings: the ids that XADD answers with.
    ///
    /// # Errors
    /// As for [`Replies::next`].
    fn skip_ids(&mut self, max: usize) -> Result<usize, Error>;

    /// If an array comes next: enters it, and says how many replies it has.
    ///
    /// # Errors
    /// As for [`Replies::next`].
    fn enter_array(&mut self) -> Result<Option<usize>, Error>;
}

/// Reads the replies to a flush of so many records: MULTI, one for each record, the marker's SET,
/// EXEC, WATCH.
///
/// # Errors
/// The connection's, or a reply that cannot stand where it does: then nothing that the server says
/// about this flush can be trusted.
pub fn read_flush(records: usize, replies: &mut dyn Replies) -> Result<FlushResult, Error> {
    let multi = match replies.next()? {
        Value::Okay => None,
        other => Some(refusal(&other).ok_or_else(|| unexpected("MULTI", &other))?),
    };
    let mut failures = Vec::new();
    if multi.is_some() {
        read_results(records, replies, &mut failures)?;
    } else {
        read_queued(records, replies, &mut failures)?;
    }
    let marker = replies.next()?;
    let marker = match (&marker, refusal(&marker)) {
        (_, Some(refusal)) => Some(refusal),
        (Value::SimpleString(text), None) if text == "QUEUED" => None,
        (Value::Okay, None) if multi.is_some() => None,
        (other, None) => return Err(unexpected("SET", other)),
    };
    let result = match (multi, replies.enter_array()?) {
        (Some(refusal), None) => {
            replies.next()?;
            FlushResult::Unprotected { failures, refusal }
        }
        (None, Some(results))
            if failures.is_empty() && marker.is_none() && results == records + 1 =>
        {
            read_results(records, replies, &mut failures)?;
            match replies.next()? {
                Value::Okay => FlushResult::Executed { failures },
                other => return Err(unexpected("SET", &other)),
            }
        }
        (_, Some(_)) => return Err(unexpected("EXEC", &Value::Array(Vec::new()))),
        (None, None) => match replies.next()? {
            Value::Nil if failures.is_empty() && marker.is_none() => FlushResult::GuardBroken,
            other => match (marker, refusal(&other)) {
                (Some(refusal), Some(_)) | (None, Some(refusal)) => {
                    FlushResult::Aborted { failures, refusal }
                }
                (_, None) => return Err(unexpected("EXEC", &other)),
            },
        },
    };
    // Without a guard the next flush could not be told from a late one.
    match replies.next()? {
        Value::Okay => Ok(result),
        other => Err(refusal(&other).map_or_else(
            || unexpected("WATCH", &other),
            |refusal| Error::refused("WATCH", &refusal),
        )),
    }
}

/// What came back while the commands were queued: QUEUED, or why not.
fn read_queued(
    records: usize,
    replies: &mut dyn Replies,
    failures: &mut Vec<(usize, Refusal)>,
) -> Result<(), Error> {
    let mut place = 0;
    while place < records {
        place += replies.skip_queued(records - place)?;
        if place < records {
            let reply = replies.next()?;
            failures.push((place, refusal(&reply).ok_or_else(|| unexpected("XADD", &reply))?));
            place += 1;
        }
    }
    Ok(())
}

/// What the commands answered when they were executed: an id, or why not.
fn read_results(
    records: usize,
    replies: &mut dyn Replies,
    failures: &mut Vec<(usize, Refusal)>,
) -> Result<(), Error> {
    let mut place = 0;
    while place < records {
        place += replies.skip_ids(records - place)?;
        if place < records {
            let reply = replies.next()?;
            failures.push((place, refusal(&reply).ok_or_else(|| unexpected("XADD", &reply))?));
            place += 1;
        }
    }
    Ok(())
}

/// The error that a reply is, if it is one.
pub fn refusal(reply: &Value) -> Option<Refusal> {
    match reply {
        Value::ServerError(error) => Some(Refusal::new(error.code(), error.details())),
        _ => None,
    }
}

/// The error for a reply of the wrong shape. Names the shape only: the content may be a record's.
pub fn unexpected(command: &str, reply: &Value) -> Error {
    let shape = match reply {
        Value::Nil => "nil",
        Value::Int(_) => "an integer",
        Value::Okay | Value::SimpleString(_) => "a status",
        Value::BulkString(_) => "a string",
        Value::Array(_) => "an array",
        Value::ServerError(_) => "an error",
        _ => "another type",
    };
    Error::broken(Cause::Protocol, format!("unexpected reply to {command}: {shape}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{Settings, Values};

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
        let range = Encoder::default()
            .entry(&settings(pairs), b"k", record.as_bytes(), 10_000_000, &mut wire)
            .unwrap();
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
            ["XADD", "k", "MINID", "=", "9940000", "*", "a", "b"]
        );
    }

    #[test]
    fn a_flawed_record_leaves_nothing_on_the_wire() {
        let mut wire = b"before".to_vec();
        let mut encoder = Encoder::default();
        let flaw = encoder.entry(&settings(&[]), b"k", b"{\"a\":1,x", 0, &mut wire);
        assert!(flaw.is_err());
        assert_eq!(
            encoder.entry(&settings(&[]), b"", b"{\"a\":1}", 0, &mut wire),
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
        assert_eq!(words(&marker.fence()).len(), FENCE_REPLIES);
    }

    /// Scripted replies, without the short cuts' speed.
    struct Script(std::collections::VecDeque<Value>);

    impl Script {
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
            Ok(self
                .skip(max, |value| matches!(value, Value::SimpleString(text) if text == "QUEUED")))
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
        let mut parser = redis::Parser::new();
        let mut rest = wire.as_bytes();
        let mut script = Script(std::collections::VecDeque::new());
        while let Ok(value) = parser.parse_value(&mut rest) {
            script.0.push_back(value);
        }
        read_flush(records, &mut script)
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
        let wire =
            "-NOPERM m\r\n$3\r\n1-0\r\n-OOM full\r\n+OK\r\n-ERR EXEC without MULTI\r\n+OK\r\n";
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
}
