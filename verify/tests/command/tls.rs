//! Servers that speak TLS: what is read from them, and what is said where no TLS comes about.

use crate::scene::{NODE, Run, Scene, assert_refused, plain, verify};
use testkit::{Authority, Flavour, Identity, Scratch, Server};

/// A server of the stream 1 to 5 with this certificate, and whatever `lines` configure.
fn serving(scratch: &Scratch, flavour: Flavour, identity: &Identity, lines: &str) -> Server {
    let server = Server::builder(flavour).tls(identity).config(lines).start(scratch);
    let mut connection = server.connection();
    for seq in 1..=5 {
        redis::cmd("XADD")
            .arg("audit")
            .arg("*")
            .arg(plain(NODE, seq))
            .exec(&mut connection)
            .unwrap();
    }
    server
}

/// Runs the command on what listens at `host` and the server's port, trusting `authority`.
fn read(server: &Server, host: &str, authority: &Authority, more: &[&str]) -> Run {
    let address = format!("{host}:{}", server.port());
    let authority = authority.path().display().to_string();
    verify(&[&["--server", &address, "--strict", "--tls", "--cacert", &authority], more].concat())
}

#[track_caller]
fn assert_complete(run: &Run) {
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    assert!(run.stdout.contains("records  5, seq 1 to 5\n"), "{run:?}");
}

/// The options that show a certificate.
fn own(identity: &Identity) -> [String; 4] {
    let [certificate, key] =
        [&identity.certificate, &identity.key].map(|path| path.display().to_string());
    ["--cert".to_owned(), certificate, "--privkey".to_owned(), key]
}

// Oracle: the numbers that were written; the server listens for nothing but TLS.
#[test]
fn a_stream_is_read_over_tls_of_both_versions_from_every_server() {
    for flavour in Flavour::ALL {
        for version in ["TLSv1.2", "TLSv1.3"] {
            let scratch = Scratch::new();
            let authority = Authority::new(&scratch);
            let lines = format!("tls-protocols {version}");
            let server = serving(&scratch, flavour, &authority.for_loopback(), &lines);
            assert_complete(&read(&server, "127.0.0.1", &authority, &[]));
        }
    }
}

// Oracle: as above, and that the one who does not show a certificate is refused.
#[test]
fn a_server_that_asks_for_a_certificate_gets_ours() {
    for version in ["TLSv1.2", "TLSv1.3"] {
        let scratch = Scratch::new();
        let authority = Authority::new(&scratch);
        let lines = format!("tls-auth-clients yes\ntls-protocols {version}");
        let server = serving(&scratch, Flavour::Valkey91, &authority.for_loopback(), &lines);
        let with = |identity: &Identity| {
            let own = own(identity);
            read(&server, "127.0.0.1", &authority, &own.each_ref().map(String::as_str))
        };
        assert_complete(&with(&authority.for_loopback()));
        let run = read(&server, "127.0.0.1", &authority, &[]);
        assert_refused(&run, &["asks for a certificate of ours", "give --cert and --privkey"]);
        let stranger = Authority::new(&scratch).for_loopback();
        assert_refused(&with(&stranger), &["does not accept our certificate", "check that --cert"]);
    }
}

// Oracle: what was wrong, and the option that mends it; with it the stream is read.
#[test]
fn a_certificate_that_proves_nothing_is_refused_with_a_sentence() {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let flavour = Flavour::Valkey91;
    let named = authority.certificate(&["db1.example"]).issue();
    let server = serving(&scratch, flavour, &named, "");
    let run = read(&server, "localhost", &authority, &[]);
    assert_refused(&run, &["is not for \"localhost\", but for db1.example", "--sni"]);
    assert_complete(&read(&server, "localhost", &authority, &["--sni", "db1.example"]));
    let run = read(&server, "localhost", &Authority::new(&scratch), &["--sni", "db1.example"]);
    assert_refused(&run, &["issued by nobody who is trusted", "--cacert"]);
    let server =
        serving(&scratch, flavour, &authority.certificate(&["localhost"]).expired().issue(), "");
    assert_refused(
        &read(&server, "localhost", &authority, &[]),
        &["has expired on 2025-01-01", "clock"],
    );
}

// Oracle: the sentence, and the option that it names.
#[test]
fn each_side_is_told_when_the_other_alone_speaks_tls() {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let plain = Server::builder(Flavour::Valkey91).tcp().start(&scratch);
    let run = read(&plain, "127.0.0.1", &authority, &["--timeout", "2"]);
    assert_refused(&run, &["does not speak TLS", "leave --tls out"]);
    let server = serving(&scratch, Flavour::Valkey91, &authority.for_loopback(), "");
    let run = verify(&["--server", &server.tcp_address().to_string()]);
    assert_refused(&run, &["TLS", "give --tls"]);
    server.pause();
    let run = read(&server, "127.0.0.1", &authority, &["--timeout", "1"]);
    server.cont();
    assert_refused(&run, &["no TLS handshake with", "no answer in time"]);
}

// Oracle: the sentence names the option, the file and what is wrong with it.
#[test]
fn files_and_names_that_are_of_no_use_are_refused_with_a_sentence() {
    let scene = Scene::new();
    let scratch = Scratch::new();
    let identity = Authority::new(&scratch).for_loopback();
    let missing = scratch.join("missing").display().to_string();
    let [.., key] = own(&identity);
    let run = scene.verify(&["--tls", "--cacert", &missing]);
    assert_refused(&run, &["--cacert has the value", &missing, "No such file"]);
    let run = scene.verify(&["--tls", "--cacert", &key]);
    assert_refused(&run, &["--cacert has the value", "it has no certificate"]);
    assert!(!run.stderr.contains("PRIVATE"), "{run:?}");
    let authority = identity.authority.display().to_string();
    let options = own(&Identity { key: scratch.write("empty", ""), ..identity.clone() });
    let options = options.each_ref().map(String::as_str);
    let run = scene.verify(&[&["--tls", "--cacert", &authority][..], &options].concat());
    assert_refused(&run, &["--privkey has the value", "private key of --cert", "it is empty"]);
    let run = scene.verify(&["--tls", "--cacert", &authority]);
    assert_refused(&run, &["no certificate can be for the host of unix:", "--sni"]);
}
