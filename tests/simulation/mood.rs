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

    /// By the command's flags: `denyoom`, `write`, not `loading`.
    pub(crate) fn refuses(self, name: &str) -> bool {
        match self {
            Self::Fine => false,
            Self::Loading => {
                matches!(name, "XADD" | "SET" | "EXPIRE" | "GET" | "TYPE" | "WAIT" | "WAITAOF")
            }
            Self::OutOfMemory => matches!(name, "XADD" | "SET"),
            Self::ReadOnly | Self::NoReplicas => matches!(name, "XADD" | "SET" | "EXPIRE"),
        }
    }
}
