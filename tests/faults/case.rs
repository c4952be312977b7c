//! One run of the table: which scenario, with whom, in which setting, and how much of it.

use crate::scenario::Scenario;
use crate::setting::Setting;
use crate::subject::Subject;

#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) scenario: &'static Scenario,
    pub(crate) subject: Subject,
    pub(crate) setting: Setting,
    /// How often the fault strikes.
    pub(crate) rounds: u64,
    pub(crate) records: u64,
}
