//! Which streams the records of a run go to, and what the action is told about them.

use crate::setting::{Setting, Topology};

/// What `dynakey` refers to. A record's user, `app0` to `app99`, is the 16th text between quotation marks.
pub(crate) const TEMPLATES: &str = "template(name=\"by-user\" type=\"string\" string=\"audit:%rawmsg:F,34:16%\")\n\
     template(name=\"by-digit\" type=\"string\" \
     string=\"audit:%rawmsg:R,ERE,1,BLANK:\\\"app[0-9]*([0-9])\\\"--end%\")";
const USERS: u64 = 100;
const DIGITS: u64 = 10;

/// What a scenario wants; a cluster has it on all of its nodes, if nothing is against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Any,
    /// The fault is in the key that all records go to.
    One,
    /// Each record chooses its key by its user.
    PerUser,
    /// Each worker has its own, where there are several nodes.
    PerWorker(u32),
}

/// The streams of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    One,
    PerUser,
    /// By the last digit of the record's user: few enough that a flush has many records for each, and on all nodes.
    PerDigit,
    Shards(u32),
}

impl Keys {
    pub(crate) fn of(wish: Wish, setting: Setting) -> Keys {
        let is_cluster = setting.topology == Topology::Cluster;
        match wish {
            Wish::Any if is_cluster => Keys::PerDigit,
            Wish::PerWorker(workers) if is_cluster => Keys::Shards(workers),
            Wish::Any | Wish::One | Wish::PerWorker(_) => Keys::One,
            Wish::PerUser => Keys::PerUser,
        }
    }

    pub(crate) fn streams(self) -> Vec<String> {
        match self {
            Keys::One => vec!["audit".to_owned()],
            Keys::PerUser => (0..USERS).map(|user| format!("audit:app{user}")).collect(),
            Keys::PerDigit => (0..DIGITS).map(|digit| format!("audit:{digit}")).collect(),
            Keys::Shards(count) => (0..count).map(|shard| format!("audit:{{{shard}}}")).collect(),
        }
    }

    /// Parameters of the action.
    pub(crate) fn parameters(self) -> String {
        match self {
            Keys::One => "key=\"audit\"".to_owned(),
            Keys::PerUser => "key=\"by-user\" dynakey=\"on\"".to_owned(),
            Keys::PerDigit => "key=\"by-digit\" dynakey=\"on\"".to_owned(),
            Keys::Shards(count) => format!("key=\"audit\" shards=\"{count}\""),
        }
    }

    pub(crate) fn dead_letter(self) -> &'static str {
        match self {
            Keys::One | Keys::Shards(_) => "audit:deadletter",
            Keys::PerUser | Keys::PerDigit => "omvalkeyaudit:deadletter",
        }
    }
}
