//! The one table of commands whose arguments may be secrets, and the words that give secrets away.
#![forbid(unsafe_code)]

/// Where a command's secrets stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nowhere.
    Plain,
    /// `AUTH [user] secret`: all but the user. With another number of arguments everything.
    Auth,
    /// `HELLO version [AUTH user secret] [SETNAME name]`: from the first thing that does not fit, everything.
    Hello,
    /// `ACL SETUSER user rule ...`: passwords, hashes, and what is no rule at all.
    AclSetuser,
    /// `CONFIG SET name value ...`: values of secret parameters; after a failure all of them, because a
    /// mistyped name is nobody's parameter.
    ConfigSet,
    /// `MIGRATE ... [AUTH secret] [AUTH2 user secret]`: from the first option that does not fit, everything.
    Migrate,
    /// Options and values from this argument on: values of secret options.
    Pairs(usize),
    /// `MODULE LOADEX path [CONFIG name value ...] [ARGS ...]`: secret values, and all ARGS.
    ModuleLoadex,
    /// Everything from this argument on.
    From(usize),
    /// Program text at this argument, whole if it mentions a secret; behind it another command may stand.
    Script(usize),
    /// Another command may stand somewhere from this argument on.
    Carrier(usize),
    /// A command that does not exist: all but a name that looks like one.
    Unknown,
}

/// Every command with a rule of its own, by the server's full name. A module's commands (their names have a
/// dot) are carriers, all others are plain.
pub(crate) const TABLE: &[(&str, Rule)] = &[
    ("auth", Rule::Auth),
    ("hello", Rule::Hello),
    ("acl|setuser", Rule::AclSetuser),
    ("acl|dryrun", Rule::Carrier(3)),
    ("config|set", Rule::ConfigSet),
    ("migrate", Rule::Migrate),
    ("sentinel|set", Rule::Pairs(3)),
    ("sentinel|config", Rule::Pairs(3)),
    ("module|load", Rule::From(3)),
    ("module|loadex", Rule::ModuleLoadex),
    ("eval", Rule::Script(1)),
    ("eval_ro", Rule::Script(1)),
    ("evalsha", Rule::Carrier(2)),
    ("evalsha_ro", Rule::Carrier(2)),
    ("fcall", Rule::Carrier(2)),
    ("fcall_ro", Rule::Carrier(2)),
    ("script|load", Rule::Script(2)),
    ("function|load", Rule::Script(2)),
    ("function|restore", Rule::From(2)),
    ("command|getkeys", Rule::Carrier(2)),
    ("command|getkeysandflags", Rule::Carrier(2)),
];

/// A parameter or option whose name holds one of these has a secret value.
pub(crate) const SECRET_NAMES: &[&str] =
    &["pass", "auth", "secret", "token", "credential", "private", "api-key", "apikey"];

/// Names that hold such a word and are harmless.
pub(crate) const HARMLESS_NAMES: &[&str] = &["tls-auth-clients", "tls-auth-clients-user"];

/// A program that mentions one of these may hold a secret in a literal, anywhere.
pub(crate) const SECRET_WORDS: &[&str] =
    &["auth", "pass", "secret", "setuser", "token", "credential", "private", "apikey"];

/// ACL rules that stand alone.
pub(crate) const ACL_WORDS: &[&str] = &[
    "on",
    "off",
    "nopass",
    "resetpass",
    "reset",
    "allkeys",
    "resetkeys",
    "allchannels",
    "resetchannels",
    "allcommands",
    "nocommands",
    "alldbs",
    "resetdbs",
    "clearselectors",
    "sanitize-payload",
    "skip-sanitize-payload",
];

/// What ACL rules begin with that name commands, keys, channels or databases.
pub(crate) const ACL_PREFIXES: &[&str] = &["+", "-", "~", "%", "&", "db="];

/// The rule of a command, by the server's full name.
pub(crate) fn rule_of(name: &str) -> Rule {
    let row = TABLE.iter().find(|(command, _)| *command == name);
    match row {
        Some((_, rule)) => *rule,
        None if name.contains('.') => Rule::Carrier(1),
        None => Rule::Plain,
    }
}
