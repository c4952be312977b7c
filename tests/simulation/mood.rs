//! Why the server refuses commands for a while, and which.

/// Why a command is refused for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Fine,
    Loading,
    OutOfMemory,
    ReadOnly,
    NoReplicas,
}

impl Mood {
    pub(crate) fn refusal(self) -> &'static str {
        match self {
            Self::Fine => "",
            Self::Loading => "LOADING Valkey is loading the dataset in memory",
            Self::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            Self::ReadOnly => "READONLY You can't write against a read only replica.",
            Self::NoReplicas => "NOREPLICAS Not enough good replicas to write.",
        }
    }

    /// By the command's flags: `denyoom`, `write`, not `loading`. PUBLISH has none of them.
    pub(crate) fn refuses(self, name: &str) -> bool {
        let takes_memory = matches!(name, "XADD" | "LPUSH" | "RPUSH" | "SET");
        match self {
            Self::Fine => false,
            Self::Loading => {
                takes_memory || matches!(name, "EXPIRE" | "GET" | "TYPE" | "WAIT" | "WAITAOF")
            }
            Self::OutOfMemory => takes_memory,
            Self::ReadOnly | Self::NoReplicas => takes_memory || name == "EXPIRE",
        }
    }
}
