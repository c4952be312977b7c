//! The entry of another stream that a record came from: the commands that acknowledge and delete it, in the
//! transaction that stores the record. In a cluster a transaction is in one slot, which says where the
//! record can be stored, and its dead letter.
#![forbid(unsafe_code)]

use super::encode::{command, resolve};
use crate::params::{Origin, Store, number_in, slot_of};
use crate::record::{Flaw, Texts};
use std::borrow::Cow;

/// What was written for the entry that a record came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asides {
    /// So many commands.
    pub commands: usize,
    /// The record does not say which entry that is.
    pub is_nameless: bool,
}

/// An entry, as a record names it.
struct Entry<'t> {
    stream: &'t [u8],
    index: &'t [u8],
    group: Option<&'t [u8]>,
}

/// `None` where the record does not say which it is.
fn entry<'t>(origin: &'t Origin, texts: &Texts<'t>) -> Option<Entry<'t>> {
    let stream = resolve(&origin.key, texts.origin.key);
    let index = resolve(&origin.index, texts.origin.index);
    let group = origin.group.as_ref().map(|group| resolve(group, texts.origin.group));
    let is_named = !(stream.is_empty() || index.is_empty() || group.is_some_and(<[u8]>::is_empty));
    is_named.then_some(Entry { stream, index, group })
}

/// Appends the commands that acknowledge and delete the entry that a record came from.
pub fn asides(settings: &Store, texts: &Texts<'_>, wire: &mut Vec<u8>) -> Asides {
    let Some(origin) = &settings.origin else { return Asides::default() };
    let Some(Entry { stream, index, group }) = entry(origin, texts) else {
        return Asides { commands: 0, is_nameless: true };
    };
    let mut commands = 0;
    if let Some(group) = group {
        command(wire, &[b"XACK", stream, group, index]);
        commands += 1;
    }
    if origin.is_deleted {
        command(wire, &[b"XDEL", stream, index]);
        commands += 1;
    }
    Asides { commands, is_nameless: false }
}

/// The stream of an entry whose slot the record has to be in.
fn bound_to<'t>(settings: &'t Store, texts: &Texts<'t>) -> Option<&'t [u8]> {
    let origin = settings.origin.as_ref().filter(|origin| origin.is_in_cluster)?;
    entry(origin, texts).map(|entry| entry.stream)
}

/// Sees whether one transaction can store the record at `key` and acknowledge its entry.
pub(super) fn check_slot(settings: &Store, key: &[u8], texts: &Texts<'_>) -> Result<(), Flaw> {
    let Some(stream) = bound_to(settings, texts) else { return Ok(()) };
    let (record, entry) = (slot_of(key), slot_of(stream));
    if record == entry { Ok(()) } else { Err(Flaw::OtherSlot { record, entry }) }
}

/// Where a record's dead letter goes: to `deadletter.key`, unless its transaction has to be in another slot.
/// There it goes to a stream of its own, which ends with the slot's number as a marker does.
pub fn dead_letter_key<'s>(settings: &'s Store, texts: &Texts<'_>) -> Cow<'s, [u8]> {
    let fixed = settings.dead_letter_key.as_bytes();
    match bound_to(settings, texts).map(slot_of) {
        Some(slot) if slot != slot_of(fixed) => {
            let number = number_in(slot);
            let key = format!("{}:{{{number}}}", prefix_beside(settings));
            Cow::Owned(key.into_bytes())
        }
        _ => Cow::Borrowed(fixed),
    }
}

/// What the keys of dead letters beside their entries begin with: the braces behind it alone decide where a
/// cluster has them.
pub(super) fn prefix_beside(settings: &Store) -> String {
    settings.dead_letter_key.replace(['{', '}'], "")
}
