//! The entry of another stream that a record was.

use testkit::Version;

use super::{Case, OUTFMT, SENT, assert_same};

on_each_version!(
    an_entry_is_acknowledged,
    an_entry_is_acknowledged_as_the_record_says,
    an_entry_is_deleted,
    an_entry_is_deleted_as_the_record_says,
);

/// A stream with one entry, which somebody has read.
const READ: &[&str] = &[
    "XGROUP CREATE inputStream myGroup 0 MKSTREAM",
    "XADD inputStream 2-0 key value",
    "XREADGROUP GROUP myGroup consumerName COUNT 1 STREAMS inputStream >",
];

/// The templates of what the rule sets.
const ORIGIN: &str = r#"template(name="outfmt" type="string" string="%msg%")
template(name="redis-key" type="string" string="%$.redis!key%")
template(name="redis-group" type="string" string="%$.redis!group%")
template(name="redis-index" type="string" string="%$.redis!index%")"#;

/// What imhiredis would have set.
const SAID: &str =
    r#"set $.redis!key = "inputStream"; set $.redis!group = "myGroup"; set $.redis!index = "2-0";"#;

const OUT: &str = r#"mode="stream" key="outStream" stream.outField="msg" template="outfmt""#;

const BY_RECORD: &str = r#"stream.dynaKeyAck="on" stream.dynaGroupAck="on" stream.dynaIndexAck="on"
    stream.keyAck="redis-key" stream.groupAck="redis-group" stream.indexAck="redis-index""#;

fn an_entry_is_acknowledged(version: Version) {
    let ack = r#"stream.ack="on" stream.keyAck="inputStream" stream.groupAck="myGroup" stream.indexAck="2-0""#;
    let case = Case {
        config: OUTFMT,
        action: &format!("{OUT} {ack}"),
        before: READ,
        sent: &SENT[..1],
        expected: &[
            ("inputStream", "stream key=value, pending 0"),
            ("outStream", "stream msg=message 1"),
        ],
        ..Case::default()
    };
    assert_same(version, &case);
}

fn an_entry_is_acknowledged_as_the_record_says(version: Version) {
    let case = Case {
        config: ORIGIN,
        rule: SAID,
        action: &format!("{OUT} stream.ack=\"on\" {BY_RECORD}"),
        before: READ,
        sent: &SENT[..1],
        expected: &[
            ("inputStream", "stream key=value, pending 0"),
            ("outStream", "stream msg=message 1"),
        ],
        ..Case::default()
    };
    assert_same(version, &case);
}

fn an_entry_is_deleted(version: Version) {
    let del = r#"stream.del="on" stream.keyAck="inputStream" stream.indexAck="2-0""#;
    let case = Case {
        config: OUTFMT,
        action: &format!("{OUT} {del}"),
        before: READ,
        sent: &SENT[..1],
        expected: &[("inputStream", "stream , pending 1"), ("outStream", "stream msg=message 1")],
        ..Case::default()
    };
    assert_same(version, &case);
}

fn an_entry_is_deleted_as_the_record_says(version: Version) {
    let case = Case {
        config: ORIGIN,
        rule: SAID,
        action: &format!("{OUT} stream.ack=\"on\" stream.del=\"on\" {BY_RECORD}"),
        before: READ,
        sent: &SENT[..1],
        expected: &[("inputStream", "stream , pending 0"), ("outStream", "stream msg=message 1")],
        ..Case::default()
    };
    assert_same(version, &case);
}
