//! The module's parameters: the table that declares them, and the settings that the values become.
#![forbid(unsafe_code)]

mod table;

pub use table::{Kind, Parameter, TABLE};

use std::fmt;

use table::{CLASSES, EVENTS};

use crate::event::{Kind as EventKind, Kinds};
use crate::filter::{Addresses, Commands, Names};

/// Where the records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Unix(String),
    Tcp { host: String, port: u16 },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Unix(path) => write!(f, "unix:{path}"),
            Target::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// How much of a command is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    Full,
    Keys,
    None,
}

/// Commands that are recorded whatever the filters say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Auth = 1,
    Acl = 2,
    Config = 4,
}

/// All values.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) target: Target,
    pub(crate) events: Kinds,
    pub(crate) payload: Payload,
    always: u8,
    pub(crate) users: Names,
    pub(crate) commands: Commands,
    pub(crate) addresses: Addresses,
    pub(crate) argv_count: usize,
    pub(crate) argv_length: usize,
    pub(crate) record_length: usize,
    pub(crate) buffer_bytes: usize,
    pub(crate) heartbeat_seconds: u64,
    pub(crate) drain_ms: u64,
    /// The values as they were given, in the table's order.
    texts: Vec<String>,
}

impl Settings {
    /// The defaults.
    pub(crate) fn new() -> Self {
        let mut settings = Settings {
            target: Target::Unix(String::new()),
            events: Kinds::default(),
            payload: Payload::Full,
            always: 0,
            users: Names::default(),
            commands: Commands::default(),
            addresses: Addresses::default(),
            argv_count: 0,
            argv_length: 0,
            record_length: 0,
            buffer_bytes: 0,
            heartbeat_seconds: 0,
            drain_ms: 0,
            texts: vec![String::new(); TABLE.len()],
        };
        for parameter in TABLE {
            let outcome = settings.set(parameter.name, parameter.default);
            debug_assert_eq!(outcome, Ok(()), "the defaults are valid");
        }
        settings
    }

    /// Whether commands of this class are recorded whatever the filters say.
    pub(crate) fn has_always(&self, class: Class) -> bool {
        self.always & class as u8 != 0
    }

    /// A parameter's value as it was given.
    pub(crate) fn text(&self, index: usize) -> &str {
        self.texts.get(index).map_or("", String::as_str)
    }

    /// Takes a value, or says in a sentence why not; nothing has changed then.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let index = TABLE.iter().position(|parameter| parameter.name == name);
        let Some((index, parameter)) = index.and_then(|at| Some((at, TABLE.get(at)?))) else {
            return Err(format!("there is no parameter auditsource.{name}"));
        };
        self.take(parameter, value).ok_or_else(|| {
            let allowed = parameter.kind.allowed().replace('`', "\"");
            format!("auditsource.{name} has the value \"{value}\", but it must be {allowed}")
        })?;
        if let Some(text) = self.texts.get_mut(index) {
            value.clone_into(text);
        }
        Ok(())
    }

    fn take(&mut self, parameter: &Parameter, value: &str) -> Option<()> {
        let kind = parameter.kind;
        let size = |value| usize::try_from(number(kind, value)?).ok();
        match parameter.name {
            "target" => self.target = target(value)?,
            "events" => {
                let words = words(EVENTS, value)?;
                let chosen = EventKind::ALL.into_iter().filter(|kind| words.contains(&kind.name()));
                self.events = chosen.fold(Kinds::default(), Kinds::with);
            }
            "payload" => {
                self.payload = match value {
                    "full" => Payload::Full,
                    "keys" => Payload::Keys,
                    "none" => Payload::None,
                    _ => return None,
                }
            }
            "always" => {
                let bit = |word: &&str| match *word {
                    "auth" => Class::Auth as u8,
                    "acl" => Class::Acl as u8,
                    _ => Class::Config as u8,
                };
                self.always = words(CLASSES, value)?.iter().map(bit).fold(0, |all, bit| all | bit);
            }
            "users" => self.users = Names::parse(value)?,
            "commands" => self.commands = Commands::parse(value)?,
            "addresses" => self.addresses = Addresses::parse(value)?,
            "argv-count" => self.argv_count = size(value)?,
            "argv-length" => self.argv_length = size(value)?,
            "record-length" => self.record_length = size(value)?,
            "buffer" => self.buffer_bytes = size(value)?,
            "heartbeat" => self.heartbeat_seconds = number(kind, value)?,
            "drain" => self.drain_ms = number(kind, value)?,
            _ => return None,
        }
        Some(())
    }
}

fn target(value: &str) -> Option<Target> {
    /// What fits into a socket's address, with its terminating NUL.
    const LONGEST_PATH: usize = 107;
    if let Some(path) = value.strip_prefix("unix:") {
        let is_path = path.starts_with('/') && path.len() <= LONGEST_PATH && !path.contains('\0');
        return is_path.then(|| Target::Unix(path.into()));
    }
    let (host, port) = value.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    is_host.then(|| Target::Tcp { host: host.into(), port })
}

fn words(allowed: &'static [&'static str], value: &str) -> Option<Vec<&'static str>> {
    match value {
        "all" => Some(allowed.to_vec()),
        "none" => Some(Vec::new()),
        "" => None,
        value => {
            let find = |word| allowed.iter().find(|allowed| **allowed == word).copied();
            value.split_whitespace().map(find).collect()
        }
    }
}

fn number(kind: Kind, value: &str) -> Option<u64> {
    let (min, max, text, factor) = match kind {
        Kind::Bytes(min, max) => {
            let lower = value.to_ascii_lowercase();
            let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let factor: u64 = match lower.strip_prefix(digits)? {
                "" | "b" => 1,
                "k" => 1000,
                "kb" => 1 << 10,
                "m" => 1_000_000,
                "mb" => 1 << 20,
                "g" => 1_000_000_000,
                "gb" => 1 << 30,
                _ => return None,
            };
            (min, max, digits.to_owned(), factor)
        }
        Kind::Count(min, max) => (min, max, value.to_owned(), 1),
        _ => return None,
    };
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = text.parse::<u64>().ok()?.checked_mul(factor)?;
    (min..=max).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Oracle: the table's defaults, read by hand.
    #[test]
    fn the_defaults_are_what_the_table_says() {
        let settings = Settings::new();
        assert_eq!(settings.target, Target::Unix("/run/rsyslog-audit.sock".into()));
        assert!(EventKind::ALL.into_iter().all(|kind| settings.events.has(kind)));
        assert!(
            [Class::Auth, Class::Acl, Class::Config].map(|c| settings.has_always(c)) == [true; 3]
        );
        let lengths = [settings.argv_count, settings.argv_length, settings.record_length];
        assert_eq!(lengths, [64, 1024, 8000]);
        assert_eq!((settings.buffer_bytes, settings.heartbeat_seconds), (16 << 20, 10));
    }

    // Oracle: a wrong value for each parameter, and the sentence that names parameter, value and what is
    // allowed.
    #[test]
    fn a_wrong_value_is_refused_with_a_sentence_and_changes_nothing() {
        for parameter in TABLE {
            let wrong: &[&str] = match parameter.kind {
                Kind::Target => {
                    &["", "unix:", "unix:relative", "host", "host:0", "host:70000", ":1", "a b:1"]
                }
                Kind::Words(_) => &["", "sucess", "success,failure", "Success"],
                Kind::Choice(_) => &["", "half", "Full"],
                Kind::Users => &["!", "a !"],
                Kind::Commands => &["!", "@", "!@"],
                Kind::Addresses => &["10.0.0.0/33", "1.2.3", "::1/129", "!", "host", "1.2.3.4/-1"],
                Kind::Count(..) => &["", "-1", "1.5", "ten", "99999999", "+5"],
                Kind::Bytes(..) => &["", "-1", "1 kb", "1tb", "99gb", "kb", "0"],
            };
            for value in wrong {
                let mut settings = Settings::new();
                let before = format!("{settings:?}");
                let sentence = settings.set(parameter.name, value).expect_err(parameter.name);
                let begin =
                    format!("auditsource.{} has the value \"{value}\", but", parameter.name);
                assert!(sentence.starts_with(&begin), "{sentence}");
                assert_eq!(format!("{settings:?}"), before, "{} {value}", parameter.name);
            }
        }
    }

    // Oracle: valkey.conf's own units, where k is 1000 and kb is 1024.
    #[test]
    fn sizes_are_read_as_valkey_reads_them() {
        let kind = Kind::Bytes(1, u64::MAX);
        for (text, bytes) in [("5", 5), ("5b", 5), ("5k", 5000), ("5kb", 5120), ("5MB", 5 << 20)] {
            assert_eq!(number(kind, text), Some(bytes), "{text}");
        }
        assert_eq!(number(kind, "18446744073709551615kb"), None);
    }

    // Oracle: the forms that the reference names.
    #[test]
    fn targets_are_unix_paths_and_host_and_port() {
        let tcp = |host: &str| Some(Target::Tcp { host: host.into(), port: 601 });
        assert_eq!(target("unix:/a b"), Some(Target::Unix("/a b".into())));
        assert_eq!(target("log.example:601"), tcp("log.example"));
        assert_eq!(target("[::1]:601"), tcp("::1"));
        assert_eq!(target("127.0.0.1:601"), tcp("127.0.0.1"));
    }
}
