//! The one declaration of every parameter. Registration, checks, error texts, the README's reference and the
//! tests read this table.
#![forbid(unsafe_code)]

use std::fmt;

/// What a parameter's value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `unix:/path` or `host:port`.
    Target,
    /// Some of these words, `all` or `none`.
    Words(&'static [&'static str]),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// User names.
    Users,
    /// Commands and ACL categories.
    Commands,
    /// Addresses, networks and `unix`.
    Addresses,
    /// A whole number in this range.
    Count(u64, u64),
    /// A number of bytes in this range; `k`, `kb`, `m`, `mb`, `g` and `gb` as in valkey.conf.
    Bytes(u64, u64),
}

impl Kind {
    /// What values it takes, for the reference and for error texts.
    #[must_use]
    pub fn allowed(self) -> String {
        match self {
            Kind::Target => "`unix:/path` or `host:port`".into(),
            Kind::Words(words) => format!("some of `{}`, `all` or `none`", words.join("`, `")),
            Kind::Choice(words) => format!("one of `{}`", words.join("`, `")),
            Kind::Users => "user names, a leading `!` excludes; empty for all".into(),
            Kind::Commands => {
                "commands and `@categories`, a leading `!` excludes; empty for all".into()
            }
            Kind::Addresses => {
                "IP addresses, networks such as `10.0.0.0/8`, and `unix`, a leading `!` excludes; \
                 empty for all"
                    .into()
            }
            Kind::Count(min, max) => format!("a whole number from {min} to {max}"),
            Kind::Bytes(min, max) => {
                format!("a number of bytes from {} to {}", Unit(min), Unit(max))
            }
        }
    }
}

/// A number of bytes as one writes it in valkey.conf.
struct Unit(u64);

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 30 && bytes % (1 << 30) == 0 => write!(f, "{}gb", bytes >> 30),
            bytes if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => write!(f, "{}mb", bytes >> 20),
            bytes if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => write!(f, "{}kb", bytes >> 10),
            bytes => write!(f, "{bytes}"),
        }
    }
}

/// One parameter; in valkey.conf and for CONFIG SET its name is `auditsource.` and this one.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Without the module's name.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The value it has when it is not given.
    pub default: &'static str,
    /// Whether it can be given at the start only.
    pub is_fixed: bool,
    /// What it does, in one sentence.
    pub about: &'static str,
}

/// The words of `events`.
pub(super) const EVENTS: &[&str] = &["success", "failure", "rejected", "acl_denied"];
const PAYLOADS: &[&str] = &["full", "keys", "none"];
/// The words of `always`.
pub(super) const CLASSES: &[&str] = &["auth", "acl", "config"];

const fn parameter(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    about: &'static str,
) -> Parameter {
    Parameter { name, kind, default, is_fixed: false, about }
}

/// All parameters.
pub const TABLE: &[Parameter] = &[
    parameter("target", Kind::Target, "unix:/run/rsyslog-audit.sock", "Where the records go."),
    parameter(
        "events",
        Kind::Words(EVENTS),
        "all",
        "Which outcomes are recorded; the server does not even report the others, so they cost nothing.",
    ),
    parameter(
        "payload",
        Kind::Choice(PAYLOADS),
        "full",
        "How much of a command is shown: all arguments; its name and keys; its name only. What `always` \
         names keeps its arguments.",
    ),
    parameter(
        "always",
        Kind::Words(CLASSES),
        "all",
        "What is recorded whatever the filters say: logging in (AUTH, HELLO, RESET), changes of users \
         (ACL), changes of the configuration and of modules.",
    ),
    parameter("users", Kind::Users, "", "Record commands of these users only."),
    parameter("commands", Kind::Commands, "", "Record these commands only."),
    parameter("addresses", Kind::Addresses, "", "Record commands from these addresses only."),
    parameter(
        "argv-count",
        Kind::Count(1, 65_536),
        "64",
        "Show so many arguments of a command; the others are left out and counted.",
    ),
    parameter("argv-length", Kind::Bytes(1, 262_144), "1kb", "Show so many bytes of an argument."),
    parameter(
        "record-length",
        Kind::Bytes(1024, 262_144),
        "8000",
        "The longest record; arguments are cut to keep it. rsyslog's maxMessageSize, 8 kB unless \
         somebody raised it, must not be smaller.",
    ),
    Parameter {
        is_fixed: true,
        ..parameter(
            "buffer",
            Kind::Bytes(1 << 20, 1 << 32),
            "16mb",
            "Memory for records that are not yet taken by the target, rounded up to a power of two; only \
             at the start.",
        )
    },
    parameter(
        "heartbeat",
        Kind::Count(0, 86_400),
        "10",
        "Send a heartbeat record every so many seconds; 0 sends none.",
    ),
    parameter(
        "drain",
        Kind::Count(0, 60_000),
        "2000",
        "Wait so many milliseconds at SHUTDOWN and MODULE UNLOAD for the target to take what is in the \
         buffer.",
    ),
];
