//! Each mode: the examples of omhiredis's documentation, and what its tests show.

use testkit::{Scratch, Server, Version};

use super::{Case, OUTFMT, SENT, assert_same, outputs, rsyslogd};
use crate::scene::{SOON, flavour_for};

on_each_version!(
    a_template_is_a_command,
    a_command_without_placeholders_is_run_for_each_record,
    a_queue_is_pushed_to_in_front,
    a_queue_is_pushed_to_at_its_end,
    a_value_is_set,
    a_value_is_set_and_expires,
    a_dynamic_key_chooses_the_list,
    a_dynamic_key_chooses_the_value,
    a_message_is_published,
    a_stream_takes_the_text_into_the_named_field,
    a_stream_is_capped,
);

/// The documentation's example.
fn a_template_is_a_command(version: Version) {
    let case = Case {
        config: r#"template(name="program_count_tmpl" type="string" string="HINCRBY progcount %programname% 1")"#,
        action: r#"name="count_programs" mode="template" template="program_count_tmpl""#,
        sent: SENT,
        expected: &[("progcount", "hash app | 3")],
        ..Case::default()
    };
    assert_same(version, &case);
}

fn a_command_without_placeholders_is_run_for_each_record(version: Version) {
    let case = Case {
        config: r#"template(name="redis_command" type="string" string="INCRBY counter 3")"#,
        action: r#"name="counter" mode="template" template="redis_command""#,
        sent: SENT,
        expected: &[("counter", "string 9")],
        ..Case::default()
    };
    assert_same(version, &case);
}

fn a_queue_is_pushed_to_in_front(version: Version) {
    let case = Case {
        config: OUTFMT,
        action: r#"name="push_redis" mode="queue" key="my_queue" template="outfmt""#,
        sent: SENT,
        expected: &[("my_queue", "list message 3 | message 2 | message 1")],
        ..Case::default()
    };
    assert_same(version, &case);
}

fn a_queue_is_pushed_to_at_its_end(version: Version) {
    let case = Case {
        config: OUTFMT,
        action: r#"name="push_redis" mode="queue" key="my_queue" userpush="on" template="outfmt""#,
        sent: SENT,
        expected: &[("my_queue", "list message 1 | message 2 | message 3")],
        ..Case::default()
    };
    assert_same(version, &case);
}

fn a_value_is_set(version: Version) {
    let case = Case {
        config: OUTFMT,
        action: r#"name="set_redis" mode="set" key="outKey" template="outfmt""#,
        sent: SENT,
        expected: &[("outKey", "string message 3")],
        ..Case::default()
    };
    assert_same(version, &case);
}

fn a_value_is_set_and_expires(version: Version) {
    let case = Case {
        config: OUTFMT,
        action: r#"name="set_redis" mode="set" key="outKey" expiration="100" template="outfmt""#,
        sent: SENT,
        expected: &[("outKey", "string message 3, expires")],
        ..Case::default()
    };
    assert_same(version, &case);
}

/// The last template makes `k1` and so on of the number in the text.
const BY_NUMBER: &str = r#"template(name="outfmt" type="string" string="%msg%")
template(name="by-number" type="string" string="k%msg:R,ERE,1,DFLT:message ([0-9])--end%")"#;

fn a_dynamic_key_chooses_the_list(version: Version) {
    let case = Case {
        config: BY_NUMBER,
        action: r#"mode="queue" key="by-number" dynakey="on" template="outfmt""#,
        sent: SENT,
        expected: &[("k1", "list message 1"), ("k2", "list message 2"), ("k3", "list message 3")],
        ..Case::default()
    };
    assert_same(version, &case);
}

fn a_dynamic_key_chooses_the_value(version: Version) {
    let case = Case {
        config: BY_NUMBER,
        action: r#"mode="set" dynakey="on" key="by-number" template="outfmt""#,
        sent: SENT,
        expected: &[
            ("k1", "string message 1"),
            ("k2", "string message 2"),
            ("k3", "string message 3"),
        ],
        ..Case::default()
    };
    assert_same(version, &case);
}

/// Oracle: what a subscriber hears.
fn a_message_is_published(version: Version) {
    let case = Case {
        config: OUTFMT,
        action: r#"name="publish_redis" mode="publish" key="my_channel" template="outfmt""#,
        ..Case::default()
    };
    for output in outputs(version) {
        let scratch = Scratch::new();
        let server = Server::builder(flavour_for(version)).tcp().start(&scratch);
        let mut listener = server.connection();
        listener.set_read_timeout(Some(SOON)).expect("a time");
        let mut listener = listener.as_pubsub();
        listener.subscribe("my_channel").expect("SUBSCRIBE");
        let mut next =
            || listener.get_message().expect("a message").get_payload::<String>().expect("a text");
        let rsyslogd = rsyslogd(version, output, &case, &server, &scratch);
        rsyslogd.send(SENT);
        for number in 1..=3 {
            assert_eq!(next(), format!("message {number}"), "{version} {output}");
        }
        rsyslogd.stop();
        let mut publish = redis::cmd("PUBLISH");
        publish.arg("my_channel").arg("end").exec(&mut server.connection()).expect("PUBLISH");
        assert_eq!(next(), "end", "{version} {output}");
    }
}

fn a_stream_takes_the_text_into_the_named_field(version: Version) {
    for field in ["data", "msg"] {
        let action =
            format!(r#"mode="stream" key="outStream" stream.outField="{field}" template="outfmt""#);
        let entries = format!("stream {field}=message 1 | {field}=message 2 | {field}=message 3");
        let case = Case {
            config: OUTFMT,
            action: &action,
            sent: SENT,
            expected: &[("outStream", &entries)],
            ..Case::default()
        };
        assert_same(version, &case);
    }
}

/// Oracle: the server's nodes, which hold one entry here, are trimmed whole, so that `~` is exact.
fn a_stream_is_capped(version: Version) {
    let case = Case {
        config: OUTFMT,
        action: r#"mode="stream" key="outStream" stream.capacityLimit="1" stream.outField="msg" template="outfmt""#,
        before: &["CONFIG SET stream-node-max-entries 1"],
        sent: SENT,
        expected: &[("outStream", "stream msg=message 3")],
        ..Case::default()
    };
    assert_same(version, &case);
}
