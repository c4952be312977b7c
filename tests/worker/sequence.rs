//! Which numbers are missing, lost or repeated, by what the server has confirmed.

use crate::core::{Core, PATIENCE, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use omvalkeyaudit::params::Retries;
use omvalkeyaudit::stats::Counter;
use omvalkeyaudit::worker::AtStop;
use std::ops::RangeInclusive;
use std::sync::Arc;
use testkit::{Fault, Flavour, Proxy, Scratch, Server, entries, wait_until};

const NODE: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER: &str = "76543210fedcba9876543210fedcba9876543210";

fn of(node: &str, seq: u64) -> String {
    format!(r#"{{"v":1,"node":"{node}","seq":{seq},"event":"success","argv":["GET","x"]}}"#)
}

fn lost(node: &str, seq: u64, (first, last): (u64, u64)) -> String {
    let count = last - first + 1;
    format!(
        r#"{{"v":1,"node":"{node}","seq":{seq},"event":"lost","lost_count":{count},"lost_first":{first},"lost_last":{last}}}"#
    )
}

/// Hands records over and brings them home.
fn bring(core: &mut Core, records: impl IntoIterator<Item = String>) {
    core.load(records);
    core.settle();
}

fn bring_numbers(core: &mut Core, numbers: RangeInclusive<u64>) {
    bring(core, numbers.map(|seq| of(NODE, seq)));
}

/// Missing, lost, repeated.
fn counted(core: &Core) -> [u64; 3] {
    [Counter::SequenceGaps, Counter::SequenceLost, Counter::SequenceRepeated]
        .map(|counter| core.action.stats.get(counter))
}

// Oracle: the numbers that were sent; and the log, which tells the gap and its end once.
on_each_server!(a_gap_is_counted_at_once_and_told_until_it_closes);
fn a_gap_is_counted_at_once_and_told_until_it_closes(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), &[]);
    bring_numbers(&mut core, 100..=109);
    assert_eq!(counted(&core), [0, 0, 0]);
    bring_numbers(&mut core, 113..=120);
    assert_eq!(counted(&core), [3, 0, 0]);
    let mut seq = 121;
    let line =
        format!("records are missing, node: \"{NODE}\", from: 110, to: 112, missing in all: 3");
    wait_until("the gap to be told", PATIENCE, || {
        bring_numbers(&mut core, seq..=seq);
        seq += 1;
        core.log.count(&line) == 1
    });
    // Part of it comes late, as from a batch that rsyslogd brings back after a stop, then the rest.
    bring(&mut core, [of(NODE, 112), of(NODE, 110)]);
    assert_eq!(counted(&core), [1, 0, 0]);
    assert_eq!(core.log.count("no records are missing"), 0);
    bring_numbers(&mut core, 111..=111);
    assert_eq!(counted(&core), [0, 0, 0]);
    assert_eq!(core.log.count("records are missing, "), 1, "{}", core.log.text());
    assert_eq!(core.log.count("no records are missing any more"), 1, "{}", core.log.text());
}

// Oracle: two entries with one number in the stream.
on_each_server!(a_number_that_is_stored_twice_is_repeated);
fn a_number_that_is_stored_twice_is_repeated(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), &[]);
    bring_numbers(&mut core, 1..=20);
    bring_numbers(&mut core, 18..=22);
    assert_eq!(counted(&core), [0, 0, 3]);
    assert_eq!(entries(&mut server.connection(), "audit").len(), 25);
}

// Oracle: worked out by hand: of six missing numbers the source owns up to four.
on_each_server!(what_the_source_owns_up_to_is_lost_and_not_missing);
fn what_the_source_owns_up_to_is_lost_and_not_missing(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    for layout in ["fields", "record"] {
        let parameters = [("layout", layout), ("sequence.check", "on")];
        let mut core = Core::new(&server.address(), &parameters);
        bring_numbers(&mut core, 1..=4);
        bring(&mut core, [of(NODE, 11)]);
        assert_eq!(counted(&core), [6, 0, 0], "{layout}");
        bring(&mut core, [lost(NODE, 12, (7, 10))]);
        assert_eq!(counted(&core), [2, 4, 0], "{layout}");
        bring_numbers(&mut core, 5..=6);
        assert_eq!(counted(&core), [0, 4, 0], "{layout}");
    }
}

// Oracle: the dead letter, which has the records whose numbers are not in the stream: broken ones, one that
// is too long, one that the server refused.
on_each_server!(a_number_in_the_dead_letter_is_not_missing);
fn a_number_in_the_dead_letter_is_not_missing(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    command(&server, &["SET", "taken", "no stream"]);
    let parameters = [("dynakey", "on"), ("key", "tpl"), ("record.maxbytes", "300")];
    let mut core = Core::new(&server.address(), &parameters);
    let mut records: Vec<(String, String)> =
        (1..=9).map(|seq| ("stream".to_owned(), of(NODE, seq))).collect();
    records[2].1 = format!(r#"{{"v":1,"node":"{NODE}","seq":3,"argv":["GET"#);
    records[4].1 = of(NODE, 5).replace("GET", &"G".repeat(400));
    records[6].0 = "taken".to_owned();
    core.load_keyed(records);
    core.settle();
    let stored = |key| entries(&mut server.connection(), key).len();
    assert_eq!((stored("stream"), stored("omvalkeyaudit:deadletter")), (6, 3));
    assert_eq!(counted(&core), [0, 0, 0]);
    // Mended and handed over again, they are no repetitions.
    core.load_keyed([3, 5, 7].map(|seq| ("stream".to_owned(), of(NODE, seq))));
    core.settle();
    assert_eq!((counted(&core), stored("stream")), ([0, 0, 0], 9));
    core.load_keyed([("stream".to_owned(), of(NODE, 11))]);
    core.settle();
    assert_eq!(counted(&core), [1, 0, 0]);
}

// Oracle: each node's numbers by themselves; records without numbers count for nothing.
on_each_server!(nodes_are_counted_apart);
fn nodes_are_counted_apart(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), &[]);
    let both =
        (1..=10).flat_map(|seq| [of(NODE, seq), "{\"x\":1}".to_owned(), of(OTHER, 500 + seq)]);
    bring(&mut core, both);
    assert_eq!(counted(&core), [0, 0, 0]);
    bring(&mut core, [of(NODE, 12), of(OTHER, 511), of(OTHER, 514)]);
    assert_eq!(counted(&core), [3, 0, 0]);
    bring(&mut core, [of(NODE, 11)]);
    assert_eq!(counted(&core), [2, 0, 0]);
    let mut silent = Core::new(&server.address(), &[("sequence.check", "off")]);
    bring(&mut silent, [of(NODE, 1), of(NODE, 3), of(NODE, 3)]);
    assert_eq!(counted(&silent), [0, 0, 0]);
}

// Oracle: the stream, which holds each number once: nothing is missing before it is committed, and
// nothing is repeated when the core brings it again or a commit is looked up.
on_each_server!(replays_and_looked_up_commits_are_no_repetition);
fn replays_and_looked_up_commits_are_no_repetition(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let mut core = Core::new(&proxy.address(), &[("batch.maxrecords", "4")]);
    bring_numbers(&mut core, 1..=4);
    proxy.once(Fault::CutAfterExec);
    bring_numbers(&mut core, 5..=8);
    assert_eq!(core.action.stats.get(Counter::InDoubt), 1);
    // Four of ten are committed, then the way is gone, and all ten come again.
    core.load((9..=18).map(|seq| of(NODE, seq)));
    assert_eq!(core.transaction(0..4), Committed);
    proxy.set(Fault::Refuse);
    proxy.cut_all();
    assert_eq!(core.transaction(4..10), Suspended);
    proxy.pass();
    core.resume();
    core.replay(10);
    assert!(core.action.stats.get(Counter::Suppressed) >= 6);
    assert_eq!(entries(&mut server.connection(), "audit").len(), 18);
    assert_eq!(counted(&core), [0, 0, 0]);
}

// Oracle: the streams. What another process has committed of a batch that comes back is there, and what it
// held is.
on_each_server!(what_is_noted_or_held_is_not_missing);
fn what_is_noted_or_held_is_not_missing(flavour: Flavour) {
    for at_stop in [AtStop::Requeues, AtStop::Drops] {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        let proxy = Proxy::unix(&scratch, server.address());
        let file = scratch.join("hold").display().to_string();
        let parameters = [("batch.maxrecords", "4"), ("holdfile", file.as_str())];
        let mut core = Core::that(at_stop, Retries::Forever, &proxy.address(), &parameters);
        // A dead letter is held too.
        let batch = (11..=20).map(|seq| of(NODE, seq).replacen(r#""seq":16,"#, r#""seq":16;"#, 1));
        core.load(batch.clone());
        assert_eq!(core.transaction(0..4), Committed);
        proxy.set(Fault::Refuse);
        proxy.cut_all();
        assert_eq!(core.transaction(4..10), Suspended);
        core.stop();
        proxy.pass();
        // 1 to 10 are there from another batch, so that a number that is not counted would be missing.
        let mut core = Core::that(at_stop, Retries::Forever, &proxy.address(), &parameters);
        bring_numbers(&mut core, 1..=10);
        bring_numbers(&mut core, 21..=22);
        match at_stop {
            AtStop::Requeues => bring(&mut core, batch.clone()),
            // The four that were committed before are another process's.
            AtStop::Drops => assert_eq!(counted(&core), [4, 0, 0]),
        }
        let gaps = if at_stop == AtStop::Requeues { 0 } else { 4 };
        assert_eq!(counted(&core), [gaps, 0, 0]);
        let stored = |key| entries(&mut server.connection(), key).len();
        assert_eq!((stored("audit"), stored("audit:deadletter")), (21, 1));
    }
}

// Oracle: the numbers of both workers together have no gap, in whatever order they are committed; and those
// that the core gave up are missing.
on_each_server!(workers_of_an_action_count_together);
fn workers_of_an_action_count_together(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut one = Core::new(&server.address(), &[]);
    let mut two = Core::worker_of(Arc::clone(&one.action));
    bring_numbers(&mut two, 11..=20);
    bring_numbers(&mut one, 1..=10);
    assert_eq!(counted(&one), [0, 0, 0]);
    bring_numbers(&mut two, 31..=40);
    assert_eq!(counted(&one), [10, 0, 0]);
    bring_numbers(&mut one, 21..=30);
    assert_eq!(counted(&one), [0, 0, 0]);
    server.stop();
    one.load((41..=45).map(|seq| of(NODE, seq)));
    assert_eq!(one.transaction(0..5), Suspended);
    server.start();
    bring_numbers(&mut one, 46..=50);
    bring_numbers(&mut two, 51..=60);
    assert_eq!(one.action.stats.get(Counter::Abandoned), 5);
    assert_eq!(counted(&two), [5, 0, 0]);
}
