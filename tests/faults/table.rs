//! The table that the suite ends with, in Markdown.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::case::Case;
use crate::list::SCENARIOS;
use crate::options::{LeftOut, Options};
use crate::stage::Outcome;
use crate::subject::{BATCH, FLUSH};

/// The result of one run.
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) outcome: Outcome,
}

impl Row {
    /// A peer cannot fail: what it does is what is shown.
    pub(crate) fn has_failed(&self) -> bool {
        !self.case.subject.is_peer() && !self.outcome.failures.is_empty()
    }

    pub(crate) fn line(&self) -> String {
        let Outcome { faults, sent, tally, resumes, longest, recoveries, remarks, failures } =
            &self.outcome;
        let judgement = if self.has_failed() { "**FAILED** " } else { "" };
        let words: Vec<&str> = failures.iter().chain(remarks).map(String::as_str).collect();
        format!(
            "| {} | {} | {} | {faults} | {sent} | {} | {} | {} | {} | {resumes} | {} | {} | {judgement}{} |",
            self.case.setting,
            self.case.scenario.name,
            self.case.subject,
            tally.stored,
            tally.dead,
            tally.lost,
            tally.doubled,
            in_ms(*longest),
            recovery(recoveries),
            words.join("; ")
        )
    }
}

/// Prints the table and its sums; a full run's are also written to target/faults.md.
pub(crate) fn print(rows: &[Row], options: &Options) {
    let text = format!("{}\n{}\n{}", table(rows, options), sums(rows), foot(options));
    println!("\n{text}");
    if !options.is_full {
        return;
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/faults.md");
    if let Err(e) = fs::write(&file, text) {
        eprintln!("cannot write {}: {e}", file.display());
    }
}

fn table(rows: &[Row], options: &Options) -> String {
    let mut text = format!(
        "{} records of 120 bytes a scenario, batches of {BATCH} in commits of {FLUSH}; times in ms.\n\n\
         | setting | scenario | rsyslogd | faults | sent | stored | dead letter | lost | doubled | resumes | longest call \
         | recovery: median, longest | |\n\
         | --- | --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --- |\n",
        options.records
    );
    for row in rows {
        text.push_str(&row.line());
        text.push('\n');
    }
    text
}

/// One line for each setting, of the plugin's runs in it.
fn sums(rows: &[Row]) -> String {
    let mut text = "| setting | runs | faults | sent | stored | dead letter | lost | doubled | doubled by kill -9 \
         | only on a former primary | longest call | longest recovery |\n\
         | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n"
        .to_owned();
    let own: Vec<&Row> = rows.iter().filter(|row| !row.case.subject.is_peer()).collect();
    for same in own.chunk_by(|one, other| one.case.setting == other.case.setting) {
        let sum = |of: fn(&Row) -> u64| same.iter().map(|row| of(row)).sum::<u64>();
        let longest = same.iter().map(|row| row.outcome.longest).max().unwrap_or_default();
        let recoveries = same.iter().flat_map(|row| row.outcome.recoveries.iter().flatten());
        let doubled = |row: &Row, is_known: bool| {
            if row.case.scenario.needs.may_double == is_known {
                row.outcome.tally.doubled
            } else {
                0
            }
        };
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            same[0].case.setting,
            same.len(),
            sum(|row| row.outcome.faults),
            sum(|row| row.outcome.sent),
            sum(|row| row.outcome.tally.stored),
            sum(|row| row.outcome.tally.dead),
            sum(|row| row.outcome.tally.lost),
            same.iter().map(|row| doubled(row, false)).sum::<u64>(),
            same.iter().map(|row| doubled(row, true)).sum::<u64>(),
            sum(|row| row.outcome.tally.unreplicated),
            in_ms(longest),
            in_ms(recoveries.max().copied().unwrap_or_default()),
        ));
    }
    text
}

/// What does not run where, and why.
fn foot(options: &Options) -> String {
    let left_out = options.left_out(&SCENARIOS);
    let mut text =
        if left_out.is_empty() { String::new() } else { "Left out by rule:\n\n".to_owned() };
    for LeftOut { rule, ways, names } in left_out {
        text.push_str(&format!("- {rule} (not in {}): {}\n", ways.join("; "), names.join("; ")));
    }
    text
}

fn in_ms(duration: Duration) -> u128 {
    duration.as_millis()
}

/// Median and longest; and how often there was none.
fn recovery(recoveries: &[Option<Duration>]) -> String {
    let mut sorted: Vec<Duration> = recoveries.iter().flatten().copied().collect();
    sorted.sort();
    let never = recoveries.len() - sorted.len();
    let mut words = Vec::new();
    if let Some(longest) = sorted.last() {
        words.push(format!("{}, {}", in_ms(sorted[sorted.len() / 2]), in_ms(*longest)));
    }
    if never > 0 {
        words.push(format!("never: {never}"));
    }
    if words.is_empty() { "-".to_owned() } else { words.join("; ") }
}
