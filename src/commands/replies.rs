//! What the replies to a flush, and to a connection's first commands, mean.
#![forbid(unsafe_code)]

use super::plan::{Answer, Plan, Refusals};
use crate::error::{Cause, Error, Refusal};
use crate::params::Mode;
use redis::Value;

/// Replies to [`Marker::fence`](super::Marker::fence) before EXEC's: MULTI, three QUEUED.
const FENCE_QUEUED: usize = 4;

/// To [`Marker::fence_asking`](super::Marker::fence_asking): ASKING, MULTI, two QUEUED.
const FENCE_ASKING_QUEUED: usize = 4;

/// Reads the replies to [`Marker::fence`](super::Marker::fence): what the marker held, or the server's no;
/// `each` sees every refusal, because more than one right may be missing.
///
/// # Errors
/// The connection's, or a reply that cannot stand where it does.
pub fn read_fence(
    replies: &mut dyn Replies,
    each: &mut dyn FnMut(&Refusal),
) -> Result<Result<Vec<u8>, Refusal>, Error> {
    match read_fence_of(FENCE_QUEUED, 1, replies, each)? {
        Ok(Value::BulkString(held)) => Ok(Ok(held)),
        Ok(other) => Err(unexpected("GET", &other)),
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// Reads the replies to [`Marker::fence_asking`](super::Marker::fence_asking): what the marker held, if it is there.
///
/// # Errors
/// As for [`read_fence`].
pub fn read_fence_asking(
    replies: &mut dyn Replies,
) -> Result<Result<Option<Vec<u8>>, Refusal>, Error> {
    match read_fence_of(FENCE_ASKING_QUEUED, 2, replies, &mut |_| {})? {
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
    each: &mut dyn FnMut(&Refusal),
) -> Result<Result<Value, Refusal>, Error> {
    let mut all = Vec::with_capacity(before + 1 + after);
    for _ in 0..before + 1 + after {
        all.push(replies.next()?);
    }
    all.iter().filter_map(refusal).for_each(|refusal| each(&refusal));
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

/// What became of a flush.
#[derive(Debug, PartialEq, Eq)]
pub enum FlushResult {
    /// EXEC ran; all commands but these did their work.
    Executed {
        /// The commands that failed inside EXEC.
        refusals: Refusals,
    },
    /// Nothing is written.
    Aborted {
        /// The commands that were refused before EXEC; they are the reason.
        refusals: Refusals,
        /// What EXEC, or the marker's command, answered.
        refusal: Refusal,
    },
    /// Nothing is written, because the marker was touched since the last flush.
    GuardBroken,
    /// MULTI was refused, and so each command went its own way; all but these did their work.
    Unprotected {
        /// The commands that failed.
        refusals: Refusals,
        /// What MULTI answered.
        refusal: Refusal,
    },
}

impl FlushResult {
    /// The server's word that nothing is written because the slot is, or is about to be, elsewhere.
    pub fn redirection(&self) -> Option<&Refusal> {
        let Self::Aborted { refusals, refusal } = self else { return None };
        let all = refusals.records.iter().chain(&refusals.asides).map(|(_, refusal)| refusal);
        all.chain([refusal]).find(|refusal| refusal.is_redirection())
    }

    /// Whether anything may be written.
    pub fn is_executed(&self) -> bool {
        matches!(self, Self::Executed { .. } | Self::Unprotected { .. })
    }

    /// The records that are not written, by their place, and why.
    pub fn failures(&self) -> &[(usize, Refusal)] {
        match self {
            Self::Executed { refusals }
            | Self::Aborted { refusals, .. }
            | Self::Unprotected { refusals, .. } => &refusals.records,
            Self::GuardBroken => &[],
        }
    }

    /// Whether a look-up, which sees the types of the keys and no other reason, would take a record for
    /// written that is not. The type of a key that was deleted since tells nothing but of a stream.
    pub fn is_beyond_look_up(&self, mode: Mode) -> bool {
        let is_seen =
            |refusal: &Refusal| refusal.cause() == Cause::WrongType && mode == Mode::Stream;
        self.failures().iter().any(|(_, refusal)| !is_seen(refusal))
    }
}

/// A source of replies. Nearly all replies to a flush are alike, so these have a way of their own that
/// builds no value for each.
pub trait Replies {
    /// The next reply, whatever it is.
    ///
    /// # Errors
    /// The connection, when it breaks or does not speak the protocol.
    fn next(&mut self) -> Result<Value, Error>;

    /// Passes over at most `max` successive replies of this kind and says how many there were; fewer
    /// mean that another reply comes next.
    ///
    /// # Errors
    /// As for [`Replies::next`].
    fn skip(&mut self, answer: Answer, max: usize) -> Result<usize, Error>;

    /// If an array comes next: enters it, and says how many replies it has.
    ///
    /// # Errors
    /// As for [`Replies::next`].
    fn enter_array(&mut self) -> Result<Option<usize>, Error>;
}

/// Reads the replies to a flush: MULTI, unless `is_open` says that it has been read, one for each
/// command of the plan, the marker's SET, EXEC, WATCH.
///
/// # Errors
/// The connection's, or a reply that cannot stand where it does: then nothing that the server says
/// about this flush can be trusted.
pub fn read_flush(
    plan: &Plan,
    is_open: bool,
    replies: &mut dyn Replies,
) -> Result<FlushResult, Error> {
    let result = read_part(plan, is_open, replies)?;
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
pub fn read_part(
    plan: &Plan,
    is_open: bool,
    replies: &mut dyn Replies,
) -> Result<FlushResult, Error> {
    let multi = if is_open { None } else { read_open(replies)? };
    let mut refusals = Refusals::default();
    // Without MULTI each command is executed at once.
    if multi.is_some() {
        read_answers(plan, replies, &mut refusals)?;
    } else {
        read_queued(plan, replies, &mut refusals)?;
    }
    let marker = read_marker(multi.is_some(), replies)?;
    let result = match (multi, replies.enter_array()?) {
        (Some(refusal), None) => {
            replies.next()?;
            FlushResult::Unprotected { refusals, refusal }
        }
        (None, Some(results))
            if refusals.is_empty() && marker.is_none() && results == plan.commands() + 1 =>
        {
            read_answers(plan, replies, &mut refusals)?;
            match replies.next()? {
                Value::Okay => FlushResult::Executed { refusals },
                other => return Err(unexpected("SET", &other)),
            }
        }
        (_, Some(_)) => return Err(unexpected("EXEC", &Value::Array(Vec::new()))),
        (None, None) => match replies.next()? {
            Value::Nil if refusals.is_empty() && marker.is_none() => FlushResult::GuardBroken,
            other => match (refusals.other.take().or(marker), refusal(&other)) {
                (Some(refusal), Some(_)) | (None, Some(refusal)) => {
                    FlushResult::Aborted { refusals, refusal }
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

/// Reads the reply to the marker's SET: nothing, or the server's no.
fn read_marker(is_executed: bool, replies: &mut dyn Replies) -> Result<Option<Refusal>, Error> {
    let reply = replies.next()?;
    match (&reply, refusal(&reply)) {
        (_, Some(refusal)) => Ok(Some(refusal)),
        (Value::SimpleString(text), None) if text == "QUEUED" => Ok(None),
        (Value::Okay, None) if is_executed => Ok(None),
        (other, None) => Err(unexpected("SET", other)),
    }
}

/// Reads what each command is answered with while it is queued.
fn read_queued(
    plan: &Plan,
    replies: &mut dyn Replies,
    refusals: &mut Refusals,
) -> Result<(), Error> {
    read_row(plan.commands(), Answer::Queued, replies, |command, refusal| {
        plan.blame(command, refusal, refusals);
    })?;
    refusals.records.sort_by_key(|(place, _)| *place);
    Ok(())
}

/// Reads what each command is answered with when it is executed.
fn read_answers(
    plan: &Plan,
    replies: &mut dyn Replies,
    refusals: &mut Refusals,
) -> Result<(), Error> {
    for run in plan.runs() {
        read_row(run.commands, run.answer, replies, |command, refusal| {
            plan.blame_in(run, command, refusal, refusals);
        })?;
    }
    refusals.records.sort_by_key(|(place, _)| *place);
    Ok(())
}

/// Reads so many replies, of which each is `answer` or a refusal.
fn read_row(
    count: usize,
    answer: Answer,
    replies: &mut dyn Replies,
    mut refused: impl FnMut(usize, Refusal),
) -> Result<(), Error> {
    let mut at = 0;
    while at < count {
        at += replies.skip(answer, count - at)?;
        if at < count {
            let reply = replies.next()?;
            refused(at, refusal(&reply).ok_or_else(|| unexpected("a command", &reply))?);
            at += 1;
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

/// The text that a reply is, if it is one.
pub fn text(reply: &Value) -> Option<&str> {
    match reply {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
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
