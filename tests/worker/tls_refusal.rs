//! TLS that does not come about: nothing is written, and one line says what, where and what to do. The
//! records wait, and are stored once when the reason is gone.

use crate::core::{Core, PATIENCE, assert_exact, command};
use omvalkeyaudit::error::Verdict::Suspended;
use omvalkeyaudit::stats::Counter;
use testkit::{
    Authority, DemandingServer, Flavour, Identity, Proxy, Scratch, Server, ServerBuilder, record,
};

/// A server with a certificate that is fine, its authority, and what a worker needs to get along with
/// them.
fn good(scratch: &Scratch) -> (Authority, Identity) {
    let authority = Authority::new(scratch);
    let identity = authority.for_loopback();
    (authority, identity)
}

/// A worker that speaks TLS with `host` at the server's port, and trusts `authority`.
fn speaking(server: &Server, host: &str, authority: &Authority, more: &[(&str, &str)]) -> Core {
    let address = format!("{host}:{}", server.port());
    let authority = authority.path().display().to_string();
    let tls = [("tls", "on"), ("tls.cacert", authority.as_str())];
    Core::new(&address, &[&tls, more].concat())
}

/// Expects that nothing is committed, and one line with all `words`.
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
    assert!(core.action.stats.get(Counter::ErrorsTls) > 0, "{log}");
}

/// Expects the same where the server has this certificate.
#[track_caller]
fn assert_certificate_refused(
    flavour: Flavour,
    host: &str,
    issue: impl Fn(&Authority) -> Identity,
    words: &[&str],
) {
    let scratch = Scratch::new();
    let (authority, _) = good(&scratch);
    let server = Server::builder(flavour).tls(&issue(&authority)).start(&scratch);
    let mut core = speaking(&server, host, &authority, &[]);
    assert_refused(&mut core, words);
    let address = format!("the certificate of {host}:{}", server.port());
    assert!(core.log.text().contains(&address), "{}", core.log.text());
}

/// The server as `build` makes it refuses a worker with `before`; one with `after` gets along with it.
fn refuses_until(
    flavour: Flavour,
    build: impl Fn(ServerBuilder) -> ServerBuilder,
    before: impl Fn(&Scratch, &Authority) -> Option<Identity>,
    words: &[&str],
) {
    for version in ["TLSv1.2", "TLSv1.3"] {
        let scratch = Scratch::new();
        let (authority, identity) = good(&scratch);
        let builder = Server::builder(flavour).tls(&identity);
        let builder = builder.config(&format!("tls-protocols {version}"));
        let server = build(builder).start(&scratch);
        let shown = |identity: Identity| {
            [identity.certificate, identity.key].map(|path| path.display().to_string())
        };
        let files = before(&scratch, &authority).map(shown);
        let own = |files: &Option<[String; 2]>| -> Vec<(&'static str, String)> {
            files
                .iter()
                .flat_map(|[certificate, key]| {
                    [("tls.mycert", certificate.clone()), ("tls.myprivkey", key.clone())]
                })
                .collect()
        };
        let parameters = own(&files);
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut core = speaking(&server, "127.0.0.1", &authority, &parameters);
        assert_refused(&mut core, words);

        let parameters = own(&Some(shown(authority.for_loopback())));
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut core = speaking(&server, "127.0.0.1", &authority, &parameters);
        core.send(0..10, 5);
        assert_exact(&server, "audit", 0..10);
    }
}

// Oracle for this and the following: verdicts, one log line, the counter, and the stream.
on_each_server!(a_certificate_for_another_name_is_refused_with_both_names);
fn a_certificate_for_another_name_is_refused_with_both_names(flavour: Flavour) {
    for host in ["localhost", "127.0.0.1"] {
        assert_certificate_refused(
            flavour,
            host,
            |authority| authority.certificate(&["db1.example", "10.0.0.1"]).issue(),
            &[&format!("is not for \"{host}\", but for db1.example, 10.0.0.1 ("), "tls.servername"],
        );
    }
}

on_each_server!(a_certificate_without_names_is_refused);
fn a_certificate_without_names_is_refused(flavour: Flavour) {
    assert_certificate_refused(
        flavour,
        "localhost",
        |authority| authority.certificate(&[]).issue(),
        &["names no host (no subjectAltName), so not \"localhost\"", "tls.servername"],
    );
}

on_each_server!(an_expired_certificate_is_refused_with_its_last_day);
fn an_expired_certificate_is_refused_with_its_last_day(flavour: Flavour) {
    assert_certificate_refused(
        flavour,
        "localhost",
        |authority| authority.certificate(&["localhost"]).expired().issue(),
        &["has expired on 2025-01-01T00:00:00Z", "renew"],
    );
}

on_each_server!(a_certificate_that_is_not_valid_yet_is_refused_with_its_first_day);
fn a_certificate_that_is_not_valid_yet_is_refused_with_its_first_day(flavour: Flavour) {
    assert_certificate_refused(
        flavour,
        "localhost",
        |authority| authority.certificate(&["localhost"]).not_yet_valid().issue(),
        &["is not valid before 2090-01-01T00:00:00Z", "clock"],
    );
}

// Oracle: as above, and the server's log, which has got the reason too.
on_each_server!(a_certificate_of_an_unknown_authority_is_refused);
fn a_certificate_of_an_unknown_authority_is_refused(flavour: Flavour) {
    let scratch = Scratch::new();
    let (_, identity) = good(&scratch);
    let server = Server::builder(flavour).tls(&identity).start(&scratch);
    let other = Authority::new(&scratch);
    let mut core = speaking(&server, "localhost", &other, &[]);
    assert_refused(&mut core, &["issued by nobody who is trusted", "tls.cacert"]);
    server.wait_log("unknown ca", PATIENCE);
    // No system trusts it either.
    let address = format!("localhost:{}", server.port());
    let mut core = Core::new(&address, &[("tls", "on")]);
    assert_refused(&mut core, &["issued by nobody who is trusted", "tls.cacert"]);
}

on_each_server!(a_certificate_for_an_authority_is_refused_as_a_servers);
fn a_certificate_for_an_authority_is_refused_as_a_servers(flavour: Flavour) {
    assert_certificate_refused(
        flavour,
        "localhost",
        |authority| authority.certificate(&["localhost"]).for_an_authority().issue(),
        &["is one for an authority (CA:TRUE), not for a server", "another certificate"],
    );
}

on_each_server!(a_server_without_tls_is_told_from_one_that_is_silent);
fn a_server_without_tls_is_told_from_one_that_is_silent(flavour: Flavour) {
    let scratch = Scratch::new();
    let (authority, _) = good(&scratch);
    let server = Server::builder(flavour).tcp().unix().start(&scratch);
    let mut core = speaking(&server, "localhost", &authority, &[]);
    let address = format!("localhost:{} does not speak TLS", server.port());
    assert_refused(&mut core, &[&address, "tls=\"off\""]);
    assert_eq!(command(&server, &["DBSIZE"]), redis::Value::Int(0));
}

on_each_server!(a_server_that_wants_a_certificate_of_ours_says_so_in_either_version);
fn a_server_that_wants_a_certificate_of_ours_says_so_in_either_version(flavour: Flavour) {
    refuses_until(
        flavour,
        |server| server.config("tls-auth-clients yes"),
        |_, _| None,
        &["asks for a certificate of ours, and there is none", "give tls.mycert and tls.myprivkey"],
    );
}

on_each_server!(a_server_that_does_not_know_our_authority_says_so_in_either_version);
fn a_server_that_does_not_know_our_authority_says_so_in_either_version(flavour: Flavour) {
    refuses_until(
        flavour,
        |server| server.config("tls-auth-clients yes"),
        |scratch, _| Some(Authority::new(scratch).for_loopback()),
        &["does not accept our certificate: UnknownCA", "its tls-ca-cert-file"],
    );
}

on_each_server!(a_server_that_finds_our_certificate_expired_says_so_in_either_version);
fn a_server_that_finds_our_certificate_expired_says_so_in_either_version(flavour: Flavour) {
    refuses_until(
        flavour,
        |server| server.config("tls-auth-clients yes"),
        |_, authority| Some(authority.certificate(&["client"]).expired().issue()),
        &["does not accept our certificate: CertificateExpired", "tls.mycert is valid"],
    );
}

on_each_server!(a_server_without_a_cipher_in_common_is_told_from_one_that_refuses_us);
fn a_server_without_a_cipher_in_common_is_told_from_one_that_refuses_us(flavour: Flavour) {
    let scratch = Scratch::new();
    let (authority, identity) = good(&scratch);
    let server = Server::builder(flavour).tls(&identity);
    let server = server.config("tls-protocols TLSv1.2\ntls-ciphers ECDHE-ECDSA-AES128-SHA");
    let server = server.start(&scratch);
    let mut core = speaking(&server, "localhost", &authority, &[]);
    assert_refused(&mut core, &["speaks another TLS: HandshakeFailure", "tls-ciphers"]);
}

// Oracle: as above, for a worker without TLS, and a server that answers it with an alert.
on_each_server!(an_answer_in_tls_to_a_worker_without_it_is_recognised);
fn an_answer_in_tls_to_a_worker_without_it_is_recognised(flavour: Flavour) {
    let scratch = Scratch::new();
    let (_, identity) = good(&scratch);
    let server = Server::builder(flavour).start(&scratch);
    let proxy = Proxy::tls(server.address(), &identity);
    let mut core = Core::new(&proxy.address(), &[]);
    assert_refused(&mut core, &["answers with TLS", "set tls=\"on\""]);
    assert_eq!(command(&server, &["DBSIZE"]), redis::Value::Int(0));
}

// Oracle: the sentence of the alert. The login is larger than what a socket holds and the server reads none of it, so
// that it cannot be sent, however the two take turns.
#[test]
fn a_refusal_after_the_handshake_is_heard_although_the_login_cannot_be_sent() {
    let scratch = Scratch::new();
    let (authority, identity) = good(&scratch);
    let server = DemandingServer::start(&scratch, &identity);
    let trusted = authority.path().display().to_string();
    let password = "x".repeat(4 << 20);
    let parameters = [
        ("tls", "on"),
        ("tls.cacert", trusted.as_str()),
        ("tls.servername", "localhost"),
        ("serverpassword", password.as_str()),
    ];
    let mut core = Core::new(&server.address(), &parameters);
    let words = ["asks for a certificate of ours, and there is none", "give tls.mycert"];
    assert_refused(&mut core, &words);
    assert!(!core.log.text().contains("xx"));
}
