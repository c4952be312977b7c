//! Lists, values, messages and entries that move from one stream to another, in a cluster: what is
//! promised of a stream holds for them.

use super::moves::while_moving;
use super::ways::{WAYS, Way, Witness, listeners, proxies, proxy_of, suspend};
use super::{core, other};
use crate::core::{Core, PATIENCE, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use omvalkeyaudit::stats::Counter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use testkit::{Cluster, Count, Fault, Flavour, Scratch, entries, number_in, record, wait_until};

/// So many the source has where its slot moves.
const ENTRIES: u64 = 400;

fn bare(flavour: Flavour, scratch: &Scratch) -> Cluster {
    Cluster::builder(flavour).without_replicas().start(scratch)
}

// Oracle: every execution that the nodes tell of, for each way to store a record: in calm, and where a
// confirmation is lost and the part has taken place, has not, or does so late.
on_each_server!(a_part_in_doubt_is_looked_up_in_any_mode);
fn a_part_in_doubt_is_looked_up_in_any_mode(flavour: Flavour) {
    let late = Fault::LateExec(Duration::from_millis(300));
    for way in WAYS {
        let scratch = Scratch::new();
        let cluster = bare(flavour, &scratch);
        let proxies = proxies(&cluster);
        let witness = Witness::new(way, &cluster);
        witness.prepare(0..90);
        let short = [("timeout.commit", "2000")];
        let mut core = core(&cluster, &[way.parameters(), &short].concat());
        way.send(&mut core, 0..10, 10);
        let proxy = proxy_of(way, &cluster, &proxies);
        let faults = [Fault::CutAfterExec, Fault::CutBeforeExec, Fault::CutInRequest, late];
        for (nth, fault) in (1..).zip(faults) {
            proxy.once(fault);
            way.send(&mut core, nth * 20 - 10..nth * 20, 10);
            assert_eq!(proxy.fired(fault), 1, "{way:?} {fault:?} did not happen");
            assert_eq!(core.action.stats.get(Counter::InDoubt), nth, "{way:?} {fault:?}");
            assert!(!core.verdicts.contains(&Suspended), "{way:?} {fault:?} {}", core.log.text());
            way.send(&mut core, nth * 20..nth * 20 + 10, 10);
        }
        witness.assert_exact(0..90);
    }
}

// Oracle: as above, with a stop in between: what was held is committed once by the next process, under
// the same marker in the same slot, also where it had taken place.
on_each_server!(what_is_held_is_committed_once_in_any_mode_of_a_cluster);
fn what_is_held_is_committed_once_in_any_mode_of_a_cluster(flavour: Flavour) {
    for (way, fault) in WAYS
        .into_iter()
        .flat_map(|way| [Fault::DropReplies, Fault::Refuse].map(|fault| (way, fault)))
    {
        let scratch = Scratch::new();
        let cluster = bare(flavour, &scratch);
        let file = scratch.join("hold").display().to_string();
        let own = [("holdfile", file.as_str()), ("timeout.commit", "2000")];
        let proxies = proxies(&cluster);
        let witness = Witness::new(way, &cluster);
        witness.prepare(0..30);
        let parameters = [way.parameters(), &own].concat();
        let mut first = core(&cluster, &parameters);
        way.send(&mut first, 0..10, 10);
        proxies.iter().for_each(|proxy| proxy.set(fault));
        if fault == Fault::Refuse {
            proxies.iter().for_each(testkit::Proxy::cut_all);
        }
        way.load(&mut first, 10..20);
        suspend(&mut first, 10);
        let log = first.stop().text();
        assert!(log.contains("held records that are not committed, count: 10"), "{way:?}: {log}");
        proxies.iter().for_each(testkit::Proxy::pass);
        let mut second = core(&cluster, &parameters);
        way.send(&mut second, 20..30, 10);
        assert_eq!(second.action.stats.get(Counter::Committed), 20, "{way:?} {fault:?}");
        witness.assert_exact(0..30);
    }
}

// Oracle: every execution that the nodes tell of, after the slot went round all nodes, key by key, several
// times. (Messages of two nodes may overtake each other.)
on_each_server!(a_slot_that_moves_under_load_loses_and_doubles_nothing_in_any_mode);
fn a_slot_that_moves_under_load_loses_and_doubles_nothing_in_any_mode(flavour: Flavour) {
    for way in WAYS {
        let scratch = Scratch::new();
        let cluster = bare(flavour, &scratch);
        let witness = Witness::new(way, &cluster);
        witness.prepare(0..ENTRIES);
        let mut core = core(&cluster, way.parameters());
        way.send(&mut core, 0..10, 10);
        let key = way.key();
        let slot = cluster.slot(key);
        let batches = AtomicU64::new(0);
        let moves = || {
            for _ in 0..10 {
                // New keys wait while their slot is on its way, and the more there are the longer it takes.
                let before = batches.load(Ordering::SeqCst);
                wait_until("a batch between two moves", PATIENCE, || {
                    batches.load(Ordering::SeqCst) > before
                });
                let from = cluster.owner(key);
                let place = cluster.servers().iter().position(|node| node.port() == from.port());
                cluster.move_slot(slot, from, &cluster.servers()[(place.unwrap() + 1) % 3]);
            }
        };
        let mut next = 10;
        while_moving(moves, || {
            way.send(&mut core, next..next + 20, 20);
            next += 20;
            batches.fetch_add(1, Ordering::SeqCst);
        });
        // What is no entry is not acknowledged, and that is no error.
        while next < ENTRIES {
            way.send(&mut core, next..next + 20, 20);
            next += 20;
        }
        assert!(core.log.text().contains("slot moved, slot: "), "{way:?}: {}", core.log.text());
        assert_eq!(core.action.stats.get(Counter::DeadLettered), 0, "{way:?}");
        witness.assert_complete(0..next);
    }
}

// Oracle: the listeners at all nodes, which hear each message once, and those of one worker in order,
// over all channels.
on_each_server!(a_message_is_heard_once_and_in_order_at_every_node);
fn a_message_is_heard_once_and_in_order_at_every_node(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(flavour).start(&scratch);
    let parameters = [("mode", "publish"), ("key", "template"), ("dynakey", "on")];
    let mut first = core(&cluster, &parameters);
    let mut second = Core::worker_of(Arc::clone(&first.action));
    let listeners = listeners(&cluster, "news:*");
    let batch = |from: u64| (from..from + 40).map(|n| (format!("news:{}", n % 7), record(n)));
    for round in 0..5 {
        for (core, from) in [(&mut first, 0), (&mut second, 1_000)] {
            core.load_keyed(batch(from + round * 40));
            core.settle();
            assert!(!core.verdicts.contains(&Suspended), "{}", core.log.text());
        }
    }
    // One part for all channels.
    assert_eq!(first.action.stats.get(Counter::Flushes), 10);
    for mut listener in listeners {
        let heard: Vec<u64> = (0..400)
            .map(|_| {
                let message = listener.recv_response().unwrap();
                let words: Vec<String> = redis::from_redis_value(message).unwrap();
                number_in(words[3].as_bytes()).unwrap()
            })
            .collect();
        let (of_second, of_first): (Vec<u64>, Vec<u64>) =
            heard.into_iter().partition(|n| *n >= 1_000);
        for (heard, from) in [(of_first, 0), (of_second, 1_000)] {
            let count = Count::of(heard, from..from + 200);
            assert!(count.is_exact() && count.is_in_order(), "{count}");
        }
        listener.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(listener.recv_response().is_err(), "more than was published");
    }
}

// Oracle: the lists and values, each read from the node that has it; one push for each list.
on_each_server!(dynamic_keys_of_lists_and_values_reach_all_nodes);
fn dynamic_keys_of_lists_and_values_reach_all_nodes(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = bare(flavour, &scratch);
    for mode in ["queue", "set"] {
        let parameters =
            [("mode", mode), ("userpush", "on"), ("key", "template"), ("dynakey", "on")];
        let mut core = core(&cluster, &parameters);
        core.load_keyed((0..300).map(|n| (format!("{mode}:{}", n % 60), record(n))));
        assert_eq!(core.transaction(0..300), Committed, "{}", core.log.text());
        for key in 0..60 {
            let name = format!("{mode}:{key}");
            let mut owner = cluster.owner(&name).connection();
            let texts: Vec<String> = if mode == "set" {
                vec![redis::cmd("GET").arg(&name).query(&mut owner).unwrap()]
            } else {
                redis::cmd("LRANGE").arg(&name).arg(0).arg(-1).query(&mut owner).unwrap()
            };
            let expected: Vec<u64> = (0..5).map(|round| round * 60 + key).collect();
            let found: Vec<u64> =
                texts.iter().map(|text| number_in(text.as_bytes()).unwrap()).collect();
            assert_eq!(found, if mode == "set" { &expected[4..] } else { &expected[..] }, "{name}");
        }
    }
    let pushes: u64 = cluster.servers().iter().map(|node| calls(node, "rpush")).sum();
    assert_eq!(pushes, 60);
}

/// How often a node has executed a command.
fn calls(node: &testkit::Server, name: &str) -> u64 {
    let stats: String =
        redis::cmd("INFO").arg("commandstats").query(&mut node.connection()).unwrap();
    let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:calls=")));
    line.map_or(0, |line| line.split(['=', ',']).nth(1).unwrap().parse().unwrap())
}

// Oracle: good lists have their records once and in order; those of a key that holds a text, of one that the
// user may not write to, and those without a key are dead letters once each, with the reason. So too where
// the reply was lost.
on_each_server!(a_key_that_is_no_list_harms_no_other_in_a_cluster);
fn a_key_that_is_no_list_harms_no_other_in_a_cluster(flavour: Flavour) {
    for fault in [None, Some(Fault::CutAfterExec), Some(Fault::CutBeforeExec)] {
        let scratch = Scratch::new();
        let user = "user w on >pw ~{l}* ~omvalkeyaudit:* +@all";
        let cluster = Cluster::builder(flavour).without_replicas().config(user).start(&scratch);
        command(cluster.owner("{l}text"), &["SET", "{l}text", "x"]);
        let login = [("user", "w"), ("serverpassword", "pw"), ("timeout.commit", "2000")];
        let proxies = proxies(&cluster);
        let mut core = core(&cluster, &[Way::Tail.parameters(), &login].concat());
        core.load_keyed([("{l}good".to_owned(), record(0))]);
        core.settle();
        let owner = cluster.owner("{l}good");
        if let Some(fault) = fault {
            let place = cluster.servers().iter().position(|node| node.port() == owner.port());
            proxies[place.unwrap()].once(fault);
        }
        let keys = ["{l}good", "{l}text", "", "denied"];
        let key = |number: u64| keys[usize::try_from(number % 4).unwrap()];
        core.load_keyed((1..40).map(|number| (key(number).to_owned(), record(number))));
        core.settle();
        let all: Vec<String> = redis::cmd("LRANGE")
            .arg("{l}good")
            .arg(0)
            .arg(-1)
            .query(&mut owner.connection())
            .unwrap();
        let good: Vec<u64> = all.iter().map(|text| number_in(text.as_bytes()).unwrap()).collect();
        assert_eq!(good, (0..40).step_by(4).collect::<Vec<u64>>(), "{fault:?}");
        let dead = "omvalkeyaudit:deadletter";
        let letters = entries(&mut cluster.owner(dead).connection(), dead);
        let all = letters.iter().map(|letter| letter.number().unwrap()).chain(good);
        assert!(Count::of(all, 0..40).is_exact(), "{fault:?}");
        for letter in letters {
            let reason = match letter.number().unwrap() % 4 {
                1 => "server refused the record: WRONGTYPE",
                2 => "the template of the key made an empty text",
                _ => "server refused the record: NOPERM",
            };
            assert!(letter.text("reason").starts_with(reason), "{}", letter.text("reason"));
        }
        assert_eq!(core.action.stats.get(Counter::DeadLettered), 30);
    }
}

// Oracle: the list, and what is said. A list that a consumer has emptied comes into being with the next push,
// which no node does while its slot is on its way: the records wait for the slot.
on_each_server!(a_list_that_is_empty_while_its_slot_is_on_its_way_waits_for_it);
fn a_list_that_is_empty_while_its_slot_is_on_its_way_waits_for_it(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = bare(flavour, &scratch);
    let mut core = core(&cluster, Way::Queue.parameters());
    Way::Queue.send(&mut core, 0..10, 10);
    let slot = cluster.slot("list");
    let (from, to) = (cluster.owner("list"), other(&cluster, "list"));
    command(from, &["DEL", "list"]);
    cluster.begin_move(slot, from, to);
    Way::Queue.load(&mut core, 10..20);
    suspend(&mut core, 10);
    let refused = format!(" refuses slot {slot}: ");
    assert!(core.log.text().contains(&refused), "{}", core.log.text());
    let left = cluster.keys(slot, from);
    cluster.move_keys(&left.iter().map(String::as_str).collect::<Vec<_>>(), from, to);
    cluster.end_move(slot, from, to);
    core.resume();
    core.replay(10);
    Way::Queue.send(&mut core, 20..30, 10);
    let mut owner = to.connection();
    let all: Vec<String> =
        redis::cmd("LRANGE").arg("list").arg(0).arg(-1).query(&mut owner).unwrap();
    let found = all.iter().rev().map(|text| number_in(text.as_bytes()).unwrap());
    let count = Count::of(found, 10..30);
    assert!(count.is_exact() && count.is_in_order(), "{count}");
    assert_eq!(core.action.stats.get(Counter::DeadLettered), 0);
}

/// Records say where they go, and which entry of which stream they were.
const DYNAMIC: &[(&str, &str)] = &[
    ("key", "template"),
    ("dynakey", "on"),
    ("stream.del", "on"),
    ("stream.keyack", "source"),
    ("stream.dynakeyack", "on"),
    ("stream.indexack", "index"),
    ("stream.dynaindexack", "on"),
];

// Oracle: streams, dead letters and sources of all slots. What one transaction cannot store and acknowledge is
// a dead letter in the slot of its entry, and the entry is gone as the others are.
on_each_server!(a_record_in_another_slot_than_its_entry_is_a_dead_letter_beside_it);
fn a_record_in_another_slot_than_its_entry_is_a_dead_letter_beside_it(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = bare(flavour, &scratch);
    let mut core = core(&cluster, DYNAMIC);
    for source in ["{a}:s", "{b}:s"] {
        for number in 1..=4 {
            command(cluster.owner(source), &["XADD", source, &format!("1-{number}"), "msg", "x"]);
        }
    }
    let records = [
        ("{a}:t\n{a}:s\n1-1", record(0)),
        ("{b}:t\n{a}:s\n1-2", record(1)),
        ("{b}:t\n{b}:s\n1-1", record(2)),
        ("{a}:t\n{b}:s\n1-2", record(3)),
        ("\n{b}:s\n1-3", record(4)),
        ("{b}:t\n{b}:s\n1-4", "broken".to_owned()),
        // It names no entry, and may be anywhere.
        ("{c}:t\n\n", record(5)),
        ("{c}:t\n\n", "broken".to_owned()),
    ];
    core.load_keyed(records.map(|(texts, record)| (texts.to_owned(), record)));
    assert_eq!(core.transaction(0..8), Committed, "{}", core.log.text());
    let all = |key: &str| entries(&mut cluster.owner(key).connection(), key);
    let numbers = |key: &str| testkit::numbers(&all(key));
    assert_eq!([numbers("{a}:t"), numbers("{b}:t"), numbers("{c}:t")], [[0], [2], [5]]);
    assert_eq!((all("{a}:s").len(), all("{b}:s").len()), (2, 0));
    let beside = |tag: &str| {
        let node = cluster.owner(tag);
        let keys = cluster.keys(cluster.slot(tag), node);
        let key = keys.into_iter().find(|key| key.starts_with("omvalkeyaudit:deadletter:{"));
        all(&key.expect("dead letters"))
    };
    let (of_a, of_b) = (beside("a"), beside("b"));
    assert_eq!((of_a.len(), of_b.len()), (1, 3));
    assert_eq!(all("omvalkeyaudit:deadletter").len(), 1);
    for (letter, number) in [(&of_a[0], 1), (&of_b[0], 3)] {
        assert_eq!(letter.number(), Some(number));
        let reason = letter.text("reason");
        let (a, b) = (cluster.slot("a"), cluster.slot("b"));
        let (record, entry) = if number == 1 { (b, a) } else { (a, b) };
        let said = format!(
            "in slot {record} of the cluster and the stream that it came from in slot {entry}, "
        );
        assert!(reason.contains(&said) && reason.ends_with("in braces"), "{reason}");
    }
    assert_eq!(core.action.stats.get(Counter::AcksFailed), 2);
}

// Oracle: one line at the start has the command that grants what dead letters beside their entries need.
on_each_server!(the_right_to_write_dead_letters_beside_their_entries_is_missed_at_the_start);
fn the_right_to_write_dead_letters_beside_their_entries_is_missed_at_the_start(flavour: Flavour) {
    let scratch = Scratch::new();
    let rule = "~{a}* %W~omvalkeyaudit:deadletter ~omvalkeyaudit:marker:* +@all";
    let user = format!("user w on >pw {rule}");
    let cluster = Cluster::builder(flavour).without_replicas().config(&user).start(&scratch);
    let login = [("user", "w"), ("serverpassword", "pw")];
    let mut core = core(&cluster, &[DYNAMIC, &login].concat());
    core.load_keyed([("{a}:t\n{a}:s\n1-1".to_owned(), record(0))]);
    assert_eq!(core.transaction(0..1), Committed, "{}", core.log.text());
    let said = "needed later: ACL SETUSER w %W~omvalkeyaudit:deadletter:{*}";
    assert_eq!(core.log.count(said), 1, "{}", core.log.text());
}
