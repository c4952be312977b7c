//! How long several workers take to end while the server hangs: the core ends one after the other.

use crate::core::Core;
use omvalkeyaudit::error::Verdict::Suspended;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{Flavour, Scratch, Server, entries, record};

const TIMEOUT: Duration = Duration::from_secs(2);

// Oracle: the time, which is that of one last attempt and not of four, and the count after the next start.
on_each_server!(workers_that_end_while_the_server_hangs_wait_for_it_once);
fn workers_that_end_while_the_server_hangs_wait_for_it_once(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let file = scratch.join("hold").display().to_string();
    let timeout = TIMEOUT.as_millis().to_string();
    let parameters = [
        ("holdfile", file.as_str()),
        ("timeout.connect", timeout.as_str()),
        ("timeout.commit", timeout.as_str()),
    ];
    let first = Core::new(&server.address(), &parameters);
    let others = (0..3).map(|_| Core::worker_of(Arc::clone(&first.action))).collect::<Vec<_>>();
    let mut workers: Vec<Core> = [first].into_iter().chain(others).collect();
    server.pause();
    for (number, core) in (0..).zip(&mut workers) {
        core.load([record(number)]);
        assert_eq!(core.transaction(0..1), Suspended);
    }
    let begin = Instant::now();
    for core in workers {
        core.stop();
    }
    assert!(begin.elapsed() < TIMEOUT, "{:?}", begin.elapsed());
    server.cont();
    Core::new(&server.address(), &parameters).send(4..5, 1);
    let numbers = testkit::numbers(&entries(&mut server.connection(), "audit"));
    let count = testkit::Count::of(numbers, 0..5);
    assert!(count.is_exact(), "{count}");
}
