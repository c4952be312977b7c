//! What goes out for one record, in each mode.
#![forbid(unsafe_code)]

use super::origin::check_slot;
use super::pack::{self, Packer};
use super::plan::Answer;
use super::{DeadLetter, exactness};
use crate::params::{Key, Mode, Retention, Store};
use crate::record::{self, Flaw, Numbering, Texts};
use std::ops::Range;

/// Appends what stores a record at `key` to `wire`; its number goes to `numbering`. That is a whole command but
/// with `mode="queue"`, where it is an argument of one (see [`push`]).
///
/// # Errors
/// The record's flaw; `wire` is as before.
pub fn encode(
    settings: &Store,
    key: &[u8],
    texts: &Texts<'_>,
    numbering: Option<&mut Numbering>,
    wire: &mut Vec<u8>,
) -> Result<(), Flaw> {
    let record = texts.record;
    if key.is_empty() && settings.mode != Mode::Template {
        return Err(Flaw::EmptyKey);
    }
    check_slot(settings, key, texts)?;
    if settings.mode == Mode::Stream {
        return entry(settings, key, record, numbering, wire);
    }
    record::verbatim(settings, record, numbering)?;
    match settings.mode {
        Mode::Stream | Mode::Queue { .. } => pack::argument(wire, record),
        Mode::Publish => command(wire, &[b"PUBLISH", key, record]),
        Mode::Set { expiration_secs: None } => command(wire, &[b"SET", key, record]),
        Mode::Set { expiration_secs: Some(secs) } => {
            let secs = secs.to_string();
            command(wire, &[b"SET", key, record, b"EX", secs.as_bytes()]);
        }
        Mode::Template => return line(record, wire),
    }
    Ok(())
}

/// What the server answers where that has done its work.
pub fn answer(mode: Mode) -> Answer {
    match mode {
        Mode::Stream => Answer::Id,
        Mode::Queue { .. } | Mode::Publish => Answer::Count,
        Mode::Set { .. } => Answer::Ok,
        Mode::Template => Answer::Any,
    }
}

/// Whether a command that has stored a record can have succeeded, by the type that its key has now;
/// `None` where the type says nothing, because the command fits any.
///
/// A stream that is not there has lost its entries or never had them: writing again is right in both
/// cases. A list is gone as soon as somebody has taken its last element.
pub fn can_have_stored(mode: Mode, is_dead_letter: bool) -> Option<fn(&str) -> bool> {
    match mode {
        _ if is_dead_letter => Some(|kind| kind == "stream"),
        Mode::Stream => Some(|kind| kind == "stream"),
        Mode::Queue { .. } => Some(|kind| matches!(kind, "list" | "none")),
        Mode::Publish | Mode::Set { .. } | Mode::Template => None,
    }
}

/// Where a record goes that brings `dynamic`.
pub fn key<'k>(settings: &'k Store, dynamic: &'k [u8]) -> &'k [u8] {
    resolve(&settings.key, dynamic)
}

pub(super) fn resolve<'k>(key: &'k Key, dynamic: &'k [u8]) -> &'k [u8] {
    match key {
        Key::Fixed(text) => text.as_bytes(),
        Key::Dynamic { .. } => dynamic,
    }
}

/// Appends the XADD of a record.
fn entry(
    settings: &Store,
    key: &[u8],
    record: &[u8],
    numbering: Option<&mut Numbering>,
    wire: &mut Vec<u8>,
) -> Result<(), Flaw> {
    let mut command = Packer::new(wire);
    command.arg(b"XADD").arg(key);
    if let Retention::Entries(entries) = settings.trim.retention {
        let entries = entries.to_string();
        command.arg(b"MAXLEN").arg(exactness(settings.trim).as_bytes()).arg(entries.as_bytes());
    }
    command.arg(b"*");
    let mapped = record::fields(settings, record, numbering, &mut |name, value| {
        command.arg(name).arg(value);
    });
    match mapped {
        Ok(()) => {
            command.finish();
            Ok(())
        }
        Err(flaw) => {
            command.discard();
            Err(flaw)
        }
    }
}

/// What would leave the transaction, or make the connection another one than the replies are read on.
const FORBIDDEN: &[&str] = &[
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH",
    "UNWATCH",
    "RESET",
    "QUIT",
    "HELLO",
    "AUTH",
    "SELECT",
    "CLIENT",
    "MONITOR",
    "SUBSCRIBE",
    "PSUBSCRIBE",
    "SSUBSCRIBE",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE",
    "SUNSUBSCRIBE",
    "SYNC",
    "PSYNC",
    "REPLCONF",
    "READONLY",
    "READWRITE",
    "ASKING",
    "SHUTDOWN",
];

/// Appends the command that a record is.
fn line(record: &[u8], wire: &mut Vec<u8>) -> Result<(), Flaw> {
    let mut command = Packer::new(wire);
    let mut name = None;
    let split = record::words(record, &mut |word| {
        name.get_or_insert_with(|| forbidden(word));
        command.arg(word);
    });
    let flaw = match (split, name.flatten()) {
        (Err(flaw), _) => flaw,
        (Ok(_), Some(command)) => Flaw::Forbidden { command },
        (Ok(_), None) => {
            command.finish();
            return Ok(());
        }
    };
    command.discard();
    Err(flaw)
}

fn forbidden(name: &[u8]) -> Option<&'static str> {
    FORBIDDEN.iter().copied().find(|command| command.as_bytes().eq_ignore_ascii_case(name))
}

pub(super) fn command(wire: &mut Vec<u8>, arguments: &[&[u8]]) {
    let mut command = Packer::new(wire);
    for argument in arguments {
        command.arg(argument);
    }
    command.finish();
}

/// Appends one command that pushes all of these arguments, each of which [`encode`] has made.
pub fn push<'a>(
    at_tail: bool,
    key: &[u8],
    arguments: impl ExactSizeIterator<Item = &'a [u8]>,
    wire: &mut Vec<u8>,
) {
    pack::count(wire, arguments.len() + 2);
    pack::argument(wire, if at_tail { b"RPUSH" } else { b"LPUSH" });
    pack::argument(wire, key);
    for argument in arguments {
        wire.extend_from_slice(argument);
    }
}

/// Appends the XADD of a dead letter to `wire` and returns where it stands.
pub fn dead_letter(letter: &DeadLetter<'_>, wire: &mut Vec<u8>) -> Range<usize> {
    let mut command = Packer::new(wire);
    command.arg(b"XADD").arg(letter.key).arg(b"*");
    command.arg(b"record").arg(letter.record);
    command.arg(b"reason").arg(letter.reason.as_bytes());
    command.arg(b"action").arg(letter.action.as_bytes());
    command.arg(b"received").arg(letter.received.as_bytes());
    command.finish()
}
