//! Why something did not come about in a cluster, and when to try it again.
#![forbid(unsafe_code)]

use crate::error::Error;
use std::time::Duration;

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Retry {
    /// The way is known now.
    AtOnce,
    /// The keys are on their way.
    Soon,
    /// When the core says so.
    Later,
}

/// What is in the way.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) error: Error,
    pub(super) retry: Retry,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self { error, retry: Retry::Later }
    }
}

impl Trouble {
    /// The graver of the two.
    pub(super) fn or(self, other: Option<Self>) -> Self {
        other.filter(|other| other.retry > self.retry).unwrap_or(self)
    }
}

/// What is in the way at several nodes.
#[derive(Default)]
pub(super) struct Troubles(Option<Trouble>);

impl Troubles {
    pub(super) fn add(&mut self, trouble: Trouble) {
        self.0 = Some(trouble.or(self.0.take()));
    }

    /// True where there is one.
    pub(super) fn note(&mut self, result: Result<(), Trouble>) -> bool {
        result.map_err(|trouble| self.add(trouble)).is_err()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The gravest.
    pub(super) fn into_result(self) -> Result<(), Trouble> {
        self.0.map_or(Ok(()), Err)
    }
}

/// So often in a row something is tried again at once.
const MAX_AT_ONCE: usize = 4;

/// Between two attempts while keys are on their way: most slots have few, which move within milliseconds.
/// After the last one the core waits, in seconds.
const PAUSES: [Duration; 7] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
    Duration::from_millis(160),
    Duration::from_millis(320),
];

/// Counts the attempts that led nowhere.
#[derive(Default)]
pub(super) struct Attempts {
    at_once: usize,
    pauses: usize,
}

impl Attempts {
    /// How long to wait before the next attempt; none where there shall not be one in this call.
    pub(super) fn next(&mut self, retry: Retry) -> Option<Duration> {
        match retry {
            Retry::Later => None,
            Retry::AtOnce if self.at_once < MAX_AT_ONCE => {
                self.at_once += 1;
                Some(Duration::ZERO)
            }
            Retry::AtOnce | Retry::Soon => {
                let pause = PAUSES.get(self.pauses).copied();
                self.pauses += 1;
                pause
            }
        }
    }

    /// Something came of it.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::default();
    }
}
