//! Reaching a server and speaking with it, every step under a deadline. Decides nothing: it reports
//! what happened, and the worker draws the conclusions.
#![forbid(unsafe_code)]

mod inbox;
mod login;
mod resolve;
mod session;
mod socket;

pub use login::Credentials;
pub use session::{Incoming, Session};

use std::time::{Duration, Instant};

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
