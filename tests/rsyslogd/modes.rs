//! Lists, channels, keys and commands through rsyslogd, while the way to the server is cut, and with texts
//! that mean harm.

use std::fs;
use std::path::Path;

use redis::{Connection, Value};
use testkit::{Count, Fault, Proxy, Rsyslogd, Scratch, Server, Version, number_in, record};

use crate::scene::{SOON, action, flavour_for};

on_each_version!(
    a_list_has_each_record_once_after_an_outage,
    commands_take_effect_once_after_an_outage,
    each_key_is_set_once_after_an_outage,
    subscribers_hear_each_record_once_after_an_outage,
    hostile_texts_are_one_argument_of_a_command,
    the_templates_of_the_readme_do_what_it_says,
);

const RECORDS: u64 = 3_000;

/// Sends a third of the records, a third while nobody accepts and the connections are cut, and the last
/// third, through an action with these parameters; then `see` sees what the server did.
fn over_an_outage(
    version: Version,
    config: &str,
    parameters: &str,
    listen: &[&str],
    see: impl Fn(&mut Connection, &mut Connection) -> Vec<u64>,
) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let proxy = Proxy::unix(&scratch, server.address());
    let mut listener = server.connection();
    listener.set_read_timeout(Some(SOON)).expect("a time");
    let mut subscribe = redis::Cmd::new();
    for word in listen {
        subscribe.arg(*word);
    }
    if !listen.is_empty() {
        let mut config = redis::cmd("CONFIG");
        config.arg("SET").arg("notify-keyspace-events").arg("K$");
        config.exec(&mut server.connection()).expect("CONFIG SET");
        listener.send_packed_command(&subscribe.get_packed_command()).expect("sent");
        listener.recv_response().expect("subscribed");
    }
    let action = action(&proxy.address(), parameters);
    // A template that is named in the parameters stands in the place of the usual one.
    let action = match parameters.contains("template=") {
        true => action.replacen("template=\"raw\"", "", 1),
        false => action,
    };
    let rsyslogd = Rsyslogd::builder(version).config(config).action(&action).start(&scratch);
    rsyslogd.send((0..RECORDS / 3).map(record));
    proxy.set(Fault::Refuse);
    proxy.cut_all();
    rsyslogd.send((RECORDS / 3..RECORDS / 3 * 2).map(record));
    rsyslogd.wait_log("cannot commit, records wait");
    proxy.pass();
    rsyslogd.send((RECORDS / 3 * 2..RECORDS).map(record));
    let stored = see(&mut server.connection(), &mut listener);
    rsyslogd.stop();
    let count = Count::of(stored, 0..RECORDS);
    assert!(count.is_exact() && count.is_in_order(), "{count}\n{}", rsyslogd.log());
}

/// The numbers of a list's elements, once there are as many as there should be.
fn elements(connection: &mut Connection) -> Vec<u64> {
    testkit::wait_until("all elements", SOON, || {
        let length: u64 = redis::cmd("LLEN").arg("audit").query(connection).expect("LLEN");
        length >= RECORDS
    });
    let mut range = redis::cmd("LRANGE");
    let all: Vec<Vec<u8>> = range.arg("audit").arg(0).arg(-1).query(connection).expect("LRANGE");
    all.iter().map(|text| number_in(text).expect("a number")).collect()
}

/// The numbers that `number` finds in what a subscriber hears, up to the last record's.
fn heard(listener: &mut Connection, number: impl Fn(&str, &str) -> Option<u64>) -> Vec<u64> {
    let mut heard = Vec::new();
    while heard.last() != Some(&(RECORDS - 1)) {
        let message = listener.recv_response().expect("a message");
        let words: Vec<String> = redis::from_redis_value(message).expect("texts");
        let [.., channel, payload] = words.as_slice() else { continue };
        heard.extend(number(channel, payload));
    }
    heard
}

/// Oracle: the list.
fn a_list_has_each_record_once_after_an_outage(version: Version) {
    let parameters = r#"mode="queue" key="audit" userpush="on""#;
    over_an_outage(version, "", parameters, &[], |connection, _| elements(connection));
}

/// Oracle: the list that the commands make.
fn commands_take_effect_once_after_an_outage(version: Version) {
    let template =
        r#"template(name="push" type="string" string="RPUSH audit \"%rawmsg:::json%\"")"#;
    let parameters = r#"mode="template" template="push""#;
    over_an_outage(version, template, parameters, &[], |connection, _| elements(connection));
}

/// Oracle: the server's own news of each SET.
fn each_key_is_set_once_after_an_outage(version: Version) {
    let template = r#"template(name="key" type="string" string="value:%rawmsg:R,ERE,1,DFLT:\"n\":([0-9]+)--end%")"#;
    let parameters = r#"mode="set" key="key" dynakey="on""#;
    let news = ["PSUBSCRIBE", "__keyspace@0__:value:*"];
    over_an_outage(version, template, parameters, &news, |_, listener| {
        heard(listener, |channel, event| {
            let number = channel.rsplit(':').next().and_then(|number| number.parse().ok());
            number.filter(|_| event == "set")
        })
    });
}

/// Oracle: what a subscriber hears.
fn subscribers_hear_each_record_once_after_an_outage(version: Version) {
    let parameters = r#"mode="publish" key="channel""#;
    over_an_outage(version, "", parameters, &["SUBSCRIBE", "channel"], |_, listener| {
        heard(listener, |_, text| number_in(text.as_bytes()))
    });
}

/// Oracle: the texts as they were sent, one element each; rsyslogd lives, and nothing else was executed.
fn hostile_texts_are_one_argument_of_a_command(version: Version) {
    let texts = [
        "%s%s%s%n%n%d%%",
        "a\" \"b",
        "\\\" EX 1",
        "' FLUSHALL '",
        "x\\x41\\u0041\\",
        "tab\there / slash \u{e9}\u{1f600}",
        "*3\\r\\n$3\\r\\nDEL",
    ];
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let template =
        r#"template(name="push" type="string" string="RPUSH audit \"%rawmsg:::json%\"")"#;
    let action = action(&server.address(), r#"mode="template" template="push""#);
    let action = action.replacen("template=\"raw\"", "", 1);
    let rsyslogd = Rsyslogd::builder(version).config(template).action(&action).start(&scratch);
    rsyslogd.send(texts);
    let mut connection = server.connection();
    let mut range = redis::cmd("LRANGE");
    range.arg("audit").arg(0).arg(-1);
    let mut stored = Vec::new();
    testkit::wait_until("all texts", SOON, || {
        stored = range.query::<Vec<String>>(&mut connection).expect("LRANGE");
        stored.len() >= texts.len()
    });
    assert!(rsyslogd.stop().status.success());
    assert_eq!(stored, texts, "{}", rsyslogd.log());
    let letters = redis::cmd("EXISTS").arg("omvalkeyaudit:deadletter").query(&mut connection);
    assert_eq!(letters, Ok(Value::Int(0)));
}

/// Oracle: the hash and the keys that README.md describes.
fn the_templates_of_the_readme_do_what_it_says(version: Version) {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"))
        .expect("README.md");
    let templates = ["last-of-host", "count"].map(|name| {
        let start = format!("template(name=\"{name}\"");
        readme.lines().find(|line| line.starts_with(&start)).expect(name)
    });
    let parameters = |start: &str| {
        let (_, rest) = readme.split_once(start).expect(start);
        let (rest, _) = rest.split_once('`').expect("the end of the code");
        format!("{start}{rest}")
    };
    let scratch = Scratch::new();
    let server = Server::builder(flavour_for(version)).start(&scratch);
    let address = server.address();
    let rsyslogd = Rsyslogd::builder(version)
        .config(&templates.join("\n"))
        .action(&action(&address, &parameters("mode=\"set\"")).replacen("name=\"audit\"", "", 1))
        .action(&action(&address, &parameters("mode=\"template\"")).replacen(
            "template=\"raw\"",
            "",
            1,
        ))
        .start(&scratch);
    let text = |number: u64| {
        format!("<13>1 2026-11-22T02:57:14Z web{} app 1 - - {}", number % 2, record(number))
    };
    rsyslogd.send((0..10).map(text));
    let mut connection = server.connection();
    testkit::wait_until("all commands", SOON, || {
        let mut count = redis::cmd("HGET");
        count.arg("seen").arg("app").query(&mut connection) == Ok(Some(10))
            && redis::cmd("GET").arg("last:web1").query(&mut connection) == Ok(Some(text(9)))
            && redis::cmd("GET").arg("last:web0").query(&mut connection) == Ok(Some(text(8)))
    });
    let lasts: i64 = redis::cmd("TTL").arg("last:web0").query(&mut connection).expect("TTL");
    assert!((1..=3600).contains(&lasts), "{lasts}");
    rsyslogd.stop();
}
