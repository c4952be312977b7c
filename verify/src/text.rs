//! The report as text for a person.
#![forbid(unsafe_code)]

use crate::checker::{Gap, NodeReport, Verdict, Why};
use crate::outcome::{Outcome, StreamRead};
use crate::record::UnixMicros;
use crate::schema::Event;
use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

/// So many gaps of a node are written out; `--json` has more.
const MAX_GAPS: usize = 20;

/// So many reasons are written out.
const MAX_REASONS: usize = 20;

/// Writes the report.
///
/// # Errors
/// Those of `out`.
pub fn write(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "server {}", outcome.server)?;
    for stream in &outcome.streams {
        write_stream(stream, &outcome.server, out)?;
    }
    let report = &outcome.report;
    if report.of_other_nodes > 0 {
        writeln!(out, "records of other nodes, not checked: {}", report.of_other_nodes)?;
    }
    if let Some(dead) = report.dead_letters.as_ref().filter(|dead| dead.entries > 0) {
        writeln!(out, "dead letters: {}", dead.entries)?;
        let mut reasons: Vec<(&String, &u64)> = dead.by_reason.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (reason, count) in reasons.iter().take(MAX_REASONS) {
            writeln!(out, "  {count} x {reason}")?;
        }
        let shown: u64 = reasons.iter().take(MAX_REASONS).map(|(_, count)| **count).sum();
        if shown < dead.entries {
            writeln!(out, "  {} x other reasons", dead.entries - shown)?;
        }
    }
    for warning in report.warnings() {
        writeln!(out, "warning: {warning}")?;
    }
    for node in &report.nodes {
        writeln!(out)?;
        write_node(node, report.expects_start, out)?;
    }
    writeln!(out)?;
    let total =
        |of: fn(&NodeReport) -> u64| report.nodes.iter().map(of).fold(0, u64::saturating_add);
    match report.verdict() {
        Verdict::Complete => writeln!(out, "result: complete"),
        Verdict::CompleteWithWarnings if outcome.is_strict => {
            writeln!(
                out,
                "result: FAILED, nothing missing or doubled, but there are warnings (--strict)"
            )
        }
        Verdict::CompleteWithWarnings if report.nodes.is_empty() => {
            writeln!(out, "result: NOTHING CHECKED, there is no numbered record")
        }
        Verdict::CompleteWithWarnings => writeln!(out, "result: complete, with warnings"),
        Verdict::Incomplete => writeln!(
            out,
            "result: INCOMPLETE, records missing: {}, doubled: {}",
            total(NodeReport::missing),
            total(|node| node.doubles)
        ),
    }
}

fn write_stream(stream: &StreamRead, named: &str, out: &mut impl Write) -> io::Result<()> {
    let kind = if stream.is_dead_letter { "dead letter" } else { "stream" };
    write!(out, "{kind} \"{}\": ", stream.key.escape_debug())?;
    if stream.facts.is_none() {
        return writeln!(out, "does not exist");
    }
    write!(out, "{} entries read", stream.entries)?;
    if let Some((first, last)) = stream.ids {
        write!(out, ", {first} to {last}")?;
    }
    if let Some(removed @ 1..) = stream.removed() {
        write!(out, ", {removed} older or deleted ones are gone")?;
    }
    if stream.server != named {
        write!(out, ", from {}", stream.server)?;
    }
    writeln!(out)
}

fn write_node(node: &NodeReport, expects_start: bool, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "node {}", node.node)?;
    match (node.first, node.last) {
        (Some(first), Some(last)) => {
            writeln!(out, "  records  {}, seq {first} to {last}", node.records)?;
        }
        _ => writeln!(out, "  records  none in the streams")?,
    }
    if let Some((first, last)) = node.times {
        writeln!(out, "  time     {} to {}", time(first), time(last))?;
    }
    if node.without_time > 0 {
        writeln!(out, "  no time  {} records have no readable ts", node.without_time)?;
    }
    let events: Vec<String> = Event::NAMES
        .iter()
        .zip(node.events)
        .filter(|(_, count)| *count > 0)
        .map(|((name, _), count)| format!("{name} {count}"))
        .collect();
    if !events.is_empty() {
        writeln!(out, "  events   {}", events.join(", "))?;
    }
    let failures = node.failures();
    let warnings = node.warnings(expects_start);
    for failure in &failures {
        writeln!(out, "  FAILURE  {failure}")?;
    }
    for warning in &warnings {
        writeln!(out, "  warning  {warning}")?;
    }
    for gap in node.gaps.iter().take(MAX_GAPS) {
        write_gap(gap, out)?;
    }
    let gaps: u64 = node.gap_counts.values().sum();
    let shown = node.gaps.len().min(MAX_GAPS) as u64;
    if gaps > shown {
        writeln!(out, "  gap      and {} more; --json lists up to 1000 of a node", gaps - shown)?;
    }
    if failures.is_empty() && warnings.is_empty() {
        writeln!(out, "  complete")?;
    }
    Ok(())
}

fn write_gap(gap: &Gap, out: &mut impl Write) -> io::Result<()> {
    let why = match gap.why {
        Why::Unexplained => "MISSING",
        Why::PartlyLost => "some of them lost by the source",
        Why::Lost => "lost by the source",
        Why::DeadLetter => "in the dead letter",
    };
    if gap.first == gap.last {
        writeln!(out, "  gap      seq {}: {why}", gap.first)
    } else {
        writeln!(out, "  gap      seq {} to {} ({}): {why}", gap.first, gap.last, gap.count())
    }
}

/// RFC 3339, UTC, microseconds; the number itself where it lies beyond the calendar.
pub(crate) fn time(micros: UnixMicros) -> String {
    UNIX_EPOCH
        .checked_add(Duration::from_micros(micros))
        .filter(|_| micros < MAX_CALENDAR_MICROS)
        .map_or_else(|| micros.to_string(), |at| humantime::format_rfc3339_micros(at).to_string())
}

/// The end of the year 9999.
const MAX_CALENDAR_MICROS: u64 = 253_402_300_800_000_000;
