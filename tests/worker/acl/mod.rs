//! The rules of docs/acl.md: each is enough for its configuration, nothing in it is too much, and what is
//! taken away is named, at the start or with the first record, by the command that grants it.

mod place;

use crate::core::{Core, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use place::{Place, rules};
use testkit::{AclRule, Flavour, Scratch, SentinelGroup, Server, entries, record};

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
        let mut witness = place.witness();
        place.deliver(&mut core);
        let mut end = 9;
        if place.parameter("holdfile").is_some() {
            core = place.deliver_over_a_stop(core);
            end = 15;
        }
        let log = core.log.text();
        assert_eq!(witness.stored(), place.expected(end), "{}: {log}", rule.purpose);
        for complaint in ["cannot", "lacks", "ACL"] {
            assert_eq!(core.log.count(complaint), 0, "{}: {}", rule.purpose, core.log.text());
        }
    }
}

// Oracle: without any one of its rights, one line has the command that grants just that one, no later than with
// the first record, which waits; when the command has been given as it stands in the log, everything is stored once.
on_each_server!(each_right_of_a_rule_is_missed_with_the_first_record_and_named);
fn each_right_of_a_rule_is_missed_with_the_first_record_and_named(flavour: Flavour) {
    for rule in rules() {
        let place = Place::new(flavour, &rule);
        // What the records bring, they themselves are to blame for.
        for right in rule.rights().iter().filter(|right| !place.is_brought(right)) {
            let about = format!("{} without {right}", rule.purpose);
            place.begin(&rule.without(right));
            let mut core = place.worker();
            let mut witness = place.witness();
            place.load(&mut core, 0..1);
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
            place.load_with_a_bad_one(&mut core, 1..4);
            assert_eq!(core.transaction(0..4), Committed, "{about}: {}", core.log.text());
            assert_eq!(witness.stored(), place.expected(4), "{about}: {}", core.log.text());
        }
    }
}

// Oracle: a user who may do nothing is told, in one attempt after the other, all that its rule lacks.
on_each_server!(a_user_without_any_right_gets_all_it_needs_by_doing_what_the_log_says);
fn a_user_without_any_right_gets_all_it_needs_by_doing_what_the_log_says(flavour: Flavour) {
    for rule in rules() {
        let place = Place::new(flavour, &rule);
        let nothing = ["ACL", "SETUSER", "audit", "reset", "on", ">password"];
        let brought = rule.rights().into_iter().filter(|right| place.is_brought(right));
        let brought: Vec<String> = brought.collect();
        let brought = brought.iter().map(String::as_str);
        place.begin(&nothing.into_iter().chain(brought).collect::<Vec<_>>());
        let mut attempts = 0;
        loop {
            // A worker of its own each time: the log repeats nothing that it has said.
            let mut core = place.worker();
            place.load(&mut core, attempts..attempts + 1);
            core.transaction(0..1);
            let log = core.log.text();
            let Some(grant) = log.lines().find_map(granting) else { break };
            command(&place.server, &grant);
            attempts += 1;
            assert!(attempts < 6, "{}: {log}", rule.purpose);
        }
        place.proxy.pass();
        place.empty();
        let mut core = place.worker();
        let mut witness = place.witness();
        place.deliver(&mut core);
        assert_eq!(witness.stored(), place.expected(9), "{}: {}", rule.purpose, core.log.text());
    }
}

// Oracle: the dead letter's reason names the refusal, and the record is in it.
on_each_server!(what_a_record_brings_and_the_rule_forbids_makes_a_dead_letter);
fn what_a_record_brings_and_the_rule_forbids_makes_a_dead_letter(flavour: Flavour) {
    for rule in rules() {
        let place = Place::new(flavour, &rule);
        for right in rule.rights().iter().filter(|right| place.is_brought(right)) {
            place.begin(&rule.without(right));
            let mut core = place.worker();
            let mut witness = place.witness();
            place.load(&mut core, 0..1);
            assert_eq!(core.transaction(0..1), Committed, "{right}: {}", core.log.text());
            let (stored, dead_letters) = witness.stored();
            assert!(!stored.contains(&0) && dead_letters == 1, "{} {right}", rule.purpose);
            let letters = entries(&mut place.connection(), &place.dead_letter_key());
            assert!(letters[0].text("reason").contains("NOPERM"), "{letters:?}");
        }
    }
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
            ("sentinel.master", SentinelGroup::name()),
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
