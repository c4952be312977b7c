//! Records that were entries of another stream: stored there, acknowledged and deleted here.

use super::way::{Way, Witness, pending, send};
use crate::core::{Core, assert_exact, command};
use omvalkeyaudit::error::Verdict::Suspended;
use omvalkeyaudit::stats::Counter;
use redis::Value;
use testkit::{Flavour, Scratch, Server, entries, record};

/// All of them said by the record.
const DYNAMIC: &[(&str, &str)] = &[
    ("key", "moved"),
    ("stream.ack", "on"),
    ("stream.del", "on"),
    ("stream.keyack", "key"),
    ("stream.groupack", "group"),
    ("stream.indexack", "index"),
    ("stream.dynakeyack", "on"),
    ("stream.dynagroupack", "on"),
    ("stream.dynaindexack", "on"),
];

// Oracle: what is left of the source and of what was read from it, for each of the switches alone.
on_each_server!(an_entry_is_acknowledged_or_deleted_alone);
fn an_entry_is_acknowledged_or_deleted_alone(flavour: Flavour) {
    for (switch, left) in [("stream.ack", (10, 0)), ("stream.del", (0, 10))] {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        let parameters: Vec<_> = Way::Moved
            .parameters()
            .iter()
            .copied()
            .filter(|(name, _)| *name == switch || !["stream.ack", "stream.del"].contains(name))
            .collect();
        let mut core = Core::new(&server.address(), &parameters);
        Witness::new(Way::Moved, &server).prepare(0..10);
        send(Way::Moved, &mut core, 0..10, 4);
        assert_exact(&server, "moved", 0..10);
        let length = command(&server, &["XLEN", "source"]);
        assert_eq!((length, pending(&server)), (Value::Int(left.0), left.1), "{switch}");
    }
}

// Oracle: each source's own entries; the records of all stand in one stream, once and in order.
on_each_server!(a_record_says_stream_group_and_entry);
fn a_record_says_stream_group_and_entry(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    for source in ["s0", "s1"] {
        command(&server, &["XADD", source, "7-0", "a", "b"]);
        command(&server, &["XADD", source, "8-0", "a", "b"]);
        command(&server, &["XGROUP", "CREATE", source, &format!("g-{source}"), "0"]);
    }
    let mut core = Core::new(&server.address(), DYNAMIC);
    core.load_keyed((0..2).map(|n| (format!("s{n}\ng-s{n}\n7-0"), record(n))));
    core.settle();
    assert_exact(&server, "moved", 0..2);
    for source in ["s0", "s1"] {
        assert_eq!(command(&server, &["XLEN", source]), Value::Int(1));
        assert_eq!(command(&server, &["XRANGE", source, "7-0", "7-0"]), Value::Array(vec![]));
    }
    assert_eq!(core.action.stats.get(Counter::AcksFailed), 0);
}

// Oracle: all records are stored once; the log and the counter tell of those whose entry was left alone,
// and the others' entries are gone.
on_each_server!(a_refused_acknowledgement_leaves_the_record_stored);
fn a_refused_acknowledgement_leaves_the_record_stored(flavour: Flavour) {
    let scratch = Scratch::new();
    let rules = "w on >pw ~moved* ~source ~text +@all";
    let server = Server::builder(flavour).acl_user(rules).start(&scratch);
    command(&server, &["SET", "text", "x"]);
    command(&server, &["XADD", "source", "1-0", "a", "b"]);
    let login = [("user", "w"), ("serverpassword", "pw")];
    let mut core = Core::new(&server.address(), &[DYNAMIC, &login].concat());
    let origins = [
        "source\ng\n1-0", // fine
        "text\ng\n1-0",   // no stream: XACK and XDEL fail in EXEC
        "source\ng\nx",   // no id: the same
        "\n\n",           // it did not come from a stream
        "denied\ng\n1-0", // fails while it is queued, and aborts the transaction
    ];
    core.load_keyed((0..).zip(origins).map(|(number, origin)| (origin.to_owned(), record(number))));
    core.settle();
    assert_exact(&server, "moved", 0..5);
    assert_eq!(entries(&mut server.connection(), "moved:deadletter"), []);
    assert_eq!(command(&server, &["XLEN", "source"]), Value::Int(0));
    assert_eq!(core.action.stats.get(Counter::AcksFailed), 4, "{}", core.log.text());
    let log = core.log.text();
    assert!(log.contains("entry of a record is not acknowledged or deleted: "), "{log}");
    assert!(!core.verdicts.contains(&Suspended), "{log}");
}

// Oracle: the log names the fix; the records wait until the ACL allows it, and are then stored once.
on_each_server!(an_acl_that_forbids_the_configured_source_makes_the_records_wait);
fn an_acl_that_forbids_the_configured_source_makes_the_records_wait(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).acl_user("w on >pw ~moved* +@all").start(&scratch);
    let login = [("user", "w"), ("serverpassword", "pw")];
    let mut core = Core::new(&server.address(), &[Way::Moved.parameters(), &login].concat());
    let witness = Witness::new(Way::Moved, &server);
    witness.prepare(0..5);
    core.load_keyed((0..5).map(|number| Way::Moved.texts(number, 0)));
    assert_eq!(core.transaction(0..5), Suspended);
    let log = core.log.text();
    assert!(log.contains("grant what is missing: ACL SETUSER w %W~source"), "{log}");
    command(&server, &["ACL", "SETUSER", "w", "~source"]);
    core.resume();
    core.replay(5);
    witness.assert_exact(0..5);
}

// Oracle: the dead letter has the record, and its entry is gone from the source as the others' are.
on_each_server!(the_entry_of_a_dead_letter_is_acknowledged_too);
fn the_entry_of_a_dead_letter_is_acknowledged_too(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), Way::Moved.parameters());
    Witness::new(Way::Moved, &server).prepare(0..3);
    core.load_keyed((0..3).map(|number| {
        let (origin, text) = Way::Moved.texts(number, 0);
        (origin, if number == 1 { "broken".to_owned() } else { text })
    }));
    core.settle();
    assert_eq!(entries(&mut server.connection(), "moved").len(), 2);
    let letters = entries(&mut server.connection(), "moved:deadletter");
    assert_eq!(letters.iter().map(|l| l.text("record")).collect::<Vec<_>>(), ["broken"]);
    assert_eq!(command(&server, &["XLEN", "source"]), Value::Int(0));
    assert_eq!(pending(&server), 0);
}
