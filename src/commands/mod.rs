//! Records and settings in, commands on the wire out; replies in, outcome per record out. The only
//! place that knows which commands an action uses.
#![forbid(unsafe_code)]

mod durability;
mod encode;
mod keeping;
mod origin;
mod pack;
mod plan;
mod replies;
mod rights;

pub use durability::{Shortfall, read_copies, wait_for_copies};
pub use encode::{answer, can_have_stored, dead_letter, encode, key, push};
pub use keeping::{Keeping, Reserve, ask_keeping, read_keeping};
pub use origin::{Asides, asides, dead_letter_key};
pub use plan::{Answer, Plan, Refusals};
pub use replies::{
    FlushResult, Replies, read_fence, read_fence_asking, read_flush, read_ok, read_open, read_part,
    refusal, text, unexpected,
};
pub use rights::{Missing, Rights, with_grant};

use crate::params::{Retention, Trim, number_in};
pub use crate::params::{SLOTS, Slot, slot_of};
use redis::Cmd;
use std::collections::BTreeSet;

/// Milliseconds since the epoch, as stream ids count them.
pub type UnixMillis = u64;

/// A dead letter: the record as it came, and why it is one.
pub struct DeadLetter<'a> {
    /// The stream that it goes to.
    pub key: &'a [u8],
    /// The record's bytes.
    pub record: &'a [u8],
    /// Why it could not be stored as configured.
    pub reason: &'a str,
    /// The action's name.
    pub action: &'a str,
    /// When the plugin got it: RFC 3339, UTC, microseconds.
    pub received: &'a str,
}

fn exactness(trim: Trim) -> &'static str {
    if trim.is_exact { "=" } else { "~" }
}

/// The commands that remove what is too old, and how many they are: one for each key, at the end of a
/// flush, because the age counts by the server's clock, which is not known before.
pub fn trim_by_age<'k>(
    trim: Trim,
    keys: impl Iterator<Item = &'k [u8]>,
    server_time: UnixMillis,
) -> (Vec<u8>, usize) {
    let Retention::Age(age) = trim.retention else { return (Vec::new(), 0) };
    let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let keys: BTreeSet<&[u8]> = keys.collect();
    let mut wire = Vec::new();
    for key in &keys {
        redis::cmd("XTRIM")
            .arg(key)
            .arg("MINID")
            .arg(exactness(trim))
            .arg(server_time.saturating_sub(age))
            .write_packed_command(&mut wire);
    }
    (wire, keys.len())
}

/// What a flush starts with.
pub fn open_flush() -> Vec<u8> {
    redis::cmd("MULTI").get_packed_command()
}

/// What comes before a command to the node that a slot is on its way to.
pub fn asking() -> Vec<u8> {
    redis::cmd("ASKING").get_packed_command()
}

/// Identifies a flush of a worker: what its marker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The marker's key.
    pub key: String,
    /// The worker's id, never used by another one.
    pub worker: String,
    /// Lifetime in seconds.
    pub ttl_secs: u64,
}

impl Marker {
    /// The marker's value once flush `number` has taken place.
    pub fn value(&self, number: u64) -> String {
        format!("{}:{number}", self.worker)
    }

    /// The number of the flush that `held`, the marker's value, tells of; 0 where none has taken place.
    pub fn number(&self, held: &[u8]) -> u64 {
        let held = std::str::from_utf8(held).unwrap_or_default();
        let number = held.strip_prefix(&self.worker).and_then(|rest| rest.strip_prefix(':'));
        number.and_then(|number| number.parse().ok()).unwrap_or_default()
    }

    /// The worker's marker for what it writes to a cluster's slot: a transaction is in one slot only.
    #[must_use]
    pub fn in_slot(&self, slot: Slot) -> Self {
        Self { key: format!("{}:{{{}}}", self.key, number_in(slot)), ..self.clone() }
    }

    /// What flush `number` ends with: the marker, EXEC, and the WATCH that guards the next flush.
    pub fn close_flush(&self, number: u64) -> Vec<u8> {
        let mut wire = self.close(number);
        self.watch().write_packed_command(&mut wire);
        wire
    }

    /// The same without a guard for the next one.
    pub fn close(&self, number: u64) -> Vec<u8> {
        let mut wire = Vec::new();
        redis::cmd("SET")
            .arg(&self.key)
            .arg(self.value(number))
            .arg("EX")
            .arg(self.ttl_secs)
            .write_packed_command(&mut wire);
        redis::cmd("EXEC").write_packed_command(&mut wire);
        wire
    }

    /// What a connection starts with: touches the marker, and with that breaks every transaction
    /// that an earlier connection may have left behind (it watched the marker), then reads it.
    /// [`read_fence`] reads the replies.
    pub fn fence(&self) -> Vec<u8> {
        let mut wire = open_flush();
        redis::cmd("SET")
            .arg(&self.key)
            .arg(self.value(0))
            .arg("NX")
            .arg("EX")
            .arg(self.ttl_secs)
            .write_packed_command(&mut wire);
        self.touch_and_read(&mut wire);
        self.watch().write_packed_command(&mut wire);
        wire
    }

    /// The same on the node that a slot is on its way to, which wants to be asked before each command
    /// outside of a transaction. Makes no marker: it may still be on the other node, or be there again.
    /// [`read_fence_asking`] reads the replies.
    pub fn fence_asking(&self) -> Vec<u8> {
        let mut wire = asking();
        wire.extend_from_slice(&open_flush());
        self.touch_and_read(&mut wire);
        wire.extend_from_slice(&asking());
        self.watch().write_packed_command(&mut wire);
        wire
    }

    fn touch_and_read(&self, wire: &mut Vec<u8>) {
        redis::cmd("EXPIRE").arg(&self.key).arg(self.ttl_secs).write_packed_command(wire);
        redis::cmd("GET").arg(&self.key).write_packed_command(wire);
        redis::cmd("EXEC").write_packed_command(wire);
    }

    /// Guards the flushes from here on to the next EXEC.
    pub fn watch(&self) -> Cmd {
        let mut command = redis::cmd("WATCH");
        command.arg(&self.key);
        command
    }
}

#[cfg(test)]
mod tests;
