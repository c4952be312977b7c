//! What a run happens on: which server program, in which topology, with TLS or without.

use std::fmt;

use testkit::{Flavour, Version};

/// How the action finds its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topology {
    Standalone,
    Sentinel,
    Cluster,
}

/// One of the settings in which every scenario runs that makes sense there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) topology: Topology,
    pub(crate) has_tls: bool,
    pub(crate) flavour: Flavour,
}

impl Topology {
    const ALL: [Topology; 3] = [Topology::Standalone, Topology::Sentinel, Topology::Cluster];
}

impl Setting {
    /// All of them, the plainest first.
    pub(crate) fn all() -> impl Iterator<Item = Setting> {
        let ways =
            Topology::ALL.into_iter().flat_map(|topology| [(topology, false), (topology, true)]);
        ways.flat_map(|(topology, has_tls)| {
            Flavour::ALL.map(|flavour| Setting { topology, has_tls, flavour })
        })
    }

    /// Nothing is between the action and its server: here the peer runs too.
    pub(crate) fn is_plain(self) -> bool {
        self.topology == Topology::Standalone && !self.has_tls
    }

    /// All but its server.
    pub(crate) fn way(self) -> String {
        let tls = if self.has_tls { ", TLS" } else { "" };
        format!("{}{tls}", self.topology)
    }

    /// Whether the action can be given the path of a socket.
    pub(crate) fn has_unix(self) -> bool {
        self.is_plain()
    }

    /// The rsyslogd of a full run. In the plain settings the server meets the rsyslogd of its Debian release.
    pub(crate) fn version(self) -> Version {
        match self.flavour {
            Flavour::Redis70 if self.is_plain() => Version::V8_2302,
            Flavour::Valkey91 if self.is_plain() => Version::V8_2610,
            _ => Version::V8_2504,
        }
    }
}

/// A word of the command line.
pub(crate) fn flavour_of(word: &str) -> Option<Flavour> {
    Flavour::ALL
        .into_iter()
        .find(|flavour| flavour.to_string().to_lowercase().replace(' ', "-") == word)
}

/// A word of the command line.
pub(crate) fn topology_of(word: &str) -> Option<Topology> {
    Topology::ALL.into_iter().find(|topology| topology.to_string() == word)
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Topology::Standalone => "standalone",
            Topology::Sentinel => "sentinel",
            Topology::Cluster => "cluster",
        })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.way(), self.flavour)
    }
}
