//! Hold files whose frames are sound and whose content makes no sense: what can be committed is, and
//! nothing else happens.

use crate::core::{Core, assert_exact};
use omvalkeyaudit::hold::{Doubt, Frame, HEADER, Held, Letter, Note, Notes, Records, encode};
use omvalkeyaudit::params::Retries;
use omvalkeyaudit::worker::AtStop;
use std::fs;
use testkit::{Flavour, Scratch, Server, entries, record};

fn records(
    id: u128,
    time: u64,
    replaces: Option<u128>,
    doubt: Option<Doubt>,
    number: u64,
) -> Frame {
    let held = |record: String, letter| Held {
        key: b"\0\xff".to_vec(),
        record: record.into(),
        letter,
        ..Held::default()
    };
    let records = vec![held(record(number), None), held(String::new(), Some(Letter::default()))];
    Frame::Records(Records { id, action: "\n".to_owned(), time, replaces, doubt, records })
}

fn notes(id: u128, time: u64, doubt: Option<Doubt>) -> Frame {
    let notes = vec![Note { fingerprint: 7, key: Vec::new(), is_letter: true }; 3];
    Frame::Notes(Notes { id, action: String::new(), time, seed: 0, doubt, notes })
}

// Oracle: the streams, and no panic, which would be a failed test.
on_each_server!(absurd_content_of_a_hold_file_does_no_harm);
fn absurd_content_of_a_hold_file_does_no_harm(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).start(&scratch);
    let doubt = |marker: &str, worker: &str, flush| {
        Some(Doubt { marker: marker.to_owned(), worker: worker.to_owned(), flush })
    };
    let mut content = HEADER.to_vec();
    for frame in [
        records(0, u64::MAX, Some(0), None, 0),
        records(1, 253_402_300_800, Some(u128::MAX), doubt("a marker", "w", u64::MAX), 1),
        records(2, 0, Some(9), doubt("a:marker", ":::", 9), 2),
        notes(3, u64::MAX, None),
        notes(4, u64::MAX, doubt("x", "", 0)),
        Frame::Spent(3, vec![usize::MAX, 0, 0]),
        Frame::Spent(77, vec![1]),
        Frame::Done(77),
    ] {
        encode(&frame, &mut content);
    }
    for at_stop in [AtStop::Drops, AtStop::Requeues] {
        fs::write(scratch.join("hold"), &content).expect("write");
        let file = scratch.join("hold").display().to_string();
        let mut core = Core::that(
            at_stop,
            Retries::Forever,
            &server.address(),
            &[("holdfile", file.as_str())],
        );
        core.send(3..4, 1);
        assert_eq!(core.log.count("internal error"), 0, "{}", core.log.text());
        assert_eq!(core.log.count("held records committed, count: 6"), 1, "{}", core.log.text());
        core.stop();
        assert_exact(&server, "audit", 0..4);
        assert_eq!(entries(&mut server.connection(), "audit:deadletter").len(), 3);
        redis::cmd("FLUSHALL").exec(&mut server.connection()).expect("FLUSHALL");
    }
}
