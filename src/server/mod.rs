//! Reaching a server and speaking with it, every step under a deadline. Decides nothing: it reports
//! what happened, and the worker draws the conclusions.
#![forbid(unsafe_code)]

mod cluster;
mod inbox;
mod login;
mod resolve;
mod sentinel;
mod session;
mod socket;

pub use cluster::{Redirect, SlotMap};
use session::Greeting;
pub use session::Session;

use crate::commands::{Marker, Replies, UnixMillis};
use crate::error::{Cause, Error};
use crate::params::{Address, Settings, Topology};
use login::Credentials;
use sentinel::Sentinels;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The moment by which a call must be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline that far from now.
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// The earlier of this one and one that far from now.
    #[must_use]
    pub fn capped(self, duration: Duration) -> Self {
        Self(self.0.min(Instant::now() + duration))
    }

    /// The time left; `None` when there is none.
    pub fn remaining(self) -> Option<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

/// A way to the store, as a worker uses it.
pub trait Connect {
    /// What a successful attempt gives.
    type Connection: Connection;

    /// Connects, logs in and fences off what an earlier connection of this worker may have left
    /// behind. Returns what the marker held.
    ///
    /// # Errors
    /// Why no server can be used.
    fn connect(
        &self,
        marker: &Marker,
        deadline: Deadline,
    ) -> Result<(Self::Connection, Vec<u8>), Error>;

    /// The nodes of a cluster that are to be asked for the others.
    fn seeds(&self) -> &[Address] {
        &[]
    }

    /// Connects to one node of a cluster and logs in there, no more.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn open(&self, node: &Address, deadline: Deadline) -> Result<Self::Connection, Error>;

    /// Lets some time pass, for what will be over by itself in no time: the keys of a slot that are on
    /// their way. For all else the core waits.
    fn pause(&self, time: Duration);

    /// True when it is known that a new connection would lead elsewhere. Called before each flush, so
    /// it must nearly always cost nothing; a failure to find out is no.
    fn has_moved(&self, _connection: &mut Self::Connection, _deadline: Deadline) -> bool {
        false
    }
}

/// A connection that has proven to be authorised and writable.
pub trait Connection {
    /// Sends all of `pieces`, one after the other and, where the socket takes them, in one packet:
    /// each packet is a round of its own for the server.
    ///
    /// # Errors
    /// The connection is of no use after any.
    fn send(&mut self, pieces: &[&[u8]], deadline: Deadline) -> Result<(), Error>;

    /// The replies that come until `deadline`. An error reply is a reply.
    fn replies(&mut self, deadline: Deadline) -> impl Replies + '_;

    /// Where it leads, for the log.
    fn address(&self) -> String;

    /// The server's clock.
    fn server_time(&self) -> UnixMillis {
        local_time()
    }
}

/// This machine's clock.
fn local_time() -> UnixMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// The servers of an action, and the logins there. Shared by its workers.
#[derive(Clone, Debug)]
pub struct Servers {
    way: Way,
    credentials: Arc<Credentials>,
    /// How long one of them may take to be reached.
    timeout: Duration,
}

/// How to find the server that is written to.
#[derive(Clone, Debug)]
enum Way {
    /// It is one of these, which are tried in order.
    Listed(Vec<Address>),
    /// These know.
    Sentinels(Sentinels),
    /// These know, and are among those that are written to.
    Nodes(Vec<Address>),
}

impl Servers {
    /// Takes from the settings what concerns servers, and reads the password files.
    ///
    /// # Errors
    /// A sentence that names the parameter and what is wrong with it.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let addresses = settings.servers.clone();
        let way = match &settings.topology {
            Topology::Standalone => Way::Listed(addresses),
            Topology::Cluster => Way::Nodes(addresses),
            Topology::Sentinel { master, login } => {
                let credentials = Credentials::load(login.clone(), "sentinel.passwordfile")?;
                Way::Sentinels(Sentinels::new(addresses, master.clone(), credentials))
            }
        };
        let credentials = Credentials::load(settings.login.clone(), "passwordfile")?;
        Ok(Self { way, credentials: Arc::new(credentials), timeout: settings.timeouts.connect })
    }

    /// Reads the password files again. Says which could not be read: the old password stays in use.
    pub fn reload(&self) -> Vec<String> {
        let sentinels = match &self.way {
            Way::Listed(_) | Way::Nodes(_) => None,
            Way::Sentinels(sentinels) => sentinels.reload().err(),
        };
        self.credentials.reload().err().into_iter().chain(sentinels).collect()
    }
}

impl Connect for Servers {
    type Connection = Session;

    fn connect(&self, marker: &Marker, deadline: Deadline) -> Result<(Session, Vec<u8>), Error> {
        let addresses = match &self.way {
            Way::Listed(addresses) | Way::Nodes(addresses) => addresses,
            Way::Sentinels(sentinels) => {
                return sentinels.connect(&self.credentials, marker, self.timeout, deadline);
            }
        };
        let mut last = Err(Error::broken(Cause::Connect, "no server is configured"));
        for address in addresses {
            last = Session::open(address, &self.credentials, marker, deadline.capped(self.timeout));
            if last.is_ok() || deadline.remaining().is_none() {
                break;
            }
        }
        last
    }

    fn seeds(&self) -> &[Address] {
        match &self.way {
            Way::Nodes(nodes) => nodes,
            Way::Listed(_) | Way::Sentinels(_) => &[],
        }
    }

    fn open(&self, node: &Address, deadline: Deadline) -> Result<Session, Error> {
        let greeting = Greeting::to_server(&self.credentials);
        Session::greet(node, greeting, &[], deadline.capped(self.timeout))
    }

    fn pause(&self, time: Duration) {
        // Woken early by nobody but the system, which does no harm.
        std::thread::park_timeout(time);
    }

    fn has_moved(&self, session: &mut Session, deadline: Deadline) -> bool {
        match &self.way {
            Way::Listed(_) | Way::Nodes(_) => false,
            Way::Sentinels(sentinels) => sentinels.has_moved(session, deadline),
        }
    }
}
