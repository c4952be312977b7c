//! What a record becomes: both layouts and formats, the template and the key that a template makes.

use testkit::{Count, Entry, Rsyslogd, RsyslogdBuilder, Scratch, Server, Version, numbers};

use crate::scene::{SOON, action, entries, flavour_for};

on_each_version!(
    members_become_fields,
    a_record_is_stored_verbatim_in_one_field,
    a_raw_record_needs_no_json,
    a_template_makes_the_record,
    without_a_template_the_record_is_the_message,
    a_string_template_chooses_the_stream,
    a_member_of_the_parsed_record_chooses_the_stream,
    a_stream_that_cannot_be_written_to_harms_no_other,
);

/// What is stored of these records by this action; `configure` completes the configuration.
fn stored(
    version: Version,
    parameters: &str,
    configure: impl FnOnce(RsyslogdBuilder) -> RsyslogdBuilder,
    sent: &[&str],
) -> Vec<Vec<(String, String)>> {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let action = action(&server.address(), parameters);
    // A template that is named in the parameters stands in the place of the usual one.
    let action = if parameters.contains("template=") {
        action.replacen("template=\"raw\"", "", 1)
    } else {
        action
    };
    let rsyslogd = configure(Rsyslogd::builder(version)).action(&action).start(&scratch);
    rsyslogd.send(sent);
    server.wait_entries("audit", sent.len() as u64, SOON);
    rsyslogd.stop();
    entries(&server, "audit").iter().map(fields).collect()
}

fn fields(entry: &Entry) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    entry.fields.iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const RECORD: &str =
    r#"{"n":7,"s":"a \"b\"\n\u00e9","f":-1.50e3,"t":true,"z":null,"o":{"x" : [1, "y z"]},"e":""}"#;

/// Oracle: the fields as written down here: in the record's order, strings without quotes and
/// escapes, nested values as compact JSON, all else as it was.
fn members_become_fields(version: Version) {
    let expected = pairs(&[
        ("n", "7"),
        ("s", "a \"b\"\né"),
        ("f", "-1.50e3"),
        ("t", "true"),
        ("z", "null"),
        ("o", r#"{"x":[1,"y z"]}"#),
        ("e", ""),
    ]);
    assert_eq!(stored(version, "", |builder| builder, &[RECORD]), [expected]);
}

/// Oracle: the bytes that were sent, blanks included, in the field that the action names.
fn a_record_is_stored_verbatim_in_one_field(version: Version) {
    let cases = [("", "msg"), ("stream.outfield=\"text\"", "text")];
    for (outfield, name) in cases {
        let parameters = format!("layout=\"record\" {outfield}");
        let padded = format!("  {RECORD}  ");
        let expected = [pairs(&[(name, RECORD)]), pairs(&[(name, padded.as_str())])];
        assert_eq!(stored(version, &parameters, |builder| builder, &[RECORD, &padded]), expected);
    }
}

/// Oracle: the bytes that were sent, none of which is a JSON object.
fn a_raw_record_needs_no_json(version: Version) {
    let sent = ["plain words", "[1, 2", "<13>Nov 22 02:57:14 host app: text"];
    let expected = sent.map(|text| pairs(&[("event", text)]));
    let parameters = "record.format=\"raw\" stream.outfield=\"event\"";
    assert_eq!(stored(version, parameters, |builder| builder, &sent), expected);
}

/// Oracle: what the template puts together out of the message and a property.
fn a_template_makes_the_record(version: Version) {
    let template = "template(name=\"made\" type=\"list\") {\n\
         constant(value=\"{\\\"text\\\":\\\"\") property(name=\"msg\" format=\"json\")\n\
         constant(value=\"\\\",\\\"host\\\":\\\"\") property(name=\"hostname\")\n\
         constant(value=\"\\\"}\") }";
    let sent = r#"<13>1 2026-11-22T02:57:14Z web1 app 1 - - it "works""#;
    let stored = stored(version, "template=\"made\"", |builder| builder.config(template), &[sent]);
    assert_eq!(stored, [pairs(&[("text", r#"it "works""#), ("host", "web1")])]);
}

/// Oracle: the message of a syslog record without its header, and a bare record as it is.
fn without_a_template_the_record_is_the_message(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let action = action(&server.address(), "").replacen("template=\"raw\"", "", 1);
    let rsyslogd = Rsyslogd::builder(version).action(&action).start(&scratch);
    let header = "<13>1 2026-11-22T02:57:14Z host app 1 - - ";
    rsyslogd.send([r#"{"n":1}"#.to_owned(), format!(r#"{header}{{"n":2}}"#)]);
    server.wait_entries("audit", 2, SOON);
    rsyslogd.stop();
    assert_eq!(numbers(&entries(&server, "audit")), [1, 2]);
}

/// Numbered records of three users, in turn.
fn record_of_user(number: u64) -> String {
    format!(r#"{{"user":"u{}","n":{number}}}"#, number % 3)
}

/// Sends 3,000 records of three users and asserts that each user's stream has those of its user, in
/// order.
fn assert_split_by_user(version: Version, configuration: &str, before: &str) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let action = action(&server.address(), "dynakey=\"on\" key=\"by-user\"");
    let rsyslogd = Rsyslogd::builder(version)
        .config(configuration)
        .action(before)
        .action(&action)
        .start(&scratch);
    rsyslogd.send((0..3000).map(record_of_user));
    for user in 0..3 {
        server.wait_entries(&format!("audit:u{user}"), 1000, SOON);
    }
    rsyslogd.stop();
    for user in 0..3 {
        let stored = numbers(&entries(&server, &format!("audit:u{user}")));
        let expected: Vec<u64> = (0..3000).filter(|number| number % 3 == user).collect();
        assert_eq!(stored, expected, "user {user}");
    }
    let mut connection = server.connection();
    let streams: Vec<String> =
        redis::cmd("KEYS").arg("*audit:u?").query(&mut connection).expect("KEYS");
    assert_eq!(streams.len(), 3, "{streams:?}");
    assert_eq!(entries(&server, "omvalkeyaudit:deadletter"), []);
}

/// Oracle: each user's stream holds exactly the numbers of that user, in order. The template takes
/// the fourth of the pieces between quotes, which is the user's name.
fn a_string_template_chooses_the_stream(version: Version) {
    let template = "template(name=\"by-user\" type=\"string\" string=\"audit:%rawmsg:F,34:4%\")";
    assert_split_by_user(version, template, "");
}

/// Oracle: as above, with the member that mmjsonparse has found.
fn a_member_of_the_parsed_record_chooses_the_stream(version: Version) {
    let configuration = "module(load=\"mmjsonparse\")\n\
         template(name=\"by-user\" type=\"string\" string=\"audit:%$!user%\")";
    assert_split_by_user(version, configuration, "action(type=\"mmjsonparse\" cookie=\"\")");
}

/// Oracle: of nine records in one batch, those whose key is a list, and those whose key is empty,
/// are dead letters with the reason; the others are in their stream, each once and in order.
fn a_stream_that_cannot_be_written_to_harms_no_other(version: Version) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    redis::cmd("RPUSH").arg("list").arg("x").exec(&mut server.connection()).expect("RPUSH");
    let parameters = "dynakey=\"on\" key=\"member\" queue.minDequeueBatchSize=\"9\"\n\
                      queue.minDequeueBatchSize.timeout=\"600000\"";
    let rsyslogd = Rsyslogd::builder(version)
        .config("template(name=\"member\" type=\"string\" string=\"%rawmsg:F,34:4%\")")
        .action(&action(&server.address(), parameters))
        .start(&scratch);
    let sent = |number: u64| {
        let key = match number % 3 {
            0 => "stream",
            1 => "list",
            _ => "",
        };
        format!(r#"{{"key":"{key}","n":{number}}}"#)
    };
    rsyslogd.send((0..9).map(sent));
    server.wait_entries("omvalkeyaudit:deadletter", 6, SOON);
    rsyslogd.stop();
    let written = testkit::numbers(&entries(&server, "stream"));
    assert_eq!(written, [0, 3, 6]);
    let letters = entries(&server, "omvalkeyaudit:deadletter");
    assert!(Count::of(numbers(&letters).into_iter().chain(written), 0..9).is_exact());
    for letter in letters {
        let number = letter.number().expect("a number");
        assert_eq!(letter.text("record"), sent(number));
        let reason = match number % 3 {
            1 => {
                "server refused the record: WRONGTYPE Operation against a key holding the wrong kind of value"
            }
            _ => "the template of the key made an empty text",
        };
        assert_eq!(letter.text("reason"), reason);
    }
}
