//! Reaching a server and speaking with it, every step under a deadline. Decides nothing: it reports
//! what happened, and the worker draws the conclusions.
#![forbid(unsafe_code)]

mod cluster;
mod exposed;
mod inbox;
mod login;
mod resolve;
mod sentinel;
mod session;
mod socket;
mod stream;
mod tls;

pub use cluster::{Redirect, SlotMap};
pub use exposed::exposed;
pub use session::Session;

use crate::commands::{Marker, Replies, Rights, UnixMillis};
use crate::error::{Cause, Error};
use crate::params::{Address, Settings, Topology};
use login::Credentials;
use sentinel::Sentinels;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tls::Tls;

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

    /// Connects to one node of a cluster, logs in there and looks at the user's rights, no more.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn open(&self, node: &Address, deadline: Deadline) -> Result<Self::Connection, Error>;

    /// Lets some time pass, for what will be over by itself in no time: the keys of a slot that are on
    /// their way. For all else the core waits.
    fn pause(&self, time: Duration);

    /// True when a new connection is worth a try: it is known to lead elsewhere, or it may lead back to
    /// the first server of the list and the time for that has come. Called before each flush, so it must
    /// nearly always cost nothing; a failure to find out is no.
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

    /// The command that grants what the user will need and does not have; `None` where it has all.
    fn missing_rights(&self) -> Option<String> {
        None
    }

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
    access: Arc<Access>,
    /// How long one of them may take to be reached.
    timeout: Duration,
}

/// Who we are at the server that is written to, how we speak with it, and what we must be allowed to do
/// there.
#[derive(Debug)]
struct Access {
    credentials: Credentials,
    /// `None` for no TLS.
    tls: Option<Arc<Tls>>,
    rights: Rights,
}

/// How to find the server that is written to.
#[derive(Clone, Debug)]
enum Way {
    /// It is one of these, which are tried in order; again after so many flushes to another than the first.
    Listed(Vec<Address>, Option<NonZeroU64>),
    /// These know.
    Sentinels(Sentinels),
    /// These know, and are among those that are written to.
    Nodes(Vec<Address>),
}

impl Servers {
    /// Takes from the settings what concerns servers, and reads the files of passwords and certificates.
    ///
    /// # Errors
    /// A sentence that names the parameter and what is wrong with it.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let addresses = settings.servers.clone();
        let tls = settings.tls.clone().map(Tls::load).transpose()?.map(Arc::new);
        let way = match &settings.topology {
            Topology::Standalone => Way::Listed(addresses, settings.rebind),
            Topology::Cluster => Way::Nodes(addresses),
            Topology::Sentinel { master, login } => {
                let credentials = Credentials::load(login.clone(), "sentinel.passwordfile")?;
                Way::Sentinels(Sentinels::new(addresses, master.clone(), credentials, tls.clone()))
            }
        };
        let credentials = Credentials::load(settings.login.clone(), "passwordfile")?;
        let access = Access { credentials, tls, rights: Rights::of(settings) };
        Ok(Self { way, access: Arc::new(access), timeout: settings.timeouts.connect })
    }

    /// Reads the files of passwords and certificates again. Says which could not be read, and that the
    /// old ones stay in use.
    pub fn reload(&self) -> Vec<String> {
        let sentinels = match &self.way {
            Way::Listed(..) | Way::Nodes(_) => None,
            Way::Sentinels(sentinels) => sentinels.reload().err(),
        };
        let passwords = self.access.credentials.reload().err().into_iter().chain(sentinels);
        let passwords = passwords.map(|why| format!("{why}; the old password stays in use"));
        let tls = self.access.tls.as_deref().and_then(|tls| tls.reload().err());
        let tls = tls.map(|why| format!("{why}; the old certificates and key stay in use"));
        passwords.chain(tls).collect()
    }
}

impl Connect for Servers {
    type Connection = Session;

    fn connect(&self, marker: &Marker, deadline: Deadline) -> Result<(Session, Vec<u8>), Error> {
        let addresses = match &self.way {
            Way::Listed(addresses, _) | Way::Nodes(addresses) => addresses,
            Way::Sentinels(sentinels) => {
                return sentinels.connect(&self.access, marker, self.timeout, deadline);
            }
        };
        let mut last = Err(Error::broken(Cause::Connect, "no server is configured"));
        for address in addresses {
            last = Session::open(address, &self.access, marker, deadline.capped(self.timeout));
            if last.is_ok() || deadline.remaining().is_none() {
                break;
            }
        }
        last
    }

    fn seeds(&self) -> &[Address] {
        match &self.way {
            Way::Nodes(nodes) => nodes,
            Way::Listed(..) | Way::Sentinels(_) => &[],
        }
    }

    fn open(&self, node: &Address, deadline: Deadline) -> Result<Session, Error> {
        Session::open_node(node, &self.access, deadline.capped(self.timeout))
    }

    fn pause(&self, time: Duration) {
        // Woken early by nobody but the system, which does no harm.
        std::thread::park_timeout(time);
    }

    fn has_moved(&self, session: &mut Session, deadline: Deadline) -> bool {
        match &self.way {
            Way::Listed(addresses, Some(interval)) => {
                session.flushes += 1;
                session.flushes > interval.get()
                    && addresses.first().is_some_and(|first| !session.leads_to(first))
            }
            Way::Listed(_, None) | Way::Nodes(_) => false,
            Way::Sentinels(sentinels) => sentinels.has_moved(session, deadline),
        }
    }
}
