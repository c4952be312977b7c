use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::thread;
use testkit::Scratch;

/// One of everything, with bytes that could be taken for ours.
fn all_kinds() -> Vec<Frame> {
    let doubt = Doubt { marker: "m:1".to_owned(), worker: "01".to_owned(), flush: 7 };
    let letter = Letter { reason: "not\nJSON".to_owned(), received: "2026".to_owned() };
    let held = |key: &[u8], record: &[u8], letter| Held {
        key: key.to_vec(),
        record: record.to_vec(),
        letter,
        ..Held::default()
    };
    let note =
        |fingerprint, key: &[u8], is_letter| Note { fingerprint, key: key.to_vec(), is_letter };
    vec![
        Frame::Records(Records {
            id: 1 << 100,
            action: "a b\n".to_owned(),
            time: 1_700_000_000,
            replaces: Some(u128::MAX),
            doubt: Some(doubt.clone()),
            records: vec![
                held(b"", b"{\"n\":1}", None),
                held(b"k\0\xff", b"\nframe done 3 0000000000000000\nid 0\n\n\n", None),
                held(b"", b"", Some(letter)),
                Held {
                    origin: [&b"s"[..], b"", b"1-\n0"].map(<[u8]>::to_vec),
                    ..held(b"", b"x", None)
                },
            ],
        }),
        Frame::Notes(Notes {
            id: 2,
            action: String::new(),
            time: 0,
            seed: u64::MAX,
            doubt: None,
            notes: vec![note(3, b"", false), note(3, b"\nplace 1\n", true)],
        }),
        Frame::Notes(Notes {
            id: 3,
            action: "x".to_owned(),
            time: 5,
            seed: 0,
            doubt: Some(doubt),
            notes: Vec::new(),
        }),
        Frame::Done(9),
        Frame::Spent(2, vec![0, 1, 70_000]),
        Frame::Spent(3, Vec::new()),
    ]
}

fn file_of(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    for frame in frames {
        encode(frame, &mut bytes);
    }
    bytes
}

/// Where each frame ends.
fn ends(frames: &[Frame]) -> Vec<usize> {
    (0..=frames.len()).map(|count| file_of(&frames[..count]).len()).collect()
}

// Oracle: what was encoded.
#[test]
fn everything_comes_back_as_it_was_written() {
    let frames = all_kinds();
    let bytes = file_of(&frames);
    assert_eq!(decode(&bytes), Ok(Content { frames, sound: bytes.len() }));
}

// Oracle: the frames that end before the cut, no more and no fewer.
#[test]
fn a_file_cut_anywhere_gives_all_whole_frames() {
    let frames = all_kinds();
    let (bytes, ends) = (file_of(&frames), ends(&frames));
    for cut in 0..bytes.len() {
        let content = decode(&bytes[..cut]).expect("ours");
        let whole = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
        assert_eq!(content.frames, frames[..whole], "cut at {cut}");
        let sound = if cut < HEADER.len() { 0 } else { ends[whole] };
        assert_eq!(content.sound, sound, "cut at {cut}");
    }
}

// Oracle: the frames before the changed one; a changed header is not ours.
#[test]
fn a_changed_bit_anywhere_damages_its_frame_and_none_before_it() {
    let frames = all_kinds();
    let (bytes, ends) = (file_of(&frames), ends(&frames));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let content = decode(&changed);
            if at < HEADER.len() {
                assert!(content.is_err(), "byte {at}, bit {bit}: {content:?}");
                continue;
            }
            let before = ends.iter().filter(|end| **end <= at).count() - 1;
            let content = content.expect("ours");
            assert_eq!(content.frames, frames[..before], "byte {at}, bit {bit}");
            assert_eq!(content.sound, ends[before], "byte {at}, bit {bit}");
        }
    }
}

// Oracle: no panic, and nothing read that was not written; lengths beyond the file, and beyond numbers.
#[test]
fn garbage_behind_the_header_is_damage() {
    for garbage in [
        "x",
        "frame",
        "frame \n",
        "frame records 18446744073709551615 0000000000000000\n",
        "frame records 99999999999999999999 0000000000000000\n",
        "frame done -1 0000000000000000\n\n",
        "\n\n\n",
    ] {
        let bytes = [HEADER, garbage.as_bytes()].concat();
        assert_eq!(decode(&bytes), Ok(Content { frames: Vec::new(), sound: HEADER.len() }));
    }
}

#[test]
fn a_file_of_a_later_version_or_of_another_kind_is_foreign() {
    let newer = decode(b"omvalkeyaudit hold file 12\nframe of the future");
    assert_eq!(newer, Err(Foreign::Newer { version: "12".to_owned() }));
    assert_eq!(decode(b"root:x:0:0:root:/root:/bin/bash\n"), Err(Foreign::NotAHoldFile));
    assert_eq!(decode(b""), Ok(Content { frames: Vec::new(), sound: 0 }));
}

const NOW: UnixSeconds = 1_700_000_000;
const DAY: UnixSeconds = 86_400;

fn hold(scratch: &Scratch) -> Hold {
    Hold::new(scratch.join("hold"), DAY)
}

fn records(id: u128, texts: &[&str]) -> Frame {
    let held =
        |text: &&str| Held { key: Vec::new(), record: text.as_bytes().to_vec(), ..Held::default() };
    let records = texts.iter().map(held).collect();
    let (replaces, doubt) = (None, None);
    Frame::Records(Records { id, action: String::new(), time: NOW, replaces, doubt, records })
}

fn notes(id: u128, fingerprints: &[u64], doubt: Option<Doubt>) -> Frame {
    let note =
        |fingerprint: &u64| Note { fingerprint: *fingerprint, key: Vec::new(), is_letter: false };
    let notes = fingerprints.iter().map(note).collect();
    Frame::Notes(Notes { id, action: String::new(), time: NOW, seed: 1, doubt, notes })
}

fn take(hold: &Hold) -> Option<Taken<'_>> {
    hold.take(Duration::ZERO).expect("nothing that another worker looks up")
}

fn taken_id(hold: &Hold) -> Option<u128> {
    take(hold).map(|taken| match taken.past() {
        Past::Records(records) => records.id,
        Past::Notes(notes) => notes.id,
    })
}

// Oracle: what the next process finds, and the file's mode and length.
#[test]
fn what_is_held_is_there_for_the_next_process_until_it_is_committed() {
    let scratch = Scratch::new();
    let first = hold(&scratch);
    assert_eq!(first.open(NOW), Ok(Some(Opened::default())));
    assert!(first.is_idle());
    first.append(vec![records(1, &["a", "b"]), records(2, &["c"])], NOW).expect("written");
    drop(first);
    let mode = fs::metadata(scratch.join("hold")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let second = hold(&scratch);
    assert_eq!(second.open(NOW), Ok(Some(Opened { records: 3, set_aside: None })));
    assert!(!second.is_idle());
    assert_eq!(taken_id(&second), Some(1), "given back when dropped");
    take(&second).expect("the first").committed();
    drop(second);

    let third = hold(&scratch);
    assert_eq!(third.open(NOW), Ok(Some(Opened { records: 1, set_aside: None })));
    let taken = take(&third).expect("the second");
    assert!(take(&third).is_none(), "one worker at a time");
    taken.committed();
    assert!(third.is_idle());
    assert_eq!(fs::read(scratch.join("hold")).expect("a file"), b"");
    third.append(vec![records(3, &["d"])], NOW).expect("written");
    drop(third);
    assert_eq!(hold(&scratch).open(NOW), Ok(Some(Opened { records: 1, set_aside: None })));
}

// Oracle: the order in which records are taken, by this process and by the next one.
#[test]
fn what_is_left_of_held_records_keeps_its_place() {
    let scratch = Scratch::new();
    let first = hold(&scratch);
    first.append(vec![records(1, &["a", "b"]), records(2, &["c"])], NOW).expect("written");
    let mut left = [records(3, &["a"]), records(4, &["b"])];
    for frame in &mut left {
        let Frame::Records(frame) = frame else { continue };
        frame.replaces = Some(1);
    }
    take(&first).expect("the first").replaced_by(left.to_vec()).expect("written");
    assert_eq!(taken_id(&first), Some(3));
    drop(first);
    let second = hold(&scratch);
    assert_eq!(second.open(NOW), Ok(Some(Opened { records: 3, set_aside: None })));
    for id in [3, 4, 2] {
        assert_eq!(taken_id(&second), Some(id));
        take(&second).expect("there").committed();
    }
    assert!(second.is_idle());
}

// Oracle: each note suppresses once, also over processes, and not after its time.
#[test]
fn a_note_is_good_for_one_record_within_its_time() {
    let scratch = Scratch::new();
    let first = hold(&scratch);
    first.append(vec![notes(1, &[7, 7, 8], None)], NOW).expect("written");
    let suppress = |hold: &Hold, fingerprints: &[u64], now| {
        hold.suppress(fingerprints.len(), |place, seed| fingerprints[place] * seed, now)
    };
    assert_eq!(suppress(&first, &[5, 7, 6], NOW), [1]);
    drop(first);
    let second = hold(&scratch);
    second.open(NOW).expect("open");
    assert_eq!(suppress(&second, &[7, 7, 7], NOW + DAY), [0]);
    assert!(suppress(&second, &[7], NOW).is_empty());
    assert!(suppress(&second, &[8], NOW + DAY + 1).is_empty(), "too late");
    assert!(second.is_idle());
    assert_eq!(fs::read(scratch.join("hold")).expect("a file"), b"");
}

// Oracle: nothing is suppressed before the look-up, and after it what it found, also for the next
// process.
#[test]
fn notes_in_doubt_are_of_no_use_before_they_are_looked_up() {
    let scratch = Scratch::new();
    let doubt = Doubt { marker: "m".to_owned(), worker: "w".to_owned(), flush: 1 };
    let first = hold(&scratch);
    first.append(vec![notes(1, &[7, 8, 9], Some(doubt))], NOW).expect("written");
    let suppress = |hold: &Hold, fingerprint: u64| hold.suppress(1, |_, _| fingerprint, NOW).len();
    assert_eq!(suppress(&first, 7), 0);
    take(&first).expect("the notes").looked_up(|place| place != 1);
    assert_eq!((suppress(&first, 7), suppress(&first, 8)), (1, 0));
    drop(first);
    let second = hold(&scratch);
    second.open(NOW).expect("open");
    assert!(take(&second).is_none(), "looked up already");
    assert_eq!((suppress(&second, 7), suppress(&second, 8), suppress(&second, 9)), (0, 0, 1));
    assert!(second.is_idle());
}

// Oracle: what another worker gets while the notes are in the hands of the first, and afterwards.
#[test]
fn nobody_passes_by_a_look_up() {
    let scratch = Scratch::new();
    let doubt = Doubt { marker: "m".to_owned(), worker: "w".to_owned(), flush: 1 };
    let hold = hold(&scratch);
    hold.append(vec![notes(1, &[7], Some(doubt))], NOW).expect("written");
    let taken = take(&hold).expect("the notes");
    assert_eq!(hold.take(Duration::from_millis(1)).map(drop), Err(StillInDoubt));
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let waited = hold.take(Duration::from_secs(60)).map(drop);
            (waited, hold.suppress(1, |_, _| 7, NOW).len())
        });
        taken.looked_up(|_| true);
        assert_eq!(other.join().expect("no panic"), (Ok(()), 1), "the note can be used");
    });
}

// Oracle: the frames before the damage, the damaged bytes in a file of their own, and what is appended
// afterwards.
#[test]
fn a_damaged_end_is_put_aside_and_hides_nothing_that_comes_later() {
    let scratch = Scratch::new();
    let path = scratch.join("hold");
    let first = hold(&scratch);
    first.append(vec![records(1, &["a"])], NOW).expect("written");
    drop(first);
    let sound = fs::read(&path).expect("a file");
    fs::write(&path, [&sound[..], b"frame records 100 torn"].concat()).expect("write");

    let second = hold(&scratch);
    let opened = second.open(NOW).expect("open").expect("opened");
    assert_eq!(opened.records, 1);
    let aside = opened.set_aside.expect("put aside");
    assert!(aside.to_string_lossy().contains("hold.damaged-"), "{}", aside.display());
    assert_eq!(fs::read(aside).expect("a file"), b"frame records 100 torn");
    second.append(vec![records(2, &["b"])], NOW).expect("written");
    drop(second);
    assert_eq!(hold(&scratch).open(NOW), Ok(Some(Opened { records: 2, set_aside: None })));
}

/// The sentence that says why the file cannot be used; the file is as before.
fn refusal(scratch: &Scratch) -> String {
    let path = scratch.join("hold");
    let is_small = |path| fs::metadata(path).is_ok_and(|metadata| metadata.len() < 1 << 20);
    let content = || is_small(&path).then(|| fs::read(&path).ok());
    let mode = || fs::metadata(&path).map(|metadata| metadata.permissions().mode()).ok();
    let before = (content(), mode());
    let why = hold(scratch).open(NOW).expect_err("refused");
    assert_eq!((content(), mode()), before, "untouched");
    assert!(why.contains(&path.display().to_string()), "{why}");
    why
}

// Oracle: the sentence, and the file's bytes and mode.
#[test]
fn a_file_that_is_not_ours_is_refused_untouched() {
    let scratch = Scratch::new();
    let path = scratch.join("hold");
    fs::write(&path, "omvalkeyaudit hold file 2\nand more").expect("write");
    assert!(refusal(&scratch).contains("version 2"));
    fs::write(&path, "something else").expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
    assert!(refusal(&scratch).contains("holds something else"));
    // Somebody's log, for instance; no memory would hold it.
    fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(1 << 43))
        .expect("sparse");
    assert!(refusal(&scratch).contains("holds something else"));
    fs::rename(&path, scratch.join("target")).expect("rename");
    symlink(scratch.join("target"), &path).expect("link");
    assert!(refusal(&scratch).contains("symbolic link"));
    fs::remove_file(&path).expect("remove");
    fs::create_dir(&path).expect("make");
    assert!(refusal(&scratch).contains("cannot use"));
}

// Oracle: the sentence with both numbers; the owner is known, because only root can give a file away.
#[test]
fn a_file_that_belongs_to_neither_us_nor_root_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.join("hold");
    let open = |user| HoldFile::open(&path, Duration::ZERO, user).map(|_| ());
    let me = rustix::process::geteuid().as_raw();
    open(me).expect("our own");
    let (owner, user) = if me == 0 { (4711, 0) } else { (me, me + 1) };
    if me == 0 {
        open(4711).expect("root's");
        chown(&path, Some(owner), None).expect("chown");
    }
    let why = open(user).expect_err("somebody else's");
    for word in [format!("the number {owner},"), format!("rsyslogd runs as {user};")] {
        assert!(why.contains(&word), "{word}: {why}");
    }
    open(owner).expect("as its owner, after privileges are dropped");
}

// Oracle: the second user's sentence, and that the file is free again after the first.
#[test]
fn a_file_has_one_user_at_a_time() {
    let scratch = Scratch::new();
    let first = hold(&scratch);
    first.open(NOW).expect("open");
    assert!(refusal(&scratch).contains("another action or process uses it"));
    drop(first);
    hold(&scratch).open(NOW).expect("free again");
}
