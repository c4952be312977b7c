//! Lists, channels, keys and commands: the same promises as for streams.

mod command;
mod held;
mod origin;
mod push;
mod way;

use crate::core::Core;
use omvalkeyaudit::error::Verdict::{PreviousCommitted, Suspended};
use omvalkeyaudit::stats::Counter;
use std::time::Duration;
use testkit::{Fault, Flavour, Proxy, Scratch, Server, entries};
use way::{WAYS, Way, Witness, send};

/// Runs `act` for each way on a server of its own, between the first ten records and the last ten; `act`
/// sends those between.
fn for_each_way(
    flavour: Flavour,
    parameters: &[(&str, &str)],
    end: u64,
    act: impl Fn(Way, &Proxy, &mut Core),
) {
    for way in WAYS {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        let proxy = Proxy::unix(&scratch, server.address());
        let mut core = Core::new(&proxy.address(), &[way.parameters(), parameters].concat());
        let witness = Witness::new(way, &server);
        witness.prepare(0..end + 10);
        send(way, &mut core, 0..10, 5);
        act(way, &proxy, &mut core);
        send(way, &mut core, end..end + 10, 10);
        witness.assert_exact(0..end + 10);
        for key in ["list:deadletter", "moved:deadletter", "omvalkeyaudit:deadletter"] {
            assert_eq!(entries(&mut server.connection(), key), [], "{way:?}");
        }
        assert_eq!(core.action.stats.get(Counter::Committed), end + 10, "{way:?}");
    }
}

// Oracle: every execution of a command that the server tells of, counted by the records' numbers; the
// proxy's own count of what it broke. No suspension, because one reconnect is made on the spot.
on_each_server!(a_broken_connection_loses_and_doubles_nothing_in_any_mode);
fn a_broken_connection_loses_and_doubles_nothing_in_any_mode(flavour: Flavour) {
    let faults = [
        Fault::CutBeforeExec,
        Fault::CutAfterExec,
        Fault::CutInRequest,
        Fault::HalfClose,
        Fault::Garbage,
    ];
    for_each_way(flavour, &[], 60, |way, proxy, core| {
        for (fault, start) in faults.into_iter().zip((10..60).step_by(10)) {
            proxy.once(fault);
            send(way, core, start..start + 10, 10);
            assert_eq!(proxy.fired(fault), 1, "{way:?} {fault:?} did not happen");
        }
        assert!(!core.verdicts.contains(&Suspended), "{way:?}: {}", core.log.text());
    });
}

// Oracle: the same, although the server runs the first EXEC after the look-up.
on_each_server!(an_exec_that_comes_late_does_nothing_in_any_mode);
fn an_exec_that_comes_late_does_nothing_in_any_mode(flavour: Flavour) {
    let late = Fault::LateExec(Duration::from_millis(300));
    let slow = Fault::DelayReplies(Duration::from_millis(700));
    for_each_way(flavour, &[], 20, |way, proxy, core| {
        proxy.once(late);
        proxy.once(slow);
        send(way, core, 10..20, 10);
        assert_eq!((proxy.fired(late), proxy.fired(slow)), (1, 1), "{way:?}");
    });
}

// Oracle: the same, of a batch that the core replays after its confirmation was lost for good.
on_each_server!(a_replayed_batch_is_recognised_in_any_mode);
fn a_replayed_batch_is_recognised_in_any_mode(flavour: Flavour) {
    for_each_way(flavour, &[("timeout.commit", "1000")], 20, |way, proxy, core| {
        let before = core.action.stats.get(Counter::Suppressed);
        proxy.once(Fault::DropReplies);
        core.load_keyed((10..20).map(|number| way.texts(number, 0)));
        assert_eq!(core.transaction(0..10), Suspended, "{way:?}");
        proxy.pass();
        core.resume();
        core.replay(10);
        assert_eq!(core.action.stats.get(Counter::Suppressed) - before, 10, "{way:?}");
    });
}

// Oracle: the same, and the verdicts: batches above both limits, in pieces that were sent ahead.
on_each_server!(limits_and_what_is_sent_ahead_fit_any_mode);
fn limits_and_what_is_sent_ahead_fit_any_mode(flavour: Flavour) {
    let limits = [("batch.maxrecords", "300"), ("batch.maxbytes", "200k")];
    for_each_way(flavour, &limits, 1010, |way, proxy, core| {
        let before = proxy.execs();
        core.load_keyed((10..1010).map(|number| way.texts(number, 700)));
        core.settle();
        assert!(core.verdicts.contains(&PreviousCommitted), "{way:?}");
        assert!(core.action.stats.get(Counter::PartialCommits) >= 3, "{way:?}");
        assert!(proxy.execs() - before >= 4, "{way:?}");
    });
}
