//! No log has a password in it, not even a debug log.

use testkit::{Rsyslogd, Scratch, Version, record};

use crate::debug_log::DebugLog;
use crate::scene::{SOON, action, assert_delivered, flavour_for, lasting_server, rsyslogd_with};

on_each_version!(
    a_password_from_a_file_is_in_no_log_and_in_no_debug_log,
    a_password_from_the_configuration_is_in_no_log,
);

const WRONG: &str = "wrong-5e02";
const RIGHT: &str = "right-9b41";

/// Oracle: neither the wrong password nor the right one is in anything that rsyslogd wrote, with every debug message
/// switched on, over a refused login, an outage and a success.
fn a_password_from_a_file_is_in_no_log_and_in_no_debug_log(version: Version) {
    let scratch = Scratch::new();
    let server = lasting_server(version).password(RIGHT).start(&scratch);
    let file = scratch.write("password", WRONG);
    let parameters = format!("passwordfile=\"{}\"", file.display());
    let builder = Rsyslogd::builder(version).action(&action(&server.address(), &parameters));
    let (builder, debug_log) = DebugLog::of(builder, &scratch);
    let rsyslogd = builder.start(&scratch);
    rsyslogd.send((0..10).map(record));
    rsyslogd.wait_log("cannot log in");
    scratch.write("password", RIGHT);
    server.wait_entries("audit", 10, SOON);
    server.restart();
    rsyslogd.send((10..20).map(record));
    assert_delivered(&rsyslogd, &server, 0..20);
    for (name, text) in [("log", rsyslogd.log()), ("debug log", debug_log.text())] {
        // It is the right log: it has the path of the file.
        assert!(text.contains("omvalkeyaudit"), "{name}");
        for password in [WRONG, RIGHT] {
            assert!(!text.contains(password), "{name}");
        }
    }
}

/// Oracle: a wrong password that stands in the configuration is not in the log that complains of it.
fn a_password_from_the_configuration_is_in_no_log(version: Version) {
    let scratch = Scratch::new();
    let server = testkit::Server::builder(flavour_for(version))
        .acl_user(&format!("audit on >{RIGHT} ~* +@all"))
        .start(&scratch);
    let parameters = format!("user=\"audit\" serverpassword=\"{WRONG}\"");
    let rsyslogd = rsyslogd_with(version, &scratch, &action(&server.address(), &parameters));
    rsyslogd.send([record(1)]);
    rsyslogd.wait_log("cannot log in as user \"audit\"");
    rsyslogd.stop();
    assert!(!rsyslogd.log().contains(WRONG));
}
