//! Everything arrives once: in every size of batch, by several actions, by several workers, and
//! under SIGHUP.

use testkit::{Flavour, Proxy, Rsyslogd, Scratch, Server, Version, record, wait_until};

use crate::scene::{
    SOON, action, assert_delivered, count, flavour_for, flushes, lasting_server, rsyslogd_with,
};

on_each_version!(
    ten_thousand_records_in_batches_of_1,
    ten_thousand_records_in_batches_of_2,
    ten_thousand_records_in_batches_of_128,
    ten_thousand_records_in_batches_of_1024,
    actions_with_servers_and_keys_of_their_own_do_not_disturb_each_other,
    three_workers_deliver_each_record_once,
    a_hang_up_under_load_loses_and_doubles_nothing,
    a_hang_up_takes_a_new_password_into_use,
);

fn ten_thousand_records_in_batches_of_1(version: Version) {
    deliver_ten_thousand(version, 1);
}

fn ten_thousand_records_in_batches_of_2(version: Version) {
    deliver_ten_thousand(version, 2);
}

fn ten_thousand_records_in_batches_of_128(version: Version) {
    deliver_ten_thousand(version, 128);
}

fn ten_thousand_records_in_batches_of_1024(version: Version) {
    deliver_ten_thousand(version, 1024);
}

/// Oracle: the numbers 0 to 9,999, each once and in order, on an old and on a new server; and at
/// least as many flushes as the size of the core's batches demands, which shows that it was in
/// force.
fn deliver_ten_thousand(version: Version, batch: u64) {
    const RECORDS: u64 = 10_000;
    for flavour in [Flavour::Redis70, Flavour::Valkey91] {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        let parameters = format!("queue.dequeueBatchSize=\"{batch}\"");
        let rsyslogd = rsyslogd_with(version, &scratch, &action(&server.address(), &parameters));
        rsyslogd.send((0..RECORDS).map(record));
        assert_delivered(&rsyslogd, &server, 0..RECORDS);
        let flushes = flushes(&server);
        assert!(
            flushes.len() == 1 && flushes[0] >= RECORDS.div_ceil(batch),
            "{flavour}: flushes {flushes:?}"
        );
    }
}

/// Oracle: three actions, of which one cannot reach its server at first. The other two have
/// everything while it has nothing, and it has everything in the end: each key each number once and
/// in order.
fn actions_with_servers_and_keys_of_their_own_do_not_disturb_each_other(version: Version) {
    let scratch = Scratch::new();
    let present = Server::builder(Flavour::Redis70).tcp().start(&scratch);
    let absent = lasting_server(version).start(&scratch);
    absent.stop();
    let to = |server: &Server, parameters: &str| {
        action(&server.address(), parameters).replace("name=\"audit\"", "")
    };
    let rsyslogd = Rsyslogd::builder(version)
        .action(&to(&present, "name=\"first\" key=\"one\""))
        .action(&to(&absent, "name=\"second\" key=\"two\" layout=\"record\""))
        .action(&to(&present, "name=\"third\" key=\"three\" record.format=\"raw\" db=\"1\""))
        .start(&scratch);
    rsyslogd.send((0..2000).map(record));
    present.wait_entries("one", 2000, SOON);
    let mut connection = present.connection();
    redis::cmd("SELECT").arg(1).exec(&mut connection).expect("SELECT");
    wait_until("the third action's entries", SOON, || {
        redis::cmd("XLEN").arg("three").query::<u64>(&mut connection).expect("XLEN") == 2000
    });
    rsyslogd.wait_log("omvalkeyaudit[second]: cannot commit, records wait");
    absent.start();
    absent.wait_entries("two", 2000, SOON);
    rsyslogd.stop();
    let third = testkit::numbers(&testkit::entries(&mut connection, "three"));
    for count in [
        count(&present, "one", 0..2000),
        count(&absent, "two", 0..2000),
        testkit::Count::of(third, 0..2000),
    ] {
        assert!(count.is_exact() && count.is_in_order(), "{count}");
    }
}

/// Oracle: each number once. (Which worker takes which record cannot be told, so nothing is said
/// about the order.) All three take part: each has a marker of its own.
fn three_workers_deliver_each_record_once(version: Version) {
    const RECORDS: u64 = 10_000;
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let parameters = "queue.workerThreads=\"3\" queue.workerThreadMinimumMessages=\"10\"\n\
                      queue.dequeueBatchSize=\"16\" timeout.connect=\"60000\" timeout.commit=\"60000\"";
    let rsyslogd = rsyslogd_with(version, &scratch, &action(&server.address(), parameters));
    // While the server stands still each new worker is held in its first call, so the core starts
    // all of them.
    server.pause();
    rsyslogd.send((0..RECORDS).map(record));
    server.cont();
    server.wait_entries("audit", RECORDS, SOON);
    rsyslogd.stop();
    let count = count(&server, "audit", 0..RECORDS);
    assert!(count.is_exact(), "{count}");
    assert_eq!(flushes(&server).len(), 3);
}

/// Oracle: each number once and in order, with a SIGHUP after every thousand records sent; and the
/// plugin did connect anew. Batches of one keep the queue from running empty before the signal
/// comes.
fn a_hang_up_under_load_loses_and_doubles_nothing(version: Version) {
    const ROUNDS: u64 = 10;
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let action = action(&proxy.address(), "queue.dequeueBatchSize=\"1\"");
    let rsyslogd = rsyslogd_with(version, &scratch, &action);
    let mut sender = rsyslogd.sender();
    for round in 0..ROUNDS {
        for number in round * 1000..(round + 1) * 1000 {
            sender.line(record(number)).expect("rsyslogd reads");
        }
        sender.flush().expect("rsyslogd reads");
        hang_up(&rsyslogd);
    }
    sender.finish().expect("rsyslogd reads");
    assert_delivered(&rsyslogd, &server, 0..ROUNDS * 1000);
    assert!(proxy.connections() > 1);
}

/// Oracle: the password changes in the server, which does not end the connection, and in the file.
/// After a SIGHUP there is a new connection, made with the new password, and nobody was refused.
fn a_hang_up_takes_a_new_password_into_use(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).password("first").start(&scratch);
    let file = scratch.write("password", "first");
    let parameters = format!("passwordfile=\"{}\"", file.display());
    let rsyslogd = rsyslogd_with(version, &scratch, &action(&server.address(), &parameters));
    rsyslogd.send((0..100).map(record));
    server.wait_entries("audit", 100, SOON);
    let mut connection = server.connection();
    let mut connections = || {
        let text: String =
            redis::cmd("CLIENT").arg("LIST").query(&mut connection).expect("CLIENT LIST");
        let id = |line: &str| line.split(' ').next().map(str::to_owned);
        text.lines().filter(|line| line.contains("name=omvalkeyaudit")).filter_map(id).collect()
    };
    let before: Vec<String> = connections();
    redis::cmd("CONFIG")
        .arg("SET")
        .arg("requirepass")
        .arg("second")
        .exec(&mut server.connection())
        .expect("CONFIG SET");
    scratch.write("password", "second");
    hang_up(&rsyslogd);
    rsyslogd.send((100..200).map(record));
    wait_until("the new connection", SOON, || {
        let now = connections();
        now.len() == 1 && now != before
    });
    redis::cmd("CONFIG")
        .arg("SET")
        .arg("requirepass")
        .arg("first")
        .exec(&mut server.connection_as("default", "second"))
        .expect("CONFIG SET");
    assert_delivered(&rsyslogd, &server, 0..200);
    assert!(!rsyslogd.log().contains("cannot"), "{}", rsyslogd.log());
}

/// Sends SIGHUP and waits until rsyslogd has told its modules.
fn hang_up(rsyslogd: &Rsyslogd) {
    let count = || rsyslogd.log().matches("HUPed").count();
    let before = count();
    rsyslogd.hup();
    wait_until("rsyslogd to note the signal", SOON, || count() > before);
}
