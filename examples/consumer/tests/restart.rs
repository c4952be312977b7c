//! The example consumer against real servers: killed in the middle, as the user that docs/acl.md has for it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed, and says where"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use testkit::{AclRule, Count, Flavour, Scratch, Server, number_in, record_of, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// So many entries the program works on before it acknowledges them.
const BATCH: u64 = 100;

/// The program, which is killed on drop. Its output is a pipe: what nobody reads holds it up in its work.
struct Consumer {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Consumer {
    fn start(server: &Server, name: &str) -> Self {
        let socket = server.address().to_string().replacen("unix:", "redis+unix://", 1);
        let url = format!("{socket}?user=consumer&pass=password");
        let mut child = Command::new(env!("CARGO_BIN_EXE_audit-consumer"))
            .args([url.as_str(), "audit", "siem", name])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the consumer");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, output }
    }

    /// The numbers of the next `count` lines.
    fn lines(&mut self, count: usize) -> Vec<u64> {
        let lines = (&mut self.output).lines().take(count);
        lines.map(|line| number(&line.expect("a line"))).collect()
    }

    /// Kills it, and gives the numbers that it had printed before; a line that is not whole was not.
    fn kill(mut self) -> Vec<u64> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        rest.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(number).collect()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // An error says that it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn number(line: &str) -> u64 {
    number_in(line.replace(r#""n":""#, r#""n":"#).as_bytes()).expect("a number")
}

/// A server with so many entries, padded so that a pipe holds less than a batch of them.
fn server(flavour: Flavour, scratch: &Scratch, count: u64) -> Server {
    let server = Server::builder(flavour).start(scratch);
    let mut connection = server.connection();
    redis::cmd("ACL").arg(&AclRule::of("consumer")[0].words[1..]).exec(&mut connection).unwrap();
    add(&server, 0..count);
    server
}

fn add(server: &Server, numbers: std::ops::Range<u64>) {
    let mut entries = redis::pipe();
    for number in numbers {
        let padding = record_of(number, 1500);
        entries.cmd("XADD").arg("audit").arg("*").arg("n").arg(number).arg("pad").arg(padding);
    }
    entries.exec(&mut server.connection()).unwrap();
}

fn pending(server: &Server) -> u64 {
    let mut command = redis::cmd("XPENDING");
    let (count, ..): (u64, Option<String>, Option<String>, redis::Value) =
        command.arg("audit").arg("siem").query(&mut server.connection()).unwrap();
    count
}

/// Asserts that each of `0..count` was seen, and gives how often one was seen again.
#[track_caller]
fn repeated(seen: Vec<u64>, count: u64) -> u64 {
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    for number in &seen {
        *times.entry(*number).or_default() += 1;
    }
    let missing: Vec<u64> = (0..count).filter(|number| !times.contains_key(number)).collect();
    assert!(missing.is_empty(), "missing: {missing:?}; {}", Count::of(seen, 0..count));
    times.values().map(|times| times - 1).sum()
}

macro_rules! on_each_server {
    ($name:ident) => {
        mod $name {
            #[test]
            fn on_redis_7_0() {
                super::$name(testkit::Flavour::Redis70);
            }

            #[test]
            fn on_valkey_9_1() {
                super::$name(testkit::Flavour::Valkey91);
            }
        }
    };
}

// Oracle: every number at least once over both runs, the second beginning with what the first had not
// acknowledged, which is one batch at most; and nothing is left pending.
on_each_server!(a_killed_consumer_goes_on_with_what_it_had_not_acknowledged);
fn a_killed_consumer_goes_on_with_what_it_had_not_acknowledged(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = server(flavour, &scratch, 1000);
    let mut first = Consumer::start(&server, "host1");
    let mut seen = first.lines(450);
    // It is held up inside of a batch: none of it is acknowledged.
    wait_until("a batch to be read", SOON, || pending(&server) == BATCH);
    seen.extend(first.kill());
    assert!(seen.len() < 1000 && pending(&server) == BATCH, "{}", seen.len());
    let begin = *seen.last().unwrap() / BATCH * BATCH;
    let mut second = Consumer::start(&server, "host1");
    let again = second.lines(usize::try_from(1000 - begin).unwrap());
    assert_eq!(again[0], begin, "the pending ones come first");
    seen.extend(again);
    add(&server, 1000..1100);
    seen.extend(second.lines(100));
    wait_until("the last acknowledgement", SOON, || pending(&server) == 0);
    let repeated = repeated(seen, 1100);
    assert!(repeated > 0 && repeated <= BATCH, "{repeated}");
}

// Oracle: as above; another consumer of the group takes over what the killed one has left, as soon as that is
// a minute old.
on_each_server!(what_a_killed_consumer_left_is_taken_over_by_another);
fn what_a_killed_consumer_left_is_taken_over_by_another(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = server(flavour, &scratch, 300);
    let mut first = Consumer::start(&server, "host1");
    let mut seen = first.lines(110);
    wait_until("a batch to be read", SOON, || pending(&server) == BATCH);
    seen.extend(first.kill());
    let mut connection = server.connection();
    let ids: Vec<(String, String, u64, u64)> = redis::cmd("XPENDING")
        .arg(&["audit", "siem", "-", "+", "100"])
        .query(&mut connection)
        .unwrap();
    let mut claim = redis::cmd("XCLAIM");
    claim.arg(&["audit", "siem", "host1", "0"]);
    for (id, ..) in &ids {
        claim.arg(id);
    }
    claim.arg(&["IDLE", "61000", "JUSTID"]).exec(&mut connection).unwrap();
    let mut second = Consumer::start(&server, "host2");
    seen.extend(second.lines(200));
    wait_until("the last acknowledgement", SOON, || pending(&server) == 0);
    assert!(repeated(seen, 300) <= BATCH);
}
