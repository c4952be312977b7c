//! What to run: the words of the command line.

use testkit::{Flavour, Version};

use crate::case::Case;
use crate::scenario::Scenario;
use crate::setting::{Setting, Topology, flavour_of, topology_of};
use crate::subject::Subject;

pub(crate) const USAGE: &str = "usage: faults [--full] [--records N] [--version 8.2302|8.2504|8.2610] \
    [--flavour redis-7.0|redis-8.0|valkey-8.1|valkey-9.1] [--topology standalone|sentinel|cluster] [--tls on|off] \
    [--peer omhiredis] [SCENARIO]...";

const FULL_RECORDS: u64 = 100_000;
/// What `cargo test` runs: enough for several batches in each round.
const SMALL_RECORDS: u64 = 4000;
const SMALL_ROUNDS: u64 = 2;
/// One of so many of the scenarios that run everywhere runs in the small form where something is on the way.
const SMALL_SHARE: usize = 5;
/// The server of the peer's Debian release.
const PEERS_FLAVOUR: Flavour = Flavour::Valkey81;

#[derive(Debug, Default)]
pub(crate) struct Options {
    /// All versions and rounds.
    pub(crate) is_full: bool,
    pub(crate) records: u64,
    pub(crate) is_list: bool,
    version: Option<Version>,
    flavour: Option<Flavour>,
    topology: Option<Topology>,
    has_tls: Option<bool>,
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
                "--flavour" => options.flavour = Some(flavour_of(&words.next()?)?),
                "--topology" => options.topology = Some(topology_of(&words.next()?)?),
                "--tls" => {
                    options.has_tls = Some(match words.next()?.as_str() {
                        "on" => true,
                        "off" => false,
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

    /// What was asked for, setting by setting.
    pub(crate) fn cases(&self, scenarios: &'static [Scenario]) -> Vec<Case> {
        let settings = Setting::all().filter(|setting| {
            self.flavour.is_none_or(|flavour| flavour == setting.flavour)
                && self.topology.is_none_or(|topology| topology == setting.topology)
                && self.has_tls.is_none_or(|has_tls| has_tls == setting.has_tls)
        });
        let places = settings.flat_map(|setting| {
            let numbered = scenarios.iter().enumerate();
            numbered.map(move |(index, scenario)| (setting, index, scenario))
        });
        let chosen = places.filter(|(setting, index, scenario)| {
            scenario.obstacle(*setting).is_none()
                && self.names(scenario)
                && (self.is_full || self.is_in_small(*setting, *index, scenario))
        });
        chosen
            .flat_map(|(setting, index, scenario)| {
                self.subjects(setting, index, scenario).map(move |subject| Case {
                    scenario,
                    subject,
                    setting,
                    rounds: self.rounds(scenario),
                    records: (self.records / scenario.needs.share).max(1),
                })
            })
            .collect()
    }

    fn names(&self, scenario: &Scenario) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| scenario.name.contains(name.as_str()))
    }

    /// The small form: the servers in turns; and everything once without anything on the way, elsewhere what there is
    /// only there, and some of the rest.
    fn is_in_small(&self, setting: Setting, index: usize, scenario: &Scenario) -> bool {
        let flavour = self.flavour.or(scenario.needs.flavour);
        flavour.unwrap_or(Flavour::ALL[index % Flavour::ALL.len()]) == setting.flavour
            && (setting.is_plain()
                || scenario.needs.topology.is_some() && !setting.has_tls
                || !self.names.is_empty()
                || index.is_multiple_of(SMALL_SHARE))
    }

    fn subjects(
        &self,
        setting: Setting,
        index: usize,
        scenario: &Scenario,
    ) -> impl Iterator<Item = Subject> + use<> {
        let in_turns = Version::ALL[index % Version::ALL.len()];
        let version =
            self.version.unwrap_or(if self.is_full { setting.version() } else { in_turns });
        let has_peer = self.has_peer
            && scenario.needs.has_peer
            && setting.is_plain()
            && (setting.flavour == PEERS_FLAVOUR || !self.is_full);
        [Subject::Plugin(version)].into_iter().chain(has_peer.then_some(Subject::Omhiredis))
    }

    /// How often the fault strikes.
    fn rounds(&self, scenario: &Scenario) -> u64 {
        if self.is_full { scenario.rounds } else { scenario.rounds.min(SMALL_ROUNDS) }
    }
}
