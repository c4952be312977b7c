//! What is said, when a connection is made, about a server that could lose what it has confirmed.

use crate::core::{Core, assert_exact, command};
use std::sync::Arc;
use testkit::{Flavour, Scratch, Server};

const SAID: &str = "can lose what it has confirmed: ";

// Oracle: one line for many workers and connections, with each remedy; another one when the server is
// configured otherwise; none for a server that keeps what it confirms.
on_each_server!(a_server_that_could_lose_records_is_told_of_once_and_again_when_it_changes);
fn a_server_that_could_lose_records_is_told_of_once_and_again_when_it_changes(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), &[]);
    core.send(0..5, 5);
    let nothing = format!("{SAID}it keeps nothing on disk, so a restart loses everything");
    assert_eq!(core.log.count(&nothing), 1, "{}", core.log.text());
    let mut second = Core::worker_of(Arc::clone(&core.action));
    second.send(5..10, 5);
    core.action.hup(core.log);
    core.send(10..15, 5);
    assert_eq!((core.log.count(SAID), second.log.count(SAID)), (1, 0), "{}", core.log.text());

    let change = |words: &[&str]| command(&server, &[&["CONFIG", "SET"], words].concat());
    change(&["maxmemory", "1gb"]);
    change(&["maxmemory-policy", "allkeys-lru"]);
    change(&["save", "3600 1"]);
    core.action.hup(core.log);
    core.send(15..20, 5);
    assert_eq!(core.log.count(SAID), 2, "{}", core.log.text());
    for said in [
        "appendonly is no, so a restart loses what came after the last snapshot (set appendonly yes); ",
        "; maxmemory-policy is allkeys-lru, so a full server deletes streams (set maxmemory-policy \
         noeviction)",
    ] {
        assert_eq!(core.log.count(said), 1, "{}", core.log.text());
    }
    change(&["maxmemory-policy", "noeviction"]);
    change(&["appendonly", "yes"]);
    change(&["appendfsync", "everysec"]);
    core.action.hup(core.log);
    core.send(20..25, 5);
    let late =
        format!("{SAID}appendfsync is everysec, so a power cut loses up to two seconds (set");
    assert_eq!(core.log.count(&late), 1, "{}", core.log.text());
    change(&["appendfsync", "always"]);
    core.action.hup(core.log);
    core.send(25..30, 5);
    assert_eq!(core.log.count(SAID), 3, "{}", core.log.text());
    assert_exact(&server, "audit", 0..30);
}

// Oracle: the server's own record of refusals, and the stream: a user that may not ask is not asked for
// more than once, and commits all the same.
on_each_server!(a_server_that_says_nothing_is_asked_once_and_used);
fn a_server_that_says_nothing_is_asked_once_and_used(flavour: Flavour) {
    let readme = include_str!("../../README.md");
    let rule =
        readme.lines().find(|line| line.starts_with("ACL SETUSER audit ")).expect("the rule");
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    command(&server, &rule.split_whitespace().collect::<Vec<_>>());
    command(&server, &["ACL", "SETUSER", "audit", "-info"]);
    let login = [("user", "audit"), ("serverpassword", "password")];
    let mut core = Core::new(&server.address(), &login);
    for round in 0..4 {
        core.send(round * 5..(round + 1) * 5, 5);
        core.action.hup(core.log);
    }
    assert_eq!(core.log.count(SAID), 0, "{}", core.log.text());
    assert_eq!(core.log.count("cannot commit"), 0, "{}", core.log.text());
    let redis::Value::Array(refusals) = command(&server, &["ACL", "LOG"]) else {
        panic!("no list")
    };
    // INFO and CONFIG GET, however often.
    assert_eq!(refusals.len(), 2, "{refusals:?}");
    // With the right to INFO alone, what that tells is said.
    command(&server, &["ACL", "SETUSER", "audit", "+info"]);
    let mut core = Core::new(&server.address(), &login);
    core.send(20..25, 5);
    let said = format!("{SAID}appendonly is no");
    assert_eq!(core.log.count(&said), 1, "{}", core.log.text());
    assert_exact(&server, "audit", 0..25);
}
