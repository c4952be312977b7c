//! No password is in anything that rsyslogd writes or that others can see of it, not even in a debug log.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::{
    Address, Rsyslogd, RsyslogdBuilder, Scratch, SentinelGroup, Server, Version, record,
};

use crate::debug_log::DebugLog;
use crate::scene::{SOON, action, flavour_for, lasting_server};

on_each_version!(
    a_password_from_a_file_is_nowhere_to_be_seen,
    passwords_of_sentinels_and_their_servers_are_nowhere_to_be_seen,
    a_password_from_the_configuration_is_nowhere_to_be_seen,
    a_password_that_a_server_repeats_is_nowhere_to_be_seen,
);

const WRONG: &str = "wrong-5e02";
const RIGHT: &str = "right-9b41";
const WRONG_AT_SENTINEL: &str = "wrong-at-sentinel-77c3";
const RIGHT_AT_SENTINEL: &str = "right-at-sentinel-d018";

/// All of them; two of them are parts of no other one.
const SECRETS: [&str; 4] = [WRONG, RIGHT, WRONG_AT_SENTINEL, RIGHT_AT_SENTINEL];

/// An rsyslogd that says all it can: `-d`, a debug log, statistics.
struct Talkative {
    rsyslogd: Rsyslogd,
    debug_log: DebugLog,
    hold_file: PathBuf,
}

impl Talkative {
    /// With one action for this server, and `more` parameters of it.
    fn start(version: Version, scratch: &Scratch, server: &Address, more: &str) -> Self {
        let hold_file = scratch.join("hold");
        let more = format!("{more} holdfile=\"{}\"", hold_file.display());
        let builder = Rsyslogd::builder(version).action(&action(server, &more)).statistics(1);
        let (builder, debug_log) = DebugLog::of(debugging(builder), scratch);
        Self { rsyslogd: builder.start(scratch), debug_log, hold_file }
    }

    /// Asserts that no secret is in the process's arguments and environment, which others can read, nor in any
    /// file that it wrote: its log, what it printed, the debug log, statistics, queue and hold file.
    #[track_caller]
    fn assert_discreet(&self) {
        let pid = self.rsyslogd.pid();
        let mut places: Vec<(String, Vec<u8>)> = ["cmdline", "environ"]
            .map(|name| (name.to_owned(), fs::read(format!("/proc/{pid}/{name}")).expect("/proc")))
            .to_vec();
        self.rsyslogd.stop();
        files(self.rsyslogd.folder(), &mut places);
        places.push(("debug log".to_owned(), self.debug_log.text().into_bytes()));
        places.push(("hold file".to_owned(), fs::read(&self.hold_file).unwrap_or_default()));
        let mut configurations = 0;
        for (place, bytes) in &places {
            if place.ends_with("/conf") {
                configurations += 1;
                continue;
            }
            for secret in SECRETS {
                assert!(!has(bytes, secret), "{secret} is in {place}");
            }
        }
        assert_eq!(configurations, 1);
        // These are the right places: the plugin has its words in them.
        let all = |name: &str| {
            places.iter().any(|(place, bytes)| place.contains(name) && has(bytes, "omvalkeyaudit"))
        };
        for name in ["/own", "/output", "/stats", "debug log"] {
            assert!(all(name), "the plugin is not in {name}");
        }
    }
}

/// `-d`: the debug log goes to standard output too.
fn debugging(builder: RsyslogdBuilder) -> RsyslogdBuilder {
    builder.wrapper(&["sh", "-c", "exec \"$0\" \"$@\" -d"])
}

/// The contents of all files in a folder.
fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() && path.extension().is_none_or(|extension| extension != "so") {
            found.push((path.display().to_string(), fs::read(&path).expect("a file")));
        }
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Oracle: neither the wrong password nor the right one is anywhere, over a refused login, a success, an
/// outage, a HUP, and a stop while the server is away.
fn a_password_from_a_file_is_nowhere_to_be_seen(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).password(RIGHT).start(&scratch);
    let file = scratch.write("password", WRONG);
    let parameters = format!("passwordfile=\"{}\"", file.display());
    let talkative = Talkative::start(version, &scratch, &server.address(), &parameters);
    let rsyslogd = &talkative.rsyslogd;
    rsyslogd.send((0..10).map(record));
    rsyslogd.wait_log("cannot log in as user \"default\"");
    scratch.write("password", RIGHT);
    server.wait_entries("audit", 10, SOON);
    server.restart();
    rsyslogd.hup();
    rsyslogd.send((10..20).map(record));
    server.wait_entries("audit", 20, SOON);
    rsyslogd.wait_counter("omvalkeyaudit(audit)", "records.committed", 20, SOON);
    server.stop();
    rsyslogd.send((20..30).map(record));
    rsyslogd.wait_log("cannot connect");
    talkative.assert_discreet();
    assert!(
        fs::read(&talkative.hold_file).is_ok_and(|bytes| has(&bytes, "success")),
        "nothing is held"
    );
}

/// Oracle: as above, for the passwords of a sentinel and of the server that it names.
fn passwords_of_sentinels_and_their_servers_are_nowhere_to_be_seen(version: Version) {
    let scratch = Scratch::new();
    let flavour = flavour_for(version);
    let server = Server::builder(flavour)
        .tcp()
        .acl_user(&format!("audit on >{RIGHT} ~* +@all"))
        .start(&scratch);
    let sentinel = SentinelGroup::lone_sentinel(flavour, server.port())
        .tcp()
        .password(RIGHT_AT_SENTINEL)
        .start(&scratch);
    let (file, other) =
        (scratch.write("password", WRONG), scratch.write("other", WRONG_AT_SENTINEL));
    let parameters = format!(
        "topology=\"sentinel\" sentinel.master=\"{}\" sentinel.passwordfile=\"{}\"\n\
         \x20 user=\"audit\" passwordfile=\"{}\"",
        SentinelGroup::name(),
        other.display(),
        file.display()
    );
    let talkative = Talkative::start(version, &scratch, &sentinel.tcp_address(), &parameters);
    talkative.rsyslogd.send((0..10).map(record));
    talkative.rsyslogd.wait_log("at sentinel");
    scratch.write("other", RIGHT_AT_SENTINEL);
    talkative.rsyslogd.wait_log("cannot log in as user \"audit\":");
    scratch.write("password", RIGHT);
    server.wait_entries("audit", 10, SOON);
    talkative.assert_discreet();
}

/// Oracle: as above, for passwords that stand in the configuration, the wrong one and then the right one; that
/// file is the only one that has them.
fn a_password_from_the_configuration_is_nowhere_to_be_seen(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version))
        .acl_user(&format!("audit on >{RIGHT} ~* +@all -xadd"))
        .start(&scratch);
    for (password, words) in [(WRONG, "cannot log in as user \"audit\""), (RIGHT, "NOPERM")] {
        let scratch = Scratch::new();
        let parameters = format!("user=\"audit\" serverpassword=\"{password}\"");
        let talkative = Talkative::start(version, &scratch, &server.address(), &parameters);
        talkative.rsyslogd.send([record(1)]);
        talkative.rsyslogd.wait_log(words);
        talkative.assert_discreet();
    }
}

/// Oracle: as above, before a server that does not know AUTH and says so with its arguments.
fn a_password_that_a_server_repeats_is_nowhere_to_be_seen(version: Version) {
    let scratch = Scratch::new();
    let server =
        Server::builder(flavour_for(version)).config("rename-command AUTH \"\"").start(&scratch);
    let file = scratch.write("password", RIGHT);
    let parameters = format!("user=\"audit\" passwordfile=\"{}\"", file.display());
    let talkative = Talkative::start(version, &scratch, &server.address(), &parameters);
    talkative.rsyslogd.send([record(1)]);
    talkative.rsyslogd.wait_log("unknown command");
    talkative.assert_discreet();
}
