//! Batches, partial commits, and what is stored.

use crate::core::{Core, assert_exact, command};
use omvalkeyaudit::error::Verdict::{Committed, Deferred, PreviousCommitted, Suspended};
use testkit::{Fault, Flavour, Proxy, Scratch, Server, entries, record, record_of, wait_until};

// Oracle: the verdicts of each call, and the stream.
on_each_server!(a_batch_commits_at_end_transaction);
fn a_batch_commits_at_end_transaction(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), &[]);
    core.load((0..5).map(record));
    assert_eq!(core.transaction(0..5), Committed);
    assert_eq!(core.verdicts, [Deferred, Deferred, Deferred, Deferred, Deferred, Committed]);
    assert_exact(&server, "audit", 0..5);
    assert_eq!(core.log.count("connected, server"), 1);
}

// Oracle: the verdict of the record that fills the batch, and the stream before endTransaction.
on_each_server!(the_record_that_fills_the_batch_commits_it);
fn the_record_that_fills_the_batch_commits_it(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), &[("batch.maxrecords", "3")]);
    core.load((0..5).map(record));
    assert_eq!(core.transaction(0..3), Committed);
    assert_exact(&server, "audit", 0..3);
    assert_eq!(core.transaction(3..5), Committed);
    assert_eq!(core.verdicts, [Deferred, Deferred, Committed, Deferred, Deferred, Committed]);
    assert_exact(&server, "audit", 0..5);
}

// Oracle: the verdict of the record that did not fit, and the stream.
on_each_server!(a_record_that_does_not_fit_commits_those_before_it);
fn a_record_that_does_not_fit_commits_those_before_it(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), &[("batch.maxbytes", "2k")]);
    core.load((0..5).map(|number| record_of(number, 1100)));
    assert_eq!(core.transaction(0..5), Committed);
    assert_eq!(
        core.verdicts,
        [
            Deferred,
            PreviousCommitted,
            PreviousCommitted,
            PreviousCommitted,
            PreviousCommitted,
            Committed
        ]
    );
    assert_exact(&server, "audit", 0..5);
}

// Oracle: the verdict, and the stream: an oversized record is a flush of its own.
on_each_server!(a_record_larger_than_a_batch_goes_out_alone);
fn a_record_larger_than_a_batch_goes_out_alone(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), &[("batch.maxbytes", "1k")]);
    core.load([record(0), record_of(1, 5000), record(2)]);
    assert_eq!(core.transaction(0..3), Committed);
    assert_eq!(core.verdicts, [Deferred, Committed, Deferred, Committed]);
    assert_exact(&server, "audit", 0..3);
}

// Oracle: the count over many batches with equal texts, which only their buffers' reuse tells apart.
on_each_server!(equal_records_in_one_batch_and_in_the_next_are_all_stored);
fn equal_records_in_one_batch_and_in_the_next_are_all_stored(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), &[("batch.maxrecords", "4")]);
    for _ in 0..10 {
        core.load((0..6).map(|_| record(7)));
        core.settle();
    }
    assert_eq!(entries(&mut server.connection(), "audit").len(), 60);
}

// Oracle: 20,000 numbers, in order, with bytes sent ahead of the commit.
on_each_server!(large_batches_that_are_sent_ahead_arrive_whole_and_in_order);
fn large_batches_that_are_sent_ahead_arrive_whole_and_in_order(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).tcp().start(&scratch);
    let mut core =
        Core::new(&server.address(), &[("batch.maxrecords", "4096"), ("batch.maxbytes", "8m")]);
    core.send(0..20_000, 5000);
    assert_exact(&server, "audit", 0..20_000);
}

// Oracle: XADD's options as the server applied them.
on_each_server!(streams_are_trimmed_as_configured);
fn streams_are_trimmed_as_configured(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let exact = [("stream.capacitylimit", "10"), ("stream.trim", "exact"), ("key", "exact")];
    Core::new(&server.address(), &exact).send(0..50, 50);
    assert_exact(&server, "exact", 40..50);

    // By the server's clock: an entry of 1970 goes, those of today stay.
    command(&server, &["XADD", "aged", "1-0", "n", "0"]);
    let aged = [("stream.maxage", "3600"), ("stream.trim", "exact"), ("key", "aged")];
    Core::new(&server.address(), &aged).send(1..3, 2);
    assert_exact(&server, "aged", 1..3);
}

// Oracle: the entries of another database.
on_each_server!(the_configured_database_is_written_to);
fn the_configured_database_is_written_to(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    Core::new(&server.address(), &[("db", "3")]).send(0..3, 3);
    let mut connection = server.connection();
    let length: u64 = redis::cmd("XLEN").arg("audit").query(&mut connection).unwrap();
    assert_eq!(length, 0);
    redis::cmd("SELECT").arg(3).exec(&mut connection).unwrap();
    assert_eq!(entries(&mut connection, "audit").len(), 3);
}

// Oracle: the server's own list of clients.
on_each_server!(the_connection_has_the_configured_name_and_user);
fn the_connection_has_the_configured_name_and_user(flavour: Flavour) {
    let scratch = Scratch::new();
    let server =
        Server::builder(flavour).acl_user("writer on >secret ~audit* +@all").start(&scratch);
    let password_file = scratch.write("password", "secret\nignored\n");
    let file = password_file.display().to_string();
    let mut core = Core::new(
        &server.address(),
        &[("user", "writer"), ("passwordfile", &file), ("clientname", "audit-1")],
    );
    core.send(0..3, 3);
    let list = format!("{:?}", command(&server, &["CLIENT", "LIST"]));
    assert!(list.contains("name=audit-1") && list.contains("user=writer"), "{list}");
}

// Oracle: the stream behind the second address; the first is a port where nobody listens.
on_each_server!(the_first_server_of_a_list_that_answers_is_used);
fn the_first_server_of_a_list_that_answers_is_used(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let nobody = format!("127.0.0.1:{}", testkit::free_port());
    let address = server.address().to_string();
    let mut core = Core::new(&address, &[("server", &nobody), ("server", &address)]);
    core.send(0..3, 3);
    assert_exact(&server, "audit", 0..3);
}

// Oracle: the EXECs that go the first way, a proxy before the same server that refuses at first; and the numbers.
on_each_server!(the_first_server_of_a_list_is_tried_again_after_rebindinterval_flushes);
fn the_first_server_of_a_list_is_tried_again_after_rebindinterval_flushes(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    proxy.set(Fault::Refuse);
    let (first, second) = (proxy.address().to_string(), server.address().to_string());
    let parameters = [("server", &*first), ("server", &*second), ("rebindinterval", "3")];
    let mut core = Core::new(&second, &parameters);
    // What it settles on lasts for three flushes, and the first is tried and found down in between.
    core.send(0..5, 1);
    assert_eq!((proxy.execs(), proxy.fired(Fault::Refuse)), (0, 2), "{}", core.log.text());
    proxy.pass();
    core.send(5..20, 1);
    assert_exact(&server, "audit", 0..20);
    // The fifth flush was the second one on its connection; from the seventh on all go the first way.
    assert!(proxy.execs() >= 13, "{} of 20\n{}", proxy.execs(), core.log.text());
    assert_eq!(proxy.connections(), 1 + 2, "the first is not left again");
    assert_eq!(core.log.count("cannot commit"), 0, "{}", core.log.text());
}

// Oracle: the verdicts, the stream after the server is there, and one log line for many attempts.
on_each_server!(a_server_that_appears_later_gets_everything_once);
fn a_server_that_appears_later_gets_everything_once(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).append_only().start(&scratch);
    server.stop();
    let mut core = Core::new(&server.address(), &[]);
    core.load((0..5).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    for _ in 0..3 {
        assert_eq!(core.try_resume(), Suspended);
    }
    assert_eq!(core.log.count("cannot commit, records wait"), 1, "{}", core.log.text());
    server.start();
    core.resume();
    assert_exact(&server, "audit", 0..5);
    core.replay(5);
    assert_exact(&server, "audit", 0..5);
    assert_eq!(core.log.count("commits again"), 1, "{}", core.log.text());
}

// Oracle: the number of connections the server has seen; a closed idle one is no suspension.
on_each_server!(a_connection_that_the_server_closed_while_idle_is_replaced_silently);
fn a_connection_that_the_server_closed_while_idle_is_replaced_silently(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), &[]);
    core.send(0..5, 5);
    command(&server, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    core.load((5..10).map(record));
    assert_eq!(core.transaction(0..5), Committed, "{}", core.log.text());
    assert_exact(&server, "audit", 0..10);
    assert_eq!(core.log.count("cannot commit"), 0, "{}", core.log.text());
}

// Oracle: the count after a SIGKILL and a restart of a server that fsyncs every write.
on_each_server!(a_killed_and_restarted_server_holds_every_record_once);
fn a_killed_and_restarted_server_holds_every_record_once(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).append_only().start(&scratch);
    let mut core = Core::new(&server.address(), &[("batch.maxrecords", "3")]);
    core.send(0..20, 10);
    server.kill();
    core.load((20..30).map(record));
    assert_eq!(core.transaction(0..10), Suspended);
    server.start();
    core.resume();
    core.replay(10);
    core.send(30..50, 10);
    assert_exact(&server, "audit", 0..50);
}

// Oracle: the state of the marker, which must not outlive its use for ever.
on_each_server!(markers_expire);
fn markers_expire(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let mut core = Core::new(&server.address(), &[("marker.ttl", "100")]);
    core.send(0..5, 5);
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("audit:marker:*").query(&mut server.connection()).unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let ttl: i64 = redis::cmd("TTL").arg(&keys[0]).query(&mut server.connection()).unwrap();
    assert!((1..=100).contains(&ttl), "{ttl}");
    wait_until("the worker to go on after its marker is gone", crate::core::PATIENCE, || {
        redis::cmd("DEL").arg(&keys[0]).exec(&mut server.connection()).is_ok()
    });
    core.send(5..10, 5);
    assert_exact(&server, "audit", 0..10);
}
