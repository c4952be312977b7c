//! What the replies to a flush, and to a connection's first commands, mean.
#![forbid(unsafe_code)]

use crate::error::{Cause, Error, Refusal};
use redis::Value;

/// Replies to [`Marker::fence`] before EXEC's: MULTI, three QUEUED.
const FENCE_QUEUED: usize = 4;

/// To [`Marker::fence_asking`]: ASKING, MULTI, two QUEUED.
const FENCE_ASKING_QUEUED: usize = 4;

/// Reads the replies to [`Marker::fence`]: what the marker held, or the server's no.
///
/// # Errors
/// The connection's, or a reply that cannot stand where it does.
pub fn read_fence(replies: &mut dyn Replies) -> Result<Result<Vec<u8>, Refusal>, Error> {
    match read_fence_of(FENCE_QUEUED, 1, replies)? {
        Ok(Value::BulkString(held)) => Ok(Ok(held)),
        Ok(other) => Err(unexpected("GET", &other)),
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// Reads the replies to [`Marker::fence_asking`]: what the marker held, if it is there.
///
/// # Errors
/// As for [`read_fence`].
pub fn read_fence_asking(
    replies: &mut dyn Replies,
) -> Result<Result<Option<Vec<u8>>, Refusal>, Error> {
    match read_fence_of(FENCE_ASKING_QUEUED, 2, replies)? {
        Ok(Value::BulkString(held)) => Ok(Ok(Some(held))),
        Ok(Value::Nil) => Ok(Ok(None)),
        Ok(other) => Err(unexpected("GET", &other)),
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// The last result of EXEC, before and after which come so many replies; the first no, if any is one.
fn read_fence_of(
    before: usize,
    after: usize,
    replies: &mut dyn Replies,
) -> Result<Result<Value, Refusal>, Error> {
    let mut all = Vec::with_capacity(before + 1 + after);
    for _ in 0..before + 1 + after {
        all.push(replies.next()?);
    }
    // EXECABORT only repeats that an earlier command was refused, which says why.
    if let Some(refusal) = all.iter().find_map(refusal) {
        return Ok(Err(refusal));
    }
    let exec = all.into_iter().nth(before).unwrap_or(Value::Nil);
    let Value::Array(mut results) = exec else { return Err(unexpected("EXEC", &exec)) };
    match results.iter().find_map(refusal) {
        Some(refusal) => Ok(Err(refusal)),
        None => Ok(Ok(results.pop().unwrap_or(Value::Nil))),
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

impl FlushResult {
    /// The server's word that nothing is written because the slot is, or is about to be, elsewhere.
    pub fn redirection(&self) -> Option<&Refusal> {
        let Self::Aborted { failures, refusal } = self else { return None };
        let all = failures.iter().map(|(_, refusal)| refusal).chain([refusal]);
        all.into_iter().find(|refusal| refusal.is_redirection())
    }
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

/// Which replies belong to a flush.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Whether the reply to MULTI has been read already.
    pub is_open: bool,
    /// Commands that store a record.
    pub records: usize,
    /// Commands that trim.
    pub trims: usize,
}

/// Reads the replies to a flush: MULTI, one for each record, one for each trimming, the marker's SET,
/// EXEC, WATCH.
///
/// # Errors
/// The connection's, or a reply that cannot stand where it does: then nothing that the server says
/// about this flush can be trusted.
pub fn read_flush(shape: Shape, replies: &mut dyn Replies) -> Result<FlushResult, Error> {
    let result = read_part(shape, replies)?;
    // Without a guard the next flush could not be told from a late one.
    match read_ok("WATCH", replies)? {
        None => Ok(result),
        Some(refusal) => Err(Error { drops_connection: true, ..Error::refused("WATCH", &refusal) }),
    }
}

/// The same up to EXEC.
///
/// # Errors
/// As for [`read_flush`].
pub fn read_part(shape: Shape, replies: &mut dyn Replies) -> Result<FlushResult, Error> {
    let Shape { is_open, records, trims } = shape;
    let multi = if is_open { None } else { read_open(replies)? };
    let mut failures = Vec::new();
    // Without MULTI each command is executed at once.
    let skip = if multi.is_some() { skip_ids } else { skip_queued };
    read_records(records, replies, skip, &mut failures)?;
    let mut marker = None;
    for _ in 0..=trims {
        let reply = replies.next()?;
        match (&reply, refusal(&reply)) {
            (_, Some(refusal)) => marker = marker.or(Some(refusal)),
            (Value::SimpleString(text), None) if text == "QUEUED" => {}
            (Value::Okay | Value::Int(_), None) if multi.is_some() => {}
            (other, None) => return Err(unexpected("XTRIM or SET", other)),
        }
    }
    let result = match (multi, replies.enter_array()?) {
        (Some(refusal), None) => {
            replies.next()?;
            FlushResult::Unprotected { failures, refusal }
        }
        (None, Some(results))
            if failures.is_empty() && marker.is_none() && results == records + trims + 1 =>
        {
            read_records(records, replies, skip_ids, &mut failures)?;
            for _ in 0..trims {
                // Where it fails, so does the record's command on that key, which says more.
                replies.next()?;
            }
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
    Ok(result)
}

/// Reads the reply to MULTI: nothing, or the server's no.
///
/// # Errors
/// The connection's, or a reply that MULTI cannot have.
pub fn read_open(replies: &mut dyn Replies) -> Result<Option<Refusal>, Error> {
    read_ok("MULTI", replies)
}

/// Reads the reply to a command that is answered with OK: nothing, or the server's no.
///
/// # Errors
/// The connection's, or a reply that the command cannot have.
pub fn read_ok(command: &str, replies: &mut dyn Replies) -> Result<Option<Refusal>, Error> {
    match replies.next()? {
        Value::Okay => Ok(None),
        other => refusal(&other).map(Some).ok_or_else(|| unexpected(command, &other)),
    }
}

fn skip_queued(replies: &mut dyn Replies, max: usize) -> Result<usize, Error> {
    replies.skip_queued(max)
}

fn skip_ids(replies: &mut dyn Replies, max: usize) -> Result<usize, Error> {
    replies.skip_ids(max)
}

/// Reads one reply for each record: `skip` passes over the good ones, every other must be an error.
fn read_records(
    records: usize,
    replies: &mut dyn Replies,
    skip: fn(&mut dyn Replies, usize) -> Result<usize, Error>,
    failures: &mut Vec<(usize, Refusal)>,
) -> Result<(), Error> {
    let mut place = 0;
    while place < records {
        place += skip(replies, records - place)?;
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
