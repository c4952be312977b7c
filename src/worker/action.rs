//! What all workers of an action share: its settings, credentials and counters.
#![forbid(unsafe_code)]

use super::sequence::Sequence;
use super::shard::Shards;
use super::{Log, Severity, prefix};
use crate::error::printable;
use crate::hold::Hold;
use crate::params::{Key, Retries, Settings};
use crate::server::Servers;
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
    pub(super) servers: Servers,
    /// Counts HUPs; a worker that finds it changed connects anew.
    pub(super) hups: AtomicU64,
    /// What outlives a stop, where the operator has named a file for it.
    pub(super) hold: Option<Hold>,
    /// The numbers of the records, where they are counted.
    pub(super) sequence: Option<Sequence>,
    pub(super) shards: Arc<Shards>,
    pub(super) at_stop: AtStop,
    /// Only the first worker says what is wrong with the hold file.
    pub(super) is_hold_reported: AtomicBool,
    /// When a worker that ended has last tried to commit in vain.
    failed_at_stop: Mutex<Option<Instant>>,
}

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
        let hold = hold.map(|path| Hold::new(path, settings.stream.marker_ttl.as_secs()));
        let sequence = settings.counts_numbers.then(Sequence::new);
        let shards = Shards::new(settings.stream.shards);
        Ok(Self {
            name,
            settings,
            retries,
            stats: Stats::default(),
            stats_name,
            servers,
            hups: AtomicU64::new(0),
            hold,
            sequence,
            shards,
            at_stop: AtStop::Drops,
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

    /// Says what the configuration puts at risk.
    pub fn warn(&self, log: &dyn Log) {
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

    /// rsyslogd was asked to reopen what it has open: the password files are read again, and each
    /// worker connects anew before its next batch. Called on another thread than the workers'.
    pub fn hup(&self, log: &dyn Log) {
        for why in self.servers.reload() {
            let text = format!("{}{why}; the old password stays in use", prefix(&self.name));
            log.line(Severity::Warning, &text);
        }
        self.hups.fetch_add(1, Ordering::Relaxed);
    }

    /// True when each record brings its key.
    pub fn has_dynamic_key(&self) -> bool {
        matches!(self.settings.stream.key, Key::Dynamic { .. })
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
        let of = match &settings.stream.key {
            _ if !action.is_empty() => action,
            Key::Fixed(key) => key,
            Key::Dynamic { template } => template,
        };
        format!("omvalkeyaudit({})", printable(of, MAX_KEY_CHARS))
    });
    // Neither a checked setting nor a printable text has a NUL.
    CString::new(name).unwrap_or_default()
}
