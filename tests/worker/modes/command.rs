//! Records that are commands.

use crate::core::{Core, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use omvalkeyaudit::stats::Counter;
use redis::Value;
use testkit::{Fault, Flavour, Proxy, Scratch, Server, entries};

const TEMPLATE: &[(&str, &str)] = &[("mode", "template"), ("template", "template")];

fn text(server: &Server, key: &str) -> String {
    redis::cmd("GET").arg(key).query(&mut server.connection()).unwrap()
}

// Oracle: the sum that the server holds, after each fault.
on_each_server!(a_command_that_adds_does_so_once_whatever_breaks);
fn a_command_that_adds_does_so_once_whatever_breaks(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let mut core = Core::new(&proxy.address(), TEMPLATE);
    let faults = [Fault::CutBeforeExec, Fault::CutAfterExec, Fault::CutInRequest];
    for (number, fault) in (1..).zip(faults) {
        core.load((0..5).map(|_| "INCRBY counter 3".to_owned()));
        core.settle();
        proxy.once(fault);
        core.load((0..5).map(|_| "INCRBY counter 3".to_owned()));
        core.settle();
        assert_eq!(proxy.fired(fault), 1);
        assert_eq!(text(&server, "counter"), (number * 30).to_string(), "{fault:?}");
    }
}

// Oracle: the values as they are written down here: no argument is a format, and quotes hold blanks
// together.
on_each_server!(arguments_are_taken_as_they_are);
fn arguments_are_taken_as_they_are(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), TEMPLATE);
    core.load(
        [
            r"SET format %s%s%n%n%d",
            r#"SET quoted "a \"b\" \\ \u00e9\n""#,
            r"SET single 'a \n b'",
            r#"SET json {"a":"b","c":1}"#,
            "  SET   blanks\t'x'  ",
        ]
        .map(str::to_owned),
    );
    assert_eq!(core.transaction(0..5), Committed);
    assert_eq!(text(&server, "format"), "%s%s%n%n%d");
    assert_eq!(text(&server, "quoted"), "a \"b\" \\ é\n");
    assert_eq!(text(&server, "single"), r"a \n b");
    assert_eq!(text(&server, "json"), r#"{"a":"b","c":1}"#);
    assert_eq!(text(&server, "blanks"), "x");
}

// Oracle: the good ones took effect once; each bad one is a dead letter once, with its bytes and a
// reason; the worker's connection, database and transaction are what they were.
on_each_server!(what_is_no_command_or_would_break_the_transaction_is_a_dead_letter);
fn what_is_no_command_or_would_break_the_transaction_is_a_dead_letter(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    command(&server, &["SET", "text", "x"]);
    let bad = [
        ("", "record is empty"),
        ("   ", "record is empty"),
        ("SET k \"v", "record is not a command: a quote is not closed"),
        ("SET 'k'v", "record is not a command: a closing quote is not followed by a blank"),
        ("NOSUCHCOMMAND a", "server refused the record: ERR unknown command"),
        ("SET k", "server refused the record: ERR wrong number of arguments"),
        ("INCR text", "server refused the record: ERR value is not an integer"),
        ("LPUSH text x", "server refused the record: WRONGTYPE"),
        ("SAVE", "server refused the record: ERR"),
        ("multi", "MULTI has no place in a transaction"),
        ("\"EX\\x45C\"", "EXEC has no place in a transaction"),
        ("Discard", "DISCARD has no place in a transaction"),
        ("select 5", "SELECT has no place in a transaction"),
        ("HELLO 3", "HELLO has no place in a transaction"),
        ("AUTH x", "AUTH has no place in a transaction"),
        ("CLIENT REPLY OFF", "CLIENT has no place in a transaction"),
        ("SUBSCRIBE c", "SUBSCRIBE has no place in a transaction"),
        ("MONITOR", "MONITOR has no place in a transaction"),
        ("QUIT", "QUIT has no place in a transaction"),
        ("RESET", "RESET has no place in a transaction"),
    ];
    let mut core = Core::new(&server.address(), TEMPLATE);
    let good = || "RPUSH list x".to_owned();
    let records: Vec<String> =
        bad.iter().flat_map(|(record, _)| [good(), (*record).to_owned()]).chain([good()]).collect();
    let count = records.len();
    core.load(records);
    assert_eq!(core.transaction(0..count), Committed, "{}", core.log.text());
    assert_eq!(command(&server, &["LLEN", "list"]), Value::Int(21));
    let letters = entries(&mut server.connection(), "omvalkeyaudit:deadletter");
    let mut letters: Vec<(String, String)> =
        letters.iter().map(|letter| (letter.text("record"), letter.text("reason"))).collect();
    for (record, reason) in bad {
        let place =
            letters.iter().position(|(text, why)| text == record && why.starts_with(reason));
        let place = place.unwrap_or_else(|| panic!("{record:?}: {reason:?} in {letters:?}"));
        letters.swap_remove(place);
    }
    assert_eq!(letters, []);
    assert_eq!(core.action.stats.get(Counter::Reconnects), 0);
}

// Oracle: the log, which says that there is a dead letter; the server repeats a word of the record, and
// the dead letter has it.
on_each_server!(what_the_server_says_of_a_command_is_in_the_dead_letter_and_not_in_the_log);
fn what_the_server_says_of_a_command_is_in_the_dead_letter_and_not_in_the_log(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), TEMPLATE);
    core.load(["CONFIG hunter2 x".to_owned()]);
    assert_eq!(core.transaction(0..1), Committed, "{}", core.log.text());
    let letters = entries(&mut server.connection(), "omvalkeyaudit:deadletter");
    assert!(letters[0].text("reason").contains("hunter2"), "{letters:?}");
    assert_eq!(core.log.count("record goes to the dead letter"), 1, "{}", core.log.text());
    assert!(!core.log.text().contains("hunter2"), "{}", core.log.text());
}

// Oracle: the next batch is stored, and the connection is the same: 4 MiB of replies in arrays within
// arrays were passed over.
on_each_server!(replies_of_any_shape_and_length_are_passed_over);
fn replies_of_any_shape_and_length_are_passed_over(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let long = "x".repeat(100_000);
    for number in 1..=40 {
        command(&server, &["XADD", "long", &format!("{number}-0"), "f", &long]);
    }
    let mut core = Core::new(&server.address(), TEMPLATE);
    let lines = [
        "XRANGE long - +",
        "GET nothing",
        "LRANGE nothing 0 -1",
        "BLPOP nothing 0",
        "PING",
        "SET a 1",
        "INCR a",
        "EVAL 'return {1,{2,{}},redis.status_reply(\"x\")}' 0",
        "HGETALL nothing",
    ];
    core.load(lines.map(str::to_owned));
    assert_eq!(core.transaction(0..lines.len()), Committed, "{}", core.log.text());
    core.load(["INCR a".to_owned()]);
    assert_eq!(core.transaction(0..1), Committed);
    assert_eq!(text(&server, "a"), "3");
    assert_eq!(core.action.stats.get(Counter::Reconnects), 0);
}

// Oracle: a server that is full makes commands wait; the log names the template, and no record's text.
on_each_server!(a_full_server_makes_commands_wait);
fn a_full_server_makes_commands_wait(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), TEMPLATE);
    core.load(["INCR sum".to_owned()]);
    assert_eq!(core.transaction(0..1), Committed);
    command(&server, &["CONFIG", "SET", "maxmemory", "1"]);
    core.load(["INCR sum".to_owned(), "SET secret value".to_owned()]);
    assert_eq!(core.transaction(0..2), Suspended);
    command(&server, &["CONFIG", "SET", "maxmemory", "0"]);
    core.resume();
    core.replay(2);
    assert_eq!((text(&server, "sum"), text(&server, "secret")), ("2".into(), "value".into()));
    let log = core.log.text();
    assert!(log.contains("cannot write, key: \"template\": OOM"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
