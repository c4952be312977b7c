//! What the tests share: the server of each version's time, an action that keeps every record, and
//! the final count.

use std::ops::Range;
use std::time::Duration;

use testkit::{Address, Count, Entry, Flavour, Rsyslogd, Scratch, Server, ServerBuilder, Version};

/// Longer than anything here takes on a busy machine; only a failing test waits for it.
pub(crate) const SOON: Duration = Duration::from_secs(40);

/// The server that the version's Debian release has, so that the versions together meet old and new
/// ones.
pub(crate) fn flavour_for(version: Version) -> Flavour {
    match version {
        Version::V8_2302 => Flavour::Redis70,
        Version::V8_2504 => Flavour::Valkey81,
        Version::V8_2610 => Flavour::Valkey91,
    }
}

/// A server whose data outlives a stop.
pub(crate) fn lasting_server(version: Version) -> ServerBuilder {
    Server::builder(flavour_for(version)).append_only()
}

/// An action with a queue and one worker that never gives a record up. It takes records as they
/// came, and `more` are further parameters.
pub(crate) fn action(server: &Address, more: &str) -> String {
    format!(
        "action(type=\"omvalkeyaudit\" name=\"audit\" server=\"{server}\" template=\"raw\"\n\
         \x20 queue.type=\"LinkedList\" queue.size=\"100000\"\n\
         \x20 action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\"\n\
         \x20 {more})"
    )
}

/// Starts an rsyslogd with this action and nothing else.
pub(crate) fn rsyslogd_with(version: Version, scratch: &Scratch, action: &str) -> Rsyslogd {
    Rsyslogd::builder(version).action(action).start(scratch)
}

/// All entries of a stream.
pub(crate) fn entries(server: &Server, key: &str) -> Vec<Entry> {
    testkit::entries(&mut server.connection(), key)
}

/// The numbers in a stream compared with those that were sent. To be asked for when rsyslogd has
/// ended: what it might have doubled is there then.
pub(crate) fn count(server: &Server, key: &str, sent: Range<u64>) -> Count {
    Count::of(testkit::numbers(&entries(server, key)), sent)
}

/// Waits for all records of `sent`, ends rsyslogd, and asserts that each arrived once and in order,
/// and that none became a dead letter.
#[track_caller]
pub(crate) fn assert_delivered(rsyslogd: &Rsyslogd, server: &Server, sent: Range<u64>) {
    server.wait_entries("audit", sent.end - sent.start, SOON);
    let status = rsyslogd.stop().status;
    assert!(status.success(), "{status}:\n{}", rsyslogd.log());
    let count = count(server, "audit", sent);
    assert!(count.is_exact() && count.is_in_order(), "{count}\n{}", rsyslogd.log());
    assert_eq!(entries(server, "audit:deadletter"), []);
}

/// How many flushes each worker has committed: what the markers say. A replayed record that went to
/// the server again would be in one more.
pub(crate) fn flushes(server: &Server) -> Vec<u64> {
    let mut connection = server.connection();
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("audit:marker:*").query(&mut connection).expect("KEYS");
    let number = |key: String| {
        let value: String = redis::cmd("GET").arg(key).query(&mut connection).expect("GET");
        value.rsplit(':').next().and_then(|number| number.parse().ok()).expect("a marker's number")
    };
    keys.into_iter().map(number).collect()
}
