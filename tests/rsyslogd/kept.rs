//! Which queues outlive a stop, and so bring the batch at hand back in later rsyslogds; out of every
//! other one the plugin has to hold it.

use testkit::{Proxy, Rsyslogd, Scratch, Version, record, wait_until};

use crate::scene::{SOON, action, count, lasting_server};

on_each_version!(
    a_batch_from_a_queue_that_does_not_outlive_a_stop_is_held,
    a_batch_from_a_queue_that_outlives_a_stop_is_there_once,
    a_stop_that_meets_a_call_that_hangs_loses_nothing,
    a_stop_that_meets_several_workers_in_calls_that_hang_loses_nothing,
);

/// Oracle: the count of the batch at hand. (What is behind it in such a queue is lost to rsyslogd.)
fn a_batch_from_a_queue_that_does_not_outlive_a_stop_is_held(version: Version) {
    for queue in [
        "queue.type=\"LinkedList\"",
        "queue.type=\"LinkedList\" queue.filename=\"q\" queue.saveOnShutdown=\"off\"",
        "queue.type=\"FixedArray\" queue.saveOnShutdown=\"on\"",
        "queue.type=\"Direct\" queue.filename=\"q\" queue.saveOnShutdown=\"on\"",
    ] {
        survives_a_stop(version, queue);
    }
}

/// Oracle: the count; queue.saveOnShutdown is on unless it is off, and a queue on disk alone needs none.
fn a_batch_from_a_queue_that_outlives_a_stop_is_there_once(version: Version) {
    for queue in [
        "queue.type=\"linkedlist\" queue.filename=\"q\"",
        "queue.type=\"disk\" queue.filename=\"q\" queue.saveOnShutdown=\"off\"",
    ] {
        survives_a_stop(version, queue);
    }
}

fn survives_a_stop(version: Version, queue: &str) {
    let scratch = Scratch::new();
    let server = lasting_server(version).start(&scratch);
    server.stop();
    let hold = format!("holdfile=\"{}\"", scratch.join("audit.hold").display());
    let action = action(&server.address(), &hold).replace("queue.type=\"LinkedList\"", queue);
    let rsyslogd = Rsyslogd::builder(version).action(&action).start(&scratch);
    rsyslogd.send([record(0)]);
    rsyslogd.wait_log("cannot commit, records wait");
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    server.start();
    rsyslogd.start();
    // Held records wait for the first new one.
    rsyslogd.send([record(1)]);
    server.wait_entries("audit", 2, SOON);
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    let count = count(&server, "audit", 0..2);
    assert!(count.is_exact(), "{queue}: {count}\n{}", rsyslogd.log());
}

/// Oracle: the count. The server stands still, and never sees what was sent to it; the call that meets the
/// stop takes two seconds: less and more than rsyslogd waits before it cancels its worker.
fn a_stop_that_meets_a_call_that_hangs_loses_nothing(version: Version) {
    for patience in
        ["queue.timeoutActionCompletion=\"10000\"", "queue.timeoutActionCompletion=\"50\""]
    {
        meets_a_call_that_hangs(version, patience);
    }
}

fn meets_a_call_that_hangs(version: Version, patience: &str) {
    let scratch = Scratch::new();
    let server = lasting_server(version).start(&scratch);
    let more = format!(
        "queue.filename=\"q\" {patience} holdfile=\"{}\"\n\
         \x20 timeout.commit=\"2000\" timeout.connect=\"2000\"",
        scratch.join("audit.hold").display()
    );
    let rsyslogd = Rsyslogd::builder(version).action(&action(&server.address(), &more));
    let rsyslogd = rsyslogd.start(&scratch);
    rsyslogd.send([record(0)]);
    server.wait_entries("audit", 1, SOON);
    server.pause();
    rsyslogd.send((1..10).map(record));
    rsyslogd.wait_log("cannot commit, records wait");
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    server.kill();
    server.start();
    rsyslogd.start();
    rsyslogd.send([record(10)]);
    server.wait_entries("audit", 11, SOON);
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    let count = count(&server, "audit", 0..11);
    assert!(count.is_exact(), "{patience}: {count}\n{}", rsyslogd.log());
}

/// Oracle: the count of 999 records, which four workers have at hand in batches of 50, or wait in the queue, when
/// the stop comes; the server answers again only after it.
fn a_stop_that_meets_several_workers_in_calls_that_hang_loses_nothing(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let more = format!(
        "queue.filename=\"q\" queue.workerThreads=\"4\" queue.workerThreadMinimumMessages=\"10\"\n\
         \x20 queue.dequeueBatchSize=\"50\" queue.timeoutShutdown=\"100\" holdfile=\"{}\"\n\
         \x20 timeout.commit=\"2000\" timeout.connect=\"2000\"",
        scratch.join("audit.hold").display()
    );
    let rsyslogd = Rsyslogd::builder(version).action(&action(&proxy.address(), &more));
    let rsyslogd = rsyslogd.start(&scratch);
    rsyslogd.send([record(0)]);
    server.wait_entries("audit", 1, SOON);
    let before = proxy.execs();
    server.pause();
    rsyslogd.send((1..1000).map(record));
    // The others have not even connected: they wait for that.
    wait_until("a commit to be under way", SOON, || proxy.execs() > before);
    rsyslogd.wait_log("cannot commit, records wait");
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    server.cont();
    rsyslogd.start();
    rsyslogd.send([record(1000)]);
    server.wait_entries("audit", 1001, SOON);
    assert!(rsyslogd.stop().status.success(), "{}", rsyslogd.log());
    let count = count(&server, "audit", 0..1001);
    assert!(count.is_exact(), "{count}\n{}", rsyslogd.log());
}
