//! What the action writes to: the servers of a setting, with the proxies and the sentinels before them.

mod start;

use std::cell::RefCell;
use std::collections::HashMap;
use std::slice;

use redis::{FromRedisValue, RedisResult, Value};
use testkit::{Cluster, Identity, Proxy, Scratch, SentinelGroup, Server};

use crate::scenario::{Needs, Path};
use crate::setting::Setting;

/// The password at the beginning and at the end.
pub(crate) const PASSWORD: &str = "secret-0";

/// The servers that hold the records.
pub(crate) struct Store {
    kind: Kind,
    /// The certificate of all of them, where they speak TLS.
    identity: Option<Identity>,
    /// The first stream.
    stream: String,
    /// The place of a group's primary.
    primary: usize,
    /// The places of a cluster's nodes that have a key, as far as they were asked for.
    places: RefCell<HashMap<String, usize>>,
}

enum Kind {
    One {
        server: Server,
        replica: Option<Server>,
        proxy: Option<Proxy>,
    },
    /// No other can take over: an outage lasts until it is ended.
    Watched {
        server: Server,
        proxy: Option<Proxy>,
        sentinel: Server,
    },
    Group(SentinelGroup),
    Cluster(Cluster),
}

impl Store {
    pub(crate) fn start(needs: &Needs, setting: Setting, stream: &str, scratch: &Scratch) -> Store {
        let (kind, identity) = start::start(needs, setting, scratch);
        let stream = stream.to_owned();
        Store { kind, identity, stream, primary: 0, places: RefCell::default() }
    }

    /// Parameters of our action.
    pub(crate) fn parameters(&self, path: Path) -> String {
        let behind = |sentinels: &[Server]| {
            let places: Vec<String> =
                sentinels.iter().map(|sentinel| sentinel.tcp_address().to_string()).collect();
            let master = SentinelGroup::name();
            format!("topology=\"sentinel\" sentinel.master=\"{master}\" {}", servers(&places))
        };
        let place = match &self.kind {
            Kind::One { .. } => servers(&[self.address(path)]),
            Kind::Watched { sentinel, .. } => behind(slice::from_ref(sentinel)),
            Kind::Group(group) => behind(group.sentinels()),
            Kind::Cluster(cluster) => {
                let places: Vec<String> =
                    cluster.addresses().iter().map(ToString::to_string).collect();
                format!("topology=\"cluster\" {}", servers(&places))
            }
        };
        let tls = self
            .identity
            .as_ref()
            .map(|identity| format!(" tls=\"on\" tls.cacert=\"{}\"", identity.authority.display()));
        place + &tls.unwrap_or_default()
    }

    /// Where a single server is reached.
    pub(crate) fn address(&self, path: Path) -> String {
        match (self.proxy(), path) {
            (Some(proxy), _) => proxy.address().to_string(),
            (None, Path::Unix) if self.identity.is_none() => self.server().address().to_string(),
            (None, _) => self.server().tcp_address().to_string(),
        }
    }

    /// All that hold data.
    pub(crate) fn servers(&self) -> &[Server] {
        match &self.kind {
            Kind::One { server, .. } | Kind::Watched { server, .. } => slice::from_ref(server),
            Kind::Group(group) => group.servers(),
            Kind::Cluster(cluster) => cluster.servers(),
        }
    }

    /// The place of the server that has a key.
    pub(crate) fn place_of(&self, key: &str) -> usize {
        let Kind::Cluster(cluster) = &self.kind else {
            return self.primary;
        };
        *self.places.borrow_mut().entry(key.to_owned()).or_insert_with(|| {
            let port = cluster.owner(key).port();
            let place = cluster.servers().iter().position(|node| node.port() == port);
            place.expect("a node of this cluster")
        })
    }

    /// The place of the server that has the first stream: the one that faults strike.
    pub(crate) fn primary(&self) -> usize {
        self.place_of(&self.stream)
    }

    pub(crate) fn server(&self) -> &Server {
        &self.servers()[self.primary()]
    }

    /// The proxy before the server.
    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        match &self.kind {
            Kind::One { proxy, .. } | Kind::Watched { proxy, .. } => proxy.as_ref(),
            Kind::Group(group) => group.proxy(),
            Kind::Cluster(cluster) => cluster.proxies().get(self.primary()),
        }
    }

    /// All proxies.
    pub(crate) fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        let (one, several) = match &self.kind {
            Kind::Cluster(cluster) => (None, cluster.proxies()),
            _ => (self.proxy(), [].as_slice()),
        };
        one.into_iter().chain(several)
    }

    pub(crate) fn group(&self) -> &SentinelGroup {
        match &self.kind {
            Kind::Group(group) => group,
            _ => panic!("the scenario has no group under sentinels"),
        }
    }

    /// A replica of the primary.
    pub(crate) fn replica(&self) -> &Server {
        match &self.kind {
            Kind::One { replica: Some(replica), .. } => replica,
            _ => &self.servers()[*self.replicas().first().expect("the scenario has replicas")],
        }
    }

    /// The places of the primary's replicas, in a group or a cluster.
    pub(crate) fn replicas(&self) -> Vec<usize> {
        self.partners(self.primary())
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        match &self.kind {
            Kind::Cluster(cluster) => cluster,
            _ => panic!("the scenario has no cluster"),
        }
    }

    /// Whether another server has taken over from the primary; from then on it is the primary.
    pub(crate) fn follow(&mut self) -> bool {
        let former = self.primary();
        let Some(place) = self.successor(former).filter(|place| *place != former) else {
            return false;
        };
        self.primary = place;
        for known in self.places.get_mut().values_mut().filter(|known| **known == former) {
            *known = place;
        }
        true
    }

    fn successor(&self, former: usize) -> Option<usize> {
        match &self.kind {
            Kind::Group(group) => {
                let port = group.named()?.port();
                group.servers().iter().position(|server| server.port() == port)
            }
            // Its nodes need not agree yet.
            Kind::Cluster(_) => {
                let mut partners = self.partners(former).into_iter();
                partners.find(|place| is_primary(&self.servers()[*place]))
            }
            _ => None,
        }
    }

    /// The places of the others that have, or shall have, what a server has.
    fn partners(&self, place: usize) -> Vec<usize> {
        let servers = self.servers().len();
        let distance = match &self.kind {
            Kind::Cluster(cluster) => cluster.primaries(),
            _ => 1,
        };
        (place % distance..servers).step_by(distance).filter(|other| *other != place).collect()
    }

    /// Forgets which node has which key: slots have moved, or may have.
    pub(crate) fn forget_places(&mut self) {
        self.places.get_mut().clear();
    }

    /// Tells replicas of a cluster's node that follow another of its replicas to follow the node itself; gives how many did.
    /// Redis 8.0 was seen to leave them there, where WAIT does not count them.
    pub(crate) fn unchain(&self) -> usize {
        let Kind::Cluster(cluster) = &self.kind else { return 0 };
        let port_of = |place: &usize| match cluster.proxies().get(*place) {
            Some(proxy) => proxy.port(),
            None => self.servers()[*place].port(),
        };
        let port = i64::from(port_of(&self.primary()));
        let id: String = ask(self.server(), &["CLUSTER", "MYID"]).unwrap_or_default();
        let is_behind = |place: &usize| {
            let role: Vec<Value> = ask(&self.servers()[*place], &["ROLE"]).unwrap_or_default();
            matches!(role.get(2), Some(Value::Int(followed)) if *followed != port)
        };
        let behind: Vec<usize> = self.replicas().into_iter().filter(is_behind).collect();
        for place in &behind {
            // A refusal is not the last word: it is told again.
            drop(ask::<Value>(&self.servers()[*place], &["CLUSTER", "REPLICATE", &id]));
        }
        behind.len()
    }

    /// Waits until the replicas have all that their primaries have.
    pub(crate) fn wait_replicated(&self) {
        match &self.kind {
            Kind::Group(group) => group.wait_replicated(),
            Kind::Cluster(cluster) => {
                for replica in self.replicas() {
                    cluster.wait_replicated(self.server(), &self.servers()[replica]);
                }
            }
            _ => {}
        }
    }

    /// Waits until all agree on the primary, and the others have what it has.
    pub(crate) fn settle(&mut self) {
        match &self.kind {
            Kind::Group(group) => drop(group.primary()),
            Kind::Cluster(cluster) => {
                cluster.wait_well();
                self.forget_places();
            }
            _ => {}
        }
        self.wait_replicated();
    }
}

/// Whether a server says that it takes writes of its own.
pub(crate) fn is_primary(server: &Server) -> bool {
    let role: Vec<Value> = ask(server, &["ROLE"]).unwrap_or_default();
    role.first() == Some(&Value::BulkString(b"master".into()))
}

fn ask<T: FromRedisValue>(server: &Server, words: &[&str]) -> RedisResult<T> {
    redis::Cmd::new().arg(words).query(&mut server.connection())
}

fn servers(places: &[String]) -> String {
    let places: Vec<String> = places.iter().map(|place| format!("\"{place}\"")).collect();
    format!("server=[{}]", places.join(", "))
}
