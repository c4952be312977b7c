//! Servers under sentinels: the primary of the moment is read, and what is said where there is none.

use crate::scene::{NODE, Run, assert_refused, plain, verify};
use testkit::{AclRule, Authority, Flavour, Scratch, SentinelGroup, Server};

/// Adds records to the stream "audit" of a server.
pub(crate) fn add(server: &Server, numbers: impl IntoIterator<Item = u64>) {
    let mut pipeline = redis::Pipeline::new();
    for seq in numbers {
        pipeline.cmd("XADD").arg("audit").arg("*").arg(plain(NODE, seq)).ignore();
    }
    pipeline.exec(&mut server.connection()).unwrap();
}

/// The options that name these sentinels, and the group of this test.
pub(crate) fn asking<'a>(sentinels: impl IntoIterator<Item = &'a Server>) -> Vec<String> {
    let master = ["--sentinel-master".to_owned(), SentinelGroup::name().to_owned()];
    let address = |sentinel: &Server| ["--server".to_owned(), sentinel.tcp_address().to_string()];
    sentinels.into_iter().flat_map(address).chain(master).collect()
}

fn read(asking: &[String], more: &[&str]) -> Run {
    let asking: Vec<&str> = asking.iter().map(String::as_str).collect();
    verify(&[asking.as_slice(), more].concat())
}

/// The stream is complete up to `last`, and was read from `server`.
#[track_caller]
fn assert_complete(run: &Run, server: &Server, last: u64) {
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    assert!(run.stdout.starts_with(&format!("server {}\n", server.tcp_address())), "{run:?}");
    assert!(run.stdout.contains(&format!("records  {last}, seq 1 to {last}\n")), "{run:?}");
}

// Oracle: the numbers, and the server that the report names, which is another one after the failover. A sentinel that
// is down is passed over.
#[test]
fn the_primary_is_read_before_and_after_a_failover() {
    for flavour in [Flavour::Redis70, Flavour::Valkey91] {
        let scratch = Scratch::new();
        let group = SentinelGroup::builder(flavour).start(&scratch);
        let old = group.primary();
        let options = asking(group.sentinels());
        add(old, 1..=200);
        group.wait_replicated();
        assert_complete(&read(&options, &["--strict"]), old, 200);
        let new = group.fail_over(&[]);
        add(new, 201..=210);
        assert_complete(&read(&options, &["--strict"]), new, 210);
        group.sentinels()[0].kill();
        assert_complete(&read(&options, &["--strict"]), new, 210);
    }
}

// Oracle: as above, by users who have no more than the documented rules, where nobody listens for anything but TLS;
// and the sentence for each thing that is not given.
#[test]
fn the_primary_is_read_with_passwords_and_over_tls() {
    for flavour in [Flavour::Redis70, Flavour::Valkey91] {
        let scratch = Scratch::new();
        let authority = Authority::new(&scratch);
        let group = SentinelGroup::builder(flavour).tls(&authority.for_loopback());
        let group = group.sentinel_password("of-sentinels").start(&scratch);
        let old = group.primary();
        add(old, 1..=20);
        group.wait_replicated();
        let rules = AclRule::of("auditor");
        let auditor = rules.iter().find(|rule| rule.purpose.contains("sentinels")).unwrap();
        let asks = AclRule::of("audit-asks").remove(0);
        let tell = |server: &Server, rule: &[&str]| {
            redis::cmd(rule[0]).arg(&rule[1..]).exec(&mut server.connection()).unwrap();
        };
        group.servers().iter().for_each(|server| tell(server, &auditor.without("")));
        group.sentinels().iter().for_each(|sentinel| tell(sentinel, &asks.without("")));

        let options = asking(group.sentinels());
        let authority = authority.path().display().to_string();
        let password = scratch.write("password", "password\n").display().to_string();
        let wrong = scratch.write("wrong", "pw-wrong\n").display().to_string();
        let tls = ["--tls", "--cacert", &authority];
        let login = ["--user", "auditor", "--passwordfile", &password];
        let there = ["--sentinel-user", "audit-asks", "--sentinel-passwordfile", &password];
        let all = [&tls[..], &login, &there].concat();
        assert_complete(&read(&options, &all), old, 20);
        let new = group.fail_over(&[]);
        assert_complete(&read(&options, &all), new, 20);

        let run = read(&options, &[&tls[..], &login].concat());
        assert_refused(&run, &["no sentinel names", "NOAUTH", "give --sentinel-passwordfile"]);
        let other = ["--sentinel-user", "audit-asks", "--sentinel-passwordfile", &wrong];
        let run = read(&options, &[&tls[..], &login, &other].concat());
        assert_refused(
            &run,
            &["cannot log in to sentinel", "check --sentinel-user and --sentinel-p"],
        );
        assert!(!run.stderr.contains("pw-"), "{run:?}");
        let other = ["--user", "auditor", "--passwordfile", &wrong];
        let run = read(&options, &[&tls[..], &other, &there].concat());
        assert_refused(&run, &["as user \"auditor\"", "check --user and", "names it the primary"]);
        let run = read(&options, &[&login[..], &there].concat());
        assert_refused(&run, &["no sentinel names", "give --tls"]);
        tell(new, &["ACL", "SETUSER", "auditor", "-role"]);
        assert_refused(&read(&options, &all), &["for its ROLE: NOPERM", "the user needs +role"]);
        for sentinel in group.sentinels() {
            tell(sentinel, &["ACL", "SETUSER", "audit-asks", "-@all"]);
        }
        let lacking = "its user needs +sentinel|get-master-addr-by-name";
        assert_refused(&read(&options, &all), &["NOPERM", lacking]);
    }
}

// Oracle: the sentence, which has what each sentinel said.
#[test]
fn where_no_sentinel_names_a_primary_nothing_is_checked() {
    let scratch = Scratch::new();
    let flavour = Flavour::Valkey91;
    let server = Server::builder(flavour).tcp().start(&scratch);
    add(&server, 1..=5);
    let sentinel = SentinelGroup::lone_sentinel(flavour, server.port()).tcp().start(&scratch);
    let options = asking([&sentinel]);
    assert_complete(&read(&options, &[]), &server, 5);
    let run = read(&options, &["--sentinel-master", "other"]);
    let place = sentinel.tcp_address();
    let said = format!("sentinel {place} does not know \"other\", check --sentinel-master");
    assert_refused(&run, &["no sentinel names the primary of \"other\"", &said]);
    let run = read(&asking([&server]), &[]);
    assert_refused(&run, &["unknown command", "let --server name sentinels"]);
    let run = verify(&["--server", &place.to_string()]);
    assert_refused(&run, &["unknown command", "if it is a sentinel, give --sentinel-master"]);
    sentinel.kill();
    let run = read(&options, &[]);
    assert_refused(&run, &["no sentinel names", &format!("cannot connect to {place}: ")]);
}

// Oracle: the sentence. A sentinel that has just begun to watch a replica names it the primary.
#[test]
fn a_replica_is_not_taken_for_the_primary() {
    let scratch = Scratch::new();
    let flavour = Flavour::Valkey91;
    let primary = Server::builder(flavour).tcp().start(&scratch);
    add(&primary, 1..=5);
    let replicaof = format!("replicaof 127.0.0.1 {}", primary.port());
    let replica = Server::builder(flavour).tcp().config(&replicaof).start(&scratch);
    let sentinel = SentinelGroup::lone_sentinel(flavour, replica.port()).tcp().start(&scratch);
    let run = read(&asking([&sentinel]), &[]);
    let said = format!("{} has the ROLE \"slave\"", replica.tcp_address());
    assert_refused(&run, &[&said, "names it the primary"]);
}
