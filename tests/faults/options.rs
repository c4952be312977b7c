//! What to run: the words of the command line.

use testkit::{Flavour, Version};

use crate::case::Case;
use crate::scenario::{Obstacle, Scenario};
use crate::setting::{Setting, Topology, flavour_of, topology_of};
use crate::subject::Subject;

pub(crate) const USAGE: &str = "usage: faults [--full] [--records N] [--version 8.2302|8.2504|8.2610] \
    [--flavour all|redis-7.0|redis-8.0|valkey-8.1|valkey-9.1] [--topology all|standalone|sentinel|cluster] \
    [--tls all|on|off] [--peer omhiredis] [SCENARIO]...
--flavour and --topology take several, with commas in between";

const FULL_RECORDS: u64 = 100_000;
/// What `cargo test` runs: enough for several batches in each round.
const SMALL_RECORDS: u64 = 4000;
const SMALL_ROUNDS: u64 = 2;
/// One of so many of the scenarios that run everywhere runs in the small form where something is on the way.
const SMALL_SHARE: usize = 5;
/// The server of the peer's Debian release.
const PEERS_FLAVOUR: Flavour = Flavour::Valkey81;

/// Every one that there is.
const ALL: &str = "all";

/// Scenarios that a rule leaves out, and where.
pub(crate) struct LeftOut {
    pub(crate) rule: Obstacle,
    /// The settings, whatever their server.
    pub(crate) ways: Vec<String>,
    pub(crate) names: Vec<&'static str>,
}

#[derive(Debug, Default)]
pub(crate) struct Options {
    /// All versions and rounds.
    pub(crate) is_full: bool,
    pub(crate) records: u64,
    pub(crate) is_list: bool,
    version: Option<Version>,
    /// None means all; so below.
    flavours: Vec<Flavour>,
    topologies: Vec<Topology>,
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
                "--flavour" => options.flavours = several(&words.next()?, flavour_of)?,
                "--topology" => options.topologies = several(&words.next()?, topology_of)?,
                "--tls" => {
                    options.has_tls = match words.next()?.as_str() {
                        ALL => None,
                        "on" => Some(true),
                        "off" => Some(false),
                        _ => return None,
                    };
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
        let places = self.settings().flat_map(|setting| {
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

    /// What was asked for and is left out.
    pub(crate) fn left_out(&self, scenarios: &'static [Scenario]) -> Vec<LeftOut> {
        let mut all: Vec<LeftOut> = Vec::new();
        for scenario in scenarios.iter().filter(|scenario| self.names(scenario)) {
            for setting in self.settings() {
                let Some(rule) = scenario.obstacle(setting) else { continue };
                let place = all.iter().position(|known| known.rule == rule);
                let place = place.unwrap_or_else(|| {
                    all.push(LeftOut { rule, ways: Vec::new(), names: Vec::new() });
                    all.len() - 1
                });
                let LeftOut { ways, names, .. } = &mut all[place];
                if !ways.contains(&setting.way()) {
                    ways.push(setting.way());
                }
                if !names.contains(&scenario.name) {
                    names.push(scenario.name);
                }
            }
        }
        all
    }

    fn settings(&self) -> impl Iterator<Item = Setting> {
        Setting::all().filter(|setting| {
            (self.flavours.is_empty() || self.flavours.contains(&setting.flavour))
                && (self.topologies.is_empty() || self.topologies.contains(&setting.topology))
                && self.has_tls.is_none_or(|has_tls| has_tls == setting.has_tls)
        })
    }

    fn names(&self, scenario: &Scenario) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| scenario.name.contains(name.as_str()))
    }

    /// The small form: the servers in turns; and everything once without anything on the way, elsewhere what there is
    /// only there, and some of the rest.
    fn is_in_small(&self, setting: Setting, index: usize, scenario: &Scenario) -> bool {
        let flavours =
            if self.flavours.is_empty() { Flavour::ALL.as_slice() } else { &self.flavours };
        let flavour = scenario.needs.flavour.unwrap_or(flavours[index % flavours.len()]);
        flavour == setting.flavour
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

/// Words with commas in between; `None` where one of them is unknown, an empty list for all.
fn several<T>(words: &str, of: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    if words == ALL {
        return Some(Vec::new());
    }
    words.split(',').map(of).collect()
}
