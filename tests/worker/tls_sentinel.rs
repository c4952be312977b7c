//! Sentinels and their servers over TLS: the sentinels name servers by address, and that is what the
//! servers' certificates are held against.

use crate::core::{Core, assert_exact, command};
use crate::sentinel::asks;
use omvalkeyaudit::error::Verdict::Suspended;
use testkit::{Authority, Flavour, Scratch, SentinelGroup, Server, record};

// Oracle: the exact count on the new primary, without a suspension, and the lines that name both.
// Nobody in the group listens for anything but TLS on TCP.
on_each_server!(records_follow_the_primary_over_tls);
fn records_follow_the_primary_over_tls(flavour: Flavour) {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let group = SentinelGroup::builder(flavour).tls(&authority.for_loopback()).start(&scratch);
    let trusted = authority.path().display().to_string();
    let sentinels: Vec<String> = group.addresses().iter().map(ToString::to_string).collect();
    let servers: Vec<_> = sentinels.iter().map(|address| ("server", address.as_str())).collect();
    let tls = [("tls", "on"), ("tls.cacert", trusted.as_str())];
    let mut core = Core::new(&"", &[&asks(), servers.as_slice(), &tls].concat());
    core.send(0..20, 5);
    group.wait_replicated();
    let old = group.primary();
    let line = format!("connected, server: \"{}\"", old.tcp_address());
    assert_eq!(core.log.count(&line), 1, "{}", core.log.text());
    let primary = group.fail_over(&[]);
    core.send(20..50, 10);
    assert!(!core.verdicts.contains(&Suspended), "{}", core.log.text());
    let line = format!("connected, server: \"{}\"", primary.tcp_address());
    assert_eq!(core.log.count(&line), 1, "{}", core.log.text());
    assert_exact(primary, "audit", 0..50);
}

/// A server and a lone sentinel that watches it, each with a certificate for these names.
fn watched(
    flavour: Flavour,
    scratch: &Scratch,
    authority: &Authority,
    server: &[&str],
    sentinel: &[&str],
) -> (Server, Server) {
    let identity = authority.certificate(server).issue();
    let server = Server::builder(flavour).tls(&identity).start(scratch);
    let identity = authority.certificate(sentinel).issue();
    let sentinel = SentinelGroup::lone_sentinel(flavour, server.port()).tls(&identity);
    (server, sentinel.config("tls-replication yes").start(scratch))
}

// Oracle: the line, which says which of the two it was, and that nothing was written; then, with a name
// that is in both certificates, the count.
on_each_server!(a_certificate_at_a_sentinel_is_told_from_one_at_the_server);
fn a_certificate_at_a_sentinel_is_told_from_one_at_the_server(flavour: Flavour) {
    let good = ["127.0.0.1", "audit.example"];
    let bad = ["audit.example"];
    for is_sentinel in [true, false] {
        let (server, sentinel) =
            if is_sentinel { (&good[..], &bad[..]) } else { (&bad[..], &good[..]) };
        let scratch = Scratch::new();
        let authority = Authority::new(&scratch);
        let (server, sentinel) = watched(flavour, &scratch, &authority, server, sentinel);
        let trusted = authority.path().display().to_string();
        let place = sentinel.tcp_address().to_string();
        let parameters =
            [&asks()[..], &[("server", &place), ("tls", "on"), ("tls.cacert", &trusted)]].concat();
        let mut core = Core::new(&"", &parameters);
        core.load([record(0)]);
        assert_eq!(core.transaction(0..1), Suspended);
        assert_eq!(core.try_resume(), Suspended);
        let log = core.log.text();
        let refused = if is_sentinel { &sentinel } else { &server }.tcp_address();
        let refused =
            format!("the certificate of {refused} is not for \"127.0.0.1\", but for audit.example");
        assert!(log.contains(&refused) && log.contains("tls.servername"), "{log}");
        assert_eq!(core.log.count("cannot commit"), 1, "{log}");
        assert_eq!(command(&server, &["DBSIZE"]), redis::Value::Int(0));

        let named = [&parameters[..], &[("tls.servername", "audit.example")]].concat();
        let mut core = Core::new(&"", &named);
        core.send(0..20, 5);
        assert_exact(&server, "audit", 0..20);
    }
}
