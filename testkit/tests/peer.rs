//! What the kit has for output modules that are not ours: the clock around a module, and the proxy for a client without
//! transactions.

use std::time::Duration;

use testkit::{
    CallClock, Fault, Flavour, Proxy, Rsyslogd, Scratch, Server, Version, module_path, record,
    wait_until,
};

const SOON: Duration = Duration::from_secs(20);

// Oracle: as many calls of doAction as records, none suspended; a call that a server holds up is seen while it lasts, and
// its time when it has returned.
#[test]
fn a_clock_counts_the_calls_of_a_module_and_keeps_the_longest() {
    let version = Version::V8_2504;
    let scratch = Scratch::new();
    let server = Server::builder(Flavour::Valkey91).tcp().start(&scratch);
    let action = format!(
        "action(type=\"omhiredis\" server=\"127.0.0.1\" serverport=\"{}\" mode=\"stream\" key=\"audit\" template=\"raw\")",
        server.port()
    );
    let clock = CallClock::new(&scratch, &module_path(version, "omhiredis"));
    let builder = Rsyslogd::builder(version).action(&action);
    let rsyslogd = clock.around(builder).start(&scratch);
    rsyslogd.send((0..100).map(record));
    server.wait_entries("audit", 100, SOON);
    wait_until("the last call to return", SOON, || !clock.read().is_in_call());
    let calls = clock.read();
    assert_eq!((calls.records(), calls.suspended(), calls.resumes()), (100, 0, 0));
    assert!(calls.ends() >= 1 && calls.all() > 100 && !calls.longest().is_zero(), "{calls:?}");

    let long = calls.longest() + Duration::from_millis(200);
    server.pause();
    rsyslogd.send([record(100)]);
    wait_until("a call to last", SOON, || clock.read().longest() > long);
    assert!(clock.read().is_in_call());
    server.cont();
    wait_until("the call to return", SOON, || !clock.read().is_in_call());
    assert!(clock.read().longest() > long);
}

// Oracle: the server has no entry of the XADD that was cut before, and one of the XADD that was cut after.
#[test]
fn a_proxy_strikes_at_the_command_that_commits() {
    let scratch = Scratch::new();
    let server = Server::builder(Flavour::Valkey91).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    proxy.commits_by("XADD");
    let path = proxy.address().to_string().replacen("unix:", "unix://", 1);
    let client = redis::Client::open(path).unwrap();
    for (fault, stored) in
        [(Fault::CutBeforeExec, 0), (Fault::CutInRequest, 0), (Fault::CutAfterExec, 1)]
    {
        proxy.once(fault);
        let mut connection = client.get_connection().unwrap();
        let mut add = redis::cmd("XADD");
        add.arg("audit").arg("*").arg("msg").arg("text").exec(&mut connection).unwrap_err();
        let length: u64 = redis::cmd("XLEN").arg("audit").query(&mut server.connection()).unwrap();
        assert_eq!((proxy.waiting(), length), (0, stored), "{fault:?}");
    }
}
