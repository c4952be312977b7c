//! What all workers of an action share: its settings and credentials.
#![forbid(unsafe_code)]

use super::{Log, Severity, prefix};
use crate::params::{Key, Retries, Settings};
use crate::server::Credentials;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all workers of an action share.
pub struct Action {
    /// The action's name in rsyslog.conf; may be empty.
    pub name: String,
    /// Its settings.
    pub settings: Settings,
    /// When rsyslog's core gives a batch up.
    pub retries: Retries,
    pub(super) credentials: Arc<Credentials>,
    /// Counts HUPs; a worker that finds it changed connects anew.
    pub(super) hups: AtomicU64,
}

impl Action {
    /// Completes the settings with what lies outside of the configuration.
    ///
    /// # Errors
    /// A sentence that names the parameter and what is wrong with it.
    pub fn new(name: String, settings: Settings, retries: Retries) -> Result<Self, String> {
        let credentials = Arc::new(Credentials::load(settings.login.clone())?);
        Ok(Self { name, settings, retries, credentials, hups: AtomicU64::new(0) })
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

    /// rsyslogd was asked to reopen what it has open: the password file is read again, and each
    /// worker connects anew before its next batch. Called on another thread than the workers'.
    pub fn hup(&self, log: &dyn Log) {
        if let Err(why) = self.credentials.reload() {
            let text = format!("{}{why}; the old password stays in use", prefix(&self.name));
            log.line(Severity::Warning, &text);
        }
        self.hups.fetch_add(1, Ordering::Relaxed);
    }

    /// True when each record brings its key.
    pub fn has_dynamic_key(&self) -> bool {
        matches!(self.settings.stream.key, Key::Dynamic { .. })
    }
}
