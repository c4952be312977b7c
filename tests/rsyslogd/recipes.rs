//! The commands of the documents, run as they stand there.

use std::fs;
use std::path::Path;
use std::process::Command;

use testkit::{Rsyslogd, Scratch, Server, Version, record};

use crate::scene::{SOON, action, count, entries, flavour_for};

on_each_version!(dead_letters_are_handed_over_again_by_the_documented_commands);

/// The commands of docs/delivery.md of which the first begins with `start`, in `folder` and against this
/// server. What they would send to the action's input goes into the file `sent` there instead, because not
/// every machine has nc; and in that moment there is a new dead letter. Gives what they print.
fn run_documented(start: &str, server: &Server, folder: &Path) -> String {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/delivery.md");
    let text = fs::read_to_string(document).expect("docs/delivery.md");
    let mut blocks = text.split("```\n");
    let commands = blocks.find(|block| block.starts_with(start)).expect("the commands");
    let address = server.address().to_string();
    let socket = address.strip_prefix("unix:").expect("a unix socket");
    let sends = "(valkey-cli XADD audit:deadletter 1-1 record new >/dev/null; cat > sent)";
    let commands = commands
        .replace("nc -NU /run/rsyslog-audit.sock", sends)
        .replace("valkey-cli", &format!("redis-cli -s {socket}"));
    let ran = Command::new("sh").args(["-ec", &commands]).current_dir(folder).output().expect("sh");
    assert!(ran.status.success(), "{commands}: {ran:?}");
    String::from_utf8(ran.stdout).expect("UTF-8")
}

/// Oracle: three records of which one has a key that holds a text; when that is gone and the commands
/// have run, each number is in its stream once, and in the dead letter only what came meanwhile.
fn dead_letters_are_handed_over_again_by_the_documented_commands(version: Version) {
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
    let folder = scratch.join("folder");
    fs::create_dir(&folder).expect("a folder");
    let printed = run_documented("valkey-cli RENAMENX", &server, &folder);
    assert_eq!(printed.split_whitespace().collect::<Vec<_>>(), ["1", "1", "1", "1"]);
    let sent = fs::read_to_string(folder.join("sent")).expect("what was sent");
    rsyslogd.send(sent.lines());
    server.wait_entries("audit:1", 1, SOON);
    rsyslogd.stop();
    for number in 0..3 {
        let count = count(&server, &format!("audit:{number}"), number..number + 1);
        assert!(count.is_exact(), "audit:{number}: {count}\n{}", rsyslogd.log());
    }
    let letters = entries(&server, "audit:deadletter");
    assert_eq!(letters.iter().map(|letter| letter.text("record")).collect::<Vec<_>>(), ["new"]);
    assert_eq!(entries(&server, "{audit:deadletter}:again"), []);
}
