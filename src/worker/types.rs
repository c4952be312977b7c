//! The types of keys, asked of one server: what a look-up goes by where only the replies to a flush could say
//! more.
#![forbid(unsafe_code)]

use super::settle::Types;
use crate::commands::{Replies, refusal, unexpected};
use crate::error::{Error, Refusal};
use crate::server::{Connection, Deadline};
use redis::Value;

/// Asks the one server that has all keys.
pub(super) fn types(
    session: &mut impl Connection,
    keys: Vec<Vec<u8>>,
    deadline: Deadline,
) -> Result<Types, Error> {
    let answers = ask_types(session, &keys, &[], deadline)?;
    let answers = keys.into_iter().zip(answers).map(|(key, answer)| match answer {
        Ok(kind) => Ok((key, kind)),
        // A connection is kept only when no look-up is left to do.
        Err(refusal) => Err(Error { drops_connection: true, ..cannot_look_up(&refusal) }),
    });
    answers.collect()
}

/// The answer to each TYPE, before which the server gets `prefix`, whose replies are passed over.
pub(super) fn ask_types(
    session: &mut impl Connection,
    keys: &[Vec<u8>],
    prefix: &[u8],
    deadline: Deadline,
) -> Result<Vec<Result<String, Refusal>>, Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut wire = Vec::new();
    for key in keys {
        wire.extend_from_slice(prefix);
        redis::cmd("TYPE").arg(key).write_packed_command(&mut wire);
    }
    session.send(&[&wire], deadline)?;
    let mut replies = session.replies(deadline);
    let mut answers = Vec::with_capacity(keys.len());
    for _ in keys {
        if !prefix.is_empty() {
            replies.next()?;
        }
        answers.push(match replies.next()? {
            Value::SimpleString(name) => Ok(name),
            other => Err(refusal(&other).ok_or_else(|| unexpected("TYPE", &other))?),
        });
    }
    Ok(answers)
}

pub(super) fn cannot_look_up(refusal: &Refusal) -> Error {
    Error::refused("cannot look up a commit in doubt with TYPE", refusal)
}
