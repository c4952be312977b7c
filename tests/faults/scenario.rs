//! What a scenario is: its name, what it needs, what it does, and the list of them.

use testkit::record_of;

use crate::stage::{Run, Stage};
use crate::{guest, network, poison, rsyslogd, server};

/// Bytes of a record.
const RECORD_BYTES: usize = 120;

/// One way to break what is around the action while records flow.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// How often the fault strikes in a full run.
    pub(crate) rounds: u64,
    pub(crate) setting: Setting,
    pub(crate) run: fn(&mut Stage) -> Run<()>,
}

/// How the action reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    Tcp,
    Unix,
    TcpProxy,
    UnixProxy,
}

/// The action's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    Memory,
    /// In memory, and on disk over a stop: as in rsyslog.d/omvalkeyaudit.conf.
    DiskAssisted,
    /// Each record on disk before it is handed over: as in rsyslog.d/omvalkeyaudit-disk.conf.
    Disk,
}

/// What a scenario needs, and what is promised in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) path: Path,
    pub(crate) queue: Queue,
    pub(crate) workers: u32,
    /// Lines for the server's configuration.
    pub(crate) server: &'static str,
    /// Parameters of our action.
    pub(crate) parameters: &'static str,
    /// `timeout.commit`.
    pub(crate) commit_ms: u64,
    /// The key is made of the record's user: a hundred streams.
    pub(crate) has_dynamic_key: bool,
    /// The server wants a password, which our action reads from a file.
    pub(crate) has_password: bool,
    pub(crate) text: fn(u64) -> String,
    /// Which records belong into the dead letter.
    pub(crate) is_bad: fn(u64) -> bool,
    /// One of so many of the records that were ordered is sent: for what is slow.
    pub(crate) share: u64,
    /// Records reach the stream in the order in which they were sent.
    pub(crate) keeps_order: bool,
    /// Doubles are a known price.
    pub(crate) may_double: bool,
    /// rsyslogd is stopped while the action is suspended: the plugin has its hold file.
    pub(crate) stops_suspended: bool,
    /// Whether omhiredis has a mode for it.
    pub(crate) has_peer: bool,
}

impl Setting {
    const PLAIN: Setting = Setting {
        path: Path::Tcp,
        queue: Queue::Memory,
        workers: 1,
        server: "",
        parameters: "",
        commit_ms: 1000,
        has_dynamic_key: false,
        has_password: false,
        text: good,
        is_bad: |_| false,
        share: 1,
        keeps_order: true,
        may_double: false,
        stops_suspended: false,
        has_peer: true,
    };
    const PROXY: Setting = Setting { path: Path::TcpProxy, ..Setting::PLAIN };
    /// omhiredis 8.2504 knows no unix sockets.
    const UNIX_PROXY: Setting =
        Setting { path: Path::UnixProxy, has_peer: false, ..Setting::PLAIN };
    /// Nothing here takes a server away: whoever suspends does so because of the record. omhiredis does not look
    /// at records.
    const POISON: Setting =
        Setting { commit_ms: 10_000, path: Path::Unix, has_peer: false, ..Setting::PLAIN };
    const DYNAMIC: Setting = Setting {
        path: Path::Tcp,
        has_dynamic_key: true,
        is_bad: poison::is_for_bad_key,
        has_peer: true,
        keeps_order: false,
        ..Setting::POISON
    };
    const STOPPED: Setting = Setting {
        queue: Queue::DiskAssisted,
        stops_suspended: true,
        // A core that takes the batch back puts it behind the others.
        keeps_order: false,
        ..Setting::PLAIN
    };
}

pub(crate) fn good(number: u64) -> String {
    record_of(number, RECORD_BYTES)
}

const fn scenario(
    name: &'static str,
    rounds: u64,
    setting: Setting,
    run: fn(&mut Stage) -> Run<()>,
) -> Scenario {
    Scenario { name, rounds, setting, run }
}

/// All of them, in the order of the table.
pub(crate) const SCENARIOS: [Scenario; 39] = [
    scenario("delay, tcp", 10, Setting::PROXY, network::delay),
    scenario("delay, unix", 10, Setting::UNIX_PROXY, network::delay),
    scenario("cut before EXEC, tcp", 20, Setting::PROXY, network::cut_before_exec),
    scenario("cut before EXEC, unix", 20, Setting::UNIX_PROXY, network::cut_before_exec),
    scenario("cut inside the transaction, tcp", 20, Setting::PROXY, network::cut_inside),
    scenario("cut inside the transaction, unix", 20, Setting::UNIX_PROXY, network::cut_inside),
    scenario("cut after EXEC, tcp", 20, Setting::PROXY, network::cut_after_exec),
    scenario("cut after EXEC, unix", 20, Setting::UNIX_PROXY, network::cut_after_exec),
    scenario("EXEC arrives late, tcp", 20, Setting::PROXY, network::late_exec),
    scenario("EXEC arrives late, unix", 20, Setting::UNIX_PROXY, network::late_exec),
    scenario("replies swallowed, tcp", 5, Setting::PROXY, network::swallowed_replies),
    scenario("replies swallowed, unix", 5, Setting::UNIX_PROXY, network::swallowed_replies),
    scenario("garbage for an answer, tcp", 20, Setting::PROXY, network::garbage),
    scenario("garbage for an answer, unix", 20, Setting::UNIX_PROXY, network::garbage),
    scenario("half-closed, tcp", 20, Setting::PROXY, network::half_close),
    scenario("half-closed, unix", 20, Setting::UNIX_PROXY, network::half_close),
    scenario("black hole, tcp", 5, Setting::PROXY, network::black_hole),
    scenario("black hole, unix", 5, Setting::UNIX_PROXY, network::black_hole),
    scenario("server SIGSTOP, SIGCONT", 5, Setting::PLAIN, server::stopped),
    scenario("server SIGKILL, restart", 5, Setting::PLAIN, server::killed),
    scenario("CLIENT KILL", 20, Setting::PLAIN, server::clients_killed),
    scenario("CLIENT PAUSE", 6, Setting::PLAIN, server::clients_paused),
    scenario("maxmemory reached", 5, Setting::PLAIN, server::out_of_memory),
    scenario("REPLICAOF, NO ONE", 5, Setting::PLAIN, server::read_only),
    scenario(
        "MISCONF",
        5,
        Setting { server: "save 86400 1000000000", ..Setting::PLAIN },
        server::misconf,
    ),
    scenario(
        "password changes",
        5,
        // omhiredis has no password file.
        Setting { has_password: true, has_peer: false, ..Setting::PLAIN },
        server::password,
    ),
    scenario("ACL revoked and returned", 5, Setting::PLAIN, server::revoked),
    scenario("WRONGTYPE on the key", 5, Setting::PLAIN, server::wrong_type),
    scenario("NOPERM on the key", 5, Setting::PLAIN, server::forbidden_key),
    scenario(
        "poison: broken JSON",
        1,
        Setting { text: poison::broken_json, is_bad: poison::is_bad, ..Setting::POISON },
        poison::flow,
    ),
    scenario(
        "poison: too long",
        1,
        Setting {
            text: poison::too_long,
            is_bad: poison::is_bad,
            parameters: "record.maxbytes=\"1k\"",
            ..Setting::POISON
        },
        poison::flow,
    ),
    scenario("poison: WRONGTYPE on one key of 100", 1, Setting::DYNAMIC, poison::wrong_type),
    scenario("poison: NOPERM on one key of 100", 1, Setting::DYNAMIC, poison::forbidden),
    scenario("HUP under load", 20, Setting::PLAIN, rsyslogd::hup),
    scenario(
        "4 workers, cuts of all kinds",
        20,
        Setting { workers: 4, keeps_order: false, ..Setting::PROXY },
        rsyslogd::workers,
    ),
    scenario("SIGTERM while suspended, restart", 5, Setting::STOPPED, rsyslogd::stopped),
    scenario(
        "SIGTERM in a black hole, restart",
        5,
        Setting { path: Path::TcpProxy, ..Setting::STOPPED },
        guest::stopped_in_a_black_hole,
    ),
    scenario(
        "kill -9 in a transaction, disk queue",
        6,
        Setting {
            queue: Queue::Disk,
            share: 10,
            keeps_order: false,
            may_double: true,
            ..Setting::PLAIN
        },
        rsyslogd::killed,
    ),
    scenario("suspended for a while", 1, Setting::PLAIN, guest::suspended),
];
