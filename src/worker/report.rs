//! What the operator reads: one line when something changes, not one per attempt.
#![forbid(unsafe_code)]

use crate::error::{Cause, Error};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// How grave a line is, in syslog's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Records wait until somebody acts.
    Error,
    /// Records took another way than they should.
    Warning,
    /// Good to know.
    Info,
}

/// Where lines go.
pub trait Log: Send + Sync {
    /// Writes one line. The text is data, never a format.
    fn line(&self, severity: Severity, text: &str);
}

/// What befalls single records is reported at most this often; the lines between are counted.
const RECORD_INTERVAL: Duration = Duration::from_secs(10);

/// So many codes of refusals are told apart before the action commits again.
const MAX_CODES: usize = 16;

/// When there was a line of a kind that may come for each record.
#[derive(Default)]
struct Rate {
    reported: Option<Instant>,
    unreported: u64,
}

impl Rate {
    /// How the line ends that may be written now, if one may.
    fn end(&mut self) -> Option<String> {
        if self.reported.is_some_and(|at| at.elapsed() < RECORD_INTERVAL) {
            self.unreported += 1;
            return None;
        }
        self.reported = Some(Instant::now());
        Some(match std::mem::take(&mut self.unreported) {
            0 => String::new(),
            count => format!(", and {count} more since the last such line"),
        })
    }
}

/// One worker's way to the log.
pub(super) struct Reporter<'l> {
    log: &'l dyn Log,
    prefix: String,
    /// What was reported last and is not over yet.
    failing: Option<Cause>,
    /// The codes of the refusals that were reported since it began.
    codes: BTreeSet<String>,
    /// The server that the log knows of.
    server: Option<String>,
    /// The rights that the log says are missing.
    missing: Option<String>,
    dead_letters: Rate,
    failed_acks: Rate,
}

impl<'l> Reporter<'l> {
    pub(super) fn new(log: &'l dyn Log, action: &str) -> Self {
        Self {
            log,
            prefix: prefix(action),
            failing: None,
            codes: BTreeSet::new(),
            server: None,
            missing: None,
            dead_letters: Rate::default(),
            failed_acks: Rate::default(),
        }
    }

    /// Where the lines go.
    pub(super) fn log(&self) -> &'l dyn Log {
        self.log
    }

    /// The action cannot commit. Repeated when the cause changes, or when a server has another reason of that
    /// kind: who has mended the one that was told has to read of the next.
    pub(super) fn failed(&mut self, error: &Error) {
        // Codes that may come from a script are as many as anybody likes.
        let is_code_new = self.codes.len() < MAX_CODES
            && error.code().is_some_and(|code| self.codes.insert(code.to_owned()));
        if self.failing == Some(error.cause) && !is_code_new {
            return;
        }
        self.failing = Some(error.cause);
        let advice = error.cause.advice();
        self.line(Severity::Error, &format!("cannot commit, records wait: {error} ({advice})"));
    }

    /// The action commits again.
    pub(super) fn committed(&mut self, server: &dyn Display) {
        self.codes.clear();
        if self.failing.take().is_some() {
            self.line(Severity::Info, &format!("commits again, server: \"{server}\""));
        }
    }

    /// A worker has a connection: its first, or one to another server than before.
    pub(super) fn connected(&mut self, server: String) {
        if self.failing.is_none() && self.server.as_ref() != Some(&server) {
            self.line(Severity::Info, &format!("connected, server: \"{server}\""));
            self.server = Some(server);
        }
    }

    /// The user can commit, but not do all that may be needed: said before it is, and once.
    pub(super) fn missing_rights(&mut self, grant: Option<String>) {
        if let Some(grant) = &grant
            && self.missing.as_ref() != Some(grant)
        {
            let text = format!("the user lacks rights that may be needed later: {grant}");
            self.line(Severity::Warning, &text);
        }
        self.missing = grant;
    }

    /// A record took the way to the dead letter.
    pub(super) fn dead_letter(&mut self, flaw: &dyn Display, key: &str) {
        let Some(end) = self.dead_letters.end() else { return };
        let text = format!("record goes to the dead letter: {flaw}, stream: \"{key}\"{end}");
        self.line(Severity::Warning, &text);
    }

    /// A record is stored, and the entry that it came from stays as it is.
    pub(super) fn ack_failed(&mut self, why: &dyn Display) {
        let Some(end) = self.failed_acks.end() else { return };
        let text = format!("entry of a record is not acknowledged or deleted: {why}{end}");
        self.line(Severity::Warning, &text);
    }

    /// Anything else that is worth a line.
    pub(super) fn line(&self, severity: Severity, text: &str) {
        self.log.line(severity, &format!("{}{text}", self.prefix));
    }
}

/// How every line of an action starts.
pub fn prefix(action: &str) -> String {
    if action.is_empty() {
        "omvalkeyaudit: ".to_owned()
    } else {
        format!("omvalkeyaudit[{action}]: ")
    }
}
