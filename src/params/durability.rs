//! On how many copies a record must be before it is acknowledged.
#![forbid(unsafe_code)]

use super::{Mode, Reader};
use std::time::Duration;

/// What must have reached a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Nothing.
    None,
    /// The append-only file of the server that is written to.
    Local,
    /// That one, and those of as many replicas as are asked for.
    Replicas,
}

/// What an acknowledgement shall mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durability {
    /// So many replicas must have the records.
    pub replicas: u64,
    /// Where they must be on disk.
    pub fsync: Fsync,
    /// How long to wait for that at a time.
    pub timeout: Duration,
}

impl Durability {
    /// What is asked for of records of this mode: of messages to a channel there are no copies.
    pub(super) fn of(self, mode: Mode) -> Self {
        match mode {
            Mode::Publish => Self { replicas: 0, fsync: Fsync::None, ..self },
            Mode::Stream | Mode::Queue { .. } | Mode::Set { .. } | Mode::Template => self,
        }
    }

    /// True where the server's word is not enough.
    pub fn is_asked(&self) -> bool {
        self.replicas > 0 || self.fsync != Fsync::None
    }
}

pub(super) fn durability(reader: &mut Reader<'_>) -> Durability {
    let replicas = reader.number("durability.replicas");
    let fsync = match reader.choice("durability.fsync").as_str() {
        "local" => Fsync::Local,
        "replicas" => Fsync::Replicas,
        _ => Fsync::None,
    };
    if fsync == Fsync::Replicas && replicas == 0 {
        let allowed = "\"none\" or \"local\" where \"durability.replicas\" is 0: give the number of \
                       replicas too";
        reader.complain("durability.fsync", "replicas", allowed);
    }
    let timeout = Duration::from_millis(reader.number("durability.timeout"));
    Durability { replicas, fsync, timeout }
}
