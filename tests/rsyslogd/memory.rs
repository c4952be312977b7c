//! How much memory the plugin adds to rsyslogd.

use testkit::{Rsyslogd, Scratch, Server, Version, record_of, wait_until};

use crate::scene::{SOON, flavour_for};

on_each_version!(large_batches_take_less_than_16_mib_more_than_a_file_does);

const BATCH: u64 = 8192;
const BATCHES: u64 = 3;
const RECORD_BYTES: usize = 1024;
const LIMIT_KIB: u64 = 16 * 1024;

/// The peak of rsyslogd's resident memory after this action has taken all records.
///
/// The action's queue is on disk and the ruleset has none, so that records that wait take no
/// memory; and the queue hands over full batches only, and gets the next one when the last is gone,
/// so that both actions and all versions do the same, however fast they are. (A new core with
/// another batch at hand reads it before it lets go of the last one.)
fn peak_kib(version: Version, parameters: &str, is_ours: bool) -> u64 {
    let scratch = Scratch::new();
    let action = format!(
        "action(name=\"sink\" {parameters}\n\
         \x20 queue.type=\"Disk\" queue.filename=\"sink\" queue.size=\"{}\"\n\
         \x20 queue.dequeueBatchSize=\"{BATCH}\" queue.minDequeueBatchSize=\"{BATCH}\"\n\
         \x20 queue.minDequeueBatchSize.timeout=\"600000\")",
        2 * BATCH
    );
    let builder = Rsyslogd::builder(version)
        .ruleset_parameters("queue.type=\"Direct\"")
        .action(&action)
        .statistics(1);
    let builder = if is_ours { builder } else { builder.without_plugin() };
    let rsyslogd = builder.start(&scratch);
    for batch in 1..=BATCHES {
        let numbers = (batch - 1) * BATCH..batch * BATCH;
        rsyslogd.send(numbers.map(|number| record_of(number, RECORD_BYTES)));
        wait_until("the batch to leave the queue", SOON, || {
            rsyslogd.counter("sink queue", "enqueued") == Some(batch * BATCH)
                && rsyslogd.counter("sink queue", "size") == Some(0)
        });
    }
    rsyslogd.peak_rss_kib()
}

/// Oracle: two peaks of the same load, once into a file that keeps nothing, once into a stream,
/// with batches of 8 MiB and flushes of 4 MiB.
fn large_batches_take_less_than_16_mib_more_than_a_file_does(version: Version) {
    let file = peak_kib(version, "type=\"omfile\" file=\"/dev/null\" template=\"line\"", false);
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let ours = format!(
        "type=\"omvalkeyaudit\" server=\"{}\" template=\"raw\" batch.maxbytes=\"4m\"\n\
         \x20 batch.maxrecords=\"65536\" action.resumeRetryCount=\"-1\"",
        server.address()
    );
    let ours = peak_kib(version, &ours, true);
    server.wait_entries("audit", BATCHES * BATCH, SOON);
    assert!(ours < file + LIMIT_KIB, "{file} KiB with omfile, {ours} KiB with omvalkeyaudit");
}
