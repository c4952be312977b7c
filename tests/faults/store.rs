//! What the action writes to: the servers of a setting, with the proxy and the sentinels before them.

use testkit::{Authority, Identity, Proxy, Scratch, SentinelGroup, Server, ServerBuilder};

use crate::scenario::{Needs, Path};
use crate::setting::{Setting, Topology};

/// The password at the beginning and at the end.
pub(crate) const PASSWORD: &str = "secret-0";

const REPLICAS: usize = 2;
/// What the README says to servers under sentinels. What a former primary had is counted in a copy of its files, which no
/// rewrite must move meanwhile.
const GROUP_LINES: &str = "min-replicas-to-write 1\nappendonly yes\nappendfsync always\n\
                           auto-aof-rewrite-percentage 0";

/// The servers that hold the records.
pub(crate) struct Store {
    servers: Servers,
    proxy: Option<Proxy>,
    /// The certificate of all of them, where they speak TLS.
    identity: Option<Identity>,
}

enum Servers {
    One(Server),
    /// No other can take over: an outage lasts until it is ended.
    Watched {
        server: Server,
        sentinel: Server,
    },
    /// With the place of the primary among the servers.
    Group(SentinelGroup, usize),
}

impl Store {
    pub(crate) fn start(needs: &Needs, setting: Setting, scratch: &Scratch) -> Store {
        let identity = setting.has_tls.then(|| Authority::new(scratch).for_loopback());
        if needs.topology == Some(Topology::Sentinel) {
            let mut group = SentinelGroup::builder(setting.flavour).replicas(REPLICAS);
            if let Some(identity) = &identity {
                group = group.tls(identity);
            }
            if needs.path == Path::TcpProxy {
                group = group.proxied();
            }
            let group = group.server_config(GROUP_LINES).start(scratch);
            return Store { servers: Servers::Group(group, 0), proxy: None, identity };
        }
        let listen = |server: ServerBuilder| match &identity {
            None => server.unix().tcp(),
            Some(identity) => server.tls(identity),
        };
        // Data that outlives a SIGKILL.
        let server = listen(Server::builder(setting.flavour)).append_only().config(needs.server);
        let server = if needs.has_password { server.password(PASSWORD) } else { server };
        let server = server.start(scratch);
        let proxy = match (needs.path, &identity) {
            (Path::Tcp | Path::Unix, _) => None,
            (Path::TcpProxy, None) => Some(Proxy::tcp(server.tcp_address())),
            (Path::TcpProxy, Some(identity)) => Some(Proxy::tls(server.address(), identity)),
            (Path::UnixProxy, _) => Some(Proxy::unix(scratch, server.address())),
        };
        let servers = match setting.topology {
            Topology::Standalone => Servers::One(server),
            Topology::Sentinel => {
                // It names whatever it watches: the proxy, where there is one.
                let port = proxy.as_ref().map_or(server.port(), Proxy::port);
                let mut sentinel = listen(SentinelGroup::lone_sentinel(setting.flavour, port));
                if needs.has_password {
                    let login = format!("sentinel auth-pass {} {PASSWORD}", SentinelGroup::NAME);
                    sentinel = sentinel.config(&login);
                }
                if identity.is_some() {
                    sentinel = sentinel.config("tls-replication yes");
                }
                Servers::Watched { server, sentinel: sentinel.start(scratch) }
            }
        };
        Store { servers, proxy, identity }
    }

    /// Parameters of our action.
    pub(crate) fn parameters(&self, path: Path) -> String {
        let place = match &self.servers {
            Servers::One(_) => format!("server=\"{}\"", self.address(path)),
            Servers::Watched { sentinel, .. } => behind(std::slice::from_ref(sentinel)),
            Servers::Group(group, _) => behind(group.sentinels()),
        };
        let tls = self
            .identity
            .as_ref()
            .map(|identity| format!(" tls=\"on\" tls.cacert=\"{}\"", identity.authority.display()));
        place + &tls.unwrap_or_default()
    }

    /// Where a single server is reached.
    pub(crate) fn address(&self, path: Path) -> String {
        match (&self.proxy, path) {
            (Some(proxy), _) => proxy.address().to_string(),
            (None, Path::Unix) if self.identity.is_none() => self.server().address().to_string(),
            (None, _) => self.server().tcp_address().to_string(),
        }
    }

    /// The server, or the primary.
    pub(crate) fn server(&self) -> &Server {
        match &self.servers {
            Servers::One(server) | Servers::Watched { server, .. } => server,
            Servers::Group(group, primary) => &group.servers()[*primary],
        }
    }

    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        match &self.servers {
            Servers::Group(group, _) => group.proxy(),
            _ => self.proxy.as_ref(),
        }
    }

    pub(crate) fn group(&self) -> &SentinelGroup {
        match &self.servers {
            Servers::Group(group, _) => group,
            _ => panic!("the scenario's needs have no group"),
        }
    }

    /// The place of the primary in the group.
    pub(crate) fn primary(&self) -> usize {
        match &self.servers {
            Servers::Group(_, primary) => *primary,
            _ => 0,
        }
    }

    /// Whether the sentinels name another primary than they did; from then on it is the server.
    pub(crate) fn follow(&mut self) -> bool {
        let Servers::Group(group, primary) = &mut self.servers else {
            return false;
        };
        let port = group.named().map(Server::port);
        let place = group.servers().iter().position(|server| Some(server.port()) == port);
        let is_other = place.is_some_and(|place| place != *primary);
        *primary = place.unwrap_or(*primary);
        is_other
    }
}

/// Parameters of an action that asks these sentinels.
fn behind(sentinels: &[Server]) -> String {
    let places: Vec<String> =
        sentinels.iter().map(|sentinel| format!("\"{}\"", sentinel.tcp_address())).collect();
    format!(
        "topology=\"sentinel\" sentinel.master=\"{}\" server=[{}]",
        SentinelGroup::NAME,
        places.join(", ")
    )
}
