//! What is in the hold file where a simple answer would lose or double records: batches that the core has
//! given up, and held records that the server refuses.

use crate::core::{Core, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use omvalkeyaudit::params::Retries;
use omvalkeyaudit::worker::AtStop;
use std::fs;
use testkit::{Fault, Flavour, Proxy, Scratch, Server, entries, record};

// Oracle: the hold file and the log, where four records are committed of ten and tryResume has failed: with
// a count of 0 that is the end of the batch, with another one it may not be. A core that brings batches back
// does so all the same where it is stopped at that moment.
on_each_server!(a_batch_that_the_core_has_given_up_is_not_held);
fn a_batch_that_the_core_has_given_up_is_not_held(flavour: Flavour) {
    for (at_stop, retries, failures, is_left) in [
        (AtStop::Drops, 0, 1, false),
        (AtStop::Requeues, 0, 1, true),
        (AtStop::Drops, 0, 0, true),
        (AtStop::Requeues, 0, 0, true),
        (AtStop::Drops, 1, 2, true),
        (AtStop::Requeues, 1, 2, true),
    ] {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        let proxy = Proxy::unix(&scratch, server.address());
        let file = scratch.join("hold");
        let name = file.display().to_string();
        let parameters = [("batch.maxrecords", "4"), ("holdfile", name.as_str())];
        let retries = Retries::Finite(retries);
        let mut core = Core::that(at_stop, retries, &proxy.address(), &parameters);
        core.load((0..10).map(record));
        assert_eq!(core.transaction(0..4), Committed);
        proxy.set(Fault::Refuse);
        proxy.cut_all();
        assert_eq!(core.transaction(4..10), Suspended);
        for _ in 0..failures {
            assert_eq!(core.try_resume(), Suspended);
        }
        // The server may be back: what is given up is not tried once more, either.
        if !is_left {
            proxy.pass();
        }
        let log = core.stop();
        let case = format!("{at_stop:?} {retries:?} {failures}\n{}", log.text());
        assert_eq!(!fs::read(&file).unwrap().is_empty(), is_left, "{case}");
        let given_up = log.count("rsyslog gave up records that were not committed, count: 6");
        assert_eq!(given_up == 0, is_left, "{case}");
        assert_eq!(entries(&mut server.connection(), "audit").len(), 4, "{case}");
    }
}

// Oracle: the dead letters. The first held record is one already, but its key holds no stream; the second
// one fails in EXEC, for a reason that no key's type tells. The marker says that the flush took place.
on_each_server!(what_the_server_has_refused_of_held_records_never_counts_as_committed);
fn what_the_server_has_refused_of_held_records_never_counts_as_committed(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let name = scratch.join("hold").display().to_string();
    let parameters = [
        ("dynakey", "on"),
        ("key", "template"),
        ("deadletter.key", "dead"),
        ("marker.key", "m"),
        ("holdfile", name.as_str()),
    ];
    // No entry can follow one with the last id.
    command(&server, &["XADD", "full", "18446744073709551615-18446744073709551615", "f", "v"]);
    command(&server, &["SET", "dead", "not a stream"]);
    proxy.set(Fault::Refuse);
    let mut core = Core::new(&proxy.address(), &parameters);
    let keyed = |text: String| ("full".to_owned(), text);
    core.load_keyed([keyed("no JSON".to_owned()), keyed(record(1))]);
    assert_eq!(core.transaction(0..2), Suspended);
    core.stop();
    proxy.pass();
    let mut core = Core::new(&proxy.address(), &parameters);
    for _ in 0..3 {
        assert_eq!(core.try_resume(), Suspended);
    }
    command(&server, &["DEL", "dead"]);
    core.resume();
    let letters = entries(&mut server.connection(), "dead");
    let records: Vec<String> = letters.iter().map(|letter| letter.text("record")).collect();
    assert_eq!(records, ["no JSON".to_owned(), record(1)]);
    assert_eq!(entries(&mut server.connection(), "full").len(), 1);
}
