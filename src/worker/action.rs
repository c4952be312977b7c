//! What all workers of an action share: its settings, credentials and counters.
#![forbid(unsafe_code)]

use super::risks::Told;
use super::sequence::Sequence;
use super::shard::Shards;
use super::{Log, Severity, prefix};
use crate::error::printable;
use crate::hold::Hold;
use crate::params::{Key, Mode, Retries, Settings};
use crate::record::{OriginTexts, Texts};
use crate::server::{Servers, exposed};
use crate::stats::Stats;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What all workers of an action share.
pub struct Action {
    /// The action's name in rsyslog.conf; may be empty.
    pub name: String,
    /// Its settings.
    pub settings: Settings,
    /// When rsyslog's core gives a batch up.
    pub retries: Retries,
    /// What its workers have counted so far.
    pub stats: Stats,
    stats_name: CString,
    templates: Vec<CString>,
    pub(super) servers: Servers,
    /// Counts HUPs; a worker that finds it changed connects anew.
    pub(super) hups: AtomicU64,
    /// What outlives a stop, where the operator has named a file for it.
    pub(super) hold: Option<Hold>,
    /// The numbers of the records, where they are counted.
    pub(super) sequence: Option<Sequence>,
    pub(super) shards: Arc<Shards>,
    pub(super) at_stop: AtStop,
    /// What was said about its servers.
    pub(super) told: Mutex<Told>,
    /// Only the first worker says what is wrong with the hold file.
    pub(super) is_hold_reported: AtomicBool,
    /// When a worker that ended has last tried to commit in vain.
    failed_at_stop: Mutex<Option<Instant>>,
}

/// No action needs more: the record, its key, and three texts for where it came from. It is also the most
/// that the core makes.
pub const MAX_TEMPLATES: usize = 5;

/// What this rsyslogd does with the batch at hand when it is stopped before the batch is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtStop {
    /// It is gone: what is not settled has to be held.
    Drops,
    /// All of it goes back into the queue: what is settled has to be noted.
    Requeues,
}

impl Action {
    /// Completes the settings with what lies outside of the configuration.
    ///
    /// # Errors
    /// A sentence that names the parameter and what is wrong with it.
    pub fn new(name: String, settings: Settings, retries: Retries) -> Result<Self, String> {
        let servers = Servers::new(&settings)?;
        let stats_name = stats_name(&name, &settings);
        // The file is opened by the first worker: this may be a check of the configuration, by root.
        let hold = settings.hold_file.clone();
        if let Some(folder) = hold.as_ref().filter(|path| path.is_dir()) {
            return Err(format!(
                "parameter \"holdfile\" has the value \"{}\", but it must be the absolute path of a file, and that is a \
                 folder",
                folder.display()
            ));
        }
        let hold = hold.map(|path| Hold::new(path, settings.store.marker_ttl.as_secs()));
        let sequence = settings.counts_numbers.then(Sequence::new);
        let shards = Shards::new(settings.store.shards);
        let templates = std::iter::once(settings.template.as_str()).chain(settings.store.dynamic());
        // No checked setting has a NUL.
        let templates = templates.map(|name| CString::new(name).unwrap_or_default()).collect();
        Ok(Self {
            name,
            settings,
            retries,
            stats: Stats::default(),
            stats_name,
            templates,
            servers,
            hups: AtomicU64::new(0),
            hold,
            sequence,
            shards,
            at_stop: AtStop::Drops,
            told: Mutex::default(),
            is_hold_reported: AtomicBool::new(false),
            failed_at_stop: Mutex::default(),
        })
    }

    /// The action under a core that does this at a stop; without a word it is taken for an old one,
    /// because a record too many is better than one too few.
    #[must_use]
    pub fn under(self, at_stop: AtStop) -> Self {
        Self { at_stop, ..self }
    }

    /// A worker that ends has tried to commit in vain.
    pub(super) fn fail_at_stop(&self) {
        *self.failed_at_stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether one has done so that short a time ago.
    pub(super) fn has_failed_at_stop_within(&self, time: Duration) -> bool {
        let failed = *self.failed_at_stop.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < time)
    }

    /// Says what the configuration puts at risk, and what of it has no effect.
    pub fn warn(&self, log: &dyn Log) {
        let mode = self.settings.store.mode.name();
        for name in &self.settings.idle {
            let text = format!(
                "{}parameter \"{name}\" has no effect with mode=\"{mode}\"",
                prefix(&self.name)
            );
            log.line(Severity::Warning, &text);
        }
        for (name, path) in exposed(&self.settings) {
            let text = format!(
                "{}parameter \"{name}\" names \"{}\", which everybody on this machine may read: take the \
                 right away (chmod o-r)",
                prefix(&self.name),
                path.display()
            );
            log.line(Severity::Warning, &text);
        }
        if let Key::Fixed(key) = &self.settings.store.key
            && key.matches('%').count() > 1
        {
            let text = format!(
                "{}parameter \"key\" has the value \"{}\", which is taken as it is; for a key of each \
                 record's own, name a template there and set dynakey=\"on\"",
                prefix(&self.name),
                printable(key, MAX_KEY_CHARS)
            );
            log.line(Severity::Warning, &text);
        }
        if let Retries::Finite(count) = self.retries {
            let text = format!(
                "{}action.resumeRetryCount is {count}, so rsyslog loses records when the server is \
                 away for longer: the first one of a batch without a trace, the others to \
                 action.errorfile, if there is one; set action.resumeRetryCount=\"-1\"",
                prefix(&self.name)
            );
            log.line(Severity::Warning, &text);
        }
    }

    /// rsyslogd was asked to reopen what it has open: the files of passwords and certificates
    /// are read again, and each
    /// worker connects anew before its next batch. Called on another thread than the workers'.
    pub fn hup(&self, log: &dyn Log) {
        for why in self.servers.reload() {
            let text = format!("{}{why}", prefix(&self.name));
            log.line(Severity::Warning, &text);
        }
        self.hups.fetch_add(1, Ordering::Relaxed);
    }

    /// How many templates it needs.
    pub fn templates(&self) -> usize {
        self.templates.len()
    }

    /// Their names by number from 0: the record's, and those of the other texts in the order of
    /// [`Action::texts`].
    pub fn template(&self, number: usize) -> Option<&CStr> {
        self.templates.get(number).map(CString::as_c_str)
    }

    /// Tells apart what the templates made, in their order.
    pub fn texts<'t>(&self, mut made: impl Iterator<Item = &'t [u8]>) -> Texts<'t> {
        let mut next = |is_made: bool| if is_made { made.next() } else { None }.unwrap_or_default();
        let store = &self.settings.store;
        let is_dynamic = |key: &Key| matches!(key, Key::Dynamic { .. });
        let (record, key) = (next(true), next(store.has_dynamic_key()));
        let origin = store.origin.as_ref().map(|origin| OriginTexts {
            key: next(is_dynamic(&origin.key)),
            group: next(origin.group.as_ref().is_some_and(is_dynamic)),
            index: next(is_dynamic(&origin.index)),
        });
        Texts { record, key, origin: origin.unwrap_or_default() }
    }

    /// The name of its statistics object.
    pub fn stats_name(&self) -> &CStr {
        &self.stats_name
    }
}

/// The longest part of a key that is in a statistics object's name, in characters.
const MAX_KEY_CHARS: usize = 80;

/// What impstats calls the action's counters.
fn stats_name(action: &str, settings: &Settings) -> CString {
    let name = settings.stats_name.clone().unwrap_or_else(|| {
        let of = match &settings.store.key {
            _ if !action.is_empty() => action,
            // A command names its keys itself.
            _ if settings.store.mode == Mode::Template => &settings.template,
            Key::Fixed(key) => key,
            Key::Dynamic { template } => template,
        };
        format!("omvalkeyaudit({})", printable(of, MAX_KEY_CHARS))
    });
    // Neither a checked setting nor a printable text has a NUL.
    CString::new(name).unwrap_or_default()
}
