//! From the texts that the core hands over to what is kept of them: the commands, or the dead letter's, and
//! by what a replayed record is recognised.
#![forbid(unsafe_code)]

use super::Worker;
use super::batch::{Encoded, letter, write_letter};
use super::sequence::scan_number;
use crate::commands;
use crate::hold::Letter;
use crate::params::Key;
use crate::record::{Flaw, Texts};
use crate::server::Connect;
use crate::stats::Counter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use xxhash_rust::xxh3::xxh3_64_with_seed;

impl<C: Connect> Worker<'_, C> {
    /// Writes the record's commands; a dead letter's where it has to become one, or `letter` says that it
    /// is one already.
    pub(super) fn encode(&mut self, texts: &Texts<'_>, letter: Option<&Letter>) -> Encoded {
        let letter = match letter {
            None => self.encode_record(texts),
            Some(letter) => Some(Box::new(letter.clone())),
        };
        let settings = &self.action.settings.store;
        if let Some(letter) = &letter {
            self.command.clear();
            scan_number(self.numbering.as_mut(), texts.record);
            write_letter(settings, &self.action.name, texts, letter, &mut self.command);
        }
        let main = self.command.len();
        let asides = commands::asides(settings, texts, &mut self.command);
        if asides.is_nameless {
            self.action.stats.add(Counter::AcksFailed, 1);
            self.report.ack_failed(&"the record does not name it");
        }
        Encoded { main, asides: asides.commands, letter }
    }

    /// Writes what stores the record, or tells why it cannot be stored.
    fn encode_record(&mut self, texts: &Texts<'_>) -> Option<Box<Letter>> {
        let settings = &self.action.settings.store;
        let key = match &settings.key {
            Key::Fixed(_) => self.key.as_bytes(),
            Key::Dynamic { .. } => texts.key,
        };
        self.command.clear();
        let (command, numbering) = (&mut self.command, self.numbering.as_mut());
        // A record that our own code cannot bear must not take the batch with it: a panic that gets
        // further up leaves a batch that comes again and again.
        let encoded = catch_unwind(AssertUnwindSafe(|| {
            commands::encode(settings, key, texts, numbering, command)
        }));
        let flaw = encoded.unwrap_or(Err(Flaw::Internal)).err()?;
        let letters = commands::dead_letter_key(settings, texts);
        self.report.dead_letter(&flaw, &String::from_utf8_lossy(&letters));
        Some(Box::new(letter(&flaw)))
    }

    /// By what a record is recognised: all its texts, each at its place.
    pub(super) fn fingerprint(&self, seed: u64, texts: &Texts<'_>) -> u64 {
        let store = &self.action.settings.store;
        let mut fingerprint = xxh3_64_with_seed(texts.record, seed);
        if store.has_dynamic_key() {
            fingerprint = xxh3_64_with_seed(texts.key, fingerprint);
        }
        if store.origin.is_some() {
            let origin = texts.origin;
            for text in [origin.key, origin.group, origin.index] {
                fingerprint = xxh3_64_with_seed(text, fingerprint);
            }
        }
        fingerprint
    }
}
