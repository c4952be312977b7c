//! What the server tells about a command, as plain values.
#![forbid(unsafe_code)]

/// How a command ended; the bit values make up a set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Success = 1,
    Failure = 2,
    Rejected = 4,
    AclDenied = 8,
}

impl Kind {
    pub(crate) const ALL: [Kind; 4] =
        [Kind::Success, Kind::Failure, Kind::Rejected, Kind::AclDenied];

    /// As in the record's `event` and in `auditsource.events`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Success => "success",
            Kind::Failure => "failure",
            Kind::Rejected => "rejected",
            Kind::AclDenied => "acl_denied",
        }
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) fn with(self, kind: Kind) -> Self {
        Kinds(self.0 | kind as u8)
    }

    pub(crate) fn has(self, kind: Kind) -> bool {
        self.0 & kind as u8 != 0
    }
}

/// Why the ACL said no: the server's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DenyReason(pub(crate) u8);

impl DenyReason {
    /// A number that a later server may add has no name.
    pub(crate) fn name(self) -> Option<&'static str> {
        ["auth", "command", "key", "channel", "db"].get(usize::from(self.0)).copied()
    }
}

/// Where a command came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    Client,
    Multi,
    Script,
    Module,
    Replication,
    Load,
}

impl Via {
    pub(crate) const ALL: [Via; 6] =
        [Via::Client, Via::Multi, Via::Script, Via::Module, Via::Replication, Via::Load];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Via::Client => "client",
            Via::Multi => "multi",
            Via::Script => "script",
            Via::Module => "module",
            Via::Replication => "replication",
            Via::Load => "load",
        }
    }
}

/// One command event, its arguments apart. Members are named as in the server's struct.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommandResult<'a> {
    pub(crate) kind: Kind,
    pub(crate) acl_deny_reason: Option<DenyReason>,
    /// `None` for an unknown command or subcommand.
    pub(crate) command_name: Option<&'a [u8]>,
    pub(crate) duration_us: i64,
    pub(crate) dirty: i64,
    pub(crate) client_id: u64,
    pub(crate) is_module_client: bool,
    /// The reply's text of a rejection; the key or channel of a denial.
    pub(crate) context: Option<&'a [u8]>,
}

/// The arguments of a command, the command's name included.
pub(crate) trait Arguments {
    fn count(&self) -> usize;
    /// Empty when there is none at `index`.
    fn get(&self, index: usize) -> &[u8];
}

impl Arguments for [&[u8]] {
    fn count(&self) -> usize {
        self.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        <[&[u8]]>::get(self, index).copied().unwrap_or_default()
    }
}

/// What the server knows about a connected client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientInfo {
    /// `None` until somebody has logged in.
    pub(crate) user: Option<Vec<u8>>,
    /// `127.0.0.1:6000`, `[::1]:6000` or `unix`.
    pub(crate) addr: String,
    pub(crate) db: u16,
    pub(crate) is_primary: bool,
    pub(crate) is_in_multi: bool,
}

/// What runs in the server at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) is_script: bool,
    pub(crate) is_exec: bool,
    pub(crate) is_loading: bool,
}

/// What is asked of the server while it reports an event.
pub(crate) trait Host {
    /// `None` when the id is not that of a connection: a script, a module, the append-only file.
    fn client(&self, id: u64) -> Option<ClientInfo>;
    fn running(&self) -> Running;
    /// The positions of a command's keys among its arguments.
    fn key_positions(&self, positions: &mut Vec<usize>);
}
