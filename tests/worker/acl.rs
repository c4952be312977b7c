//! The rules of docs/acl.md: each is enough for its configuration, nothing in it is too much, and what is
//! taken away is named at the start by the command that grants it.

use crate::core::{Core, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use redis::Connection;
use testkit::{AclRule, Fault, Flavour, Proxy, Scratch, SentinelGroup, Server, entries, record};

/// The keys of the records where they bring their own; the rules have `app:*`.
const BROUGHT: &str = "app:shop";

/// One rule's configuration, with a proxy before the server, and a sentinel that names the proxy.
struct Place<'s> {
    rule: &'s AclRule,
    scratch: Scratch,
    server: Server,
    proxy: Proxy,
    sentinel: Option<Server>,
}

impl<'s> Place<'s> {
    fn new(flavour: Flavour, rule: &'s AclRule) -> Self {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        let proxy = Proxy::tcp(server.address());
        let mut place = Self { rule, scratch, server, proxy, sentinel: None };
        if place.parameter("topology").is_some() {
            let address = place.proxy.address().to_string();
            let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
            let sentinel = SentinelGroup::lone_sentinel(flavour, port.expect("a port")).tcp();
            place.sentinel = Some(sentinel.start(&place.scratch));
        }
        place
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let found = self.rule.parameters().into_iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value)
    }

    /// The user gets this rule, and the server is empty.
    fn begin(&self, rule: &[&str]) {
        command(&self.server, &["FLUSHALL"]);
        command(&self.server, rule);
        if self.parameter("stream.maxage").is_some() {
            let old = ["XADD", &self.key(), "1-1", "n", "999"];
            command(&self.server, &old);
        }
    }

    /// A worker that logs in as that user.
    fn worker(&self) -> Core {
        let server = self.sentinel.as_ref().map_or(self.proxy.address(), Server::tcp_address);
        let hold_file = self.scratch.join("hold").display().to_string();
        let mut parameters = self.rule.parameters();
        for (name, value) in &mut parameters {
            if name == "holdfile" {
                value.clone_from(&hold_file);
            }
        }
        let login = [("user", "audit"), ("serverpassword", "password"), ("stream.trim", "exact")];
        let given = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Core::new(&server, &given.chain(login).collect::<Vec<_>>())
    }

    /// Loads these records, with a key where each brings its own.
    fn load(&self, core: &mut Core, records: impl Iterator<Item = String>) {
        let key = if self.parameter("dynakey").is_some() { BROUGHT } else { "" };
        core.load_keyed(records.map(|record| (key.to_owned(), record)));
    }

    fn key(&self) -> String {
        let fixed = self.parameter("key").expect("a key");
        if self.parameter("dynakey").is_some() { BROUGHT.to_owned() } else { fixed }
    }

    fn dead_letter_key(&self) -> String {
        self.parameter("deadletter.key").unwrap_or_else(|| match self.parameter("dynakey") {
            Some(_) => "omvalkeyaudit:deadletter".to_owned(),
            None => format!("{}:deadletter", self.key()),
        })
    }

    fn connection(&self) -> Connection {
        let mut connection = self.server.connection();
        let db = self.parameter("db").unwrap_or_else(|| "0".to_owned());
        redis::cmd("SELECT").arg(db).exec(&mut connection).unwrap();
        connection
    }

    /// The numbers of the records, and how many dead letters there are.
    fn stored(&self) -> (Vec<u64>, usize) {
        let mut connection = self.connection();
        let records = testkit::numbers(&entries(&mut connection, &self.key()));
        (records, entries(&mut connection, &self.dead_letter_key()).len())
    }

    /// A batch whose confirmation is lost and that a stop meets, which the next worker finds in the hold file.
    fn deliver_over_a_stop(&self, mut core: Core) -> Core {
        self.load(&mut core, (9..12).map(record));
        self.proxy.once(Fault::CutAfterExec);
        self.proxy.set(Fault::Refuse);
        assert_eq!(core.transaction(0..3), Suspended);
        let log = core.stop();
        assert_eq!(log.count("held records that are not committed"), 1, "{}", log.text());
        self.proxy.pass();
        let mut next = self.worker();
        self.load(&mut next, (12..15).map(record));
        next.settle();
        next
    }

    /// Three batches: one that is fine, one whose confirmation is lost, and one with a dead letter.
    fn deliver(&self, core: &mut Core) {
        self.load(core, (0..2).map(record));
        core.settle();
        self.proxy.once(Fault::CutAfterExec);
        self.load(core, (2..5).map(record));
        core.settle();
        self.load(core, (5..9).map(record).chain(["broken".to_owned()]));
        core.settle();
        assert_eq!(self.proxy.waiting(), 0, "the cut was made");
    }
}

/// The rules for one server at a time; those for a cluster are tried in one.
fn rules() -> impl Iterator<Item = AclRule> {
    AclRule::of("audit").into_iter().filter(|rule| !rule.purpose.contains("\"cluster\""))
}

/// The command in a line of the log, which another clause or the advice may follow.
fn granting(line: &str) -> Option<Vec<&str>> {
    let command = &line[line.find("ACL SETUSER ")?..];
    Some(command.split([';', '(']).next()?.split_whitespace().collect())
}

// Oracle: every record and the dead letter once, also what a stop held, the old entry trimmed, and a log
// without a complaint.
on_each_server!(each_documented_rule_is_enough_for_its_configuration);
fn each_documented_rule_is_enough_for_its_configuration(flavour: Flavour) {
    for rule in rules() {
        let place = Place::new(flavour, &rule);
        place.begin(&rule.without(""));
        let mut core = place.worker();
        place.deliver(&mut core);
        let mut end = 9;
        if place.parameter("holdfile").is_some() {
            core = place.deliver_over_a_stop(core);
            end = 15;
        }
        let log = core.log.text();
        assert_eq!(place.stored(), ((0..end).collect(), 1), "{}: {log}", rule.purpose);
        for complaint in ["cannot", "lacks", "ACL"] {
            assert_eq!(core.log.count(complaint), 0, "{}: {}", rule.purpose, core.log.text());
        }
    }
}

// Oracle: without any one of its rights, one line has the command that grants just that one; when it has
// been given as it stands in the log, everything is stored once.
on_each_server!(each_right_of_a_rule_is_missed_at_the_start_and_named);
fn each_right_of_a_rule_is_missed_at_the_start_and_named(flavour: Flavour) {
    for rule in rules() {
        let place = Place::new(flavour, &rule);
        // Which keys the records will bring, no start can know.
        for right in rule.rights().iter().filter(|right| *right != "%W~app:*") {
            let about = format!("{} without {right}", rule.purpose);
            place.begin(&rule.without(right));
            let mut core = place.worker();
            place.load(&mut core, [record(0)].into_iter());
            let verdict = core.transaction(0..1);
            let log = core.log.text();
            let grants: Vec<&str> = log.lines().filter(|line| line.contains("ACL")).collect();
            assert_eq!(grants.len(), 1, "{about}: {log}");
            let grant = granting(grants[0]).expect("a command");
            assert_eq!(grant, ["ACL", "SETUSER", "audit", right], "{about}: {log}");
            command(&place.server, &grant);
            if verdict == Suspended {
                core.resume();
                core.replay(1);
            }
            place.load(&mut core, (1..4).map(record).chain(["broken".to_owned()]));
            assert_eq!(core.transaction(0..4), Committed, "{about}: {}", core.log.text());
            assert_eq!(place.stored(), ((0..4).collect(), 1), "{about}: {}", core.log.text());
        }
    }
}

// Oracle: a user who may do nothing is told, in one attempt after the other, all that its rule lacks.
on_each_server!(a_user_without_any_right_gets_all_it_needs_by_doing_what_the_log_says);
fn a_user_without_any_right_gets_all_it_needs_by_doing_what_the_log_says(flavour: Flavour) {
    for rule in rules() {
        let place = Place::new(flavour, &rule);
        place.begin(&["ACL", "SETUSER", "audit", "reset", "on", ">password", "%W~app:*"]);
        let mut attempts = 0;
        loop {
            // A worker of its own each time: the log repeats nothing that it has said.
            let mut core = place.worker();
            place.load(&mut core, [record(attempts)].into_iter());
            core.transaction(0..1);
            let log = core.log.text();
            let Some(grant) = log.lines().find_map(granting) else { break };
            command(&place.server, &grant);
            attempts += 1;
            assert!(attempts < 6, "{}: {log}", rule.purpose);
        }
        place.proxy.pass();
        command(&place.server, &["FLUSHALL"]);
        let mut core = place.worker();
        place.deliver(&mut core);
        assert_eq!(place.stored(), ((0..9).collect(), 1), "{}: {}", rule.purpose, core.log.text());
    }
}

// Oracle: the dead letter's reason names the refusal, and the record is in it.
on_each_server!(a_key_outside_of_the_rule_makes_a_dead_letter);
fn a_key_outside_of_the_rule_makes_a_dead_letter(flavour: Flavour) {
    let rules = AclRule::of("audit");
    let rule = rules.iter().find(|rule| rule.rights().contains(&"%W~app:*".to_owned())).unwrap();
    let place = Place::new(flavour, rule);
    place.begin(&rule.without("%W~app:*"));
    let mut core = place.worker();
    place.load(&mut core, [record(0)].into_iter());
    assert_eq!(core.transaction(0..1), Committed, "{}", core.log.text());
    assert_eq!(place.stored(), (Vec::new(), 1));
    let letters = entries(&mut place.connection(), &place.dead_letter_key());
    assert!(letters[0].text("reason").contains("NOPERM"), "{letters:?}");
}

// Oracle: the sentinel's rule lets the action find its server, and without its one right the log has the
// command that grants it.
on_each_server!(the_rule_at_the_sentinels_is_enough_and_what_it_lacks_is_named);
fn the_rule_at_the_sentinels_is_enough_and_what_it_lacks_is_named(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).tcp().start(&scratch);
    let sentinel = SentinelGroup::lone_sentinel(flavour, server.port()).tcp().start(&scratch);
    let password = scratch.write("password", "password").display().to_string();
    let [rule] = &AclRule::of("audit-asks")[..] else { panic!("one rule") };
    let right = &rule.rights()[0];
    command(&sentinel, &rule.without(right));
    let mut core = Core::new(
        &sentinel.tcp_address(),
        &[
            ("topology", "sentinel"),
            ("sentinel.master", SentinelGroup::NAME),
            ("sentinel.user", "audit-asks"),
            ("sentinel.passwordfile", &password),
        ],
    );
    core.load([record(0)]);
    assert_eq!(core.transaction(0..1), Suspended);
    let grant = format!("grant what is missing: ACL SETUSER audit-asks {right} (");
    assert_eq!(core.log.count(&grant), 1, "{}", core.log.text());
    command(&sentinel, &["ACL", "SETUSER", "audit-asks", right]);
    core.resume();
    core.replay(1);
    assert_eq!(testkit::numbers(&entries(&mut server.connection(), "audit")), [0]);
}
