//! Streams in a cluster: one trail in shards on several nodes, and slots that move under the reading.

use crate::scene::{NODE, OTHER, Run, plain, verify};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use testkit::{AclRule, Authority, Cluster, Flavour, Scratch, Server};

const SHARDS: u64 = 6;

fn shard(number: u64) -> String {
    format!("audit:{{{number}}}")
}

fn words(server: &Server, words: &[&str]) {
    redis::cmd(words[0]).arg(&words[1..]).exec(&mut server.connection()).unwrap();
}

/// Adds records of a node to a stream, wherever that is.
fn add(cluster: &Cluster, key: &str, node: &str, numbers: impl IntoIterator<Item = u64>) {
    let mut pipeline = redis::Pipeline::new();
    for seq in numbers {
        pipeline.cmd("XADD").arg(key).arg("*").arg(plain(node, seq)).ignore();
    }
    pipeline.exec(&mut cluster.owner(key).connection()).unwrap();
}

/// Two nodes' records 1 to 1200, dealt out to the shards.
fn deal(cluster: &Cluster) {
    for number in 0..SHARDS {
        let key = shard(number);
        add(cluster, &key, NODE, (1..=1200).filter(|seq| seq % SHARDS == number));
        add(cluster, &key, OTHER, (1..=1200).filter(|seq| seq / 7 % SHARDS == number));
    }
}

/// What the command says of all shards, asked at one node.
fn read(node: &Server, more: &[&str]) -> Run {
    let (server, shards) = (node.tcp_address().to_string(), SHARDS.to_string());
    verify(&[&["--server", &server, "--shards", &shards, "--json"], more].concat())
}

fn nodes(report: &Value) -> [(u64, u64, u64); 2] {
    [0, 1].map(|place| {
        let node = &report["nodes"][place];
        let number = |name: &str| node[name].as_u64().unwrap();
        (number("records"), number("missing"), number("doubled"))
    })
}

// Oracle: the numbers that were dealt out; whichever node is asked first, a replica too, gives the same. A missing
// and a doubled number are found although their neighbours are in other streams.
#[test]
fn a_trail_in_shards_on_several_nodes_is_checked_as_one() {
    for flavour in [Flavour::Redis70, Flavour::Valkey91] {
        let scratch = Scratch::new();
        let cluster = Cluster::builder(flavour).start(&scratch);
        deal(&cluster);
        for node in cluster.servers() {
            let run = read(node, &["--strict", "--from-start", "--deadletter", "audit:deadletter"]);
            assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{flavour}: {run:?}");
            let report = run.json();
            assert_eq!(nodes(&report), [(1200, 0, 0), (1200, 0, 0)], "{report}");
            let streams = report["streams"].as_array().unwrap();
            let from: BTreeSet<&str> =
                streams.iter().map(|stream| stream["server"].as_str().unwrap()).collect();
            let owners =
                (0..SHARDS).map(|number| cluster.owner(&shard(number)).tcp_address().to_string());
            let owners: BTreeSet<String> = owners.collect();
            assert!(owners.len() > 1, "shards that are all on one node prove nothing");
            assert!(owners.iter().all(|owner| from.contains(owner.as_str())), "{report}");
        }
        let key = shard(2);
        let owner = cluster.owner(&key);
        let first: Vec<(String, Vec<String>)> = redis::cmd("XRANGE")
            .arg(&key)
            .arg("-")
            .arg("+")
            .arg("COUNT")
            .arg(1)
            .query(&mut owner.connection())
            .unwrap();
        words(owner, &["XDEL", &key, &first[0].0]);
        add(&cluster, &shard(3), NODE, [7]);
        let run = read(&cluster.servers()[0], &[]);
        assert_eq!(run.code, 1, "{run:?}");
        assert_eq!(nodes(&run.json()), [(1200, 1, 1), (1200, 0, 0)], "{run:?}");
        assert_eq!(run.json()["nodes"][0]["gaps"][0]["first"], 2);
    }
}

// Oracle: the numbers; of three shards one was never begun. Where no shard exists, the key is wrong.
#[test]
fn a_shard_that_was_never_begun_is_empty_and_a_key_without_any_is_refused() {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(Flavour::Valkey91).without_replicas().start(&scratch);
    add(&cluster, &shard(0), NODE, (1..=100).filter(|seq| seq % 2 == 0));
    add(&cluster, &shard(2), NODE, (1..=100).filter(|seq| seq % 2 == 1));
    let server = cluster.servers()[0].tcp_address().to_string();
    let run = verify(&["--server", &server, "--shards", "3", "--strict", "--json"]);
    let report = run.json();
    assert_eq!((run.code, &report["nodes"][0]["records"]), (0, &100.into()), "{report}");
    assert_eq!(report["streams"][1]["exists"], false);
    let text = verify(&["--server", &server, "--shards", "3"]).stdout;
    assert!(text.contains("stream \"audit:{1}\": does not exist\n"), "{text}");
    let run = verify(&["--server", &server, "--key", "adit", "--shards", "3"]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
    assert!(run.stderr.contains("stream \"adit:{0}\" does not exist"), "{run:?}");
    assert!(run.stderr.contains("check --key, --shards and --db"), "{run:?}");
}

// Oracle: the count, at each place that the stream can be in, by a user who has no more than the documented rule.
#[test]
fn a_stream_whose_slot_is_on_its_way_is_read_where_it_is() {
    for flavour in [Flavour::Redis70, Flavour::Valkey91] {
        let scratch = Scratch::new();
        let cluster = Cluster::builder(flavour).without_replicas().start(&scratch);
        let rules = AclRule::of("auditor");
        let rule = rules.iter().find(|rule| rule.purpose.contains("cluster")).unwrap();
        for node in cluster.servers() {
            words(node, &rule.without(""));
        }
        let password = scratch.write("password", "password\n").display().to_string();
        let key = shard(0);
        add(&cluster, &key, NODE, 1..=300);
        let slot = cluster.slot(&key);
        let from = cluster.owner(&key);
        let to = cluster.servers().iter().find(|node| node.port() != from.port()).unwrap();
        let read = |more: &str| {
            for node in cluster.servers() {
                let server = node.tcp_address().to_string();
                let login = ["--user", "auditor", "--passwordfile", &password];
                let run = verify(
                    &[&["--server", &server, "--key", &key, "--strict"], &login[..]].concat(),
                );
                assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{more}: {run:?}");
                assert!(run.stdout.contains("records  300, seq 1 to 300\n"), "{more}: {run:?}");
            }
        };
        cluster.begin_move(slot, from, to);
        read("before its key has gone");
        cluster.move_keys(&[&key], from, to);
        read("when its key has gone");
        for node in cluster.servers() {
            words(node, &["ACL", "SETUSER", "auditor", "-asking"]);
        }
        let server = from.tcp_address().to_string();
        let run = verify(&[
            "--server",
            &server,
            "--key",
            &key,
            "--user",
            "auditor",
            "--passwordfile",
            &password,
        ]);
        assert!(run.code == 2 && run.stderr.contains("the user needs +asking"), "{run:?}");
        cluster.end_move(slot, from, to);
        read("when it has come to rest");
    }
}

// Oracle: the count of each run; that the slot moved meanwhile is counted too.
#[test]
fn a_slot_that_moves_while_its_stream_is_read_loses_nothing_of_it() {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(Flavour::Valkey91).without_replicas().start(&scratch);
    let key = shard(0);
    add(&cluster, &key, NODE, 1..=20_000);
    let slot = cluster.slot(&key);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let mover = scope.spawn(|| {
            let mut moves = 0;
            let mut from = cluster.owner(&key);
            while !is_done.load(Ordering::Relaxed) {
                let to = cluster.servers().iter().find(|node| node.port() != from.port()).unwrap();
                cluster.move_slot(slot, from, to);
                moves += 1;
                from = to;
            }
            moves
        });
        let server = cluster.servers()[0].tcp_address().to_string();
        let runs: Vec<Run> =
            (0..10).map(|_| verify(&["--server", &server, "--key", &key, "--strict"])).collect();
        is_done.store(true, Ordering::Relaxed);
        let moves = mover.join().unwrap();
        for run in &runs {
            assert_eq!(run.code, 0, "{run:?}");
            assert!(run.stdout.contains("records  20000, seq 1 to 20000\n"), "{run:?}");
        }
        println!("the slot moved {moves} times during ten runs");
        assert!(moves > 2, "{moves}");
    });
}

// Oracle: the numbers; the nodes listen for nothing but TLS, so that a redirection leads to a port for TLS.
#[test]
fn a_cluster_is_read_over_tls() {
    for flavour in [Flavour::Redis70, Flavour::Valkey91] {
        let scratch = Scratch::new();
        let authority = Authority::new(&scratch);
        let cluster = Cluster::builder(flavour)
            .without_replicas()
            .tls(&authority.for_loopback())
            .start(&scratch);
        deal(&cluster);
        let trusted = authority.path().display().to_string();
        let run = read(&cluster.servers()[0], &["--strict", "--tls", "--cacert", &trusted]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{flavour}: {run:?}");
        assert_eq!(nodes(&run.json()), [(1200, 0, 0), (1200, 0, 0)], "{run:?}");
    }
}
