//! The host's callbacks as safe Rust. They come in as a table, because symbols that only rsyslogd
//! has would keep the tests from linking.

use super::seam::omvalkeyaudit_host;
use crate::worker::{AtStop, Log, Severity};
use libc::{c_char, c_int, size_t};
use std::ffi::CStr;
use std::sync::OnceLock;

type LogFunction = unsafe extern "C" fn(c_int, *const c_char, size_t);

/// The longest line that is handed to the host, in bytes.
const MAX_LINE_BYTES: usize = 2000;

static LOG: OnceLock<LogFunction> = OnceLock::new();

/// Remembers the callbacks; a second call changes nothing.
pub(super) fn attach(host: &omvalkeyaudit_host) {
    if let Some(log) = host.log {
        LOG.get_or_init(|| log);
    }
}

/// An action's queue as it is configured.
pub(super) struct Queue<'c> {
    /// `queue.type`, where it is given.
    pub(super) kind: Option<&'c CStr>,
    /// Whether `queue.filename` is given.
    pub(super) has_file: bool,
    /// `queue.saveOnShutdown`.
    pub(super) is_saved: bool,
}

impl Queue<'_> {
    /// The action has none of its own.
    pub(super) const NONE: Self = Self { kind: None, has_file: false, is_saved: false };

    /// Whether what is in it when rsyslogd is stopped is there after the next start.
    fn outlives_a_stop(&self) -> bool {
        let is =
            |name: &[u8]| self.kind.is_some_and(|kind| kind.to_bytes().eq_ignore_ascii_case(name));
        let has_queue = self.kind.is_some() && !is(b"direct");
        is(b"disk") || (has_queue && self.has_file && self.is_saved)
    }
}

/// What this rsyslogd does with the batch at hand when it is stopped.
///
/// An action with a queue of its own, which `queue.type` asks for, gets it back from 8.2606 on (the
/// change log of 2026-05-31); where that queue does not outlive the stop, this helps nobody. An action
/// without one has its batch from the queue of its ruleset, and 8.2610 still drops that.
pub(super) fn at_stop(queue: &Queue<'_>) -> AtStop {
    if queue.outlives_a_stop() && is_later_core() { AtStop::Requeues } else { AtStop::Drops }
}

/// Whether this rsyslogd puts the batch at hand back into its queue at a stop, and leaves off trying. (An
/// earlier one tries to resume its action until it is cancelled, and frees the worker even then.)
///
/// No interface tells the version, so a function that rsyslogd has since 2026-07-14, its segmented
/// queue, stands for it. 8.2606 itself is taken for an older one, and so would be a version that renames
/// the function: then records may be written twice; the other way round they would be lost.
pub(super) fn is_later_core() -> bool {
    static IS_LATER: OnceLock<bool> = OnceLock::new();
    // SAFETY: the name is a terminated text, and the address is only compared.
    *IS_LATER.get_or_init(|| unsafe {
        !libc::dlsym(libc::RTLD_DEFAULT, c"segdiskStoreOpen".as_ptr()).is_null()
    })
}

/// rsyslog's log.
pub(super) struct HostLog;

/// The one instance, for workers to borrow.
pub(super) static HOST_LOG: HostLog = HostLog;

impl Log for HostLog {
    fn line(&self, severity: Severity, text: &str) {
        let Some(log) = LOG.get() else { return };
        let severity = match severity {
            Severity::Error => libc::LOG_ERR,
            Severity::Warning => libc::LOG_WARNING,
            Severity::Info => libc::LOG_INFO,
        };
        let end =
            (0..=text.len().min(MAX_LINE_BYTES)).rev().find(|&end| text.is_char_boundary(end));
        let text = text.get(..end.unwrap_or(0)).unwrap_or_default();
        // SAFETY: the shim's function reads `len` bytes from the pointer, both of one live string,
        // and keeps neither; rsyslog's log may be written from any thread.
        unsafe { log(severity, text.as_ptr().cast(), text.len()) };
    }
}
