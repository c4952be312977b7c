//! Slots that move to another node while records flow.

use super::{assert_exact, core};
use testkit::{Cluster, Flavour, Scratch};

// Oracle: exact count on the new owner; no suspension, and one line that tells of the move.
on_each_server!(a_slot_that_moved_between_two_batches_is_followed);
fn a_slot_that_moved_between_two_batches_is_followed(flavour: Flavour) {
    let scratch = Scratch::new();
    let cluster = Cluster::builder(flavour).without_replicas().start(&scratch);
    let mut core = core(&cluster, &[]);
    core.send(0..20, 10);
    let slot = cluster.slot("audit");
    let from = cluster.owner("audit");
    let to = cluster.servers().iter().find(|node| node.port() != from.port()).unwrap();
    cluster.move_slot(slot, from, to);
    core.send(20..40, 10);
    assert_exact(&cluster, "audit", 0..40);
    assert_eq!(cluster.owner("audit").port(), to.port());
    let line = format!(
        "slot moved, slot: {slot}, from: \"{}\", to: \"{}\"",
        from.tcp_address(),
        to.tcp_address()
    );
    assert_eq!(core.log.count(&line), 1, "{}", core.log.text());
    assert_eq!(core.log.count("cannot commit"), 0, "{}", core.log.text());
}
