//! From a record's bytes to the fields of a stream entry, or the reason why not. Nothing here knows
//! about keys, commands or connections.
#![forbid(unsafe_code)]

mod numbering;
mod words;

pub use numbering::{Number, Numbering};
pub use words::words;

use crate::params::{Layout, RecordFormat, Store};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Why a record cannot be stored as configured. Its text goes to the dead letter and, without the
/// record, into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing; where JSON is asked for, also nothing but blanks.
    Empty,
    /// Longer than `record.maxbytes`.
    TooLong {
        /// The record's length in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Not UTF-8, and so not JSON.
    NotUtf8 {
        /// Bytes before the first wrong one.
        at: usize,
    },
    /// Not JSON.
    NotJson {
        /// What the parser says, without the record's content.
        why: String,
    },
    /// JSON, but no object.
    NotAnObject,
    /// An object without members; a stream entry needs a field.
    NoMembers,
    /// The template made an empty key.
    EmptyKey,
    /// It cannot be stored by the transaction that acknowledges or deletes its entry.
    OtherSlot {
        /// The slot of the record's key.
        record: u16,
        /// The slot of the stream that it came from.
        entry: u16,
    },
    /// It has to be a command, and cannot be read as one.
    NotACommand {
        /// What is wrong, without the record's content.
        why: &'static str,
    },
    /// A command that the connection or the transaction would not survive.
    Forbidden {
        /// The command's name.
        command: &'static str,
    },
    /// The plugin's own code failed on it.
    Internal,
    /// The server refused this record's command.
    RefusedByServer {
        /// The server's words.
        why: String,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("record is empty"),
            Self::TooLong { bytes, limit } => {
                write!(f, "record has {bytes} bytes, record.maxbytes allows {limit}")
            }
            Self::NotUtf8 { at } => write!(f, "record is not UTF-8 after byte {at}"),
            Self::NotJson { why } => write!(f, "record is not JSON: {why}"),
            Self::NotAnObject => f.write_str("record is JSON but not an object"),
            Self::NoMembers => f.write_str("record is an object without members"),
            Self::EmptyKey => f.write_str("the template of the key made an empty text"),
            Self::OtherSlot { record, entry } => write!(
                f,
                "the record's key is in slot {record} of the cluster and the stream that it came from in slot \
                 {entry}, but one transaction stores the record and acknowledges or deletes its entry, and \
                 that is in one slot: give both names the same text in braces"
            ),
            Self::NotACommand { why } => write!(f, "record is not a command: {why}"),
            Self::Forbidden { command } => {
                write!(f, "{command} has no place in a transaction of many records")
            }
            Self::Internal => f.write_str("internal error of omvalkeyaudit, please report it"),
            Self::RefusedByServer { why } => write!(f, "server refused the record: {why}"),
        }
    }
}

/// What the action's templates made of one message. What is no template's is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Texts<'t> {
    /// The record.
    pub record: &'t [u8],
    /// The dynamic key.
    pub key: &'t [u8],
    /// Where it comes from.
    pub origin: OriginTexts<'t>,
}

/// The entry of another stream that a record came from, as far as the record tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OriginTexts<'t> {
    /// The stream's key.
    pub key: &'t [u8],
    /// The consumer group.
    pub group: &'t [u8],
    /// The entry's id.
    pub index: &'t [u8],
}

/// Gives each field of the record, in order, to `field`, and picks its number up. On a flaw some fields may have been given
/// already; the caller throws them away.
///
/// # Errors
/// The flaw that makes it a dead letter.
pub fn fields(
    settings: &Store,
    record: &[u8],
    mut numbering: Option<&mut Numbering>,
    field: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<(), Flaw> {
    if settings.layout == Layout::Record {
        verbatim(settings, record, numbering)?;
        field(settings.out_field.as_bytes(), record);
        return Ok(());
    }
    check_length(settings, record, &mut numbering)?;
    members(record, numbering, field)
}

/// Sees whether the record is what it must be, and picks its number up.
///
/// # Errors
/// The flaw that makes it a dead letter.
pub fn verbatim(
    settings: &Store,
    record: &[u8],
    mut numbering: Option<&mut Numbering>,
) -> Result<(), Flaw> {
    check_length(settings, record, &mut numbering)?;
    if settings.format == RecordFormat::Json {
        check(record, object(record)?)?;
        if let Some(numbering) = numbering {
            numbering.scan(record);
        }
    }
    Ok(())
}

fn check_length(
    settings: &Store,
    record: &[u8],
    numbering: &mut Option<&mut Numbering>,
) -> Result<(), Flaw> {
    if let Some(numbering) = numbering {
        numbering.clear();
    }
    if record.len() > settings.max_record_bytes {
        return Err(Flaw::TooLong { bytes: record.len(), limit: settings.max_record_bytes });
    }
    if record.is_empty() { Err(Flaw::Empty) } else { Ok(()) }
}

/// The cookie that CEE syslog puts before a JSON text.
const CEE_COOKIE: &str = "@cee:";

/// The text of what should be a JSON object: all of the record behind blanks and a cookie.
fn object(record: &[u8]) -> Result<&str, Flaw> {
    let text =
        std::str::from_utf8(record).map_err(|error| Flaw::NotUtf8 { at: error.valid_up_to() })?;
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(CEE_COOKIE).unwrap_or(text).trim_ascii_start();
    if text.is_empty() {
        return Err(Flaw::Empty);
    }
    if text.starts_with('{') {
        return Ok(text);
    }
    // Any other JSON value would fail in the visitor too; this tells garbage from a list.
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Err(Flaw::NotAnObject),
        Err(error) => Err(not_json(&error, record, text, place(text, &error))),
    }
}

/// Sees whether the text is an object with members; in one go, which takes little more than half of
/// the time of going from member to member. Nesting costs no stack.
fn check(record: &[u8], text: &str) -> Result<(), Flaw> {
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|error| not_json(&error, record, text, place(text, &error)))?;
    let inner = text.strip_prefix('{').unwrap_or(text);
    if inner.trim_ascii_start().starts_with('}') { Err(Flaw::NoMembers) } else { Ok(()) }
}

/// Gives each member of the record's object as a field.
fn members(
    record: &[u8],
    numbering: Option<&mut Numbering>,
    field: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<(), Flaw> {
    let text = object(record)?;
    let mut misfit = None;
    // No tree is built: nesting is bounded by nothing but the record's length.
    let mut json = serde_json::Deserializer::from_str(text);
    let count = json
        .deserialize_map(Members { field, numbering, text, misfit: &mut misfit })
        .and_then(|count| json.end().map(|()| count))
        .map_err(|error| {
            let (error, at) = misfit.unwrap_or_else(|| {
                let at = place(text, &error);
                (error, at)
            });
            not_json(&error, record, text, at)
        })?;
    if count == 0 { Err(Flaw::NoMembers) } else { Ok(()) }
}

/// Where in `text` the parser stopped, in bytes from 1; it counts lines, which a record may have.
fn place(text: &str, error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    lines.map(str::len).sum::<usize>() + error.column()
}

/// The parser's complaint by kind and place: its own text could repeat parts of the record. `at` is
/// the place in `text`, which is the end of `record`.
fn not_json(error: &serde_json::Error, record: &[u8], text: &str, at: usize) -> Flaw {
    use serde_json::error::Category;
    let what = match error.classify() {
        Category::Eof => "it ends too early",
        Category::Syntax => "syntax error",
        Category::Data | Category::Io => "unusable value",
    };
    let at = record.len() - text.len() + at;
    Flaw::NotJson { why: format!("{what} at byte {at}") }
}

/// Hands each member on as a field.
struct Members<'f, 'de> {
    field: &'f mut dyn FnMut(&[u8], &[u8]),
    numbering: Option<&'f mut Numbering>,
    text: &'de str,
    /// Why a value cannot be a field, and where: the visitor's own error cannot carry it.
    misfit: &'f mut Option<(serde_json::Error, usize)>,
}

impl<'de> Visitor<'de> for Members<'_, 'de> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<usize, A::Error> {
        let mut count = 0;
        while let Some(name) = map.next_key_seed(Name)? {
            let value: &RawValue = map.next_value()?;
            let value = match plain(value.get()) {
                Ok(plain) => plain,
                Err(error) => {
                    let start = value.get().as_ptr().addr() - self.text.as_ptr().addr();
                    let at = start + place(value.get(), &error);
                    *self.misfit = Some((error, at));
                    return Err(A::Error::custom("unusable value"));
                }
            };
            (self.field)(name.as_bytes(), value.as_bytes());
            if let Some(numbering) = &mut self.numbering {
                numbering.see(name.as_bytes(), value.as_bytes());
            }
            count += 1;
        }
        Ok(count)
    }
}

/// A member's name, borrowed from the record where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// A member's value as a field: strings without quotes and escapes, objects and arrays as compact
/// JSON, everything else as it is written.
fn plain(json: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    match json.as_bytes().first() {
        Some(b'"') => {
            let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            match inner {
                Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
                _ => serde_json::from_str(json).map(Cow::Owned),
            }
        }
        Some(b'{' | b'[') => Ok(compact(json)),
        _ => Ok(Cow::Borrowed(json)),
    }
}

/// Takes the blanks between the tokens of valid JSON out.
fn compact(json: &str) -> Cow<'_, str> {
    if !json.contains([' ', '\t', '\r', '\n']) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut is_escaped) = (false, false);
    for c in json.chars() {
        if !in_string && matches!(c, ' ' | '\t' | '\r' | '\n') {
            continue;
        }
        if is_escaped {
            is_escaped = false;
        } else if in_string && c == '\\' {
            is_escaped = true;
        } else if c == '"' {
            in_string = !in_string;
        }
        out.push(c);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
