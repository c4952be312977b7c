//! What the audit source writes is what the command reads: each member that `src/schema.rs` names.

use redis::Connection;
use testkit::{Version, wait_until};

use crate::chain::{Chain, DEADLINE, Told};

/// Sends a command and does not care how it ends.
fn say(connection: &mut Connection, words: &[&str]) {
    drop(redis::cmd(words[0]).arg(&words[1..]).query::<redis::Value>(connection));
}

// Oracle: the run id and the counters of the audited server, and the clock of this machine; of both layouts.
#[test]
fn every_member_that_is_checked_is_there_and_readable() {
    for action in ["", "layout=\"record\""] {
        let chain = Chain::new(Version::of_this_machine(), "", action);
        let mut connection = chain.audited.connection();
        for words in [
            &["SET", "k", "1"][..],
            &["LPUSH", "k", "1"],
            &["NOSUCH"],
            &["ACL", "SETUSER", "reader", "on", ">pw", "~*", "+get", "+auth"],
            &["AUTH", "reader", "pw"],
            &["SET", "k", "2"],
        ] {
            say(&mut connection, words);
        }
        let mut connection = chain.audited.connection();
        let info: String = redis::cmd("INFO").arg("server").query(&mut connection).unwrap();
        let run_id = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap().trim();
        let told = chain.end();
        let report = chain.verify();
        let json = &report.json;
        assert_eq!((report.code, &json["verdict"]), (0, &"complete".into()), "{json:#}");
        assert_eq!((&json["of_other_version"], &json["foreign"]["count"]), (&0.into(), &0.into()));
        assert_eq!(json["broken"]["count"], 0);
        let node = &json["nodes"][0];
        assert_eq!(node["node"], run_id);
        // The stop comes after the counters.
        assert_eq!((&node["first_seq"], &node["last_seq"]), (&1.into(), &(told.seq + 1).into()));
        assert_eq!(node["records"], told.seq + 1);
        assert_eq!(node["without_ts"], 0);
        for (event, count) in told.events {
            assert!(count > 0, "no {event} was provoked");
            assert_eq!(node["events"][event], count, "{event}");
        }
        assert_eq!((&node["events"]["start"], &node["events"]["stop"]), (&1.into(), &1.into()));
        assert_eq!(node["events"]["other"].as_u64().unwrap_or(0), 0);
    }
}

// Oracle: the numbers that INFO says are lost; the smallest buffer there is, while nobody reads.
#[test]
fn what_did_not_fit_into_the_buffer_is_explained_to_the_last_number() {
    for action in ["", "layout=\"record\""] {
        let chain = Chain::new(Version::of_this_machine(), "auditsource.buffer 1mb", action);
        let mut connection = chain.audited.connection();
        chain.rsyslogd.stop();
        chain.load(10_000).wait();
        let lost = Told::of(&mut connection).lost;
        assert!(lost > 1000, "only {lost} lost");
        chain.rsyslogd.start();
        wait_until("the lost record", DEADLINE, || Told::of(&mut connection).seq > lost + 1);
        let told = chain.end();
        let report = chain.verify();
        let (json, node) = (&report.json, &report.json["nodes"][0]);
        let verdict = "complete_with_warnings";
        assert_eq!((report.code, &json["verdict"]), (0, &verdict.into()), "{json:#}");
        assert_eq!((&node["missing"], &node["lost_by_source"]), (&0.into(), &told.lost.into()));
        assert_eq!(
            (&node["unusable_lost_records"], &node["events"]["lost"]),
            (&0.into(), &1.into())
        );
        assert_eq!(node["gap_counts"]["lost"], 1, "{json:#}");
        assert_eq!(node["gap_counts"]["unexplained"].as_u64().unwrap_or(0), 0, "{json:#}");
    }
}
