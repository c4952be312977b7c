//! Starts the servers of a setting.

use testkit::{Authority, Cluster, Identity, Proxy, Scratch, SentinelGroup, Server, ServerBuilder};

use super::{Kind, PASSWORD};
use crate::scenario::{Needs, Path};
use crate::setting::{Setting, Topology};

const REPLICAS: usize = 2;
/// Data that outlives a SIGKILL. What a former primary had is counted in a copy of its files, which no rewrite must move
/// meanwhile.
const FILES: &str = "appendonly yes\nappendfsync always\nauto-aof-rewrite-percentage 0";
/// What the README says to servers under sentinels.
const GROUP: &str = "min-replicas-to-write 1";

pub(super) fn start(
    needs: &Needs,
    setting: Setting,
    scratch: &Scratch,
) -> (Kind, Option<Identity>) {
    let identity = setting.has_tls.then(|| Authority::new(scratch).for_loopback());
    let tls = identity.as_ref();
    let kind = match setting.topology {
        Topology::Cluster => Kind::Cluster(cluster(needs, setting, tls, scratch)),
        Topology::Sentinel if needs.has_replicas => {
            Kind::Group(group(needs, setting, tls, scratch))
        }
        Topology::Sentinel => {
            let (server, proxy) = server(needs, setting, tls, scratch);
            // It names whatever it watches: the proxy, where there is one.
            let port = proxy.as_ref().map_or(server.port(), Proxy::port);
            let mut sentinel = listening(SentinelGroup::lone_sentinel(setting.flavour, port), tls);
            if needs.has_password {
                let name = SentinelGroup::name();
                sentinel = sentinel.config(&format!("sentinel auth-pass {name} {PASSWORD}"));
            }
            if setting.has_tls {
                sentinel = sentinel.config("tls-replication yes");
            }
            Kind::Watched { server, proxy, sentinel: sentinel.start(scratch) }
        }
        Topology::Standalone => {
            let (server, proxy) = server(needs, setting, tls, scratch);
            let replica = needs.has_replicas.then(|| replica(setting, tls, &server, scratch));
            Kind::One { server, replica, proxy }
        }
    };
    (kind, identity)
}

fn listening(server: ServerBuilder, tls: Option<&Identity>) -> ServerBuilder {
    match tls {
        None => server.unix().tcp(),
        Some(identity) => server.tls(identity),
    }
}

fn server(
    needs: &Needs,
    setting: Setting,
    tls: Option<&Identity>,
    scratch: &Scratch,
) -> (Server, Option<Proxy>) {
    let server =
        listening(Server::builder(setting.flavour), tls).config(FILES).config(needs.server);
    let server = if needs.has_password { server.password(PASSWORD) } else { server };
    let server = server.start(scratch);
    let proxy = match (needs.path, tls) {
        (Path::Tcp | Path::Unix, _) => None,
        (Path::TcpProxy, None) => Some(Proxy::tcp(server.tcp_address())),
        (Path::TcpProxy, Some(identity)) => Some(Proxy::tls(server.address(), identity)),
        (Path::UnixProxy, _) => Some(Proxy::unix(scratch, server.address())),
    };
    (server, proxy)
}

fn replica(
    setting: Setting,
    tls: Option<&Identity>,
    primary: &Server,
    scratch: &Scratch,
) -> Server {
    let encrypted = if tls.is_some() { "tls-replication yes" } else { "" };
    let replica = listening(Server::builder(setting.flavour), tls);
    replica.config(&format!("replicaof 127.0.0.1 {}\n{encrypted}", primary.port())).start(scratch)
}

fn group(
    needs: &Needs,
    setting: Setting,
    tls: Option<&Identity>,
    scratch: &Scratch,
) -> SentinelGroup {
    let mut group = SentinelGroup::builder(setting.flavour).replicas(REPLICAS);
    if let Some(identity) = tls {
        group = group.tls(identity);
    }
    if needs.path == Path::TcpProxy {
        group = group.proxied();
    }
    group.server_config(FILES).server_config(GROUP).server_config(needs.server).start(scratch)
}

fn cluster(needs: &Needs, setting: Setting, tls: Option<&Identity>, scratch: &Scratch) -> Cluster {
    let mut cluster = Cluster::builder(setting.flavour).config(FILES).config(needs.server);
    if let Some(identity) = tls {
        cluster = cluster.tls(identity);
    }
    if needs.path == Path::TcpProxy {
        cluster = cluster.proxied();
    }
    if needs.has_password {
        cluster = cluster.password(PASSWORD);
    }
    // Where nobody shall take over, an outage lasts until it is ended.
    let replicas = match (needs.has_replicas, needs.has_copies) {
        (false, _) => 0,
        (true, false) => 1,
        // When one has taken over, it has one of its own, as docs/cluster.md says.
        (true, true) => REPLICAS,
    };
    cluster.replicas(replicas).start(scratch)
}
