//! What is not of one mode: names, defaults, passwords, and what is refused.

use std::collections::BTreeMap;

use testkit::{Rsyslogd, Scratch, Server, Version};

use super::{Case, OUTFMT, SENT, assert_same, content, outputs, rsyslogd};
use crate::scene::flavour_for;

on_each_version!(
    without_a_template_the_record_has_its_header,
    an_action_without_a_name_works,
    the_right_password_is_taken,
    a_wrong_password_is_refused_and_said,
    names_of_parameters_may_be_in_any_case,
    what_means_nothing_in_a_mode_is_no_error,
    what_omhiredis_requires_is_required,
);

fn without_a_template_the_record_has_its_header(version: Version) {
    let text = "<134>2026-11-22T02:57:14Z server app[1] message 1";
    for (action, expected) in [
        (r#"mode="queue" key="out""#, format!("list {text}")),
        (r#"mode="set" key="out""#, format!("string {text}")),
        (r#"mode="stream" key="out" stream.outField="msg""#, format!("stream msg={text}")),
    ] {
        let case =
            Case { action, sent: &SENT[..1], expected: &[("out", &expected)], ..Case::default() };
        assert_same(version, &case);
    }
}

fn an_action_without_a_name_works(version: Version) {
    let case = Case {
        config: OUTFMT,
        action: r#"mode="queue" key="myKey" template="outfmt""#,
        sent: &SENT[..1],
        expected: &[("myKey", "list message 1")],
        ..Case::default()
    };
    assert_same(version, &case);
}

fn the_right_password_is_taken(version: Version) {
    let case = Case {
        config: OUTFMT,
        action: r#"mode="set" key="outKey" serverpassword="mySuperSecret" template="outfmt""#,
        password: Some("mySuperSecret"),
        sent: &SENT[..1],
        expected: &[("outKey", "string message 1")],
        ..Case::default()
    };
    assert_same(version, &case);
}

/// Oracle: the log has the server's words, and neither password; nothing is stored.
fn a_wrong_password_is_refused_and_said(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).tcp();
    let server = server.password("mySuperSecret").start(&scratch);
    let case = Case {
        config: OUTFMT,
        action: r#"mode="set" key="outKey" serverpassword="ThatsNotIt" template="outfmt""#,
        ..Case::default()
    };
    let rsyslogd = rsyslogd(version, "omvalkeyaudit", &case, &server, &scratch);
    rsyslogd.send(&SENT[..1]);
    rsyslogd.wait_log("WRONGPASS");
    rsyslogd.stop();
    let log = rsyslogd.log();
    assert!(!log.contains("mySuperSecret") && !log.contains("ThatsNotIt"), "{log}");
    assert_eq!(content(&server), BTreeMap::new());
}

fn names_of_parameters_may_be_in_any_case(version: Version) {
    let case = Case {
        config: OUTFMT,
        action: r#"Mode="stream" Key="out" Stream.OutField="f" STREAM.CAPACITYLIMIT="1000" Template="outfmt" UserPush="off""#,
        sent: &SENT[..1],
        expected: &[("out", "stream f=message 1")],
        ..Case::default()
    };
    assert_same(version, &case);
}

/// Oracle: as above, and one line for each parameter in our log.
fn what_means_nothing_in_a_mode_is_no_error(version: Version) {
    let case = Case {
        config: OUTFMT,
        action: r#"mode="queue" key="out" template="outfmt" stream.outField="f" stream.capacityLimit="5"
            expiration="5" stream.ack="on" stream.keyAck="k" stream.groupAck="g" stream.indexAck="i""#,
        sent: &SENT[..1],
        expected: &[("out", "list message 1")],
        ..Case::default()
    };
    assert_same(version, &case);
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).tcp().start(&scratch);
    let rsyslogd = rsyslogd(version, "omvalkeyaudit", &case, &server, &scratch);
    rsyslogd.stop();
    for name in ["stream.outfield", "stream.capacitylimit", "expiration", "stream.ack"] {
        let line = format!("parameter \"{name}\" has no effect with mode=\"queue\"");
        assert!(rsyslogd.log().contains(&line), "{}", rsyslogd.log());
    }
}

/// Oracle: neither of them takes the configuration, and ours names what is missing.
fn what_omhiredis_requires_is_required(version: Version) {
    for (action, missing) in [
        (r#"mode="queue" template="outfmt""#, "\"key\" is missing"),
        (r#"mode="publish" template="outfmt""#, "\"key\" is missing"),
        (r#"mode="set" template="outfmt""#, "\"key\" is missing"),
        (r#"mode="template""#, "\"template\" is missing"),
        (
            r#"mode="stream" key="k" template="outfmt" stream.ack="on" stream.keyAck="k""#,
            "\"stream.groupack\" and \"stream.indexack\" are missing",
        ),
        (
            r#"mode="stream" key="k" template="outfmt" stream.del="on" stream.groupAck="k""#,
            "\"stream.keyack\" and \"stream.indexack\" are missing",
        ),
    ] {
        for output in outputs(version) {
            let scratch = Scratch::new();
            let mut builder = Rsyslogd::builder(version).config(OUTFMT);
            if *output == "omhiredis" {
                builder = builder.module("omhiredis");
            }
            let check =
                builder.action(&format!("action(type=\"{output}\" {action})")).check(&scratch);
            assert!(!check.status.success(), "{version} {output} {action}: {}", check.output);
            if *output == "omvalkeyaudit" {
                assert!(check.output.contains(missing), "{action}: {}", check.output);
            }
        }
    }
}
