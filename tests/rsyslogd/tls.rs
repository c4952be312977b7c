//! Records over TLS out of a real rsyslogd: the README's example, certificates that change, and a key
//! that nobody may see.

use std::fs;

use testkit::{Authority, Rsyslogd, Scratch, Server, Version, record};

use crate::debug_log::DebugLog;
use crate::scene::{SOON, action, assert_delivered, count, flavour_for};

on_each_version!(
    the_readmes_example_delivers_and_keeps_its_key_to_itself,
    certificates_that_are_renewed_are_used_after_a_hup,
    a_file_that_is_wrong_fails_the_check_of_the_configuration,
);

/// The action in the README's section on TLS.
fn example() -> String {
    let readme = include_str!("../../README.md");
    let mut blocks = readme.split("```");
    let block = blocks.find(|block| block.contains("server=\"db1.example.org:6380\""));
    block.expect("the example").to_owned()
}

/// Oracle: each record once and in order, with a server that asks for a certificate and for a
/// password; not one line of the key, and not the password, in what rsyslogd wrote with every debug
/// message switched on, over a handshake that is refused, one that is not, and a HUP.
fn the_readmes_example_delivers_and_keeps_its_key_to_itself(version: Version) {
    const PASSWORD: &str = "hidden-7c31";
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let server = Server::builder(flavour_for(version))
        .tls(&authority.for_loopback())
        .config("tls-auth-clients yes")
        .password(PASSWORD)
        .start(&scratch);
    let own = authority.certificate(&["rsyslog"]).expired().issue();
    let file = scratch.write("password", PASSWORD);
    let mut action = example();
    for (old, new) in [
        ("db1.example.org:6380", format!("localhost:{}", server.port())),
        ("/etc/rsyslog-audit/ca.pem", authority.path().display().to_string()),
        ("/etc/rsyslog-audit/client.pem", own.certificate.display().to_string()),
        ("/etc/rsyslog-audit/client.key", own.key.display().to_string()),
        ("/etc/rsyslog-audit.password", file.display().to_string()),
        (
            "# action.resumeRetryCount, holdfile and the queue as above",
            "action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\" queue.type=\"LinkedList\""
                .into(),
        ),
    ] {
        assert!(action.contains(old), "the example has no {old:?}");
        action = action.replace(old, &new);
    }
    let template = "template(name=\"audit-record\" type=\"string\" string=\"%rawmsg%\")";
    let builder = Rsyslogd::builder(version).config(template).action(&action);
    let (builder, debug_log) = DebugLog::of(builder, &scratch);
    let rsyslogd = builder.start(&scratch);
    let first_key = fs::read_to_string(&own.key).expect("the key");
    rsyslogd.send((0..2000).map(record));
    rsyslogd.wait_log("does not accept our certificate: CertificateExpired");
    own.become_a_copy_of(&authority.certificate(&["rsyslog"]).issue());
    rsyslogd.hup();
    server.wait_entries("audit", 2000, SOON);
    rsyslogd.send((2000..4000).map(record));
    assert_delivered(&rsyslogd, &server, 0..4000);

    let second_key = fs::read_to_string(&own.key).expect("the key");
    for (name, text) in [("log", rsyslogd.log()), ("debug log", debug_log.text())] {
        assert!(text.contains("omvalkeyaudit"), "{name}");
        let keys = first_key.lines().chain(second_key.lines());
        for secret in keys.filter(|line| !line.starts_with('-')).chain([PASSWORD]) {
            assert!(!text.contains(secret), "{name}");
        }
    }
}

/// Oracle: each record once and in order, although the server comes back with a certificate of another
/// authority, which is refused until the file of authorities is changed and rsyslogd is told.
fn certificates_that_are_renewed_are_used_after_a_hup(version: Version) {
    let scratch = Scratch::new();
    let (old, new) = (Authority::new(&scratch), Authority::new(&scratch));
    let identity = old.for_loopback();
    let server = Server::builder(flavour_for(version)).append_only().tls(&identity);
    let server = server.start(&scratch);
    let trusted = scratch.write("ca.pem", fs::read(old.path()).expect("a certificate"));
    let parameters = format!("tls=\"on\" tls.cacert=\"{}\"", trusted.display());
    let action = action(&server.tcp_address(), &parameters);
    let rsyslogd = Rsyslogd::builder(version).action(&action).start(&scratch);
    rsyslogd.send((0..1000).map(record));
    server.wait_entries("audit", 1000, SOON);

    identity.become_a_copy_of(&new.for_loopback());
    server.restart();
    rsyslogd.send((1000..2000).map(record));
    rsyslogd.wait_log("issued by nobody who is trusted");
    fs::write(&trusted, "half a file").expect("write");
    rsyslogd.hup();
    rsyslogd.wait_log("it has no certificate; the old certificates and key stay in use");
    fs::copy(new.path(), &trusted).expect("copy");
    rsyslogd.hup();
    rsyslogd.wait_log("commits again");
    rsyslogd.send((2000..3000).map(record));
    assert_delivered(&rsyslogd, &server, 0..3000);
    assert!(count(&server, "audit", 0..3000).is_exact());
}

/// Oracle: the exit status of `rsyslogd -N1` and the sentence.
fn a_file_that_is_wrong_fails_the_check_of_the_configuration(version: Version) {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let (own, other) = (authority.for_loopback(), authority.for_loopback());
    let missing = scratch.join("missing");
    let (certificate, key) = (own.certificate.display(), own.key.display());
    for (parameters, words) in [
        (format!("tls.cacert=\"{}\"", missing.display()), "No such file"),
        (format!("tls.cacert=\"{key}\""), "it has no certificate"),
        (format!("tls.mycert=\"{certificate}\""), "\"tls.myprivkey\" is missing"),
        (
            format!("tls.mycert=\"{certificate}\" tls.myprivkey=\"{}\"", other.key.display()),
            "it is another one than that of",
        ),
        ("socketpath=\"/run/x\"".to_owned(), "give \"tls.servername\" too"),
    ] {
        let action = format!("action(type=\"omvalkeyaudit\" tls=\"on\" {parameters})");
        let check = Rsyslogd::builder(version).action(&action).check(&scratch);
        assert!(check.output.contains(words), "{parameters}: {}", check.output);
        assert!(!check.status.success(), "{parameters}: {}", check.output);
    }
}
