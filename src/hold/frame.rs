//! What the hold file is made of, as values. How they are written down is in `format`.
#![forbid(unsafe_code)]

use crate::record::{OriginTexts, Texts};

/// Seconds since the epoch.
pub type UnixSeconds = u64;

/// A flush whose confirmation was lost: where it can be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The marker's key.
    pub marker: String,
    /// The worker that the marker belongs to.
    pub worker: String,
    /// The flush's number.
    pub flush: u64,
}

/// Why a record is a dead letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letter {
    /// In words.
    pub reason: String,
    /// When the plugin got the record: RFC 3339, UTC, microseconds.
    pub received: String,
}

/// A record that is held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The dynamic key; empty where the key is fixed.
    pub key: Vec<u8>,
    /// The record as rsyslog gave it.
    pub record: Vec<u8>,
    /// Which entry of which stream it was, as far as it tells: key, group, id.
    pub origin: [Vec<u8>; 3],
    /// What makes it a dead letter, if it is one.
    pub letter: Option<Letter>,
}

impl Held {
    /// Takes a record's texts.
    pub fn new(texts: &Texts<'_>, letter: Option<Letter>) -> Self {
        let OriginTexts { key, group, index } = texts.origin;
        Self {
            key: texts.key.to_vec(),
            record: texts.record.to_vec(),
            origin: [key, group, index].map(<[u8]>::to_vec),
            letter,
        }
    }

    /// Gives them back.
    pub fn texts(&self) -> Texts<'_> {
        let [key, group, index] = &self.origin;
        Texts { record: &self.record, key: &self.key, origin: OriginTexts { key, group, index } }
    }
}

/// Records that rsyslog will not bring back: at most one flush, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// Never used twice: the marker of the flush that commits these records is named after it.
    pub id: u128,
    /// The action's name.
    pub action: String,
    /// When they were held.
    pub time: UnixSeconds,
    /// The frame in whose place, in the order, this one is: what is left of that one.
    pub replaces: Option<u128>,
    /// The flush that they all were in.
    pub doubt: Option<Doubt>,
    /// The records.
    pub records: Vec<Held>,
}

/// A record that is settled, and that rsyslog will bring back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is recognised by, under the seed of [`Notes`].
    pub fingerprint: u64,
    /// The dynamic key, where the flush is in doubt and has to be looked up.
    pub key: Vec<u8>,
    /// Whether it went to the dead letter.
    pub is_letter: bool,
}

/// What was settled of a batch that rsyslog will bring back, or was in one flush in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notes {
    /// Never used twice.
    pub id: u128,
    /// The action's name.
    pub action: String,
    /// When they were noted.
    pub time: UnixSeconds,
    /// Under which the fingerprints were made: secret, so that nobody can make another record that
    /// is taken for one of these.
    pub seed: u64,
    /// The flush that they all were in.
    pub doubt: Option<Doubt>,
    /// The records.
    pub notes: Vec<Note>,
}

/// One entry of the file, which is a log: the later ones say what has become of the earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Records to commit.
    Records(Records),
    /// Records not to write again.
    Notes(Notes),
    /// Nothing of the frame with this id is of use any more.
    Done(u128),
    /// These of the notes, by their places, have had their one use.
    Spent(u128, Vec<usize>),
}
