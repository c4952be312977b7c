//! The table that the suite ends with, in Markdown.

use std::time::Duration;

use crate::options::Options;
use crate::stage::Outcome;
use crate::subject::{BATCH, FLUSH, Subject};

/// The result of one run.
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    pub(crate) subject: Subject,
    pub(crate) outcome: Outcome,
}

impl Row {
    /// A peer cannot fail: what it does is what is shown.
    pub(crate) fn has_failed(&self) -> bool {
        !self.subject.is_peer() && !self.outcome.failures.is_empty()
    }

    pub(crate) fn line(&self) -> String {
        let Outcome { faults, sent, tally, resumes, longest, recoveries, remarks, failures } =
            &self.outcome;
        let judgement = if self.has_failed() { "**FAILED** " } else { "" };
        let words: Vec<&str> = failures.iter().chain(remarks).map(String::as_str).collect();
        format!(
            "| {} | {} | {faults} | {sent} | {} | {} | {} | {} | {resumes} | {} | {} | {judgement}{} |",
            self.scenario,
            self.subject,
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

pub(crate) fn print(rows: &[Row], options: &Options) {
    println!(
        "\n{} records of 120 bytes a scenario, batches of {BATCH} in commits of {FLUSH}; times in ms.\n",
        options.records
    );
    println!(
        "| scenario | rsyslogd | faults | sent | stored | dead letter | lost | doubled | resumes | longest call | \
         recovery: median, longest | |"
    );
    println!("| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --- |");
    for row in rows {
        println!("{}", row.line());
    }
    println!();
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
