//! Secrets: everything that leaves the server is searched for them.

use crate::client::Client;
use crate::scene::{Scene, caller_path};

/// Every secret has this in it.
const SECRET: &str = "Hunter2secret";

// Oracle: the bytes that left, and the server's log; and that each command did leave a record.
#[test]
fn no_secret_leaves_the_server() {
    let config = format!("loadmodule {}\nloglevel debug", caller_path().display());
    let scene = Scene::new(&config);
    let mut client = scene.client();
    let secret = |number: u32| format!("{SECRET}{number}");
    let lines = [
        format!("ACL SETUSER bob on >{} ~* &* +@all", secret(1)),
        format!("ACL SETUSER bob <{}", secret(2)),
        format!("ACL SETUSER bob #{}", secret(3)),
        format!("ACL SETUSER bob {}", secret(4)),
        format!("ACL SETUSR bob >{}", secret(5)),
        format!("ACL DRYRUN bob AUTH bob {}", secret(6)),
        format!("AUTH {}", secret(7)),
        format!("AUTH bob {}", secret(8)),
        format!("AUTH bob {} {}", secret(9), secret(10)),
        format!("HELLO 3 AUTH bob {}", secret(11)),
        format!("HELLO 3 AUHT bob {}", secret(12)),
        format!("HELLO {}", secret(13)),
        format!("AUHT {}", secret(14)),
        format!("{} x", secret(15)),
        format!("AUTH:{}", secret(16)),
        format!("CONFIG SET masterauth {}", secret(17)),
        format!("CONFIG SET primaryauth {}", secret(18)),
        format!("CONFIG SET tls-key-file-pass {}", secret(19)),
        format!("CONFIG SET masterauht {}", secret(20)),
        format!("CONFIG SET masterauth a {}", secret(21)),
        format!("CONFIG STE masterauth {}", secret(22)),
        format!("MIGRATE 127.0.0.1 1 k 0 10 AUTH {}", secret(23)),
        format!("MIGRATE 127.0.0.1 1 k 0 10 AUTH2 bob {}", secret(24)),
        format!("MIGRATE 127.0.0.1 1 k 0 10 AUHT {}", secret(25)),
        format!("SENTINEL SET mymaster auth-pass {}", secret(26)),
        format!("CALLER.CALL E AUTH bob {}", secret(27)),
        format!("CALLER.CALL E ACL SETUSER eve on >{}", secret(28)),
        format!("CALLER.CALL E CONFIG SET masterauth {}", secret(29)),
        format!("MODULE LOAD /nowhere.so {}", secret(30)),
        format!("MODULE LOADEX /nowhere.so CONFIG a.password {} ARGS {}", secret(31), secret(32)),
        format!("FUNCTION RESTORE {}", secret(33)),
        format!("EVALSHA x 0 MIGRATE 127.0.0.1 1 k 0 10 AUTH {}", secret(34)),
        format!("COMMAND GETKEYS AUTH bob {}", secret(35)),
    ];
    for line in &lines {
        client.line(line);
    }
    let body = format!(
        "return redis.pcall('MIGRATE','127.0.0.1','1','k','0','10','AUTH','{}')",
        secret(40)
    );
    client.call(&["EVAL", &body, "0"]);
    client.call(&["SCRIPT", "LOAD", &body]);
    let library = format!(
        "#!lua name=x\nlocal password='{}' server.register_function('f', function() end)",
        secret(41)
    );
    client.call(&["FUNCTION", "LOAD", &library]);
    client.call(&[
        "EVAL",
        "return redis.pcall(unpack(ARGV))",
        "0",
        "MIGRATE",
        "127.0.0.1",
        "1",
        "k",
        "0",
        "10",
        "AUTH",
        &secret(42),
    ]);
    // In a transaction, rejected and executed.
    for line in [
        "MULTI",
        &format!("AUTH bob {}", secret(43)),
        &format!("CONFIG SET requirepass {}", secret(44)),
        "EXEC",
    ] {
        client.line(line);
    }
    // Before anybody has logged in.
    let mut stranger = Client::connect(scene.server.port());
    for line in [
        format!("AUHT {}", secret(45)),
        format!("AUTH {}", secret(46)),
        format!("GET {SECRET}"),
        format!("AUTH {}", secret(44)),
    ] {
        // A key's name is no secret; this one is left out on purpose.
        if !line.starts_with("GET") {
            stranger.line(&line);
        }
    }
    stranger.line("ECHO end");
    let records = scene.collector.wait_argv("ECHO", "end");
    let commands = records.iter().filter(|record| record["client_id"].is_u64()).count();
    assert!(commands > lines.len() + 12, "only {commands} records");
    let text = String::from_utf8_lossy(&scene.collector.bytes()).into_owned();
    let at = text.find(SECRET);
    assert!(at.is_none(), "{}", &text[at.unwrap().saturating_sub(600)..at.unwrap() + 30]);
    let log = scene.server.log();
    let own: Vec<&str> = log.lines().filter(|line| line.contains("auditsource")).collect();
    assert!(own.iter().all(|line| !line.contains(SECRET)), "{own:?}");
}
