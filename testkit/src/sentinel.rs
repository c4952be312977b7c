//! Real servers of which one is the primary and the others replicate it, under three real sentinels.

use std::collections::HashMap;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::certificates::Identity;
use crate::net::Address;
use crate::programs::Flavour;
use crate::proxy::Proxy;
use crate::scratch::Scratch;
use crate::server::{Server, ServerBuilder};
use crate::wait::{wait_for, wait_until};

/// Sentinels that share two processors with everything else may find their clock disturbed, and then
/// do nothing for half a minute.
const DEADLINE: Duration = Duration::from_secs(100);
const SENTINELS: usize = 3;
/// So many sentinels must agree that the primary is down.
const QUORUM: usize = 2;

/// What a group shall be; see [`SentinelGroup::builder`].
#[derive(Debug, Clone)]
pub struct SentinelGroupBuilder {
    flavour: Flavour,
    replicas: usize,
    server_lines: Vec<String>,
    sentinel_lines: Vec<String>,
    sentinel_password: Option<String>,
    tls: Option<Identity>,
    has_proxy: bool,
}

impl SentinelGroupBuilder {
    /// So many replicas instead of one.
    #[must_use]
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// Adds lines to the configuration of the primary and of each replica.
    #[must_use]
    pub fn server_config(mut self, lines: &str) -> Self {
        self.server_lines.push(lines.into());
        self
    }

    /// Adds lines to the configuration of each sentinel.
    #[must_use]
    pub fn sentinel_config(mut self, lines: &str) -> Self {
        self.sentinel_lines.push(lines.into());
        self
    }

    /// Asks for a password of the sentinels' default user.
    #[must_use]
    pub fn sentinel_password(mut self, password: &str) -> Self {
        self.sentinel_password = Some(password.into());
        self
    }

    /// Has all of them speak TLS with this certificate, among themselves too.
    #[must_use]
    pub fn tls(mut self, identity: &Identity) -> Self {
        self.tls = Some(identity.clone());
        self.server_config("tls-replication yes").sentinel_config("tls-replication yes")
    }

    /// Puts a proxy before the first primary: the sentinels watch it there, and so name the proxy to those who ask, and
    /// the replicas follow it there, until another takes over.
    #[must_use]
    pub fn proxied(mut self) -> Self {
        self.has_proxy = true;
        self
    }

    /// On TCP, with TLS or without.
    fn member(&self) -> ServerBuilder {
        let server = Server::builder(self.flavour);
        match &self.tls {
            None => server.tcp(),
            Some(identity) => server.tls(identity),
        }
    }

    /// Starts all of them and waits until each sentinel knows every other and the replicas.
    ///
    /// # Panics
    /// When that does not come about.
    pub fn start(self, scratch: &Scratch) -> SentinelGroup {
        // The first full copy must not wait for a second replica.
        let mut lines = vec!["repl-diskless-sync-delay 0".to_owned()];
        lines.extend(self.server_lines.clone());
        let data = |more: &str| self.member().config(&lines.join("\n")).config(more).start(scratch);
        let primary = data("");
        let proxy = self.has_proxy.then(|| match &self.tls {
            None => Proxy::tcp(primary.address()),
            Some(identity) => Proxy::tls(primary.address(), identity),
        });
        let port = proxy.as_ref().map_or(primary.port(), Proxy::port);
        // Behind a proxy that ends TLS, the primary sees its replicas at a path.
        let replicaof = format!("replicaof 127.0.0.1 {port}\nreplica-announce-ip 127.0.0.1");
        let replicas = (0..self.replicas).map(|_| data(&replicaof));
        let servers: Vec<Server> =
            [primary].into_iter().chain(replicas.collect::<Vec<_>>()).collect();

        let watch = watch(port, QUORUM);
        let sentinels = (0..SENTINELS).map(|_| {
            let mut sentinel = self.member().sentinel(&watch);
            if let Some(password) = &self.sentinel_password {
                sentinel = sentinel.password(password);
            }
            sentinel.config(&self.sentinel_lines.join("\n")).start(scratch)
        });
        let group = SentinelGroup {
            name: SentinelGroup::name(),
            proxy,
            servers,
            sentinels: sentinels.collect(),
        };
        group.wait_replicated();
        group.wait_acquainted();
        group
    }
}

/// A running group. All its processes end on drop.
#[derive(Debug)]
pub struct SentinelGroup {
    name: &'static str,
    proxy: Option<Proxy>,
    servers: Vec<Server>,
    sentinels: Vec<Server>,
}

impl SentinelGroup {
    /// The name under which the sentinels watch a group that this thread starts. Each test runs on a thread of its own:
    /// sentinels that find another test's server at the port of one that died take its sentinels for their own where
    /// the names are the same.
    pub fn name() -> &'static str {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        thread_local! {
            static NAME: &'static str = {
                let count = COUNT.fetch_add(1, Ordering::Relaxed);
                format!("group-{}-{count}", process::id()).leak()
            };
        }
        NAME.with(|name| *name)
    }

    /// Describes a group: a primary, one replica and three sentinels, all on TCP.
    pub fn builder(flavour: Flavour) -> SentinelGroupBuilder {
        SentinelGroupBuilder {
            flavour,
            replicas: 1,
            server_lines: Vec::new(),
            sentinel_lines: Vec::new(),
            sentinel_password: None,
            tls: None,
            has_proxy: false,
        }
    }

    /// A sentinel that watches the primary at `port` of 127.0.0.1 alone, under the [`name`](Self::name) of this thread.
    pub fn lone_sentinel(flavour: Flavour, port: u16) -> ServerBuilder {
        Server::builder(flavour).sentinel(&watch(port, 1))
    }

    /// The servers with the data; the first was the primary at the start.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The proxy before the first primary.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// Where the sentinels listen.
    pub fn addresses(&self) -> Vec<Address> {
        self.sentinels.iter().map(Server::tcp_address).collect()
    }

    /// The server that is the primary, as soon as all sentinels and servers agree on it.
    ///
    /// # Panics
    /// When that does not come about.
    #[track_caller]
    pub fn primary(&self) -> &Server {
        wait_for("sentinels that agree on a primary", DEADLINE, || self.agreed())
    }

    /// The server that all running sentinels name, which may not be over with the failover yet: an old primary that lives
    /// may go on taking writes until it is told.
    pub fn named(&self) -> Option<&Server> {
        self.named_where(|_| true)
    }

    /// Waits for another primary than `old`.
    ///
    /// # Panics
    /// When that does not come about.
    #[track_caller]
    pub fn wait_failover(&self, old: &Server) -> &Server {
        wait_for("another primary", DEADLINE, || {
            self.agreed().filter(|server| server.port() != old.port())
        })
    }

    /// Has a sentinel make another server the primary; `how` goes behind `SENTINEL FAILOVER <name>`. Gives the new
    /// primary.
    ///
    /// # Panics
    /// When that does not come about.
    #[track_caller]
    pub fn fail_over(&self, how: &[&str]) -> &Server {
        let old = self.primary();
        wait_for("a failover", DEADLINE, || {
            self.order_failover(old, how);
            self.agreed().filter(|server| server.port() != old.port())
        })
    }

    /// Asks a sentinel to replace the primary `old`, unless it has done so or is at it. A refusal, or an election that
    /// nobody wins, is not the last word: whoever waits for the failover asks again.
    ///
    /// # Panics
    /// When the sentinel does not answer.
    pub fn order_failover(&self, old: &Server, how: &[&str]) {
        let sentinel = &self.sentinels[0];
        let state = watched_by(sentinel, self.name).expect("SENTINEL MASTER");
        if state["flags"] == "master" && state["port"] == old.port().to_string() {
            let mut command = redis::cmd("SENTINEL");
            command.arg("FAILOVER").arg(self.name).arg(how);
            // Refused until the sentinel has heard of a replica that is well.
            let _ = command.exec(&mut sentinel.connection());
        }
    }

    /// Waits until every replica that runs has all that the primary had when it was last asked.
    ///
    /// # Panics
    /// When that does not come about.
    #[track_caller]
    pub fn wait_replicated(&self) {
        type State = HashMap<String, String>;
        let is_primary = |state: &State| state["role"] == "master";
        let offset = |state: &State, of: &str| state.get(of)?.parse::<u64>().ok();
        wait_until("replicas that have everything", DEADLINE, || {
            let first: Vec<State> = self.servers.iter().filter_map(replication).collect();
            let mut primaries = first.iter().filter(|state| is_primary(state));
            let (Some(primary), None) = (primaries.next(), primaries.next()) else { return false };
            let goal = offset(primary, "master_repl_offset");
            // Asked after the primary: WAIT alone moves its offset, and two are never equal while a client waits.
            let mut states = self.servers.iter().filter_map(replication);
            states.all(|state| {
                is_primary(&state)
                    || state["master_link_status"] == "up"
                        && offset(&state, "slave_repl_offset") >= goal
            })
        });
    }

    fn wait_acquainted(&self) {
        let known = |sentinel: &Server, whom: &str, flags: &str| {
            let mut ask = redis::cmd("SENTINEL");
            ask.arg(whom).arg(self.name);
            let all: Vec<HashMap<String, String>> =
                ask.query(&mut sentinel.connection()).expect("a list");
            // Without any flag such as "disconnected" or "s_down".
            all.iter().filter(|one| one["flags"] == flags).count()
        };
        for sentinel in &self.sentinels {
            wait_until("a sentinel that knows the others", DEADLINE, || {
                known(sentinel, "SENTINELS", "sentinel") == SENTINELS - 1
                    && known(sentinel, "REPLICAS", "slave") == self.servers.len() - 1
            });
        }
    }

    /// The primary, if all that run agree on it: the sentinels name it and have no failover under way, and of the
    /// servers it alone says that it is one. (Until then an old primary, which has not been told, may take writes that
    /// nobody will ever see, and a second failover may begin before the first has ended.)
    fn agreed(&self) -> Option<&Server> {
        let named = self.named_where(|state| state["flags"] == "master")?;
        let is_primary =
            |server: &&Server| replication(server).is_some_and(|state| state["role"] == "master");
        let primaries: Vec<&Server> = self.servers.iter().filter(is_primary).collect();
        match primaries.as_slice() {
            [primary] if primary.port() == named.port() => Some(primary),
            _ => None,
        }
    }

    /// The server that all running sentinels name, if what each says of it is as wanted.
    fn named_where(&self, is_wanted: impl Fn(&HashMap<String, String>) -> bool) -> Option<&Server> {
        let running = self.sentinels.iter().filter(|sentinel| sentinel.is_running());
        let mut ports = running.map(|sentinel| {
            let state = watched_by(sentinel, self.name)?;
            is_wanted(&state).then(|| state["port"].clone())
        });
        let port = ports.next()??;
        let do_agree = ports.all(|other| other.as_ref() == Some(&port));
        let is_it = |server: &&Server| server.port().to_string() == port;
        self.servers.iter().find(is_it).filter(|_| do_agree)
    }
}

/// What a sentinel says of the primary that it watches.
fn watched_by(sentinel: &Server, name: &str) -> Option<HashMap<String, String>> {
    let mut ask = redis::cmd("SENTINEL");
    ask.arg("MASTER").arg(name).query(&mut sentinel.connection()).ok()
}

/// The configuration of a sentinel that watches a primary on a port of 127.0.0.1.
fn watch(port: u16, quorum: usize) -> String {
    let name = SentinelGroup::name();
    format!(
        "sentinel monitor {name} 127.0.0.1 {port} {quorum}\n\
         sentinel down-after-milliseconds {name} 2500\n\
         sentinel failover-timeout {name} 5000"
    )
}

/// What a server says of its part in the replication; `None` when it does not run.
fn replication(server: &Server) -> Option<HashMap<String, String>> {
    if !server.is_running() {
        return None;
    }
    let text: String = wait_for("INFO of a server whose role does not change", DEADLINE, || {
        match redis::cmd("INFO").arg("replication").query(&mut server.connection()) {
            Ok(text) => Some(text),
            // The sentinels have a server close its connections when its role changes.
            Err(e) if e.is_connection_dropped() => None,
            Err(e) => panic!("INFO: {e}"),
        }
    });
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    Some(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::SentinelGroup;
    use std::thread;

    #[test]
    fn each_test_has_a_name_of_its_own_for_its_group() {
        let name = SentinelGroup::name();
        assert_eq!(SentinelGroup::name(), name);
        assert_ne!(thread::spawn(SentinelGroup::name).join().expect("a name"), name);
    }
}
