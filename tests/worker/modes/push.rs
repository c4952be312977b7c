//! Lists: one push for all records of a key, and what becomes of records whose list is none.

use super::way::{Way, Witness, send};
use crate::core::{Core, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use omvalkeyaudit::stats::Counter;
use redis::Value;
use testkit::{Count, Fault, Flavour, Proxy, Scratch, Server, entries, number_in, numbers, record};

fn list(server: &Server, key: &str) -> Vec<u64> {
    let mut connection = server.connection();
    let all: Vec<Vec<u8>> =
        redis::cmd("LRANGE").arg(key).arg(0).arg(-1).query(&mut connection).unwrap();
    all.iter().map(|text| number_in(text).unwrap()).collect()
}

/// How often the server has executed a command.
fn calls(server: &Server, name: &str) -> u64 {
    let stats: String =
        redis::cmd("INFO").arg("commandstats").query(&mut server.connection()).unwrap();
    let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:calls=")));
    line.map_or(0, |line| line.split(['=', ',']).nth(1).unwrap().parse().unwrap())
}

const KEYED: &[(&str, &str)] =
    &[("mode", "queue"), ("userpush", "on"), ("key", "template"), ("dynakey", "on")];

// Oracle: the server's own count of pushes, and the lists.
on_each_server!(all_records_of_a_key_are_one_push);
fn all_records_of_a_key_are_one_push(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), KEYED);
    for batch in 0..3 {
        core.load_keyed((0..30).map(|n| (format!("l{}", n % 3), record(batch * 30 + n))));
        core.settle();
    }
    for rest in 0..3 {
        let expected: Vec<u64> = (0..90).filter(|number| number % 3 == rest).collect();
        assert_eq!(list(&server, &format!("l{rest}")), expected);
    }
    assert_eq!(calls(&server, "rpush"), 9);
}

// Oracle: good lists have their records once and in order; those of a key that holds a text, and those
// without a key, are dead letters once each, with the reason. So too where the reply was lost.
on_each_server!(a_key_that_is_no_list_harms_no_other);
fn a_key_that_is_no_list_harms_no_other(flavour: Flavour) {
    for fault in [None, Some(Fault::CutAfterExec), Some(Fault::CutBeforeExec)] {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        let proxy = Proxy::unix(&scratch, server.address());
        command(&server, &["SET", "text", "x"]);
        let mut core = Core::new(&proxy.address(), KEYED);
        core.load_keyed([("good".to_owned(), record(0))]);
        core.settle();
        if let Some(fault) = fault {
            proxy.once(fault);
        }
        let key = |number: u64| ["good", "text", ""][usize::try_from(number % 3).unwrap()];
        core.load_keyed((1..40).map(|number| (key(number).to_owned(), record(number))));
        core.settle();
        let expected: Vec<u64> = (0..40).filter(|number| number % 3 == 0).collect();
        assert_eq!(list(&server, "good"), expected);
        let letters = entries(&mut server.connection(), "omvalkeyaudit:deadletter");
        let all = numbers(&letters).into_iter().chain(expected);
        assert!(Count::of(all, 0..40).is_exact(), "{fault:?}");
        for letter in letters {
            let reason = match letter.number().unwrap() % 3 {
                1 => "server refused the record: WRONGTYPE",
                _ => "the template of the key made an empty text",
            };
            assert!(letter.text("reason").starts_with(reason), "{}", letter.text("reason"));
        }
        assert_eq!(core.action.stats.get(Counter::Committed), 14);
        assert_eq!(core.action.stats.get(Counter::DeadLettered), 26);
    }
}

// Oracle: the log names key and fix; the records wait and are then stored once.
on_each_server!(a_list_of_another_type_makes_the_records_wait);
fn a_list_of_another_type_makes_the_records_wait(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    command(&server, &["SET", "list", "x"]);
    let witness = Witness::new(Way::Queue, &server);
    let mut core = Core::new(&server.address(), Way::Queue.parameters());
    core.load((0..5).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    assert!(
        core.log.text().contains("cannot write, key: \"list\": WRONGTYPE"),
        "{}",
        core.log.text()
    );
    command(&server, &["DEL", "list"]);
    core.resume();
    core.replay(5);
    witness.assert_exact(0..5);
}

// Oracle: what a consumer has taken, and what is left, together: each record once. The list that is in
// doubt is gone when it is looked up.
on_each_server!(what_a_consumer_took_before_the_look_up_is_not_pushed_again);
fn what_a_consumer_took_before_the_look_up_is_not_pushed_again(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let parameters = [Way::Queue.parameters(), &[("timeout.commit", "1000")]].concat();
    let mut core = Core::new(&proxy.address(), &parameters);
    send(Way::Queue, &mut core, 0..10, 5);
    proxy.once(Fault::DropReplies);
    core.load((10..20).map(record));
    assert_eq!(core.transaction(0..10), Suspended);
    let mut taken: Vec<u64> = list(&server, "list");
    command(&server, &["DEL", "list"]);
    proxy.pass();
    core.resume();
    core.replay(10);
    assert_eq!(command(&server, &["EXISTS", "list"]), Value::Int(0));
    taken.reverse();
    let count = Count::of(taken, 0..20);
    assert!(count.is_exact() && count.is_in_order(), "{count}");
}

// Oracle: the list, and no suspension: what trims streams has no effect here, as the line at the start says, so
// that the right to it is not needed.
on_each_server!(a_list_is_not_trimmed_as_a_stream_is);
fn a_list_is_not_trimmed_as_a_stream_is(flavour: Flavour) {
    let scratch = Scratch::new();
    let rules = "w on >pw ~list* +@all -xtrim";
    let server = Server::builder(flavour).acl_user(rules).start(&scratch);
    let witness = Witness::new(Way::Queue, &server);
    let own = [("stream.maxage", "60"), ("user", "w"), ("serverpassword", "pw")];
    let mut core = Core::new(&server.address(), &[Way::Queue.parameters(), &own].concat());
    core.load((0..10).map(record));
    assert_eq!(core.transaction(0..10), Committed, "{}", core.log.text());
    witness.assert_exact(0..10);
}
