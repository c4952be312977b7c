//! Several servers in order: which of them is read, and what is said where none can be.

use crate::scene::{NODE, Scene, plain, verify};
use testkit::{Cluster, Flavour, Scratch, free_port};

/// An option for each server.
fn servers(addresses: &[String]) -> Vec<&str> {
    addresses.iter().flat_map(|address| ["--server", address.as_str()]).collect()
}

// Oracle: the server that is named in the report, and the numbers that it alone has.
#[test]
fn the_first_server_that_answers_is_read() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let locked = Scene::with(Flavour::Valkey91, |server| server.password("secret"));
    let locked = locked.server.address().to_string();
    let [mut first, mut second] = [Scene::new(), Scene::new()];
    first.add(1..=5);
    second.add(1..=9);
    let [good, other] = [&first, &second].map(|scene| scene.server.address().to_string());
    let run = verify(&servers(&[nobody.clone(), locked.clone(), good.clone(), other]));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    assert!(run.stdout.starts_with(&format!("server {good}\n")), "{run:?}");
    assert!(run.stdout.contains("records  5, seq 1 to 5\n"), "{run:?}");
    let run = verify(&servers(&[nobody.clone(), locked.clone()]));
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
    for words in
        [&format!("cannot connect to {nobody}: "), &format!("\"audit\" of {locked}: NOAUTH")]
    {
        assert!(run.stderr.contains(words), "{words}: {run:?}");
    }
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
}

// Oracle: the refusal. That a server does not have the stream is its answer: another one's stream is not taken for it.
#[test]
fn a_server_without_the_stream_is_not_passed_over() {
    let (empty, mut full) = (Scene::new(), Scene::new());
    full.add(1..=5);
    let addresses = [&empty, &full].map(|scene| scene.server.address().to_string());
    let run = verify(&servers(&addresses));
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
    let said = format!("does not exist in database 0 of {}", addresses[0]);
    assert!(run.stderr.contains(&said), "{run:?}");
}

// Oracle: the numbers. A cluster is entered by the first node that runs.
#[test]
fn a_cluster_is_read_though_a_node_that_is_named_is_down() {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(Flavour::Valkey91).without_replicas();
    let cluster = cluster.config("cluster-require-full-coverage no").start(&scratch);
    let owner = cluster.owner("audit");
    for seq in 1..=5 {
        let mut add = redis::cmd("XADD");
        add.arg("audit").arg("*").arg(plain(NODE, seq)).exec(&mut owner.connection()).unwrap();
    }
    let mut others = cluster.servers().iter().filter(|node| node.port() != owner.port());
    let (down, up) = (others.next().unwrap(), others.next().unwrap());
    down.kill();
    let addresses = [down, up].map(|node| node.tcp_address().to_string());
    let run = verify(&servers(&addresses));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    assert!(run.stdout.contains("records  5, seq 1 to 5\n"), "{run:?}");
}
