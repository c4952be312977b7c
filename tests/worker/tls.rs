//! Records that reach servers over TLS: both versions, all kinds of names, broken connections and
//! handshakes that do not end.

use crate::core::{Core, PATIENCE, assert_exact, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use omvalkeyaudit::stats::Counter;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use testkit::{
    Authority, Fault, Flavour, Identity, Proxy, Scratch, Server, record, record_of, wait_until,
};

/// The parameters of a worker that trusts `authority`, and these.
fn trusting<'a>(authority: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("tls", "on"), ("tls.cacert", authority)], more].concat()
}

fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}

// Oracle: the count. The server listens for nothing but this version of TLS.
on_each_server!(both_versions_of_tls_carry_records_by_name_and_by_address);
fn both_versions_of_tls_carry_records_by_name_and_by_address(flavour: Flavour) {
    for version in ["TLSv1.2", "TLSv1.3"] {
        let scratch = Scratch::new();
        let authority = Authority::new(&scratch);
        let server = Server::builder(flavour).tls(&authority.for_loopback());
        let server = server.config(&format!("tls-protocols {version}")).start(&scratch);
        let trusted = text(&authority.path());
        for (number, host) in ["localhost", "127.0.0.1"].iter().enumerate() {
            let key = format!("audit{number}");
            let address = format!("{host}:{}", server.port());
            let mut core = Core::new(&address, &trusting(&trusted, &[("key", &key)]));
            core.send(0..100, 7);
            assert_exact(&server, &key, 0..100);
            assert_eq!(core.log.count(&format!("connected, server: \"{address}\"")), 1);
            assert_eq!(core.action.stats.get(Counter::ErrorsTls), 0);
        }
    }
}

// Oracle: the count. The certificate is for neither of the addresses, only for the name that is given.
on_each_server!(a_given_name_is_verified_instead_of_the_servers_also_behind_a_unix_socket);
fn a_given_name_is_verified_instead_of_the_servers_also_behind_a_unix_socket(flavour: Flavour) {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let identity = authority.certificate(&["audit.example", "*.wild.example"]).issue();
    let server = Server::builder(flavour).tls(&identity).start(&scratch);
    let tunnel = Proxy::unix(&scratch, server.tcp_address());
    let trusted = text(&authority.path());
    for (key, address, name) in [
        ("tcp", server.tcp_address(), "audit.example"),
        ("wild", server.tcp_address(), "a.wild.example"),
        ("unix", tunnel.address(), "audit.example"),
    ] {
        let more = [("key", key), ("tls.servername", name)];
        let mut core = Core::new(&address, &trusting(&trusted, &more));
        core.send(0..20, 5);
        assert_exact(&server, key, 0..20);
        let more = [("key", key), ("tls.servername", "other.example")];
        let mut core = Core::new(&address, &trusting(&trusted, &more));
        core.load([record(20)]);
        assert_eq!(core.transaction(0..1), Suspended);
        assert!(core.log.text().contains("is not for \"other.example\""), "{}", core.log.text());
    }
}

// Oracle: the count, with a server that asks for a certificate, and with one and the same file for
// certificate and key.
on_each_server!(a_certificate_of_our_own_is_shown_to_a_server_that_asks);
fn a_certificate_of_our_own_is_shown_to_a_server_that_asks(flavour: Flavour) {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let server = Server::builder(flavour).tls(&authority.for_loopback());
    let server = server.config("tls-auth-clients yes").start(&scratch);
    let Identity { certificate, key, authority } = authority.for_loopback();
    let both = [&key, &certificate].map(|path| std::fs::read_to_string(path).unwrap()).concat();
    let both = scratch.write("both.pem", both);
    for (number, (certificate, key)) in [(&certificate, &key), (&both, &both)].iter().enumerate() {
        let stream = format!("audit{number}");
        let own = [text(certificate), text(key)];
        let more = [("tls.mycert", own[0].as_str()), ("tls.myprivkey", &own[1]), ("key", &stream)];
        let trusted = text(&authority);
        let mut core = Core::new(&server.tcp_address(), &trusting(&trusted, &more));
        core.send(0..20, 5);
        assert_exact(&server, &stream, 0..20);
    }
}

// Oracle: the count of flushes far larger than what the library encrypts at once, and than the buffers
// of the sockets; and the verdict, which comes before the deadline.
on_each_server!(a_flush_of_many_megabytes_goes_through);
fn a_flush_of_many_megabytes_goes_through(flavour: Flavour) {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let server = Server::builder(flavour).tls(&authority.for_loopback()).start(&scratch);
    let trusted = text(&authority.path());
    let large = [
        ("batch.maxbytes", "256m"),
        ("batch.maxrecords", "65536"),
        ("record.maxbytes", "1m"),
        ("timeout.commit", "60000"),
    ];
    let mut core = Core::new(&server.tcp_address(), &trusting(&trusted, &large));
    core.load((0..60_000).map(record).chain((60_000..60_020).map(|n| record_of(n, 1_000_000))));
    assert_eq!(core.transaction(0..60_020), Committed, "{}", core.log.text());
    assert_exact(&server, "audit", 0..60_020);
}

/// A server, a proxy before it that speaks TLS, and a worker that has committed the first ten records.
fn started(flavour: Flavour, more: &[(&str, &str)]) -> (Scratch, Server, Proxy, Core) {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let server = Server::builder(flavour).start(&scratch);
    let proxy = Proxy::tls(server.address(), &authority.for_loopback());
    let trusted = text(&authority.path());
    let mut core = Core::new(&proxy.address(), &trusting(&trusted, more));
    core.send(0..10, 5);
    (scratch, server, proxy, core)
}

// Oracle: exact count, whatever happens to the connection; where the server may have the EXEC, its
// marker is asked. None of it is a suspension: one reconnect is made on the spot.
on_each_server!(a_connection_that_breaks_in_a_flush_loses_and_doubles_nothing);
fn a_connection_that_breaks_in_a_flush_loses_and_doubles_nothing(flavour: Flavour) {
    for fault in [
        Fault::CutInRequest,
        Fault::CutBeforeExec,
        Fault::CutAfterExec,
        Fault::HalfClose,
        Fault::Garbage,
        Fault::LateExec(Duration::from_millis(300)),
    ] {
        let (_scratch, server, proxy, mut core) = started(flavour, &[]);
        proxy.once(fault);
        core.send(10..20, 10);
        assert_eq!(proxy.fired(fault), 1, "{fault:?} did not happen");
        core.send(20..30, 10);
        assert!(!core.verdicts.contains(&Suspended), "{fault:?}: {}", core.log.text());
        assert_exact(&server, "audit", 0..30);
    }
}

// Oracle: exact count; here the proxy does not know what it passes, and breaks the encryption itself, in
// a handshake too.
on_each_server!(ciphertext_that_is_garbled_or_ends_is_never_taken_for_a_commit);
fn ciphertext_that_is_garbled_or_ends_is_never_taken_for_a_commit(flavour: Flavour) {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let server = Server::builder(flavour).tls(&authority.for_loopback()).start(&scratch);
    let proxy = Proxy::tcp(server.tcp_address());
    let trusted = text(&authority.path());
    let mut core = Core::new(&proxy.address(), &trusting(&trusted, &[]));
    core.send(0..10, 5);
    let faults = [Fault::Garbage, Fault::HalfClose];
    for (round, fault) in (1..).zip(faults) {
        let first = round * 20;
        proxy.once(fault);
        core.send(first - 10..first, 10);
        assert_eq!(proxy.fired(fault), 1, "{fault:?}");
        proxy.cut_all();
        proxy.once(fault);
        core.send(first..first + 10, 10);
        assert_eq!(proxy.fired(fault), 2, "{fault:?} in a handshake");
    }
    assert_exact(&server, "audit", 0..50);
}

// Oracle: the verdict and the longest call, and the count after the server did run the commits whose
// replies were dropped.
on_each_server!(swallowed_requests_and_replies_suspend_within_the_deadline);
fn swallowed_requests_and_replies_suspend_within_the_deadline(flavour: Flavour) {
    for fault in [Fault::BlackHole, Fault::DropReplies] {
        let (_scratch, server, proxy, mut core) = started(flavour, &[("timeout.commit", "1000")]);
        core.longest = Duration::ZERO;
        proxy.set(fault);
        core.load((10..15).map(record));
        assert_eq!(core.transaction(0..5), Suspended);
        assert_eq!(core.try_resume(), Suspended);
        assert!(core.longest < Duration::from_millis(2500), "{:?}", core.longest);
        proxy.pass();
        core.resume();
        core.replay(5);
        assert_exact(&server, "audit", 0..15);
    }
}

// Oracle: the verdict, the longest call and the line, for a handshake whose first bytes are swallowed;
// then the count.
on_each_server!(a_handshake_that_is_swallowed_ends_with_the_deadline);
fn a_handshake_that_is_swallowed_ends_with_the_deadline(flavour: Flavour) {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let server = Server::builder(flavour).tls(&authority.for_loopback()).start(&scratch);
    let proxy = Proxy::tcp(server.tcp_address());
    let trusted = text(&authority.path());
    let mut core = Core::new(&proxy.address(), &trusting(&trusted, &[("timeout.connect", "1000")]));
    proxy.set(Fault::BlackHole);
    core.load((0..5).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    assert_eq!(core.try_resume(), Suspended);
    assert!(proxy.fired(Fault::BlackHole) > 0);
    assert!(core.longest < Duration::from_millis(2500), "{:?}", core.longest);
    let line = format!("{} did not answer in time in the TLS handshake", proxy.address());
    assert!(core.log.text().contains(&line), "{}", core.log.text());
    proxy.pass();
    core.resume();
    core.replay(5);
    assert_exact(&server, "audit", 0..5);
}

/// Accepts connections and sends the beginning of a long TLS record to each, a byte now and then. Ends,
/// and counts no more, when `is_over`.
fn drip(listener: TcpListener, sent: Arc<AtomicU64>, is_over: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            connection.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let record = [22, 3, 3, 64, 0].into_iter().chain(std::iter::repeat(0));
            for byte in record {
                if is_over.load(Ordering::SeqCst) || connection.write_all(&[byte]).is_err() {
                    break;
                }
                sent.fetch_add(1, Ordering::SeqCst);
                // The read's deadline is the pause.
                drop(connection.read(&mut [0; 4096]));
            }
        }
    });
}

// Oracle: the longest call: each byte is on time, and the handshake as a whole is not.
#[test]
fn a_handshake_that_comes_byte_by_byte_ends_with_the_deadline() {
    let listener = TcpListener::bind(("127.0.0.1", testkit::free_port())).unwrap();
    let address = listener.local_addr().unwrap();
    let (sent, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    drip(listener, Arc::clone(&sent), Arc::clone(&is_over));
    let parameters = [("tls", "on"), ("timeout.connect", "1000"), ("timeout.commit", "1500")];
    let mut core = Core::new(&address, &parameters);
    core.load([record(0)]);
    assert_eq!(core.transaction(0..1), Suspended);
    is_over.store(true, Ordering::SeqCst);
    assert!(core.longest > Duration::from_millis(900), "{:?}", core.longest);
    assert!(core.longest < Duration::from_millis(2500), "{:?}", core.longest);
    assert!(sent.load(Ordering::SeqCst) > 5, "it was not slow, it was silent");
    assert!(core.log.text().contains("did not answer in time in the TLS"), "{}", core.log.text());
}

// Oracle: the server that the new connection has met, which shows its new certificate's name; and the
// count. What cannot be read leaves everything as it was, and is said.
on_each_server!(a_hup_reads_authorities_certificate_and_key_again);
fn a_hup_reads_authorities_certificate_and_key_again(flavour: Flavour) {
    let scratch = Scratch::new();
    let (first, second) = (Authority::new(&scratch), Authority::new(&scratch));
    let start = |authority: &Authority| {
        let server = Server::builder(flavour).tls(&authority.for_loopback());
        server.config("tls-auth-clients yes").start(&scratch)
    };
    let (one, two) = (start(&first), start(&second));
    // The plugin's own files, and a way to the server that can be turned to the other one.
    let trusted = scratch.write("trusted.pem", std::fs::read(first.path()).unwrap());
    let own = first.certificate(&["rsyslog"]).issue();
    let files = [&trusted, &own.certificate, &own.key].map(|path| text(path));
    let parameters = [
        ("tls", "on"),
        ("tls.cacert", files[0].as_str()),
        ("tls.mycert", &files[1]),
        ("tls.myprivkey", &files[2]),
        ("server", &one.tcp_address().to_string()),
        ("server", &two.tcp_address().to_string()),
    ];
    let mut core = Core::new(&"", &parameters);
    core.send(0..10, 5);
    assert_exact(&one, "audit", 0..10);

    own.become_a_copy_of(&second.certificate(&["rsyslog"]).issue());
    std::fs::copy(second.path(), &trusted).unwrap();
    core.send(10..15, 5);
    assert_exact(&one, "audit", 0..15);
    core.action.hup(core.log);
    core.send(15..20, 5);
    assert_exact(&one, "audit", 0..15);
    assert_exact(&two, "audit", 15..20);

    std::fs::copy(first.for_loopback().key, &own.key).unwrap();
    core.action.hup(core.log);
    let log = core.log.text();
    for word in
        ["tls.myprivkey", "another one than that of", "the old certificates and key stay in use"]
    {
        assert!(log.contains(word), "{log}");
    }
    core.send(20..25, 5);
    assert_exact(&two, "audit", 15..25);
}

// Oracle: the line, and that nothing was written, where TLS is expected and not spoken.
on_each_server!(a_server_that_expects_tls_gets_nothing_and_the_line_says_so);
fn a_server_that_expects_tls_gets_nothing_and_the_line_says_so(flavour: Flavour) {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let server = Server::builder(flavour).tls(&authority.for_loopback()).start(&scratch);
    let mut core = Core::new(&server.tcp_address(), &[]);
    core.load([record(0)]);
    assert_eq!(core.transaction(0..1), Suspended);
    let log = core.log.text();
    assert!(log.contains("before its first answer; if it expects TLS, set tls=\"on\""), "{log}");
    assert_eq!(command(&server, &["DBSIZE"]), redis::Value::Int(0));
    wait_until("the server to be asked", PATIENCE, || server.log().contains("SSL"));
}
