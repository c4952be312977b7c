//! What is held over a stop, in each mode, and when the mode is another one after it.

use super::way::{WAYS, Way, Witness, send};
use crate::core::{Core, assert_exact};
use omvalkeyaudit::error::Verdict::Suspended;
use omvalkeyaudit::stats::Counter;
use testkit::{Fault, Flavour, Proxy, Scratch, Server, record};

// Oracle: every execution that the server tells of; what was held is committed once, also where its commit
// took place and the confirmation was lost.
on_each_server!(what_is_held_is_committed_once_in_any_mode);
fn what_is_held_is_committed_once_in_any_mode(flavour: Flavour) {
    for (way, fault) in WAYS
        .into_iter()
        .flat_map(|way| [Fault::DropReplies, Fault::Refuse].map(|fault| (way, fault)))
    {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        let proxy = Proxy::unix(&scratch, server.address());
        let file = scratch.join("hold").display().to_string();
        let own = [("holdfile", file.as_str()), ("timeout.commit", "1000")];
        let parameters = [way.parameters(), &own].concat();
        let witness = Witness::new(way, &server);
        witness.prepare(0..30);

        let mut core = Core::new(&proxy.address(), &parameters);
        send(way, &mut core, 0..10, 5);
        proxy.set(fault);
        if fault == Fault::Refuse {
            proxy.cut_all();
        }
        core.load_keyed((10..20).map(|number| way.texts(number, 0)));
        assert_eq!(core.transaction(0..10), Suspended, "{way:?}");
        let log = core.stop().text();
        assert!(log.contains("held records that are not committed, count: 10"), "{way:?}: {log}");

        proxy.pass();
        let mut core = Core::new(&proxy.address(), &parameters);
        send(way, &mut core, 20..30, 10);
        assert_eq!(core.action.stats.get(Counter::Committed), 20, "{way:?} {fault:?}");
        witness.assert_exact(0..30);
    }
}

// Oracle: the list has what was committed before, the stream all that was held and came after.
on_each_server!(records_that_are_held_are_stored_in_the_mode_of_the_next_start);
fn records_that_are_held_are_stored_in_the_mode_of_the_next_start(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let file = scratch.join("hold").display().to_string();
    let held = [("holdfile", file.as_str())];
    let witness = Witness::new(Way::Queue, &server);
    let mut core = Core::new(&proxy.address(), &[Way::Queue.parameters(), &held].concat());
    send(Way::Queue, &mut core, 0..10, 10);
    proxy.set(Fault::Refuse);
    proxy.cut_all();
    core.load((10..20).map(record));
    assert_eq!(core.transaction(0..10), Suspended);
    core.stop();
    proxy.pass();
    let mut core = Core::new(&proxy.address(), &held);
    core.send(20..30, 10);
    assert_exact(&server, "audit", 10..30);
    witness.assert_exact(0..10);
}
