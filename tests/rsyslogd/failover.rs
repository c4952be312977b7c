//! The primary changes while records flow, under real sentinels.

use std::thread;
use std::time::Duration;

use testkit::{Flavour, Scratch, Sender, SentinelGroup, Server, Version, poll, record};

use crate::scene::{assert_delivered, rsyslogd_with};

const RECORDS: u64 = 20_000;
/// A flow that is still there when the failover is over: so many records, then a look whether it is.
const CHUNK: u64 = 20;
const LOOK: Duration = Duration::from_millis(4);

/// Sends records from number `next` on, a few at a time, for as long as `failover` lasts, but none from
/// number `end` on. Gives the new primary and the next number.
pub(crate) fn send_during<'g>(
    sender: &mut Sender,
    mut next: u64,
    end: u64,
    failover: impl FnOnce() -> &'g Server + Send,
) -> (&'g Server, u64) {
    thread::scope(|scope| {
        let failover = scope.spawn(failover);
        while next < end && poll(LOOK, || failover.is_finished().then_some(())).is_none() {
            for number in next..next + CHUNK {
                sender.line(record(number)).expect("rsyslogd reads");
            }
            sender.flush().expect("rsyslogd reads");
            next += CHUNK;
        }
        (failover.join().expect("a failover"), next)
    })
}

/// Oracle: 20,000 numbers on the last primary, each once and in order, over a failover that the
/// sentinels coordinate and over a SIGKILL. The kill waits for the replicas, with writes held up: what
/// was confirmed is there then, and what is on its way is not confirmed.
#[test]
fn a_failover_and_a_killed_primary_in_the_flow_lose_and_double_nothing() {
    let scratch = Scratch::new();
    let group = SentinelGroup::builder(Flavour::Valkey91).replicas(2).start(&scratch);
    let sentinels: Vec<String> =
        group.addresses().iter().map(|address| format!("\"{address}\"")).collect();
    let action = format!(
        "action(type=\"omvalkeyaudit\" name=\"audit\" template=\"raw\"\n\
         \x20 topology=\"sentinel\" sentinel.master=\"{}\" server=[{}]\n\
         \x20 queue.type=\"LinkedList\" queue.size=\"100000\" queue.dequeueBatchSize=\"64\"\n\
         \x20 action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\")",
        SentinelGroup::name(),
        sentinels.join(", ")
    );
    let rsyslogd = rsyslogd_with(Version::V8_2504, &scratch, &action);
    let mut sender = rsyslogd.sender();

    let (second, next) =
        send_during(&mut sender, 0, RECORDS / 2, || group.fail_over(&["COORDINATED"]));
    assert!(next > 0);
    rsyslogd.wait_log(&format!("server: \"{}\"", second.tcp_address()));

    let (third, next) = send_during(&mut sender, next, RECORDS - CHUNK, || {
        let mut pause = redis::cmd("CLIENT");
        pause.arg("PAUSE").arg(600_000).arg("WRITE");
        pause.exec(&mut second.connection()).expect("CLIENT PAUSE");
        group.wait_replicated();
        second.kill();
        group.wait_failover(second)
    });
    for number in next..RECORDS {
        sender.line(record(number)).expect("rsyslogd reads");
    }
    sender.finish().expect("rsyslogd reads");
    assert_delivered(&rsyslogd, third, 0..RECORDS);
    let line = format!("server: \"{}\"", third.tcp_address());
    assert!(rsyslogd.log().contains(&line), "{}", rsyslogd.log());
}
