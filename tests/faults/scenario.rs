//! What a scenario is: its name, what it needs, and where it makes sense; list.rs has all of them.

use std::fmt;

use testkit::{Flavour, record_of};

use crate::keys::Wish;
use crate::poison;
use crate::setting::{Setting, Topology};
use crate::stage::{Run, Stage};

/// Bytes of a record.
const RECORD_BYTES: usize = 120;

/// One way to break what is around the action while records flow.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// How often the fault strikes in a full run.
    pub(crate) rounds: u64,
    pub(crate) needs: Needs,
    pub(crate) run: fn(&mut Stage) -> Run<()>,
}

impl Scenario {
    /// Why it is left out of this setting.
    pub(crate) fn obstacle(&self, setting: Setting) -> Option<Obstacle> {
        let Needs { path, topology, cluster_refuses, flavour, .. } = self.needs;
        if let Some(topology) = topology.filter(|topology| *topology != setting.topology) {
            return Some(Obstacle::OnlyIn(topology));
        }
        if let Some(flavour) = flavour.filter(|flavour| *flavour != setting.flavour) {
            return Some(Obstacle::OnlyOf(flavour));
        }
        if path == Path::UnixProxy && !setting.has_unix() {
            return Some(Obstacle::NoSocket);
        }
        let is_cluster = setting.topology == Topology::Cluster;
        cluster_refuses.filter(|_| is_cluster).map(Obstacle::Refused)
    }
}

/// A rule that leaves a scenario out of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    OnlyIn(Topology),
    OnlyOf(Flavour),
    NoSocket,
    /// By a cluster, in these words.
    Refused(&'static str),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::OnlyIn(topology) => write!(f, "only with topology {topology}"),
            Obstacle::OnlyOf(flavour) => write!(f, "only {flavour} has it"),
            Obstacle::NoSocket => f.write_str("unix sockets are for standalone without TLS"),
            Obstacle::Refused(words) => f.write_str(words),
        }
    }
}

/// How the action reaches the server; where there are no unix sockets, over TCP.
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
pub(crate) struct Needs {
    /// The only one in which it makes sense.
    pub(crate) topology: Option<Topology>,
    /// Why a cluster cannot have it.
    pub(crate) cluster_refuses: Option<&'static str>,
    /// There are replicas that can take over; standalone, one that nobody tells to.
    pub(crate) has_replicas: bool,
    /// The only server that can do it.
    pub(crate) flavour: Option<Flavour>,
    pub(crate) path: Path,
    pub(crate) queue: Queue,
    pub(crate) workers: u32,
    /// Lines for the server's configuration.
    pub(crate) server: &'static str,
    /// Parameters of our action.
    pub(crate) parameters: &'static str,
    /// `timeout.commit`.
    pub(crate) commit_ms: u64,
    pub(crate) keys: Wish,
    /// The server wants a password, which our action reads from a file.
    pub(crate) has_password: bool,
    pub(crate) text: fn(u64) -> String,
    /// Which records belong into the dead letter.
    pub(crate) is_bad: fn(u64) -> bool,
    /// One of so many of the records that were ordered is sent: for what is slow.
    pub(crate) share: u64,
    /// Records reach their stream in the order in which they were sent.
    pub(crate) keeps_order: bool,
    /// What is confirmed is on replicas too: nothing may be lost with a primary.
    pub(crate) has_copies: bool,
    /// Doubles are a known price.
    pub(crate) may_double: bool,
    /// rsyslogd is stopped while the action is suspended: the plugin has its hold file.
    pub(crate) stops_suspended: bool,
    /// Whether omhiredis has a mode for it.
    pub(crate) has_peer: bool,
}

impl Needs {
    pub(crate) const PLAIN: Needs = Needs {
        topology: None,
        cluster_refuses: None,
        has_replicas: false,
        flavour: None,
        path: Path::Tcp,
        queue: Queue::Memory,
        workers: 1,
        server: "",
        parameters: "",
        commit_ms: 1000,
        keys: Wish::Any,
        has_password: false,
        text: good,
        is_bad: |_| false,
        share: 1,
        keeps_order: true,
        has_copies: false,
        may_double: false,
        stops_suspended: false,
        has_peer: true,
    };
    pub(crate) const ONE_KEY: Needs = Needs { keys: Wish::One, ..Needs::PLAIN };
    pub(crate) const PROXY: Needs = Needs { path: Path::TcpProxy, ..Needs::PLAIN };
    /// omhiredis 8.2504 knows no unix sockets.
    pub(crate) const UNIX_PROXY: Needs =
        Needs { path: Path::UnixProxy, has_peer: false, ..Needs::PLAIN };
    /// Nothing here takes a server away: whoever suspends does so because of the record. omhiredis does not look
    /// at records.
    pub(crate) const POISON: Needs =
        Needs { commit_ms: 10_000, path: Path::Unix, has_peer: false, ..Needs::PLAIN };
    pub(crate) const DYNAMIC: Needs = Needs {
        path: Path::Tcp,
        keys: Wish::PerUser,
        is_bad: poison::is_for_bad_key,
        has_peer: true,
        ..Needs::POISON
    };
    pub(crate) const STOPPED: Needs = Needs {
        queue: Queue::DiskAssisted,
        stops_suspended: true,
        // A core that takes the batch back puts it behind the others.
        keeps_order: false,
        ..Needs::PLAIN
    };
    /// Servers of which one is the primary, under sentinels.
    pub(crate) const GROUP: Needs = Needs {
        topology: Some(Topology::Sentinel),
        has_replicas: true,
        has_peer: false,
        ..Needs::PLAIN
    };
    /// As many replicas must have what is confirmed as `parameters` say.
    pub(crate) const COPIES: Needs = Needs {
        has_copies: true,
        // The copies are the action's affair alone.
        server: "min-replicas-to-write 0",
        parameters: "durability.replicas=\"1\" durability.timeout=\"500\"",
        ..Needs::GROUP
    };
    /// A cluster with replicas.
    pub(crate) const CLUSTER: Needs = Needs { topology: Some(Topology::Cluster), ..Needs::GROUP };
    /// A cluster with two replicas of each primary, one of which must have what is confirmed.
    pub(crate) const CLUSTER_COPY: Needs =
        Needs { topology: Some(Topology::Cluster), ..Needs::COPIES };
    /// As above, and both must have it.
    pub(crate) const CLUSTER_COPIES: Needs = Needs {
        parameters: "durability.replicas=\"2\" durability.timeout=\"500\"",
        ..Needs::CLUSTER_COPY
    };
}

pub(crate) fn good(number: u64) -> String {
    record_of(number, RECORD_BYTES)
}

pub(crate) const fn scenario(
    name: &'static str,
    rounds: u64,
    needs: Needs,
    run: fn(&mut Stage) -> Run<()>,
) -> Scenario {
    Scenario { name, rounds, needs, run }
}
