//! What a server must have and allow before copies can be asked for: said before anything is written.

use crate::core::{Core, assert_exact, command};
use crate::durability::{Scene, held_back, primary};
use omvalkeyaudit::error::Verdict::Suspended;
use testkit::{Flavour, Scratch, entries};

// Oracle: the line names what to set; nothing is written before; and the stream once it is set.
#[test]
fn fsync_without_an_append_only_file_is_said_before_anything_is_written() {
    let scratch = Scratch::new();
    let server = primary(Flavour::Valkey91, &scratch, "");
    let mut core = Core::new(&server.address(), &[("durability.fsync", "local")]);
    let count = held_back(&mut core, 0..10);
    assert_eq!(core.try_resume(), Suspended);
    assert_eq!(core.log.count("set appendonly yes"), 1, "{}", core.log.text());
    assert_eq!(entries(&mut server.connection(), "audit"), []);
    command(&server, &["CONFIG", "SET", "appendonly", "yes", "appendfsync", "always"]);
    core.resume();
    core.replay(count);
    assert_exact(&server, "audit", 0..10);
}

// Oracle: the line names the versions; nothing is written.
#[test]
fn fsync_on_a_server_without_waitaof_is_said() {
    let scratch = Scratch::new();
    let server = primary(Flavour::Redis70, &scratch, "appendonly yes");
    let mut core = Core::new(&server.address(), &[("durability.fsync", "local")]);
    held_back(&mut core, 0..10);
    let said = "WAITAOF, which Redis has from 7.2 on and Valkey in all versions";
    assert_eq!(core.log.count(said), 1, "{}", core.log.text());
    assert_eq!(entries(&mut server.connection(), "audit"), []);
}

// Oracle: the line; and with the right that it names, the stream.
on_each_server!(the_right_to_ask_is_named_when_it_is_missing);
fn the_right_to_ask_is_named_when_it_is_missing(flavour: Flavour) {
    let readme = include_str!("../../README.md");
    let rule =
        readme.lines().find(|line| line.starts_with("ACL SETUSER audit ")).expect("the rule");
    let scene = Scene::new(flavour);
    command(&scene.primary, &rule.split_whitespace().collect::<Vec<_>>());
    let login = [("user", "audit"), ("serverpassword", "password")];
    let mut core = scene.core(&login);
    let count = held_back(&mut core, 0..10);
    let said = "grant what is missing: ACL SETUSER audit +wait";
    assert_eq!(core.log.count(said), 1, "{}", core.log.text());
    assert_eq!(entries(&mut scene.primary.connection(), "audit"), []);
    command(&scene.primary, &["ACL", "SETUSER", "audit", "+wait"]);
    core.resume();
    core.replay(count);
    assert_exact(&scene.replica, "audit", 0..10);
}
