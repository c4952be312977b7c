//! What cannot be checked: exit code 2 and a sentence, never a report that says "complete".

use crate::scene::{Scene, assert_refused, verify};
use std::io::Write;
use std::net::TcpListener;
use std::thread;
use testkit::{AclRule, Flavour, free_port};

// Oracle: exit code, sentence, and the JSON in place of a report.
#[test]
fn a_key_that_is_missing_or_no_stream_cannot_be_checked() {
    let mut scene = Scene::new();
    scene.add(1..=5);
    scene.command(&["SET", "text", "x"]);
    let run = scene.verify(&["--key", "audit", "--key", "adit"]);
    assert_refused(&run, &["stream \"adit\" does not exist in database 0", "check --key and --db"]);
    assert_refused(&scene.verify(&["--key", "text"]), &["\"text\"", "WRONGTYPE", "check --key"]);
    assert_refused(&scene.verify(&["--db", "999"]), &["cannot select database 999", "check --db"]);
    let run = scene.verify(&["--key", "adit", "--json"]);
    let json = run.json();
    assert_eq!(
        (run.code, &json["verdict"], &json["exit_code"]),
        (2, &"not_checked".into(), &2.into())
    );
    assert!(json["error"].as_str().unwrap().contains("does not exist"));
    let run = scene.verify(&["--key", "adit", "--quiet"]);
    assert_refused(&run, &["does not exist"]);
}

// Oracle: the sentence names the server's reason and the option to look at; no password is shown.
#[test]
fn a_user_who_may_not_read_cannot_check() {
    // The user's name and what follows it.
    let documented = AclRule::of("auditor")[0].words[2..].join(" ");
    let documented = documented.replace(">password", ">pw-auditor");
    let mut scene = Scene::with(Flavour::Valkey91, |server| {
        server
            .password("secret")
            .acl_user(&documented)
            .acl_user("blind on >pw-auditor ~audit -@all +xinfo|stream")
            .acl_user("elsewhere on >pw-auditor ~other +@all")
            .acl_user("open on nopass ~audit -@all +xinfo|stream +xrange")
    });
    scene.add(1..=5);
    let right = scene.scratch.write("right", "pw-auditor\n");
    let wrong = scene.scratch.write("wrong", "pw-wrong\n");
    let empty = scene.scratch.write("empty", "\n");
    let verify = |user: &str, file: &std::path::Path| {
        let file = file.to_str().unwrap();
        let dead = ["--deadletter", "audit:deadletter"];
        scene.verify(&[&["--user", user, "--passwordfile", file], &dead[..]].concat())
    };
    let run = verify("auditor", &right);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    assert_eq!(scene.verify(&["--user", "open"]).code, 0);
    assert_refused(&scene.verify(&[]), &["NOAUTH", "give --passwordfile"]);
    let run = verify("auditor", &wrong);
    assert_refused(&run, &["user \"auditor\"", "WRONGPASS", "--passwordfile"]);
    assert!(!run.stderr.contains("pw-"), "{run:?}");
    assert_refused(&verify("blind", &right), &["NOPERM", "xrange", "the user needs"]);
    assert_refused(&verify("elsewhere", &right), &["NOPERM", "the user needs"]);
    assert_refused(&verify("auditor", &empty), &["first line is empty"]);
    assert_refused(&verify("auditor", &scene.scratch.join("none")), &["none", "No such file"]);
}

// Oracle: the sentence for each kind of silence; the test's own end shows that none lasts.
#[test]
fn a_server_that_does_not_answer_as_one_cannot_be_checked() {
    let address = format!("127.0.0.1:{}", free_port());
    assert_refused(&verify(&["--server", &address]), &["cannot connect to", &address]);
    let gone = verify(&["--server", "unix:/nonexistent/socket"]);
    assert_refused(&gone, &["cannot connect to unix:/nonexistent/socket"]);
    let scene = Scene::new();
    scene.server.pause();
    let run = scene.verify(&["--timeout", "1"]);
    scene.server.cont();
    assert_refused(&run, &["did not answer in time"]);
    for (answer, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "does not answer as a Valkey or Redis server"),
        (b"*2\r\n$6\r\nlength\r\n", "closed the connection"),
        (b"", "closed the connection"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let mut client = listener.accept().unwrap().0;
            client.write_all(answer).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            // Reads to the end: closing with unread bytes would reset the connection.
            drop(std::io::copy(&mut client, &mut std::io::sink()));
        });
        assert_refused(&verify(&["--server", &address]), &[words]);
        server.join().unwrap();
    }
}

// Oracle: exit code and sentence; help and version are no failures.
#[test]
fn wrong_arguments_cannot_be_checked() {
    assert_refused(&verify(&["--keys", "audit"]), &["unknown argument \"--keys\"", "--help"]);
    assert_refused(&verify(&["--from", "yesterday"]), &["--from", "yesterday"]);
    let help = verify(&["--help"]);
    assert!(help.code == 0 && help.stdout.contains("Exit code: 0 complete"), "{help:?}");
    assert_eq!(
        verify(&["--version"]).stdout,
        format!("omvalkeyaudit-verify {}\n", env!("CARGO_PKG_VERSION"))
    );
}

// Oracle: nothing on either stream, and the exit code.
#[test]
fn quiet_says_it_with_the_exit_code_alone() {
    let mut scene = Scene::new();
    scene.add([1, 2, 4]);
    let run = scene.verify(&["--quiet", "--progress"]);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (1, "", ""));
    let run = scene.verify(&["--progress"]);
    assert_eq!((run.code, run.stderr.as_str()), (1, "audit: 3 of 3 entries\n"));
}
