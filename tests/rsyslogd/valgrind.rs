//! The plugin under valgrind, in the rsyslogd of Debian 12.

use std::fs;
use std::path::Path;
use std::time::Duration;

use testkit::{Authority, Rsyslogd, Scratch, Server, Version, record};

use crate::scene::{action, count, lasting_server};

const VALGRIND: &str = "/usr/bin/valgrind";

/// Everything is some thirty times slower here.
const LATER: Duration = Duration::from_secs(100);

/// What the library is called in a report's stack frames.
const LIBRARY: &str = "omvalkeyaudit.so</obj>";

/// Oracle: valgrind's report has no invalid access and no use of undefined values, and no block
/// that is definitely or indirectly lost and came from the plugin's library; and all records
/// arrived, over an outage and with two dead letters, so the library did run; impstats reads the
/// counters meanwhile, until the action is freed.
#[test]
fn valgrind_finds_nothing_in_ten_thousand_records() {
    let scratch = Scratch::new();
    let server = lasting_server(Version::V8_2302).start(&scratch);
    finds_nothing(&scratch, &server, &action(&server.address(), "queue.dequeueBatchSize=\"128\""));
}

/// Oracle: as above, over TLS with a certificate of our own; a HUP reads the files a second time. Of
/// the ciphers, ChaCha20: of AES-GCM in assembler, whose tags the server finds right, valgrind says that
/// they depend on the unused rest of the key's tables, as it does with other libraries.
#[test]
fn valgrind_finds_nothing_in_ten_thousand_records_over_tls() {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let server = lasting_server(Version::V8_2302).tls(&authority.for_loopback());
    let server = server
        .config("tls-auth-clients yes\ntls-ciphersuites TLS_CHACHA20_POLY1305_SHA256")
        .start(&scratch);
    let own = authority.for_loopback();
    let parameters = format!(
        "queue.dequeueBatchSize=\"128\" timeout.connect=\"20000\" timeout.commit=\"20000\"\n\
         \x20 tls=\"on\" tls.cacert=\"{}\" tls.mycert=\"{}\" tls.myprivkey=\"{}\"",
        own.authority.display(),
        own.certificate.display(),
        own.key.display()
    );
    finds_nothing(&scratch, &server, &action(&server.tcp_address(), &parameters));
}

fn finds_nothing(scratch: &Scratch, server: &Server, action: &str) {
    assert!(Path::new(VALGRIND).exists(), "{VALGRIND} is not there: run `make setup`");
    let report = scratch.join("report.xml");
    let report_option = format!("--xml-file={}", report.display());
    let wrapper = [
        VALGRIND,
        "--leak-check=full",
        "--show-leak-kinds=definite,indirect",
        "--num-callers=50",
        concat!("--suppressions=", env!("CARGO_MANIFEST_DIR"), "/tests/rsyslogd.supp"),
        "--xml=yes",
        &report_option,
    ];
    let rsyslogd = Rsyslogd::builder(Version::V8_2302)
        .wrapper(&wrapper)
        .statistics(1)
        .action(action)
        .start(scratch);
    rsyslogd.send((0..5000).map(record));
    server.wait_entries("audit", 5000, LATER);
    rsyslogd.hup();
    server.stop();
    rsyslogd.send((5000..10_000).map(record));
    rsyslogd.send([r#"{"n":10000"#, "", "[]"]);
    rsyslogd.wait_log("cannot commit, records wait");
    server.start();
    server.wait_entries("audit:deadletter", 2, LATER);
    let status = rsyslogd.stop().status;
    assert!(status.success(), "{status}\n{}", rsyslogd.log());
    let count = count(server, "audit", 0..10_000);
    assert!(count.is_exact() && count.is_in_order(), "{count}");

    let report = fs::read_to_string(&report).expect("read valgrind's report");
    assert!(report.contains("</valgrindoutput>"), "valgrind did not finish its report");
    // A leak is somebody's, and is ours where the library stands in its stack. Anything else is
    // memory that was harmed: it may show in another's code.
    let is_of_concern = |error: &&str| {
        error.contains(LIBRARY) || !(error.contains("<kind>Leak_") || is_of_impstats(error))
    };
    let errors: Vec<&str> = report
        .split("<error>")
        .skip(1)
        .filter_map(|rest| rest.split("</error>").next())
        .filter(is_of_concern)
        .collect();
    assert!(errors.is_empty(), "{} errors, the first:\n{}", errors.len(), errors[0]);
}

/// On impstats' thread 8.2302 reads counters that imptcp frees at its end, and has written behind a text of its own.
/// What is wrong with our counters has our library in the stack that made them.
fn is_of_impstats(error: &str) -> bool {
    error.contains("<threadname>in:impstats<")
}
