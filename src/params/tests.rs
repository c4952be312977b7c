//! Defaults, limits, and what the complaints say.

use super::*;
use std::time::Duration;

fn settings(pairs: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let mut values = Values::default();
    for (name, value) in pairs {
        values.add(name, value.as_bytes());
    }
    Settings::from_values(&values)
}

fn complaint(pairs: &[(&str, &str)]) -> String {
    settings(pairs).expect_err("accepted").join("; ")
}

#[test]
fn an_action_without_parameters_has_the_documented_defaults() {
    let settings = settings(&[]).unwrap();
    assert_eq!(settings.servers, [Address::parse("127.0.0.1:6379", 1).unwrap()]);
    assert_eq!(settings.store.key, Key::Fixed("audit".to_owned()));
    assert_eq!(settings.store.dead_letter_key, "audit:deadletter");
    assert_eq!(settings.store.marker_key, "audit:marker");
    assert_eq!(settings.store.max_record_bytes, 256 * 1024);
    assert_eq!(settings.store.trim.retention, Retention::Forever);
    assert_eq!(settings.timeouts.commit, Duration::from_secs(5));
    assert_eq!(settings.batch, Batch { records: 1024, bytes: 1 << 20 });
}

// Oracle: what the number of copies alone, and the disks alone, make of an acknowledgement.
#[test]
fn disks_of_replicas_are_asked_for_together_with_their_number() {
    assert!(!settings(&[]).unwrap().durability.is_asked());
    for pairs in [
        &[("durability.replicas", "1")][..],
        &[("durability.fsync", "local")],
        &[("durability.fsync", "replicas"), ("durability.replicas", "2")],
    ] {
        assert!(settings(pairs).unwrap().durability.is_asked(), "{pairs:?}");
    }
    let text = complaint(&[("durability.fsync", "replicas")]);
    assert!(text.contains("where \"durability.replicas\" is 0"), "{text}");
}

#[test]
fn every_default_is_an_allowed_value_when_written_out() {
    for parameter in TABLE {
        if let Some(default) = parameter.default {
            assert!(settings(&[(parameter.name, default)]).is_ok(), "{}", parameter.name);
        }
    }
}

#[test]
fn each_numeric_range_ends_where_the_table_says() {
    for parameter in TABLE {
        let (low, high) = match parameter.kind {
            Kind::Count(low, high)
            | Kind::Bytes(low, high)
            | Kind::Milliseconds(low, high)
            | Kind::Seconds(low, high) => (low, high),
            _ => continue,
        };
        let name = parameter.name;
        for good in [low, high] {
            // With what it asks for.
            let good = good.to_string();
            let mut pairs = vec![(name, good.as_str())];
            if name == "rebindinterval" {
                pairs.extend([("server", "a"), ("server", "b")]);
            }
            assert!(settings(&pairs).is_ok(), "{name}={good}");
        }
        let above = (u128::from(high) + 1).to_string();
        for bad in [above.as_str(), "-1", "1.5", "x", " 1", "0x10", "99999999999999999999999"] {
            let text = complaint(&[(name, bad)]);
            assert!(text.contains(&format!("\"{name}\"")) && text.contains(bad), "{text}");
            assert!(text.contains(&parameter.kind.allowed()), "{text}");
        }
        if low > 0 {
            assert!(settings(&[(name, &(low - 1).to_string())]).is_err(), "{name}");
        }
    }
}

#[test]
fn each_choice_and_switch_refuses_another_word() {
    for parameter in TABLE {
        if matches!(parameter.kind, Kind::Choice(_) | Kind::Switch) {
            let text = complaint(&[(parameter.name, "maybe")]);
            assert!(text.contains(&parameter.kind.allowed()), "{text}");
        }
    }
}

#[test]
fn no_parameter_takes_an_empty_text_or_invalid_utf8() {
    for parameter in TABLE {
        for value in [&b""[..], b"\xff\xfe", b"a\0b"] {
            let mut values = Values::default();
            values.add(parameter.name, value);
            assert!(Settings::from_values(&values).is_err(), "{} {value:?}", parameter.name);
        }
    }
}

#[test]
fn sizes_take_suffixes() {
    let settings = settings(&[("record.maxbytes", "2m"), ("batch.maxbytes", "512K")]).unwrap();
    assert_eq!(settings.store.max_record_bytes, 2 << 20);
    assert_eq!(settings.batch.bytes, 512 << 10);
    assert!(complaint(&[("batch.maxbytes", "k")]).contains("1k to 256m"));
    assert!(complaint(&[("batch.maxbytes", "18014398509481985k")]).contains("1k to 256m"));
}

#[test]
fn several_mistakes_are_all_named() {
    let complaints = settings(&[("db", "x"), ("mode", "y"), ("server", ":1")]).unwrap_err();
    assert_eq!(complaints.len(), 3, "{complaints:?}");
}

#[test]
fn a_password_never_shows_in_a_complaint_or_a_debug_text() {
    let mut values = Values::default();
    values.add("serverpassword", b"hunter2\xff");
    let text = Settings::from_values(&values).unwrap_err().join("");
    assert!(text.contains("serverpassword") && !text.contains("hunter2"), "{text}");
    for server in ["redis://u:hunter2@db1", "redis://:hunter2@db1:6379/0", "u:hunter2@db1"] {
        let text = complaint(&[("server", server)]);
        assert!(text.contains("a URL is not read") && !text.contains("hunter2"), "{text}");
    }
    let settings = settings(&[("serverpassword", "hunter2")]).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn contradictions_are_refused_with_both_names() {
    for (one, other) in [
        (("server", "a"), ("socketpath", "/s")),
        (("serverpassword", "a"), ("passwordfile", "/s")),
        (("stream.capacitylimit", "5"), ("stream.maxage", "5")),
    ] {
        let text = complaint(&[one, other]);
        assert!(text.contains(one.0) && text.contains(other.0), "{text}");
    }
    assert!(complaint(&[("dynakey", "on")]).contains("template"));
    assert!(complaint(&[("user", "u")]).contains("passwordfile"));
    assert!(complaint(&[("record.format", "raw"), ("layout", "fields")]).contains("raw"));
    assert!(complaint(&[("record.format", "raw"), ("sequence.check", "on")]).contains("raw"));
    assert!(complaint(&[("key", "k"), ("deadletter.key", "k")]).contains("another key"));
}

#[test]
fn a_fixed_key_is_spread_over_shards_and_a_dynamic_one_is_not() {
    let store = |pairs: &[(&str, &str)]| settings(pairs).unwrap().store;
    assert_eq!(store(&[]).shard_key(0), "audit");
    let spread = store(&[("shards", "3"), ("key", "k")]);
    assert_eq!((spread.shards, spread.shard_key(2).as_str()), (3, "k:{2}"));
    let dynamic = [("dynakey", "on"), ("key", "tpl")];
    assert_eq!(store(&dynamic).shard_key(0), "");
    let text = complaint(&[&dynamic[..], &[("shards", "2")]].concat());
    assert!(text.contains("spread by themselves"), "{text}");
    let text = complaint(&[("shards", "2"), ("key", "{k}")]);
    assert!(text.contains("shards is given"), "{text}");
    let text = complaint(&[("shards", "2"), ("mode", "queue"), ("key", "k")]);
    assert!(text.contains("only streams are spread"), "{text}");
    let text = complaint(&[("shards", "2"), ("deadletter.key", "audit:{1}")]);
    assert!(text.contains("another key"), "{text}");
}

#[test]
fn numbers_are_counted_by_default_where_members_are_visited_anyway() {
    let counts = |pairs: &[(&str, &str)]| settings(pairs).unwrap().counts_numbers;
    assert!(counts(&[]));
    assert!(!counts(&[("sequence.check", "off")]));
    assert!(!counts(&[("layout", "record")]));
    assert!(counts(&[("layout", "record"), ("sequence.check", "on")]));
    assert!(!counts(&[("record.format", "raw")]));
    assert!(!counts(&[("record.format", "raw"), ("sequence.check", "off")]));
}

#[test]
fn sentinels_have_a_port_of_their_own_and_need_the_name_of_the_group() {
    let sentinel = [("topology", "sentinel"), ("sentinel.master", "m")];
    let servers = |more: &[(&str, &str)]| {
        let settings = settings(&[&sentinel, more].concat()).unwrap();
        settings.servers.iter().map(Address::to_string).collect::<Vec<_>>()
    };
    assert_eq!(servers(&[]), ["127.0.0.1:26379"]);
    assert_eq!(servers(&[("server", "a"), ("server", "b:7")]), ["a:26379", "b:7"]);
    assert_eq!(servers(&[("server", "a"), ("serverport", "6379")]), ["a:6379"]);
    assert_eq!(servers(&[("socketpath", "/s")]), ["unix:/s"]);

    let text = complaint(&[("topology", "sentinel")]);
    assert!(text.contains("sentinel.master") && text.contains("mymaster"), "{text}");
    let text = complaint(&[&sentinel[..], &[("sentinel.user", "u")]].concat());
    assert!(text.contains("sentinel.passwordfile"), "{text}");
    for name in ["sentinel.master", "sentinel.user", "sentinel.passwordfile"] {
        for topology in [&[][..], &[("topology", "standalone")]] {
            let text = complaint(&[topology, &[(name, "x")]].concat());
            assert!(text.contains(name) && text.contains("topology=\"sentinel\""), "{text}");
        }
    }
}

// Oracle: the sentence; and the number where there is a first server to go back to.
#[test]
fn a_rebindinterval_needs_several_servers() {
    let servers = [("server", "a"), ("server", "b"), ("rebindinterval", "7")];
    assert_eq!(settings(&servers).unwrap().rebind.map(u64::from), Some(7));
    assert_eq!(settings(&[("rebindinterval", "0")]).unwrap().rebind, None);
    for given in [&servers[1..], &[&servers[..], &[("topology", "cluster")]].concat()] {
        let text = complaint(given);
        assert!(text.contains("\"rebindinterval\" is given") && text.contains("leave it out"));
    }
}

// Oracle: the complaint names the parameter, the value, the topology and what is allowed.
#[test]
fn a_command_whose_keys_are_unknown_is_refused_in_a_cluster_and_nowhere_else() {
    let template = [("mode", "template"), ("template", "t")];
    assert!(settings(&template).is_ok());
    let text = complaint(&[&template[..], &[("topology", "cluster")]].concat());
    for word in ["\"mode\"", "\"template\"", "another mode", "topology is \"cluster\""] {
        assert!(text.contains(word), "{text}");
    }
}

/// An action that acknowledges the entries of `source`.
fn moving(topology: &str, source: &str, more: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let origin = [("stream.ack", "on"), ("stream.groupack", "g"), ("stream.indexack", "i")];
    let place = [("topology", topology), ("stream.keyack", source)];
    settings(&[&origin[..], &place, more].concat())
}

// Oracle: `CLUSTER KEYSLOT` of "a" and "b", as a real node gave it.
#[test]
fn an_entry_and_its_record_must_be_in_one_slot_of_a_cluster() {
    let both = ["\"{move}:", "is in one slot"];
    for (source, more, said) in [
        ("source", &[("key", "target")][..], &["\"target\" and \"source\"", both[0], both[1]][..]),
        ("{a}:s", &[("key", "{b}:t")], &["\"key\" and \"stream.keyack\"", "15495", "3300"]),
        ("{a}:s", &[("key", "a")], &["\"deadletter.key\" and", "\"a:deadletter\"", "15495"]),
        ("{a}:s", &[("key", "t"), ("dynakey", "on")], &["\"omvalkeyaudit:deadletter\""]),
        (
            "{a}:s",
            &[("key", "k"), ("shards", "2")],
            &["\"shards\"", "1 where stream.ack", "dynakey"],
        ),
    ] {
        let complaints = moving("cluster", source, more).unwrap_err().join("\n");
        for part in said {
            assert!(complaints.contains(part), "{source}, {more:?}: {complaints}");
        }
        let elsewhere = moving("standalone", source, more);
        assert!(elsewhere.is_ok(), "{source}, {more:?}");
    }
    for (source, more) in [
        ("{a}:s", &[("key", "{a}:t")][..]),
        ("{a}:s", &[("key", "a"), ("deadletter.key", "{a}:dead")]),
        ("{a}:s", &[("key", "t"), ("dynakey", "on"), ("deadletter.key", "{a}:dead")]),
        ("t", &[("key", "target"), ("stream.dynakeyack", "on")]),
    ] {
        assert!(moving("cluster", source, more).is_ok(), "{source}, {more:?}");
    }
}

#[test]
fn only_streams_are_trimmed() {
    let age = ("stream.maxage", "10");
    let trim = |pairs: &[(&str, &str)]| settings(pairs).unwrap().store.trim.retention;
    assert_eq!(trim(&[age]), Retention::Age(Duration::from_secs(10)));
    assert_eq!(trim(&[age, ("mode", "queue"), ("key", "k")]), Retention::Forever);
}

#[test]
fn a_cluster_has_one_database_and_decides_by_braces_where_a_key_is() {
    let cluster = [("topology", "cluster")];
    let complaint = |more: &[(&str, &str)]| complaint(&[&cluster, more].concat());
    assert!(complaint(&[("db", "1")]).contains("no other database"));
    assert!(complaint(&[("marker.key", "{m}")]).contains("beside its records"));
    assert!(complaint(&[("sentinel.master", "m")]).contains("sentinel.master"));
    let copies = [("durability.replicas", "1"), ("durability.timeout", "500")];
    assert!(settings(&[&cluster[..], &copies].concat()).is_ok());
    let store = settings(&[cluster[0], ("key", "{a}:log")]).unwrap().store;
    assert_eq!(store.marker_key, "a:log:marker");
}

#[test]
fn a_dynamic_key_moves_the_markers_and_the_dead_letter_to_names_of_their_own() {
    let settings = settings(&[("dynakey", "on"), ("key", "tpl")]).unwrap();
    assert_eq!(settings.store.dead_letter_key, "omvalkeyaudit:deadletter");
    assert_eq!(settings.store.marker_key, "omvalkeyaudit:marker");
}

#[test]
fn tls_needs_a_name_for_each_server_and_certificate_and_key_together() {
    let on = [("tls", "on")];
    let tls = |more: &[(&str, &str)]| settings(&[&on, more].concat()).unwrap().tls.unwrap();
    assert_eq!(settings(&[]).unwrap().tls, None);
    assert_eq!(tls(&[]), Tls { authorities: None, identity: None, server_name: None });
    let identity = tls(&[("tls.mycert", "/c"), ("tls.myprivkey", "/k")]).identity.unwrap();
    assert_eq!((identity.certificate, identity.key), ("/c".into(), "/k".into()));
    for server in ["db1", "db_1.example.org", "10.0.0.1", "[::1]:7"] {
        tls(&[("server", server)]);
    }
    for name in ["db1.example.org", "10.0.0.1", "::1"] {
        assert!(tls(&[("socketpath", "/s"), ("tls.servername", name)]).server_name.is_some());
    }

    for (given, missing) in [("tls.mycert", "tls.myprivkey"), ("tls.myprivkey", "tls.mycert")] {
        let text = complaint(&[&on[..], &[(given, "/x")]].concat());
        let expected = format!("\"{given}\" is given, but \"{missing}\" is missing");
        assert!(text.contains(&expected), "{text}");
    }
    for server in ["unix:/s", "[fe80::1%eth0]:7"] {
        let text = complaint(&[("tls", "on"), ("server", server)]);
        assert!(text.contains(server) && text.contains("give \"tls.servername\" too"), "{text}");
    }
    let text = complaint(&[("tls", "on"), ("tls.servername", "a b")]);
    assert!(text.contains("\"a b\", but it must be a host name or an IP address"), "{text}");
    for name in ["tls.cacert", "tls.mycert", "tls.myprivkey", "tls.servername"] {
        for off in [&[][..], &[("tls", "off")]] {
            let text = complaint(&[off, &[(name, "x")]].concat());
            assert!(text.contains(name) && text.contains("give tls=\"on\" too"), "{text}");
        }
    }
}

#[test]
fn each_mode_has_its_defaults_and_says_what_means_nothing_in_it() {
    let queue = settings(&[("mode", "queue"), ("key", "k"), ("expiration", "5")]).unwrap();
    assert_eq!(queue.store.format, RecordFormat::Raw);
    assert_eq!(queue.template, "RSYSLOG_ForwardFormat");
    assert_eq!(queue.idle, ["expiration"]);
    assert!(!queue.counts_numbers);
    let json = [("mode", "set"), ("key", "k"), ("record.format", "json")];
    assert_eq!(settings(&json).unwrap().template, MESSAGE_TEMPLATE);
    // As omhiredis has it, where the field is named and nothing else said.
    let store = settings(&[("stream.outfield", "f")]).unwrap().store;
    assert_eq!((store.format, store.layout), (RecordFormat::Raw, Layout::Record));
    let store = settings(&[("stream.outfield", "f"), ("layout", "record")]).unwrap().store;
    assert_eq!((store.format, store.layout), (RecordFormat::Json, Layout::Record));
    let command = settings(&[("mode", "template"), ("template", "t")]).unwrap().store;
    assert_eq!(command.dead_letter_key, "omvalkeyaudit:deadletter");
    let copies = [("mode", "publish"), ("key", "k"), ("durability.replicas", "1")];
    let copies = settings(&copies).unwrap();
    assert!(!copies.durability.is_asked());
    assert_eq!(copies.idle, ["durability.replicas"]);
}

#[test]
fn what_a_mode_requires_is_asked_for() {
    for mode in ["queue", "publish", "set"] {
        assert!(complaint(&[("mode", mode)]).contains("\"key\" is missing"), "{mode}");
    }
    assert!(complaint(&[("mode", "template")]).contains("\"template\" is missing"));
    let text = complaint(&[("stream.ack", "on"), ("stream.indexack", "i")]);
    assert!(text.contains("\"stream.keyack\" and \"stream.groupack\" are missing"), "{text}");
}
