//! A fixed key that is spread over shards, each worker keeping to one.

use crate::core::{Core, assert_exact};
use omvalkeyaudit::error::Verdict::Suspended;
use std::sync::Arc;
use testkit::{Fault, Flavour, Proxy, Scratch, Server, record};

// Oracle: the streams: three workers on two shards, the third beside the first.
on_each_server!(each_worker_keeps_to_one_shard);
fn each_worker_keeps_to_one_shard(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut first = Core::new(&server.address(), &[("shards", "2")]);
    let mut second = Core::worker_of(Arc::clone(&first.action));
    let mut third = Core::worker_of(Arc::clone(&first.action));
    first.send(0..10, 5);
    second.send(0..7, 3);
    third.send(10..20, 5);
    first.send(20..30, 5);
    assert_exact(&server, "audit:{0}", 0..30);
    assert_exact(&server, "audit:{1}", 0..7);
}

// Oracle: the second shard's stream: what its worker held goes there, although the worker that commits
// it has the first one; and a commit in doubt is looked up in the right stream.
on_each_server!(held_records_go_to_the_shard_that_they_were_meant_for);
fn held_records_go_to_the_shard_that_they_were_meant_for(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let file = scratch.join("hold").display().to_string();
    let parameters = [("shards", "2"), ("holdfile", file.as_str()), ("timeout.commit", "1000")];
    for fault in [Fault::BlackHole, Fault::DropReplies] {
        let first = Core::new(&proxy.address(), &parameters);
        let mut second = Core::worker_of(Arc::clone(&first.action));
        second.send(0..5, 5);
        proxy.set(fault);
        second.load((5..10).map(record));
        assert_eq!(second.transaction(0..5), Suspended);
        proxy.set(Fault::Refuse);
        proxy.cut_all();
        assert_eq!(second.stop().count("held records that are not committed, count: 5"), 1);
        first.stop();
        proxy.pass();
        let mut next = Core::new(&proxy.address(), &parameters);
        next.send(0..5, 5);
        assert_exact(&server, "audit:{0}", 0..5);
        assert_exact(&server, "audit:{1}", 0..10);
        crate::core::command(&server, &["FLUSHALL"]);
    }
}
