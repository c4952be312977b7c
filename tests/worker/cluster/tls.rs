//! TLS with every node that the cluster's map leads to.

use super::assert_exact;
use crate::core::{Core, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use omvalkeyaudit::stats::Counter;
use std::path::Path;
use testkit::{Authority, Cluster, Flavour, Identity, Scratch, Server, record};

/// Keys on all three nodes.
const KEYS: usize = 20;

/// A worker of an action with dynamic keys, which knows the first node only.
fn core(cluster: &Cluster, authority: &Authority) -> Core {
    let trusted = authority.path().display().to_string();
    let parameters = [
        ("topology", "cluster"),
        ("dynakey", "on"),
        ("key", "template"),
        ("tls", "on"),
        ("tls.cacert", trusted.as_str()),
    ];
    Core::new(&cluster.addresses()[0], &parameters)
}

fn keyed() -> impl Iterator<Item = (String, String)> {
    (0_u64..).take(KEYS).map(|number| (format!("host:{number}"), record(number)))
}

fn assert_all(cluster: &Cluster) {
    for number in (0..).take(KEYS) {
        assert_exact(cluster, &format!("host:{number}"), number..number + 1);
    }
}

/// Gives a node that runs another certificate.
fn present(node: &Server, identity: &Identity) {
    let text = |path: &Path| path.display().to_string();
    let (certificate, key) = (text(&identity.certificate), text(&identity.key));
    command(node, &["CONFIG", "SET", "tls-cert-file", &certificate, "tls-key-file", &key]);
}

// Oracle: the streams of all nodes, which listen for nothing but TLS.
on_each_server!(every_node_is_spoken_to_over_tls);
fn every_node_is_spoken_to_over_tls(flavour: Flavour) {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let identity = authority.for_loopback();
    let cluster = Cluster::builder(flavour).without_replicas().tls(&identity).start(&scratch);
    let mut core = core(&cluster, &authority);
    core.load_keyed(keyed());
    assert_eq!(core.transaction(0..KEYS), Committed, "{}", core.log.text());
    assert_all(&cluster);
    assert_eq!(core.action.stats.get(Counter::ErrorsTls), 0);
    assert_eq!(core.log.count("cannot commit"), 0, "{}", core.log.text());
}

// Oracle: the log names the node and what it shows; what belongs there waits, and is there once when the node has its
// certificate back.
on_each_server!(a_node_of_the_map_with_another_name_is_refused);
fn a_node_of_the_map_with_another_name_is_refused(flavour: Flavour) {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let good = authority.for_loopback();
    let cluster = Cluster::builder(flavour).without_replicas().tls(&good).start(&scratch);
    let key = (0..KEYS).map(|number| format!("host:{number}"));
    let mut away = key.filter(|key| cluster.owner(key).port() != cluster.servers()[0].port());
    let key = away.next().expect("a key on a node that the action was not given");
    let node = cluster.owner(&key);
    present(node, &authority.certificate(&["db1.example"]).issue());

    let mut core = core(&cluster, &authority);
    core.load_keyed(keyed());
    assert_eq!(core.transaction(0..KEYS), Suspended, "{}", core.log.text());
    let refused = format!("the certificate of 127.0.0.1:{}", node.port());
    assert!(core.log.text().contains(&refused), "{}", core.log.text());
    assert!(core.action.stats.get(Counter::ErrorsTls) > 0);
    let there: u64 = redis::cmd("DBSIZE").query(&mut node.connection()).unwrap();
    assert_eq!(there, 0, "written to a node that is not who it should be");

    present(node, &good);
    core.resume();
    core.replay(KEYS);
    assert_all(&cluster);
}
