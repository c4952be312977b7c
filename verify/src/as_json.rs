//! The report as JSON for a program; `docs/verify.md` has the schema.
#![forbid(unsafe_code)]

use crate::checker::{DeadLetterReport, NodeReport, Oddity, Verdict, Why};
use crate::error::CannotCheck;
use crate::outcome::{Outcome, StreamRead};
use crate::schema::Event;
use crate::text::time;
use serde_json::{Map, Value, json};

/// The report.
pub fn of_outcome(outcome: &Outcome) -> Value {
    let report = &outcome.report;
    let verdict = match report.verdict() {
        Verdict::Complete => "complete",
        Verdict::CompleteWithWarnings => "complete_with_warnings",
        Verdict::Incomplete => "incomplete",
    };
    json!({
        "verdict": verdict,
        "exit_code": outcome.exit_code(),
        "strict": outcome.is_strict,
        "server": outcome.server,
        "streams": outcome.streams.iter().map(stream).collect::<Vec<_>>(),
        "entries": report.entries,
        "of_other_nodes": report.of_other_nodes,
        "of_other_version": report.of_other_version,
        "foreign": oddity(&report.foreign),
        "broken": oddity(&report.broken),
        "dead_letters": report.dead_letters.as_ref().map(dead_letters),
        "warnings": report.warnings(),
        "nodes": report.nodes.iter().map(|of| node(of, report.expects_start)).collect::<Vec<_>>(),
    })
}

/// What stands in the report's place when there is none.
pub fn of_error(error: &CannotCheck) -> Value {
    json!({ "verdict": "not_checked", "exit_code": 2, "error": error.to_string() })
}

fn stream(stream: &StreamRead) -> Value {
    json!({
        "key": stream.key,
        "server": stream.server,
        "is_dead_letter": stream.is_dead_letter,
        "exists": stream.facts.is_some(),
        "entries_read": stream.entries,
        "first_id": stream.ids.map(|(first, _)| first.to_string()),
        "last_id": stream.ids.map(|(_, last)| last.to_string()),
        "length": stream.facts.map(|facts| facts.length),
        "removed": stream.removed(),
    })
}

fn oddity(oddity: &Oddity) -> Value {
    json!({
        "count": oddity.count,
        "first_id": oddity.first.as_ref().map(|(id, _)| id),
        "first_why": oddity.first.as_ref().map(|(_, why)| why),
    })
}

fn dead_letters(dead: &DeadLetterReport) -> Value {
    json!({
        "count": dead.entries,
        "unnumbered": dead.unnumbered,
        "by_reason": dead.by_reason,
        "other_reasons": dead.other_reasons,
    })
}

fn node(node: &NodeReport, expects_start: bool) -> Value {
    let events: Map<String, Value> = Event::NAMES
        .iter()
        .zip(node.events)
        .map(|((name, _), count)| ((*name).to_owned(), count.into()))
        .collect();
    let gap_counts: Map<String, Value> = node
        .gap_counts
        .iter()
        .map(|(kind, count)| (why(*kind).to_owned(), (*count).into()))
        .collect();
    let gaps: Vec<Value> = node
        .gaps
        .iter()
        .map(|gap| {
            json!({ "first": gap.first, "last": gap.last, "count": gap.count(), "why": why(gap.why) })
        })
        .collect();
    json!({
        "node": node.node,
        "records": node.records,
        "first_seq": node.first,
        "last_seq": node.last,
        "missing": node.missing(),
        "lost_by_source": node.lost,
        "dead_lettered": node.dead,
        "doubled": node.doubles,
        "first_doubled": node.doubled,
        "out_of_order": node.out_of_order,
        "first_out_of_order": node.first_out_of_order,
        "unusable_lost_records": node.unusable_claims,
        "first_ts": node.times.map(|(first, _)| time(first)),
        "last_ts": node.times.map(|(_, last)| time(last)),
        "without_ts": node.without_time,
        "events": events,
        "gap_counts": gap_counts,
        "gaps": gaps,
        "failures": node.failures(),
        "warnings": node.warnings(expects_start),
    })
}

fn why(why: Why) -> &'static str {
    match why {
        Why::Unexplained => "unexplained",
        Why::PartlyLost => "partly_lost",
        Why::Lost => "lost",
        Why::DeadLetter => "dead_letter",
    }
}
