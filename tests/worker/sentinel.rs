//! Sentinels that are asked for the primary: what they say is used, and what is wrong with one is said.

use crate::core::{Core, assert_exact, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use std::net::TcpListener;
use std::time::Duration;
use testkit::{Flavour, Scratch, SentinelGroup, Server, entries, record};

/// The parameters that make a worker ask sentinels.
pub(crate) fn asks() -> [(&'static str, &'static str); 2] {
    [("topology", "sentinel"), ("sentinel.master", SentinelGroup::name())]
}

/// A server, and a sentinel that watches it.
fn watched(flavour: Flavour, scratch: &Scratch) -> (Server, Server) {
    let server = Server::builder(flavour).tcp().start(scratch);
    let sentinel = SentinelGroup::lone_sentinel(flavour, server.port()).tcp().start(scratch);
    (server, sentinel)
}

/// A worker that asks `sentinels`, with `more` parameters.
fn asking(sentinels: &[String], more: &[(&str, &str)]) -> Core {
    let servers: Vec<_> = sentinels.iter().map(|address| ("server", address.as_str())).collect();
    Core::new(&"", &[&asks(), servers.as_slice(), more].concat())
}

fn address(server: &Server) -> String {
    server.tcp_address().to_string()
}

/// Expects no commit, and one line that has all `words`.
#[track_caller]
fn assert_refused(core: &mut Core, words: &[&str]) {
    core.load((0..5).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    for _ in 0..3 {
        assert_eq!(core.try_resume(), Suspended);
    }
    let log = core.log.text();
    for word in words {
        assert!(log.contains(word), "no {word:?} in {log}");
    }
    assert_eq!(core.log.count("cannot commit"), 1, "{log}");
}

// Oracle: the stream on the server that the sentinel watches, and the line that names that server.
on_each_server!(the_primary_is_found_through_a_sentinel_on_tcp_and_on_a_unix_socket);
fn the_primary_is_found_through_a_sentinel_on_tcp_and_on_a_unix_socket(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).tcp().start(&scratch);
    let sentinel = SentinelGroup::lone_sentinel(flavour, server.port());
    let sentinel = sentinel.tcp().unix().start(&scratch);
    for (place, key) in [(sentinel.tcp_address(), "tcp"), (sentinel.address(), "unix")] {
        let mut core = asking(&[place.to_string()], &[("key", key)]);
        core.send(0..20, 5);
        let line = format!("connected, server: \"{}\"", address(&server));
        assert_eq!(core.log.count(&line), 1, "{}", core.log.text());
        assert_exact(&server, key, 0..20);
    }
}

// Oracle: as above; the sentinel gives a name, not a number, for an address.
on_each_server!(a_primary_that_is_named_by_host_name_is_found);
fn a_primary_that_is_named_by_host_name_is_found(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).tcp().start(&scratch);
    let sentinel = Server::builder(flavour).tcp().argument("--sentinel").config(&format!(
        "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n\
         sentinel monitor {} localhost {} 1",
        SentinelGroup::name(),
        server.port()
    ));
    let sentinel = sentinel.start(&scratch);
    let mut core = asking(&[address(&sentinel)], &[]);
    core.send(0..5, 5);
    assert!(core.log.text().contains("server: \"localhost:"), "{}", core.log.text());
    assert_exact(&server, "audit", 0..5);
}

// Oracle: the line names the group, each sentinel with what it said, and the parameter to look at.
on_each_server!(a_name_that_no_sentinel_knows_is_said);
fn a_name_that_no_sentinel_knows_is_said(flavour: Flavour) {
    let scratch = Scratch::new();
    let (server, sentinel) = watched(flavour, &scratch);
    let place = address(&sentinel);
    let parameters = [("topology", "sentinel"), ("sentinel.master", "other")];
    let mut core = Core::new(&place, &parameters);
    let said = format!("sentinel {place} does not know \"other\"");
    assert_refused(&mut core, &[&said, "primary of \"other\"", "(check sentinel.master)"]);
    assert_eq!(entries(&mut server.connection(), "audit"), []);
}

// Oracle: the line; and the stream when the sentinel runs.
on_each_server!(a_sentinel_that_is_down_is_said_and_asked_again);
fn a_sentinel_that_is_down_is_said_and_asked_again(flavour: Flavour) {
    let scratch = Scratch::new();
    let (server, sentinel) = watched(flavour, &scratch);
    let place = address(&sentinel);
    sentinel.stop();
    let mut core = asking(std::slice::from_ref(&place), &[]);
    let said = format!("cannot connect to {place}: ");
    assert_refused(&mut core, &[&said, "no sentinel names", "(check that server names sentinels"]);
    sentinel.start();
    core.resume();
    core.replay(5);
    assert_exact(&server, "audit", 0..5);
}

// Oracle: the line. A server that is no sentinel is not written to either.
on_each_server!(a_server_that_is_no_sentinel_is_said);
fn a_server_that_is_no_sentinel_is_said(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).tcp().start(&scratch);
    let mut core = asking(&[address(&server)], &[]);
    assert_refused(&mut core, &["unknown command", "(check that server names sentinels"]);
    assert_eq!(entries(&mut server.connection(), "audit"), []);
}

// Oracle: a line for each of the three mistakes, without the passwords, and the stream at the end.
on_each_server!(a_password_of_the_sentinels_is_asked_for_and_read_again);
fn a_password_of_the_sentinels_is_asked_for_and_read_again(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).tcp().start(&scratch);
    let sentinel = SentinelGroup::lone_sentinel(flavour, server.port()).tcp().password("right-one");
    let sentinel = sentinel.start(&scratch);
    let place = address(&sentinel);
    let advice = "(check sentinel.user, sentinel.passwordfile";
    let mut core = asking(std::slice::from_ref(&place), &[]);
    assert_refused(&mut core, &[&place, "NOAUTH", advice]);

    let file = scratch.write("password", "wrong-one\n");
    let file = file.display().to_string();
    let mut core = asking(std::slice::from_ref(&place), &[("sentinel.passwordfile", &file)]);
    let said = format!("cannot log in as user \"default\" at sentinel {place}: WRONGPASS");
    assert_refused(&mut core, &[&said, advice]);
    assert!(!core.log.text().contains("wrong-one"), "{}", core.log.text());

    scratch.write("password", "right-one\n");
    core.resume();
    core.replay(5);
    std::fs::remove_file(&file).unwrap();
    core.action.hup(core.log);
    let said = "parameter \"sentinel.passwordfile\" has the value";
    assert_eq!(core.log.count(said), 1, "{}", core.log.text());
    assert!(core.log.text().contains("the old password stays in use"), "{}", core.log.text());
    core.send(5..10, 5);
    assert_exact(&server, "audit", 0..10);
}

// Oracle: the replica's number of keys. It would take what is written to it, and lose it later.
on_each_server!(a_replica_that_a_sentinel_names_is_not_written_to);
fn a_replica_that_a_sentinel_names_is_not_written_to(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).tcp().start(&scratch);
    let lines = format!("replicaof 127.0.0.1 {}\nreplica-read-only no", server.port());
    let replica = Server::builder(flavour).tcp().config(&lines).start(&scratch);
    let sentinel = SentinelGroup::lone_sentinel(flavour, replica.port()).tcp().start(&scratch);
    let mut core = asking(&[address(&sentinel)], &[]);
    let named = format!("sentinel {} names it the primary", address(&sentinel));
    let role = format!("{} has the ROLE \"slave\"", address(&replica));
    assert_refused(&mut core, &[&role, &named]);
    assert_eq!(command(&replica, &["DBSIZE"]), redis::Value::Int(0));
}

// Oracle: the longest call and the stream. The first sentinel takes connections and never answers.
on_each_server!(a_first_sentinel_that_hangs_leaves_time_for_the_second_and_the_primary);
fn a_first_sentinel_that_hangs_leaves_time_for_the_second_and_the_primary(flavour: Flavour) {
    let scratch = Scratch::new();
    let (server, sentinel) = watched(flavour, &scratch);
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let sentinels = [hole.local_addr().unwrap().to_string(), address(&sentinel)];
    // Without a share of its own, the first one would take the whole time.
    let timeouts = [("timeout.connect", "3000"), ("timeout.commit", "3000")];
    let mut core = asking(&sentinels, &timeouts);
    core.load((0..5).map(record));
    assert_eq!(core.transaction(0..5), Committed, "{}", core.log.text());
    assert!(core.longest < Duration::from_millis(2500), "{:?}", core.longest);
    // From now on the one that answered is asked first.
    core.longest = Duration::ZERO;
    core.action.hup(core.log);
    core.send(5..10, 5);
    assert!(core.longest < Duration::from_millis(900), "{:?}", core.longest);
    assert_eq!(core.log.count("cannot commit"), 0, "{}", core.log.text());
    assert_exact(&server, "audit", 0..10);
}

// Oracle: the stream. The first sentinel is down, the second does not know the name.
on_each_server!(sentinels_that_are_of_no_use_are_passed_over);
fn sentinels_that_are_of_no_use_are_passed_over(flavour: Flavour) {
    let scratch = Scratch::new();
    let (server, sentinel) = watched(flavour, &scratch);
    let down = format!("127.0.0.1:{}", testkit::free_port());
    let stranger = Server::builder(flavour).tcp().argument("--sentinel").start(&scratch);
    let mut core = asking(&[down, address(&stranger), address(&sentinel)], &[]);
    core.load((0..5).map(record));
    assert_eq!(core.transaction(0..5), Committed, "{}", core.log.text());
    assert_exact(&server, "audit", 0..5);
}

// Oracle: the stream. The first sentinel names a primary that is long gone; the time of one call is
// too short for both.
on_each_server!(a_sentinel_that_names_a_dead_primary_does_not_stand_in_the_way_for_ever);
fn a_sentinel_that_names_a_dead_primary_does_not_stand_in_the_way_for_ever(flavour: Flavour) {
    let scratch = Scratch::new();
    let (server, sentinel) = watched(flavour, &scratch);
    let dead = Server::builder(flavour).tcp().start(&scratch);
    let stale = SentinelGroup::lone_sentinel(flavour, dead.port()).tcp().start(&scratch);
    dead.pause();
    let timeouts = [("timeout.connect", "1000"), ("timeout.commit", "1000")];
    let mut core = asking(&[address(&stale), address(&sentinel)], &timeouts);
    core.load((0..5).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    let named = format!("sentinel {} names it the primary", address(&stale));
    assert!(core.log.text().contains(&named), "{}", core.log.text());
    core.resume();
    core.replay(5);
    assert_exact(&server, "audit", 0..5);
    dead.cont();
    assert_eq!(entries(&mut dead.connection(), "audit"), []);
}
