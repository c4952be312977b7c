//! What is asked of a node that a connection is new to: whether copies can be had there, before anything is
//! written, and how it could lose what it has confirmed, when there is nothing more urgent.
#![forbid(unsafe_code)]

use super::copies::patience;
use super::nodes::Way;
use super::trouble::Trouble;
use crate::error::Error;
use crate::params::Address;
use crate::server::{Connect, Deadline};
use crate::worker::risks::{Found, ask_for_risks, read_risks};
use crate::worker::{Severity, Worker};

impl<C: Connect> Worker<'_, C> {
    /// Gives the nodes that cannot be written to because copies cannot be had, and why. Each must have been
    /// fenced on its connection: only after a write it answers for more than nothing.
    pub(super) fn meet(&mut self, ways: &[Way], deadline: Deadline) -> Vec<(Address, Trouble)> {
        // There must be time left to write.
        let share = deadline.capped(deadline.remaining().unwrap_or_default() / 2);
        let mut refused: Vec<(Address, Trouble)> = Vec::new();
        let mut asked = Vec::new();
        for Way { node, .. } in ways {
            if self.nodes.as_ref().is_some_and(|nodes| nodes.is_proven(node)) {
                continue;
            }
            match self.ask(node, share) {
                Ok(()) => asked.push(node),
                Err(trouble) => refused.push((node.clone(), trouble)),
            }
        }
        let mut patience = patience(asked.len(), deadline);
        for node in asked {
            if let Err(trouble) = self.hear_from(node, patience) {
                refused.push((node.clone(), trouble));
                patience = deadline;
            }
        }
        refused
    }

    /// Says how nodes could lose what they have confirmed. Nothing fails for that: what becomes of a connection
    /// over it is found out when it is needed.
    pub(super) fn tell_risks_of_nodes(&mut self, deadline: Deadline) {
        // A call that was slow so far would lose connections over it; the next one asks.
        if deadline.remaining() < Some(self.action.settings.timeouts.commit / 2) {
            return;
        }
        let Some(nodes) = self.nodes.as_mut().filter(|_| !self.is_for_past) else { return };
        let (mut asked, mut lost) = (Vec::new(), Vec::new());
        for line in nodes.lines().filter(|line| line.is_new) {
            line.is_new = false;
            match ask_for_risks(&self.action, &mut line.session, deadline) {
                Ok(Some(reserve)) => asked.push((line.id, reserve)),
                Ok(None) => {}
                Err(error) => lost.push((line.node.clone(), error)),
            }
        }
        let (mut found, patience) = (Found::default(), patience(asked.len(), deadline));
        for (id, reserve) in asked {
            let Some(line) = nodes.lines().find(|line| line.id == id) else { continue };
            match read_risks(&self.action, reserve, &mut line.session, patience) {
                Ok(risks) => found.add(line.node.to_string(), risks),
                Err(error) => lost.push((line.node.clone(), error)),
            }
        }
        for (node, error) in lost {
            nodes.failed(&node, Error { drops_connection: true, ..error });
        }
        let lines = self.action.told().lines(found);
        for line in lines {
            self.report.line(Severity::Warning, &line);
        }
    }
}
