//! Reaching a server and speaking with it, every step under a deadline. Decides nothing: it reports
//! what happened, and the worker draws the conclusions.
#![forbid(unsafe_code)]

mod inbox;
mod login;
mod resolve;
mod session;
mod socket;

pub use login::Credentials;
pub use session::Session;

use crate::commands::{Marker, Replies, UnixMillis};
use crate::error::{Cause, Error};
use crate::params::Address;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The moment by which a call must be over.
#[derive(Clone, Copy, Debug)]
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

/// The servers of an action, in the order to try.
#[derive(Debug)]
pub struct Servers {
    /// Where they are.
    pub addresses: Vec<Address>,
    /// How to log in.
    pub credentials: Arc<Credentials>,
    /// How long one of them may take to be reached.
    pub timeout: Duration,
}

impl Connect for Servers {
    type Connection = Session;

    fn connect(&self, marker: &Marker, deadline: Deadline) -> Result<(Session, Vec<u8>), Error> {
        let mut last = Err(Error::broken(Cause::Connect, "no server is configured"));
        for address in &self.addresses {
            last = Session::open(address, &self.credentials, marker, deadline.capped(self.timeout));
            if last.is_ok() || deadline.remaining().is_none() {
                break;
            }
        }
        last
    }
}
