//! A worker that ends before its batch is over, under a core that drops the batch: what is not
//! committed is held, and comes first after the next start.

use crate::core::{Core, assert_exact, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use omvalkeyaudit::hold::{Frame, decode, encode};
use omvalkeyaudit::stats::Counter;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use testkit::{Address, Fault, Flavour, Proxy, Scratch, Server, entries, record};

/// A hold file in a folder of its own, and the action that has it.
struct Scene {
    scratch: Scratch,
    server: Server,
    proxy: Proxy,
}

impl Scene {
    fn new(flavour: Flavour) -> Self {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).append_only().start(&scratch);
        let proxy = Proxy::unix(&scratch, server.address());
        Self { scratch, server, proxy }
    }

    fn file(&self) -> PathBuf {
        self.scratch.join("hold")
    }

    fn content(&self) -> Vec<u8> {
        fs::read(self.file()).expect("a hold file")
    }

    fn address(&self) -> Address {
        self.proxy.address()
    }

    /// The first worker of a new process.
    fn start(&self, parameters: &[(&str, &str)]) -> Core {
        let file = self.file().display().to_string();
        let holdfile = [("holdfile", file.as_str())];
        Core::new(&self.address(), &[&holdfile, parameters].concat())
    }

    /// Hands records over while nobody accepts, and ends.
    fn hold(&self, numbers: std::ops::Range<u64>, parameters: &[(&str, &str)]) {
        self.proxy.set(Fault::Refuse);
        self.proxy.cut_all();
        let mut core = self.start(parameters);
        let found = core.action.stats.get(Counter::Held);
        let count = usize::try_from(numbers.end - numbers.start).expect("few");
        core.load(numbers.map(record));
        assert_eq!(core.transaction(0..count), Suspended);
        let action = Arc::clone(&core.action);
        let log = core.stop();
        assert_eq!(log.count(&format!("held records that are not committed, count: {count}")), 1);
        assert_eq!(action.stats.get(Counter::Held), found + count as u64);
        self.proxy.pass();
    }
}

// Oracle: the stream: the held records first, in order, and the file empty.
on_each_server!(held_records_come_before_new_ones);
fn held_records_come_before_new_ones(flavour: Flavour) {
    let scene = Scene::new(flavour);
    scene.hold(0..5, &[]);
    let mut core = scene.start(&[]);
    assert_eq!(core.log.count("held records come first, count: 5"), 1, "{}", core.log.text());
    assert_eq!(core.action.stats.get(Counter::Held), 5);
    core.send(5..10, 5);
    assert_exact(&scene.server, "audit", 0..10);
    assert_eq!(core.log.count("held records committed, count: 5"), 1, "{}", core.log.text());
    assert_eq!(scene.content(), b"");
    core.stop();
    assert_eq!(scene.content(), b"");
}

// Oracle: the stream after tryResume alone, which must not say yes before.
on_each_server!(resuming_commits_held_records);
fn resuming_commits_held_records(flavour: Flavour) {
    let scene = Scene::new(flavour);
    scene.hold(0..5, &[]);
    let mut core = scene.start(&[]);
    assert_eq!(core.try_resume(), Committed);
    assert_exact(&scene.server, "audit", 0..5);
}

// Oracle: the stream and the file: a worker that ends tries once more before it holds anything.
on_each_server!(a_worker_that_ends_while_the_server_is_there_holds_nothing);
fn a_worker_that_ends_while_the_server_is_there_holds_nothing(flavour: Flavour) {
    let scene = Scene::new(flavour);
    scene.proxy.set(Fault::Refuse);
    let mut core = scene.start(&[]);
    core.load((0..5).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    scene.proxy.pass();
    core.stop();
    assert_exact(&scene.server, "audit", 0..5);
    assert_eq!(scene.content(), b"");
}

// Oracle: the order and count over three processes of which only the last meets the server.
on_each_server!(several_stops_hold_one_behind_the_other);
fn several_stops_hold_one_behind_the_other(flavour: Flavour) {
    let scene = Scene::new(flavour);
    scene.hold(0..5, &[("batch.maxrecords", "2")]);
    scene.hold(5..7, &[]);
    scene.hold(7..8, &[]);
    scene.start(&[]).send(8..10, 2);
    assert_exact(&scene.server, "audit", 0..10);
}

// Oracle: the count after a commit that had taken place, and after one that had not; the process that
// knew more has ended.
on_each_server!(a_held_commit_in_doubt_is_looked_up);
fn a_held_commit_in_doubt_is_looked_up(flavour: Flavour) {
    for fault in [Fault::CutAfterExec, Fault::CutBeforeExec] {
        let scene = Scene::new(flavour);
        let mut core = scene.start(&[("batch.maxrecords", "4")]);
        core.send(0..4, 4);
        scene.proxy.once(fault);
        scene.proxy.set(Fault::Refuse);
        core.load((4..14).map(record));
        // The first four are in doubt, the others wait behind them.
        assert_eq!(core.transaction(0..10), Suspended);
        assert_eq!(scene.proxy.fired(fault), 1);
        core.stop();
        scene.proxy.pass();
        scene.start(&[]).send(14..20, 6);
        assert_exact(&scene.server, "audit", 0..20);
    }
}

// Oracle: the count, although the EXEC in doubt reaches the server only when the next process has
// looked it up.
on_each_server!(an_exec_of_an_ended_process_that_arrives_late_writes_nothing);
fn an_exec_of_an_ended_process_that_arrives_late_writes_nothing(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let mut core = scene.start(&[]);
    core.send(0..4, 4);
    let late = Fault::LateExec(Duration::from_millis(3000));
    scene.proxy.once(late);
    scene.proxy.set(Fault::Refuse);
    core.load((4..8).map(record));
    assert_eq!(core.transaction(0..4), Suspended);
    core.stop();
    scene.proxy.pass();
    let before = exec_calls(&scene.server);
    let mut core = scene.start(&[]);
    core.send(8..10, 2);
    let own = exec_calls(&scene.server);
    assert!(own > before);
    testkit::wait_until("the late EXEC to arrive", crate::core::PATIENCE, || {
        exec_calls(&scene.server) > own
    });
    assert_exact(&scene.server, "audit", 0..10);
}

/// How many EXEC commands the server has run, refused ones included.
fn exec_calls(server: &Server) -> u64 {
    let stats: String =
        redis::cmd("INFO").arg("commandstats").query(&mut server.connection()).unwrap();
    let line = stats.lines().find(|line| line.starts_with("cmdstat_exec:")).unwrap();
    line.split(['=', ',']).nth(1).unwrap().parse().unwrap()
}

// Oracle: the count, with the file as it was before the commit put back in place: a crash between the
// commit and its note in the file.
on_each_server!(a_crash_after_the_commit_of_held_records_doubles_nothing);
fn a_crash_after_the_commit_of_held_records_doubles_nothing(flavour: Flavour) {
    let scene = Scene::new(flavour);
    scene.hold(0..5, &[("batch.maxrecords", "2")]);
    let held = scene.content();
    scene.start(&[]).send(5..6, 1);
    assert_exact(&scene.server, "audit", 0..6);
    fs::write(scene.file(), held).unwrap();
    scene.start(&[]).send(6..8, 2);
    assert_exact(&scene.server, "audit", 0..8);
    assert_eq!(scene.content(), b"");
}

// Oracle: the count, with the connection broken at each place of the commit of held records.
on_each_server!(a_connection_that_breaks_while_held_records_are_committed_doubles_nothing);
fn a_connection_that_breaks_while_held_records_are_committed_doubles_nothing(flavour: Flavour) {
    for fault in [
        Fault::CutBeforeExec,
        Fault::CutAfterExec,
        Fault::CutInRequest,
        Fault::LateExec(Duration::from_millis(100)),
    ] {
        let scene = Scene::new(flavour);
        scene.hold(0..5, &[("batch.maxrecords", "2")]);
        let mut core = scene.start(&[]);
        // The first EXEC is the fence's.
        scene.proxy.once(fault);
        core.send(5..10, 5);
        assert_eq!(scene.proxy.fired(fault), 1, "{fault:?}");
        core.send(10..12, 2);
        assert_exact(&scene.server, "audit", 0..12);
    }
}

// Oracle: the streams: a held record whose key cannot be written becomes a dead letter, once, also when
// the file comes back after a crash; so does one that was a dead letter before.
on_each_server!(held_dead_letters_stay_dead_letters);
fn held_dead_letters_stay_dead_letters(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let parameters =
        [("dynakey", "on"), ("key", "template"), ("deadletter.key", "dead"), ("marker.key", "m")];
    scene.proxy.set(Fault::Refuse);
    let mut core = scene.start(&parameters);
    let keyed = |key: &str, text: String| (key.to_owned(), text);
    core.load_keyed([
        keyed("a", record(0)),
        keyed("text", record(1)),
        keyed("a", "no JSON".to_owned()),
        keyed("b", record(2)),
    ]);
    assert_eq!(core.transaction(0..4), Suspended);
    core.stop();
    scene.proxy.pass();
    command(&scene.server, &["SET", "text", "not a stream"]);
    let held = scene.content();
    assert_eq!(scene.start(&parameters).try_resume(), Committed);
    assert_exact(&scene.server, "a", 0..1);
    assert_exact(&scene.server, "b", 2..3);
    let letters = |server: &Server| {
        let letters = entries(&mut server.connection(), "dead");
        letters.iter().map(|letter| letter.text("record")).collect::<Vec<_>>()
    };
    assert_eq!(letters(&scene.server), ["no JSON".to_owned(), record(1)]);
    fs::write(scene.file(), held).unwrap();
    assert_eq!(scene.start(&parameters).try_resume(), Committed);
    assert_exact(&scene.server, "a", 0..1);
    assert_exact(&scene.server, "b", 2..3);
    // Exact for what was a dead letter before; a crash in the very moment in which a record becomes one
    // may make two of it.
    assert_eq!(letters(&scene.server).iter().filter(|text| *text == "no JSON").count(), 1);
}

// Oracle: the count; two workers find the same file, and both have records of their own.
on_each_server!(of_several_workers_one_commits_what_is_held);
fn of_several_workers_one_commits_what_is_held(flavour: Flavour) {
    let scene = Scene::new(flavour);
    scene.hold(0..500, &[("batch.maxrecords", "10")]);
    let first = scene.start(&[]);
    let action = Arc::clone(&first.action);
    drop(first);
    let barrier = Arc::new(Barrier::new(2));
    let workers: Vec<_> = [500..600, 600..700]
        .into_iter()
        .map(|numbers: std::ops::Range<u64>| {
            let (action, barrier) = (Arc::clone(&action), Arc::clone(&barrier));
            thread::spawn(move || {
                let mut core = Core::worker_of(action);
                barrier.wait();
                core.send(numbers, 20);
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("no panic");
    }
    let count = testkit::Count::of(
        testkit::numbers(&entries(&mut scene.server.connection(), "audit")),
        0..700,
    );
    assert!(count.is_exact(), "{count}");
    drop(action);
    assert_eq!(scene.content(), b"");
}

// Oracle: the stream of a worker that lives on while another one of the action has ended.
on_each_server!(what_one_worker_holds_another_one_commits);
fn what_one_worker_holds_another_one_commits(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let mut ending = scene.start(&[("timeout.commit", "1000")]);
    let mut living = Core::worker_of(Arc::clone(&ending.action));
    scene.proxy.set(Fault::Refuse);
    ending.load((0..5).map(record));
    assert_eq!(ending.transaction(0..5), Suspended);
    ending.stop();
    scene.proxy.pass();
    living.send(5..10, 5);
    assert_exact(&scene.server, "audit", 0..10);
}

// Oracle: the stream, the line, and the torn bytes in a file of their own.
on_each_server!(a_torn_hold_file_gives_what_is_whole);
fn a_torn_hold_file_gives_what_is_whole(flavour: Flavour) {
    let scene = Scene::new(flavour);
    scene.hold(0..4, &[("batch.maxrecords", "2")]);
    let held = scene.content();
    fs::write(scene.file(), &held[..held.len() - 3]).unwrap();
    let mut core = scene.start(&[]);
    assert_eq!(core.log.count("is damaged; its sound part is used"), 1, "{}", core.log.text());
    core.send(4..6, 2);
    let numbers = testkit::numbers(&entries(&mut scene.server.connection(), "audit"));
    assert_eq!(numbers, [0, 1, 4, 5]);
    let folder = fs::read_dir(scene.scratch.path()).unwrap();
    let aside = folder
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("hold.damaged-"))
        .expect("a file with the torn end");
    let torn = fs::read_to_string(aside).unwrap();
    assert!(torn.contains(&record(2)), "{torn}");
}

// Oracle: the lines, and that the worker works all the same.
on_each_server!(a_hold_file_that_cannot_be_used_is_named_once_with_its_reason);
fn a_hold_file_that_cannot_be_used_is_named_once_with_its_reason(flavour: Flavour) {
    let scene = Scene::new(flavour);
    symlink("/dev/null", scene.scratch.join("link")).unwrap();
    fs::write(scene.scratch.join("newer"), "omvalkeyaudit hold file 2\n...").unwrap();
    for (name, why) in [
        ("link", "symbolic link"),
        ("none/hold", "No such file or directory"),
        ("newer", "version 2, which only a later omvalkeyaudit can read"),
    ] {
        let file = scene.scratch.join(name).display().to_string();
        let mut core = Core::new(&scene.address(), &[("holdfile", file.as_str())]);
        let log = core.log.text();
        assert!(log.contains(&format!("parameter \"holdfile\": cannot use \"{file}\"")), "{log}");
        assert!(log.contains(why) && log.contains("will be lost"), "{log}");
        core.send(0..1, 1);
        let action = Arc::clone(&core.action);
        assert_eq!(Core::worker_of(action).log.text(), "");
        scene.proxy.set(Fault::Refuse);
        scene.proxy.cut_all();
        core.load([record(1)]);
        assert_eq!(core.transaction(0..1), Suspended);
        let log = core.stop();
        assert_eq!(log.count("records that are not committed, count: 1: parameter"), 1);
        scene.proxy.pass();
    }
    assert_eq!(fs::read(scene.scratch.join("newer")).unwrap(), b"omvalkeyaudit hold file 2\n...");
}

// Oracle: the stream: a file that another process has let go of meanwhile is used from then on.
on_each_server!(a_hold_file_that_becomes_free_is_used);
fn a_hold_file_that_becomes_free_is_used(flavour: Flavour) {
    let scene = Scene::new(flavour);
    scene.hold(0..5, &[]);
    let other = fs::File::open(scene.file()).unwrap();
    other.lock().unwrap();
    let mut core = scene.start(&[]);
    assert_eq!(core.log.count("another action or process uses it"), 1, "{}", core.log.text());
    core.send(5..6, 1);
    assert_exact(&scene.server, "audit", 5..6);
    drop(other);
    // A program that another test has just started may have the lock for a moment longer.
    let mut next = 6;
    testkit::wait_until("the file to be used", crate::core::PATIENCE, || {
        core.send(next..next + 1, 1);
        next += 1;
        scene.content().is_empty()
    });
    let numbers = testkit::numbers(&entries(&mut scene.server.connection(), "audit"));
    let expected: Vec<u64> = (5..next - 1).chain(0..5).chain([next - 1]).collect();
    assert_eq!(numbers, expected);
}

// Oracle: the warning, and the line at the end.
on_each_server!(an_action_without_a_hold_file_says_what_it_loses);
fn an_action_without_a_hold_file_says_what_it_loses(flavour: Flavour) {
    let scene = Scene::new(flavour);
    let mut core = Core::new(&scene.address(), &[]);
    assert_eq!(core.log.count("holdfile is not set"), 1);
    scene.proxy.set(Fault::Refuse);
    core.load([record(0)]);
    assert_eq!(core.transaction(0..1), Suspended);
    assert_eq!(core.stop().count("worker ends with records that are not committed, count: 1"), 1);
}

// Oracle: the records in order, before and after the first held flush is marked as done; the command is
// the one in the documentation, which writes them into a file.
#[test]
fn the_documented_command_prints_what_is_still_held() {
    let scene = Scene::new(Flavour::Redis70);
    scene.hold(0..5, &[("batch.maxrecords", "2")]);
    let text = include_str!("../../docs/hold-file.md");
    let command = text.lines().find(|line| line.starts_with("perl ")).expect("a command");
    let file = scene.file().display().to_string();
    let command = command.strip_suffix(" > held").expect("the file");
    let command = command.replace("/var/spool/rsyslog/audit.hold", &file);
    let assert_prints = |numbers: std::ops::Range<u64>| {
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let expected: String = numbers.map(|number| record(number) + "\n").collect();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    };
    assert_prints(0..5);
    let mut content = scene.content();
    let frames = decode(&content).expect("ours").frames;
    let Some(Frame::Records(first)) = frames.first() else { panic!("{frames:?}") };
    encode(&Frame::Done(first.id), &mut content);
    fs::write(scene.file(), content).unwrap();
    assert_prints(2..5);
    // And so does the next process.
    scene.start(&[]).send(5..7, 2);
    assert_exact(&scene.server, "audit", 2..7);
}
