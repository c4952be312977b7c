//! What to run: the words of the command line.

use testkit::Version;

use crate::scenario::Scenario;
use crate::subject::Subject;

pub(crate) const USAGE: &str = "usage: faults [--full] [--records N] [--version 8.2302|8.2504|8.2610] [--peer omhiredis] [SCENARIO]...";

const FULL_RECORDS: u64 = 100_000;
/// What `cargo test` runs: enough for several batches in each round.
const SMALL_RECORDS: u64 = 4000;
const SMALL_ROUNDS: u64 = 2;

#[derive(Debug, Default)]
pub(crate) struct Options {
    /// All versions and rounds.
    pub(crate) is_full: bool,
    pub(crate) records: u64,
    pub(crate) is_list: bool,
    version: Option<Version>,
    has_peer: bool,
    /// Parts of scenarios' names; none means all.
    names: Vec<String>,
}

impl Options {
    pub(crate) fn of(mut words: impl Iterator<Item = String>) -> Option<Options> {
        let mut options = Options::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--full" => options.is_full = true,
                "--records" => options.records = words.next()?.parse().ok()?,
                "--version" => {
                    options.version = Some(match words.next()?.as_str() {
                        "8.2302" => Version::V8_2302,
                        "8.2504" => Version::V8_2504,
                        "8.2610" => Version::V8_2610,
                        _ => return None,
                    });
                }
                "--peer" => options.has_peer = (words.next()? == "omhiredis").then_some(true)?,
                "--list" => options.is_list = true,
                "--help" => return None,
                // `cargo test -- --nocapture` gives its options to every test program.
                option if option.starts_with("--") => {}
                name => options.names.push(name.to_owned()),
            }
        }
        if options.records == 0 {
            options.records = if options.is_full { FULL_RECORDS } else { SMALL_RECORDS };
        }
        Some(options)
    }

    /// Each scenario that was named, with everybody who takes part in it.
    pub(crate) fn runs(&self, scenarios: &'static [Scenario]) -> Vec<(&'static Scenario, Subject)> {
        let named = scenarios.iter().enumerate().filter(|(_, scenario)| self.names(scenario));
        named
            .flat_map(|(index, scenario)| {
                let versions = match self.version {
                    Some(version) => vec![version],
                    None if self.is_full => Version::ALL.to_vec(),
                    None => vec![Version::ALL[index % Version::ALL.len()]],
                };
                let peer =
                    (self.has_peer && scenario.setting.has_peer).then_some(Subject::Omhiredis);
                let subjects = versions.into_iter().map(Subject::Plugin).chain(peer);
                subjects.map(move |subject| (scenario, subject)).collect::<Vec<_>>()
            })
            .collect()
    }

    fn names(&self, scenario: &Scenario) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| scenario.name.contains(name.as_str()))
    }

    /// How often the fault strikes.
    pub(crate) fn rounds(&self, scenario: &Scenario) -> u64 {
        if self.is_full { scenario.rounds } else { scenario.rounds.min(SMALL_ROUNDS) }
    }
}
