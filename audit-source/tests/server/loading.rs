//! Loading, refusing, and what one sees of the module in the server.

use std::process::Command;

use testkit::{Flavour, Scratch};

use crate::client::Client;
use crate::scene::{Scene, audited, module_path};

/// Runs a server that is expected to refuse its configuration, and gives what it says.
fn refusal(flavour: Flavour, lines: &[&str]) -> String {
    let scratch = Scratch::new();
    let mut command = Command::new(flavour.program());
    command.args(["--port", "0", "--save", "", "--dir"]).arg(scratch.path());
    command.arg("--loadmodule").arg(module_path()).args(lines);
    let output = command.output().expect("run the server");
    assert!(!output.status.success(), "{flavour} has accepted {lines:?}");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

// Oracle: the server's exit status and its log.
#[test]
fn an_older_server_refuses_with_the_version_that_is_needed() {
    let log = refusal(Flavour::Valkey81, &[]);
    assert!(log.contains("auditsource needs Valkey 9.1 or later"), "{log}");
    assert!(log.contains("this is Valkey 8.1: upgrade the server"), "{log}");
}

// Oracle: the server's exit status and its log.
#[test]
fn a_wrong_value_in_the_configuration_stops_the_server_with_a_sentence() {
    let log = refusal(Flavour::Valkey91, &["--auditsource.payload", "half"]);
    assert!(
        log.contains("auditsource.payload has the value \"half\", but it must be one of"),
        "{log}"
    );
    let log = refusal(Flavour::Valkey91, &["--auditsource.commands", "@nonsense"]);
    assert!(
        log.contains("names the category \"@nonsense\", which this server does not have"),
        "{log}"
    );
    let log = refusal(Flavour::Valkey91, &["arg"]);
    assert!(log.contains("auditsource takes no arguments"), "{log}");
}

// Oracle: the server's replies.
#[test]
fn a_wrong_value_is_refused_at_run_time_and_the_old_one_stays() {
    let scene = Scene::new("");
    let mut client = scene.client();
    for (name, value) in
        [("events", "sucess"), ("heartbeat", "-1"), ("commands", "@nonsense"), ("target", "x")]
    {
        let before = client.line(&format!("CONFIG GET auditsource.{name}"));
        let reply = client.line(&format!("CONFIG SET auditsource.{name} {value}"));
        assert!(
            reply.contains(&format!("auditsource.{name}")) && reply.starts_with("-ERR"),
            "{reply}"
        );
        assert_eq!(client.line(&format!("CONFIG GET auditsource.{name}")), before);
    }
    let reply = client.line("CONFIG SET auditsource.buffer 32mb");
    assert!(reply.contains("immutable"), "{reply}");
    client.line("SET still recorded");
    scene.collector.wait_argv("SET", "recorded");
}

// Oracle: CONFIG GET after a restart from the rewritten file.
#[test]
fn the_configuration_can_be_rewritten() {
    let scene = Scene::new("");
    let mut client = scene.client();
    let values = [
        ("events", "failure rejected"),
        ("users", "bob !eve"),
        ("commands", "@write !config|get"),
        ("addresses", "10.0.0.0/8 unix"),
        ("argv-length", "2kb"),
    ];
    for (name, value) in values {
        assert_eq!(client.call(&["CONFIG", "SET", &format!("auditsource.{name}"), value]), "+OK");
    }
    assert_eq!(client.line("CONFIG REWRITE"), "+OK");
    scene.server.restart();
    let mut client = scene.client();
    for (name, value) in values {
        let name = format!("auditsource.{name}");
        assert_eq!(client.line(&format!("CONFIG GET {name}")), format!("{name}\n{value}"));
    }
}

// Oracle: INFO's and the command's own numbers against the records that came.
#[test]
fn info_and_status_show_the_counters() {
    let scene = Scene::new("");
    let mut client = scene.client();
    for line in ["SET a 1", "SET a 2", "LPUSH a 1", "NOSUCH", "ECHO end"] {
        client.line(line);
    }
    let records = scene.collector.wait_argv("ECHO", "end");
    for event in ["success", "failure", "rejected"] {
        let count = records.iter().filter(|record| record["event"] == event).count() as u64;
        let info = scene.counter(&format!("events_{event}"));
        // Asking is a success too.
        assert!((count..count + 3).contains(&info), "{event}: {count} {info}");
    }
    let status = client.line("AUDITSOURCE STATUS");
    assert!(status.starts_with("target\nunix:/") && status.contains("connected\n:1"), "{status}");
    assert!(client.line("AUDITSOURCE").starts_with('-'));
    assert!(client.line("INFO everything").contains("# auditsource"));
}

// Oracle: the server's ACL.
#[test]
fn the_command_has_an_acl_category_of_its_own() {
    let scene = Scene::new("user watcher on >secret1 -@all +@auditsource");
    let mut client = scene.client();
    assert!(client.line("ACL CAT auditsource").contains("auditsource|status"));
    client.line("AUTH watcher secret1");
    assert!(client.line("AUDITSOURCE STATUS").contains("seq"));
    assert!(client.line("GET a").starts_with("-NOPERM"));
}

// Oracle: the server lives and goes on recording after each of many loads.
#[test]
fn it_can_be_unloaded_and_loaded_again() {
    let scene = Scene::new("");
    let target = scene.scratch.join("target");
    let mut client = scene.client();
    for round in 0..5 {
        assert_eq!(client.line("MODULE UNLOAD auditsource"), "+OK");
        let load = format!(
            "MODULE LOADEX {} CONFIG auditsource.target unix:{}",
            module_path().display(),
            target.display()
        );
        assert_eq!(client.line(&load), "+OK", "{}", scene.server.log());
        client.line(&format!("SET round {round}"));
        scene.collector.wait_argv("SET", &round.to_string());
    }
    crate::scene::assert_gapless(&scene.collector.records());
}

// Oracle: records from before the target was there; the server starts without it.
#[test]
fn the_target_may_come_later() {
    let scratch = Scratch::new();
    let server = audited(&scratch, "").start(&scratch);
    server.wait_log("cannot connect, records wait in the buffer", crate::collector::DEADLINE);
    Client::connect(server.port()).line("SET early 1");
    let collector = crate::collector::Collector::listen(&scratch.join("target"));
    let records = collector.wait_argv("SET", "1");
    assert_eq!(records[0]["event"], "start");
    crate::scene::assert_gapless(&records);
}
