//! What a run happens on: which server program, in which topology.

use std::fmt;

use testkit::{Flavour, Version};

/// How the action finds its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topology {
    Standalone,
    Sentinel,
}

/// One of the settings in which every scenario runs that makes sense there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) flavour: Flavour,
    pub(crate) topology: Topology,
}

impl Topology {
    const ALL: [Topology; 2] = [Topology::Standalone, Topology::Sentinel];
}

impl Setting {
    /// All of them, the plainest first.
    pub(crate) fn all() -> impl Iterator<Item = Setting> {
        Topology::ALL.into_iter().flat_map(|topology| {
            Flavour::ALL.map(|flavour| Setting { flavour, topology }).into_iter()
        })
    }

    /// Without anything on the way: this is where the peer runs too, and where most is measured.
    pub(crate) fn is_plain(self) -> bool {
        self.topology == Topology::Standalone
    }

    /// Whether the action can be given the path of a socket.
    pub(crate) fn has_unix(self) -> bool {
        self.topology == Topology::Standalone
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
        })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.topology, self.flavour)
    }
}
