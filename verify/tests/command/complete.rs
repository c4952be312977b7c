//! Streams in which nothing is missing.

use crate::scene::{Layout, NODE, OTHER, Scene, of_event, plain, verify};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use testkit::{Address, Flavour, Rsyslogd, Version};

// Oracle: the numbers that were written; the exit code and both forms of the report.
#[test]
fn a_complete_stream_is_complete_in_both_layouts_on_every_server() {
    for flavour in Flavour::ALL {
        let mut scene = Scene::with(flavour, |server| server);
        for layout in [Layout::Fields, Layout::Record] {
            let records = (1..=500).map(|seq| match seq {
                1 => of_event(NODE, seq, "start"),
                100 | 200 => of_event(NODE, seq, "heartbeat"),
                300 => of_event(NODE, seq, "acl_denied"),
                500 => of_event(NODE, seq, "stop"),
                _ => plain(NODE, seq),
            });
            scene.command(&["DEL", "audit"]);
            scene.add_to("audit", layout, records);
            let (code, report) = scene.report(&["--strict"]);
            assert_eq!(code, 0, "{flavour} {layout:?}: {report}");
            assert_eq!(report["verdict"], "complete");
            let node = &report["nodes"][0];
            assert_eq!((&node["first_seq"], &node["last_seq"]), (&1.into(), &500.into()));
            assert_eq!(node["records"], 500);
            let events = &node["events"];
            assert_eq!((&events["start"], &events["stop"]), (&1.into(), &1.into()));
            assert_eq!((&events["heartbeat"], &events["success"]), (&2.into(), &495.into()));
            assert_eq!(node["first_ts"], "2026-03-01T12:00:01.000001Z");
            assert_eq!(node["last_ts"], "2026-03-01T12:08:20.000001Z");
            let text = scene.verify(&[]).stdout;
            assert!(text.contains("records  500, seq 1 to 500\n"), "{text}");
            assert!(text.ends_with("\nresult: complete\n"), "{text}");
        }
    }
}

// Oracle: each node's own numbers; with --node only one of them is looked at.
#[test]
fn nodes_are_told_apart() {
    let mut scene = Scene::new();
    let both = (1..=100).flat_map(|seq| [plain(NODE, seq), plain(OTHER, seq * 2)]);
    scene.add_to("audit", Layout::Fields, both);
    let (code, report) = scene.report(&[]);
    assert_eq!((code, report["nodes"].as_array().map(Vec::len)), (1, Some(2)));
    assert_eq!(
        (&report["nodes"][0]["node"], &report["nodes"][0]["missing"]),
        (&NODE.into(), &0.into())
    );
    assert_eq!(report["nodes"][1]["missing"], 99);
    let (code, report) = scene.report(&["--node", "0123"]);
    assert_eq!((code, report["nodes"].as_array().map(Vec::len)), (0, Some(1)));
    assert_eq!(report["of_other_nodes"], 100);
}

// Oracle: the numbers complete each other; a stream alone has gaps.
#[test]
fn records_spread_over_several_streams_and_a_database_are_found() {
    let mut scene = Scene::with(Flavour::Valkey91, |server| server.tcp().password("secret"));
    scene.command(&["SELECT", "3"]);
    for seq in 1..=300 {
        let key = ["a", "b", "c"][usize::try_from(seq % 3).unwrap()];
        scene.add_to(key, Layout::Fields, [plain(NODE, seq)]);
    }
    let password = scene.scratch.write("password", "secret\nmore\n");
    let password = password.to_str().unwrap();
    let server = scene.server.tcp_address().to_string();
    let login = ["--server", &server, "--passwordfile", password, "--db", "3"];
    let all =
        verify(&[&login[..], &["--strict", "--key", "a", "--key", "b", "--key", "c"]].concat());
    assert_eq!(all.code, 0, "{all:?}");
    let one = verify(&[&login[..], &["--key", "a"]].concat());
    assert_eq!(one.code, 1, "{one:?}");
}

// Oracle: the part's own numbers. The ids are milliseconds.
#[test]
fn a_part_of_a_stream_is_checked_by_id_or_by_time() {
    let mut scene = Scene::new();
    for (id, seq) in
        [("1000-0", "1"), ("2000-0", "2"), ("2000-1", "3"), ("3000-0", "4"), ("4000-0", "9")]
    {
        scene.command(&["XADD", "audit", id, "node", NODE, "seq", seq]);
    }
    for (arguments, first, last) in [
        (&["--from", "2000", "--to", "3000"][..], 2, 4),
        (&["--from", "2000-1", "--to", "3000-0"], 3, 4),
        (&["--from", "1970-01-01T00:00:02Z", "--to", "1970-01-01T00:00:02Z"], 2, 3),
        (&["--to", "3999"], 1, 4),
    ] {
        let (code, report) = scene.report(&[arguments, &["--strict"]].concat());
        let node = &report["nodes"][0];
        assert_eq!((code, &node["first_seq"], &node["last_seq"]), (0, &first.into(), &last.into()));
    }
    assert_eq!(scene.verify(&[]).code, 1);
    let (code, report) = scene.report(&["--from", "5000"]);
    assert_eq!((code, &report["entries"]), (0, &0.into()));
}

// Oracle: the number of entries at the start; a relay adds more before each page is asked for.
#[test]
fn a_stream_that_grows_is_read_to_where_it_ended_at_the_start() {
    let mut scene = Scene::new();
    scene.add(1..=1000);
    let path = scene.scratch.join("relay");
    let listener = UnixListener::bind(&path).unwrap();
    let Address::Unix(upstream) = scene.server.address() else { panic!("a unix socket") };
    let relay = thread::spawn(move || {
        let mut client = listener.accept().unwrap().0;
        let mut server = UnixStream::connect(upstream).unwrap();
        let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let back = thread::spawn(move || drop(std::io::copy(&mut from, &mut to)));
        let (mut buffer, mut pages, mut next) = ([0; 4096], 0, 1000);
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            if buffer[..count].windows(6).any(|word| word == b"XRANGE") {
                pages += 1;
                scene.add(next + 1..=next + 1000);
                next += 1000;
            }
            server.write_all(&buffer[..count]).unwrap();
        }
        drop(server.shutdown(Shutdown::Both));
        back.join().unwrap();
        pages
    });
    let server = format!("unix:{}", path.display());
    let run = verify(&["--server", &server, "--json", "--strict"]);
    assert_eq!((run.code, &run.json()["entries"]), (0, &1000.into()), "{run:?}");
    assert!(relay.join().unwrap() >= 2, "the stream did not grow between pages");
}

// Oracle: what the plugin wrote through a real rsyslogd, broken records among it.
#[test]
fn what_the_plugin_stores_is_complete_in_both_layouts() {
    for layout in ["fields", "record"] {
        let scene = Scene::new();
        let action = format!(
            "action(type=\"omvalkeyaudit\" name=\"audit\" server=\"{}\" template=\"raw\"\n\
             \x20 action.resumeRetryCount=\"-1\" layout=\"{layout}\" record.maxbytes=\"500\")",
            scene.server.address()
        );
        let rsyslogd = Rsyslogd::builder(Version::V8_2504).action(&action).start(&scene.scratch);
        let too_long = "x".repeat(500);
        rsyslogd.send((1..=300).map(|seq| match seq {
            200 => format!(r#"{{"node":"{NODE}","seq":200,"argv":["#),
            250 => format!(r#"{{"node":"{NODE}","seq":250,"argv":["{too_long}"]}}"#),
            _ => format!(r#"{{"v":1,"node":"{NODE}","seq":{seq},"event":"success"}}"#),
        }));
        rsyslogd.stop();
        let (code, report) = scene.report(&["--deadletter", "audit:deadletter"]);
        assert_eq!(code, 0, "{report:#}");
        let node = &report["nodes"][0];
        assert_eq!((&node["records"], &node["dead_lettered"]), (&298.into(), &2.into()));
        assert_eq!(report["dead_letters"]["count"], 2);
        let (code, report) = scene.report(&[]);
        assert_eq!((code, &report["nodes"][0]["missing"]), (1, &2.into()));
    }
}
