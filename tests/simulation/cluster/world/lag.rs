//! Copies that lag behind a node, and what must be on them all the same.

use super::World;
use crate::cluster::keys::Held;
use omvalkeyaudit::params::Durability;
use std::collections::BTreeMap;

impl World {
    /// What an action with these settings is promised.
    pub(in crate::cluster) fn promise(&mut self, durability: Durability) {
        self.asked = durability.is_asked().then_some(durability);
        self.cluster.is_move_from_at_risk = durability.is_asked();
    }

    /// Begins or ends a time in which replicas, or a disk, lag behind a node.
    pub(super) fn change_lag(&mut self) {
        self.lag_left = self.lag_left.saturating_sub(1);
        if self.lag_left > 0 {
            return;
        }
        self.end_lag();
        if self.strikes(3) {
            self.note("copies lag");
            self.lag_left = u64::try_from(self.random.within(1, 60)).expect("small");
            let node = self.random.below(self.cluster.nodes.len());
            let copies = &mut self.cluster.nodes[node].copies;
            (copies.replicas_lag, copies.disk_lags) =
                *self.random.pick(&[(true, false), (false, true), (true, true)]);
        }
    }

    pub(super) fn end_lag(&mut self) {
        for node in &mut self.cluster.nodes {
            (node.copies.replicas_lag, node.copies.disk_lags) = (false, false);
        }
    }

    /// All that was committed and acknowledged so far is on the copies, or was taken by who may.
    pub(in crate::cluster) fn check_copies(&self, promised: &BTreeMap<&str, Vec<&[u8]>>) {
        let Some(asked) = &self.asked else { return };
        for (key, texts) in promised {
            let is_consumed = |text: &[u8]| {
                let taken = self.consumed.iter().filter(|(of, _)| of == key.as_bytes());
                taken.flat_map(|(_, elements)| elements).any(|element| element == text)
            };
            for held in self.cluster.safe(key.as_bytes(), asked) {
                let held = held.map(Held::texts).unwrap_or_default();
                let has = |text: &[u8]| held.iter().any(|held| held == text) || is_consumed(text);
                let missing = texts.iter().filter(|text| !has(text)).count();
                assert_eq!(missing, 0, "{key}: acknowledged, and on too few copies");
            }
        }
    }
}
