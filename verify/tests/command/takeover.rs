//! What befalls the primary while it is read: whatever its streams look like then, they are no trail to judge.
//!
//! Each check is stopped when it has read its first page of several, so that what happens does happen in its midst.

use crate::scene::command;
use crate::sentinel::{add, asking};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use testkit::{
    Authority, Fault, Flavour, Process, Proxy, Scratch, SentinelGroup, Server, wait_until,
};

const DEADLINE: Duration = Duration::from_secs(100);

/// So many take several pages.
const RECORDS: u64 = 20_000;

/// A check that stands still.
struct Stopped<'p> {
    process: Process,
    output: PathBuf,
    proxy: &'p Proxy,
}

impl<'p> Stopped<'p> {
    /// Begins a check of `primary`, which the sentinels name as `proxy`, and stops it in its midst.
    fn check(
        scratch: &Scratch,
        options: &[String],
        primary: &Server,
        proxy: &'p Proxy,
    ) -> Stopped<'p> {
        let output = scratch.join("output");
        let pages = pages(primary);
        // Each piece of a page is late.
        proxy.set(Fault::DelayReplies(Duration::from_millis(200)));
        let process = Process::spawn(command().arg("--strict").args(options), &output);
        wait_until("a check that reads", DEADLINE, || pages < self::pages(primary));
        process.pause();
        Stopped { process, output, proxy }
    }

    /// Lets it come to its end: its exit code and what it printed.
    fn go_on(self) -> (Option<i32>, String) {
        self.proxy.pass();
        self.process.cont();
        let status = self.process.wait(DEADLINE).expect("an end in time");
        (status.code(), fs::read_to_string(&self.output).unwrap())
    }

    /// As [`Stopped::go_on`]; it must have come to no verdict, and have said all of `words`.
    #[track_caller]
    fn assert_not_checked(self, words: &[&str]) {
        let (code, text) = self.go_on();
        assert_eq!((code, text.lines().count()), (Some(2), 1), "{text}");
        for word in words.iter().chain(&["omvalkeyaudit-verify: ", "; check again"]) {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
}

/// So often the server was asked for a page.
fn pages(server: &Server) -> u64 {
    let mut ask = redis::cmd("INFO");
    let text: String = ask.arg("commandstats").query(&mut server.connection()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("cmdstat_xrange:calls="));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

fn words(server: &Server, words: &[&str]) {
    redis::cmd(words[0]).arg(&words[1..]).exec(&mut server.connection()).unwrap();
}

/// A server with the records, a proxy before it and a sentinel that knows it as that.
fn watched(scratch: &Scratch) -> (Server, Proxy, Server) {
    let flavour = Flavour::Valkey91;
    let server = Server::builder(flavour).tcp().start(scratch);
    add(&server, 1..=RECORDS);
    let proxy = Proxy::tcp(server.address());
    let sentinel = SentinelGroup::lone_sentinel(flavour, proxy.port()).tcp().start(scratch);
    (server, proxy, sentinel)
}

// Oracle: the exit code and the report: what stops a check for a while does it no harm.
#[test]
fn a_check_that_stood_still_under_a_primary_that_stayed_is_complete() {
    let scratch = Scratch::new();
    let (server, proxy, sentinel) = watched(&scratch);
    let check = Stopped::check(&scratch, &asking([&sentinel]), &server, &proxy);
    let (code, text) = check.go_on();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&format!("records  {RECORDS}, seq 1 to {RECORDS}\n")), "{text}");
}

// Oracle: the exit code and the sentence, which names both primaries; over TLS too. The check after it reads the new one.
#[test]
fn a_failover_while_a_check_runs_is_said() {
    for has_tls in [false, true] {
        let scratch = Scratch::new();
        let authority = Authority::new(&scratch);
        let identity = authority.for_loopback();
        let mut group = SentinelGroup::builder(Flavour::Valkey91).proxied();
        if has_tls {
            group = group.tls(&identity);
        }
        let group = group.start(&scratch);
        let (old, proxy) = (&group.servers()[0], group.proxy().unwrap());
        add(old, 1..=RECORDS);
        group.wait_replicated();
        let mut options = asking(group.sentinels());
        if has_tls {
            let authority = authority.path().display().to_string();
            options.extend(["--tls".to_owned(), "--cacert".to_owned(), authority]);
        }
        let check = Stopped::check(&scratch, &options, old, proxy);
        old.kill();
        let new = group.wait_failover(old);
        let [from, to] = [proxy.address(), new.tcp_address()].map(|address| address.to_string());
        let named = format!("names {to}");
        check.assert_not_checked(&["changed while it was read", &from, "the connection", &named]);
        let again = command().args(&options).arg("--strict").output().unwrap();
        let text = String::from_utf8(again.stdout).unwrap();
        assert!(text.starts_with(&format!("server {to}\n")), "{text}");
        assert!(text.contains(&format!("records  {RECORDS}, seq 1 to {RECORDS}\n")), "{text}");
    }
}

// Oracle: as above. The old primary lives on, keeps the connection and takes itself for one, and all records are read.
#[test]
fn an_old_primary_that_does_not_know_it_yet_is_not_judged() {
    let scratch = Scratch::new();
    let (server, proxy, sentinel) = watched(&scratch);
    let other = Server::builder(Flavour::Valkey91).tcp().start(&scratch);
    let check = Stopped::check(&scratch, &asking([&sentinel]), &server, &proxy);
    let name = SentinelGroup::name();
    words(&sentinel, &["SENTINEL", "REMOVE", name]);
    let port = other.port().to_string();
    words(&sentinel, &["SENTINEL", "MONITOR", name, "127.0.0.1", &port, "1"]);
    let named = format!("sentinel {} names {}", sentinel.tcp_address(), other.tcp_address());
    check.assert_not_checked(&["changed while it was read", &named]);
}

// Oracle: as above. What is left of the stream is gone with the copy of the other server's data, without an error: the
// stream looks whole, and shorter.
#[test]
fn a_primary_that_becomes_a_replica_while_it_is_read_is_not_judged() {
    let scratch = Scratch::new();
    let (server, proxy, sentinel) = watched(&scratch);
    let other = Server::builder(Flavour::Valkey91).tcp().start(&scratch);
    let check = Stopped::check(&scratch, &asking([&sentinel]), &server, &proxy);
    words(&server, &["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    wait_until("the copy of the other server", DEADLINE, || {
        redis::cmd("DBSIZE").query::<u64>(&mut server.connection()).unwrap() == 0
    });
    let place = proxy.address().to_string();
    check.assert_not_checked(&[&place, "was demoted while it was read", "ROLE is \"slave\""]);
}

// Oracle: as above, while the sentinel has not noticed yet, or never will: it is gone, too.
#[test]
fn a_primary_that_dies_while_it_is_read_is_said_to_be_lost() {
    for has_sentinel in [true, false] {
        let scratch = Scratch::new();
        let (server, proxy, sentinel) = watched(&scratch);
        let check = Stopped::check(&scratch, &asking([&sentinel]), &server, &proxy);
        server.kill();
        if has_sentinel {
            check.assert_not_checked(&["was lost while it was read", "closed the connection"]);
        } else {
            sentinel.kill();
            let unknown = ["whether it is still the primary of", "is not known: no sentinel names"];
            check.assert_not_checked(&unknown);
        }
    }
}
