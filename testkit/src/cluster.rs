//! Real servers that form a cluster: primaries that share the slots, and replicas of each.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use redis::{FromRedisValue, RedisResult, Value};

use crate::certificates::Identity;
use crate::net::{Address, free_port};
use crate::programs::Flavour;
use crate::proxy::Proxy;
use crate::scratch::Scratch;
use crate::server::Server;
use crate::wait::{poll, wait_for, wait_until};

/// Nodes that share two processors with everything else take their time to agree.
const DEADLINE: Duration = Duration::from_secs(100);
/// How long a failover that was asked for may take before it is asked for again.
const ATTEMPT: Duration = Duration::from_secs(6);
const SLOTS: usize = 16384;
/// How many keys CLUSTER GETKEYSINSLOT is asked for.
const MANY_KEYS: usize = 10_000;
const MIGRATE_MILLISECONDS: u32 = 20_000;

/// What a cluster shall be; see [`Cluster::builder`].
#[derive(Debug, Clone)]
pub struct ClusterBuilder {
    flavour: Flavour,
    primaries: usize,
    replicas: usize,
    has_proxies: bool,
    tls: Option<Identity>,
    password: Option<String>,
    lines: Vec<String>,
}

impl ClusterBuilder {
    /// So many primaries instead of three.
    #[must_use]
    pub fn primaries(mut self, count: usize) -> Self {
        self.primaries = count;
        self
    }

    /// So many replicas of each primary instead of one.
    #[must_use]
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// Primaries only.
    #[must_use]
    pub fn without_replicas(self) -> Self {
        self.replicas(0)
    }

    /// Puts a proxy before each node, which the node announces in its own place.
    #[must_use]
    pub fn proxied(mut self) -> Self {
        self.has_proxies = true;
        self
    }

    /// Has all of them speak TLS with this certificate, among themselves too.
    #[must_use]
    pub fn tls(mut self, identity: &Identity) -> Self {
        self.tls = Some(identity.clone());
        self.config("tls-cluster yes\ntls-replication yes")
    }

    /// Asks for a password of the default user, the nodes among themselves too.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self.config(&format!("masterauth {password}"))
    }

    /// Adds lines to the configuration of each node.
    #[must_use]
    pub fn config(mut self, lines: &str) -> Self {
        self.lines.push(lines.into());
        self
    }

    /// Starts all of them and waits until each agrees with the others.
    ///
    /// # Panics
    /// When that does not come about.
    pub fn start(self, scratch: &Scratch) -> Cluster {
        let count = self.primaries * (1 + self.replicas);
        let servers: Vec<Server> = (0..count).map(|_| self.start_node(scratch)).collect();
        let proxies = servers.iter().filter(|_| self.has_proxies).map(|node| self.proxy(node));
        let cluster = Cluster { proxies: proxies.collect(), servers, primaries: self.primaries };
        cluster.join();
        cluster
    }

    fn proxy(&self, node: &Server) -> Proxy {
        let proxy = match &self.tls {
            None => Proxy::tcp(node.address()),
            Some(identity) => Proxy::tls(node.address(), identity),
        };
        let port = proxy.port().to_string();
        // Whoever asks without TLS, as this proxy does by the unix socket, is told the port for clients without.
        for announced in ["cluster-announce-port", "cluster-announce-tls-port"] {
            let _: Value = ask(node, &["CONFIG", "SET", announced, &port]);
        }
        proxy
    }

    fn start_node(&self, scratch: &Scratch) -> Server {
        // A port of its own for the bus: the usual one, 10000 above, may be none.
        let bus = free_port();
        let node = Server::builder(self.flavour);
        let node = match &self.tls {
            None => node.tcp(),
            Some(identity) => node.tls(identity),
        };
        let node = match &self.password {
            None => node,
            Some(password) => node.password(password),
        };
        node.config(&format!("cluster-enabled yes\ncluster-port {bus}"))
            .config("cluster-node-timeout 2000\ncluster-replica-validity-factor 0")
            .config("cluster-allow-replica-migration no\nrepl-diskless-sync-delay 0")
            .config(&self.lines.join("\n"))
            .start(scratch)
    }
}

/// A running cluster. All its processes end on drop.
#[derive(Debug)]
pub struct Cluster {
    proxies: Vec<Proxy>,
    /// The primaries of the start first, then a replica of each in the same order, then the next of each.
    servers: Vec<Server>,
    primaries: usize,
}

impl Cluster {
    /// Describes a cluster: three primaries with equal shares of the slots, and a replica each.
    pub fn builder(flavour: Flavour) -> ClusterBuilder {
        ClusterBuilder {
            flavour,
            primaries: 3,
            replicas: 1,
            has_proxies: false,
            tls: None,
            password: None,
            lines: Vec::new(),
        }
    }

    /// All nodes: the primaries of the start first, then a replica of each in the same order, then the next of each.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The proxies before them, in the same order.
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// Where they are reached.
    pub fn addresses(&self) -> Vec<Address> {
        if self.proxies.is_empty() {
            return self.servers.iter().map(Server::tcp_address).collect();
        }
        self.proxies.iter().map(Proxy::address).collect()
    }

    /// The slot of a key, as a node says.
    pub fn slot(&self, key: &str) -> u16 {
        // A replica that loads a copy answers nothing.
        let mut slots = self.running().map(|node| try_ask(node, &["CLUSTER", "KEYSLOT", key]));
        slots.find_map(Result::ok).expect("a node that answers")
    }

    /// The node that has the slot of `key`, as soon as all that run agree on it.
    ///
    /// # Panics
    /// When that does not come about.
    #[track_caller]
    pub fn owner(&self, key: &str) -> &Server {
        let slot = self.slot(key);
        wait_for("nodes that agree on a slot", DEADLINE, || {
            let owners: BTreeSet<String> =
                self.running().filter_map(|node| owner_of(node, slot)).collect();
            let owner = owners.first().filter(|_| owners.len() == 1)?;
            self.running().find(|node| {
                try_ask(node, &["CLUSTER", "MYID"]).is_ok_and(|id: String| id == *owner)
            })
        })
    }

    /// How many of them were primaries at the start.
    pub fn primaries(&self) -> usize {
        self.primaries
    }

    /// The first replica of the start that a primary of the start has.
    pub fn replica(&self, primary: &Server) -> &Server {
        let place = self.servers.iter().position(|server| server.port() == primary.port());
        &self.servers[place.expect("a node of this cluster") + self.primaries]
    }

    /// Waits until all nodes that run say that all is well, and agree where all slots are.
    ///
    /// # Panics
    /// When that does not come about.
    #[track_caller]
    pub fn wait_well(&self) {
        wait_until("a cluster that is well", DEADLINE, || {
            let maps: BTreeSet<String> = self.running().map(slots).collect();
            maps.len() == 1 && self.running().all(is_well)
        });
    }

    /// Waits until `replica` has taken the slots of its primary over.
    ///
    /// # Panics
    /// When that does not come about.
    #[track_caller]
    pub fn wait_promoted(&self, replica: &Server) {
        wait_until("a replica that became the primary", DEADLINE, || {
            info(replica, "role").as_deref() == Some("master")
        });
        self.wait_well();
    }

    /// Waits until a replica has all that its primary had when it was last asked.
    ///
    /// # Panics
    /// When that does not come about.
    #[track_caller]
    pub fn wait_replicated(&self, primary: &Server, replica: &Server) {
        wait_until("a replica that has everything", DEADLINE, || {
            let offset = |node, name| info(node, name)?.parse::<u64>().ok();
            // The primary first: the replica may be ahead of what it said, never behind.
            let goal = offset(primary, "master_repl_offset");
            info(replica, "master_link_status").as_deref() == Some("up")
                && offset(replica, "slave_repl_offset") >= goal
        });
    }

    /// Has a primary hand its slots over to its replica.
    ///
    /// # Panics
    /// When that does not come about.
    #[track_caller]
    pub fn fail_over(&self, primary: &Server, replica: &Server) {
        wait_until("a failover", DEADLINE, || {
            // An attempt that ends without a new primary, or a refusal, is not the last word.
            let _: RedisResult<Value> = try_ask(replica, &["CLUSTER", "FAILOVER"]);
            poll(ATTEMPT, || {
                let is = |node, role| info(node, "role").as_deref() == Some(role);
                (is(replica, "master") && is(primary, "slave")).then_some(())
            })
            .is_some()
        });
        self.wait_well();
    }

    /// Begins to move a slot key by key, as `valkey-cli --cluster reshard` does.
    pub fn begin_move(&self, slot: u16, from: &Server, to: &Server) {
        let slot = slot.to_string();
        let _: Value = ask(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
        let _: Value = ask(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
    }

    /// Moves some keys of a slot that [`begin_move`](Self::begin_move) was called for.
    pub fn move_keys(&self, keys: &[&str], from: &Server, to: &Server) {
        let mut command = redis::cmd("MIGRATE");
        command.arg("127.0.0.1").arg(to.port()).arg("").arg(0).arg(MIGRATE_MILLISECONDS);
        let _: String =
            command.arg("KEYS").arg(keys).query(&mut from.connection()).expect("MIGRATE");
    }

    /// The keys that a node has of a slot.
    pub fn keys(&self, slot: u16, node: &Server) -> Vec<String> {
        ask(node, &["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &MANY_KEYS.to_string()])
    }

    /// Ends the move: all keys must have gone.
    pub fn end_move(&self, slot: u16, from: &Server, to: &Server) {
        for node in [to, from] {
            let _: Value = ask(node, &["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &id(to)]);
        }
    }

    /// Moves a whole slot, while others may write to it.
    pub fn move_slot(&self, slot: u16, from: &Server, to: &Server) {
        self.begin_move(slot, from, to);
        loop {
            let keys = self.keys(slot, from);
            if keys.is_empty() {
                break;
            }
            for key in &keys {
                self.move_keys(&[key], from, to);
            }
        }
        self.end_move(slot, from, to);
    }

    fn running(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| server.is_running())
    }

    fn join(&self) {
        let (primaries, replicas) = self.servers.split_at(self.primaries);
        for (place, primary) in primaries.iter().enumerate() {
            let Range { start, end } = self.share(place);
            let range = [start, end - 1].map(|slot| slot.to_string());
            let _: Value = ask(primary, &["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]);
            // Epochs that differ from the start need not be told apart later.
            let _: Value = ask(primary, &["CLUSTER", "SET-CONFIG-EPOCH", &(place + 1).to_string()]);
        }
        let first = &self.servers[0];
        for server in &self.servers[1..] {
            let bus = bus_port(server);
            let port = server.port().to_string();
            let _: Value = ask(first, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let nodes = |server: &Server| ask::<String>(server, &["CLUSTER", "NODES"]);
        wait_until("nodes that know each other", DEADLINE, || {
            self.servers.iter().all(|server| {
                let nodes = nodes(server);
                nodes.lines().count() == self.servers.len() && !nodes.contains("handshake")
            })
        });
        let pairs = || replicas.iter().zip(primaries.iter().cycle());
        for (replica, primary) in pairs() {
            let _: Value = ask(replica, &["CLUSTER", "REPLICATE", &id(primary)]);
        }
        for (replica, primary) in pairs() {
            self.wait_replicated(primary, replica);
        }
        self.wait_well();
    }

    fn share(&self, place: usize) -> Range<usize> {
        place * SLOTS / self.primaries..(place + 1) * SLOTS / self.primaries
    }
}

fn try_ask<T: FromRedisValue>(node: &Server, words: &[&str]) -> RedisResult<T> {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query(&mut node.connection())
}

#[track_caller]
fn ask<T: FromRedisValue>(node: &Server, words: &[&str]) -> T {
    try_ask(node, words).unwrap_or_else(|e| panic!("{words:?}: {e}"))
}

fn id(node: &Server) -> String {
    ask(node, &["CLUSTER", "MYID"])
}

fn bus_port(node: &Server) -> String {
    let settings: Vec<String> = ask(node, &["CONFIG", "GET", "cluster-port"]);
    settings[1].clone()
}

/// The id of the primary that `node` takes for the slot's. (Its address may be a proxy's.)
fn owner_of(node: &Server, slot: u16) -> Option<String> {
    let ranges: Vec<Vec<Value>> = ask(node, &["CLUSTER", "SLOTS"]);
    let number = |value: &Value| redis::from_redis_value_ref::<u16>(value).expect("a number");
    let range = ranges.iter().find(|range| (number(&range[0])..=number(&range[1])).contains(&slot));
    range.map(|range| {
        let Value::Array(primary) = &range[2] else { panic!("no node: {range:?}") };
        redis::from_redis_value_ref(&primary[2]).expect("an id")
    })
}

/// Where `node` takes all slots to be, in its own words.
fn slots(node: &Server) -> String {
    let ranges: Vec<Vec<Value>> = ask(node, &["CLUSTER", "SLOTS"]);
    let mut primaries: Vec<String> =
        ranges.iter().map(|range| format!("{:?}", &range[..3])).collect();
    primaries.sort();
    primaries.concat()
}

fn is_well(node: &Server) -> bool {
    try_ask(node, &["CLUSTER", "INFO"]).is_ok_and(|info: String| {
        info.contains("cluster_state:ok") && info.contains(&format!("cluster_slots_ok:{SLOTS}"))
    })
}

/// What a node says of its part in the replication.
fn info(node: &Server, name: &str) -> Option<String> {
    let text: String = ask(node, &["INFO", "replication"]);
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value.trim().to_owned())
}
