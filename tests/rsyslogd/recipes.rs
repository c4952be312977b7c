//! The commands of the documents, run as they stand there.

use std::fs;
use std::path::Path;
use std::process::Command;

use testkit::{Rsyslogd, Scratch, Server, Version, record};

use crate::scene::{SOON, action, count, entries, flavour_for};

on_each_version!(dead_letters_are_handed_over_again_by_the_documented_command);

/// The command of docs/delivery.md that begins with `start`, against this server; what it would send
/// to the action's input goes into `file` instead, because not every machine has nc.
fn run_documented(start: &str, server: &Server, file: &Path) {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/delivery.md");
    let text = fs::read_to_string(document).expect("docs/delivery.md");
    let command = text.lines().find(|line| line.starts_with(start)).expect("the command");
    let address = server.address().to_string();
    let socket = address.strip_prefix("unix:").expect("a unix socket");
    let command = command
        .replace("valkey-cli", &format!("redis-cli -s {socket}"))
        .replace("nc -NU /run/rsyslog-audit.sock", &format!("cat > {}", file.display()));
    let status = Command::new("sh").arg("-c").arg(&command).status().expect("sh");
    assert!(status.success(), "{command}: {status}");
}

/// Oracle: three records of which one has a key that holds a text; when that is gone and the command
/// has run, each number is in its stream once and nothing in the dead letter.
fn dead_letters_are_handed_over_again_by_the_documented_command(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).unix().start(&scratch);
    let mut connection = server.connection();
    redis::cmd("SET").arg("audit:1").arg("text").exec(&mut connection).expect("SET");
    let more = "key=\"key\" dynakey=\"on\" deadletter.key=\"audit:deadletter\"";
    let rsyslogd = Rsyslogd::builder(version)
        .config("template(name=\"key\" type=\"string\" string=\"audit:%rawmsg:R,ERE,1,DFLT:\\\"n\\\":([0-9]+)--end%\")")
        .action(&action(&server.address(), more))
        .start(&scratch);
    rsyslogd.send((0..3).map(record));
    server.wait_entries("audit:deadletter", 1, SOON);
    server.wait_entries("audit:2", 1, SOON);

    redis::cmd("DEL").arg("audit:1").exec(&mut connection).expect("DEL");
    let file = scratch.join("again");
    run_documented("valkey-cli --raw XRANGE", &server, &file);
    let again = fs::read_to_string(&file).expect("what the command printed");
    rsyslogd.send(again.lines());
    server.wait_entries("audit:1", 1, SOON);
    rsyslogd.stop();
    for number in 0..3 {
        let count = count(&server, &format!("audit:{number}"), number..number + 1);
        assert!(count.is_exact(), "audit:{number}: {count}\n{}", rsyslogd.log());
    }
    assert_eq!(entries(&server, "audit:deadletter"), []);
}
