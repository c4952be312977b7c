//! The configurations of rsyslog.d/, with their addresses and places changed for a test.

use std::fs;

use crate::programs::repository;

/// What a shipped configuration says, each `from` of `changes` replaced by its `to`, without the lines that load
/// modules the kit loads itself. Give it to [`RsyslogdBuilder::config`](crate::RsyslogdBuilder::config).
///
/// # Panics
/// When there is no such file, or it does not say what shall be changed.
pub fn shipped_config(name: &str, changes: &[(&str, &str)]) -> String {
    let path = repository().join("rsyslog.d").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()));
    let text =
        text.replace("module(load=\"imptcp\")", "").replace("module(load=\"omvalkeyaudit\")", "");
    changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{name} does not say {from}");
        text.replace(from, to)
    })
}
