//! The calls that rsyslog's core makes, and what the plugin returns, as the debug log of a real
//! rsyslogd has them.

use std::fs;
use std::path::PathBuf;

use testkit::{RsyslogdBuilder, Scratch, wait_until};

use crate::scene::SOON;

/// The debug log of one rsyslogd with one action and one worker.
pub(crate) struct DebugLog {
    path: PathBuf,
}

impl DebugLog {
    /// Switches the debug log of an rsyslogd on.
    pub(crate) fn of(builder: RsyslogdBuilder, scratch: &Scratch) -> (RsyslogdBuilder, DebugLog) {
        let path = scratch.join("debug");
        let builder = builder
            .environment("RSYSLOG_DEBUG", "Debug NoStdOut")
            .environment("RSYSLOG_DEBUGLOG", path.to_str().expect("a path in ASCII"));
        (builder, DebugLog { path })
    }

    /// All of it.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.path).unwrap_or_default()).into_owned()
    }

    /// Every call so far: `B` beginTransaction, `d` a doAction that deferred, `OK` one that
    /// committed up to its record, `PREV` one that committed the records before it, `E`
    /// endTransaction, `R` tryResume; `(SUSP)` where the call returned that, and any other code as
    /// its number. Failing attempts in a row are one `R(SUSP)`, because their number depends on how
    /// long the outage lasts.
    pub(crate) fn calls(&self) -> String {
        let mut calls: Vec<String> = Vec::new();
        for call in self.text().split("omvalkeyaudit: ").filter_map(call) {
            if call != "R(SUSP)" || calls.last() != Some(&call) {
                calls.push(call);
            }
        }
        calls.join(" ")
    }

    /// How many calls of this name returned this code.
    pub(crate) fn returned(&self, name: &str, code: i32) -> usize {
        self.text().matches(&format!("omvalkeyaudit: {name} returns {code}\n")).count()
    }

    /// Waits until so many calls of this name have returned this code.
    #[track_caller]
    pub(crate) fn wait_returned(&self, name: &str, code: i32, times: usize) {
        let what = format!("{name} to return {code}, times: {times}");
        wait_until(&what, SOON, || self.returned(name, code) >= times);
    }
}

/// `RS_RET_SUSPENDED`.
pub(crate) const SUSPENDED: i32 = -2007;

/// The call that a piece of the log begins with, if it does. (Threads share the log: another one's
/// words may stand before ours in a line, but not in the middle of them.)
fn call(piece: &str) -> Option<String> {
    let (name, code) = piece.lines().next()?.split_once(" returns ")?;
    let word = match name {
        "beginTransaction" => "B",
        "doAction" => "d",
        "endTransaction" => "E",
        "tryResume" => "R",
        _ => return None,
    };
    Some(match (word, code) {
        ("d", "-2121") => "d".to_owned(),
        ("d", "0") => "OK".to_owned(),
        ("d", "-2122") => "PREV".to_owned(),
        ("B" | "E" | "R", "0") => word.to_owned(),
        (_, "-2007") => format!("{word}(SUSP)"),
        (_, code) => format!("{word}({code})"),
    })
}
