//! No log has a password in it, not even a debug log.

use testkit::{Rsyslogd, Scratch, Server, Version, record};

use crate::debug_log::DebugLog;
use crate::scene::{SOON, action, assert_delivered, flavour_for, lasting_server};

on_each_version!(
    a_password_from_a_file_is_in_no_log_and_in_no_debug_log,
    a_password_from_the_configuration_is_in_no_log_and_in_no_debug_log,
);

const WRONG: &str = "wrong-5e02";
const RIGHT: &str = "right-9b41";

/// Oracle: neither the wrong password nor the right one is in anything that rsyslogd wrote, with
/// every debug message switched on, over a refused login, a success and an outage.
fn a_password_from_a_file_is_in_no_log_and_in_no_debug_log(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).password(RIGHT).start(&scratch);
    let file = scratch.write("password", WRONG);
    let parameters = format!("passwordfile=\"{}\"", file.display());
    let builder = Rsyslogd::builder(version).action(&action(&server.address(), &parameters));
    let (builder, debug_log) = DebugLog::of(builder, &scratch);
    let rsyslogd = builder.start(&scratch);
    rsyslogd.send((0..10).map(record));
    rsyslogd.wait_log("cannot log in as user \"default\"");
    scratch.write("password", RIGHT);
    server.wait_entries("audit", 10, SOON);
    server.restart();
    rsyslogd.send((10..20).map(record));
    assert_delivered(&rsyslogd, &server, 0..20);
    assert_no_password(&rsyslogd, &debug_log);
}

/// Oracle: as above, for a wrong password that stands in the configuration.
fn a_password_from_the_configuration_is_in_no_log_and_in_no_debug_log(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version))
        .acl_user(&format!("audit on >{RIGHT} ~* +@all"))
        .start(&scratch);
    let parameters = format!("user=\"audit\" serverpassword=\"{WRONG}\"");
    let builder = Rsyslogd::builder(version).action(&action(&server.address(), &parameters));
    let (builder, debug_log) = DebugLog::of(builder, &scratch);
    let rsyslogd = builder.start(&scratch);
    rsyslogd.send([record(1)]);
    rsyslogd.wait_log("cannot log in as user \"audit\"");
    rsyslogd.stop();
    assert_no_password(&rsyslogd, &debug_log);
}

#[track_caller]
fn assert_no_password(rsyslogd: &Rsyslogd, debug_log: &DebugLog) {
    for (name, text) in [("log", rsyslogd.log()), ("debug log", debug_log.text())] {
        // It is the right text: the plugin has its lines in it.
        assert!(text.contains("omvalkeyaudit"), "{name}");
        assert!(!text.contains(WRONG) && !text.contains(RIGHT), "{name}");
    }
}
