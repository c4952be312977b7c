//! A worker's connections to the nodes of a cluster, one to each that it needs, and the marker that each
//! of them guards.
#![forbid(unsafe_code)]

use super::trouble::{Retry, Trouble};
use crate::commands::{Replies, Rights, Slot, refusal};
use crate::error::{Cause, Error, Refusal};
use crate::params::{Address, Settings};
use crate::server::{Connect, Connection, Deadline, Redirect, SlotMap};
use std::collections::BTreeMap;
use std::fmt;

/// A connection to a node.
pub(super) struct Line<S> {
    pub(super) node: Address,
    pub(super) session: S,
    /// No other connection of this worker has it.
    pub(super) id: u64,
    /// The slot whose marker the next transaction is guarded by. Only it may be sent.
    pub(super) guarded: Option<Slot>,
    /// The node was asked for copies, and its answer is not read yet.
    pub(super) is_asked: bool,
    /// When it was asked last there were enough, or nobody wants to know.
    pub(super) is_proven: bool,
    /// Nothing is known yet of how the node keeps what it confirms.
    pub(super) is_new: bool,
}

/// Where a transaction of a slot goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) node: Address,
    /// The node does not have the slot yet, but this slot's marker: it wants to be asked.
    pub(super) is_asking: bool,
}

/// A worker's way into a cluster.
pub(in crate::worker) struct Nodes<S> {
    map: SlotMap,
    /// The map is to be asked for again.
    is_stale: bool,
    /// Who knows best.
    informant: Option<Address>,
    /// Whose word the map is.
    source: Option<Address>,
    lines: Vec<Line<S>>,
    /// Slots that were found to be on their way: who has the marker is to be asked.
    pub(super) torn: Vec<Slot>,
    /// Nodes to which a connection was lost in this call.
    lost: Vec<Address>,
    /// Nodes that there was a connection to before.
    known: Vec<Address>,
    /// How often there was one to such a node again.
    reconnects: u64,
    /// Where the slots that were written to are.
    homes: BTreeMap<Slot, Address>,
    /// The command that grants what the user lacks at a node.
    missing: Option<String>,
    /// A node's word is not enough, see `copies`.
    needs_copies: bool,
    /// How many connections there were so far.
    opened: u64,
    /// What the user must be allowed to do at all nodes.
    rights: Rights,
}

impl<S> Nodes<S> {
    /// Before the first connection.
    pub(in crate::worker) fn new(settings: &Settings) -> Self {
        Self {
            map: SlotMap::default(),
            is_stale: true,
            informant: None,
            source: None,
            lines: Vec::new(),
            torn: Vec::new(),
            lost: Vec::new(),
            known: Vec::new(),
            reconnects: 0,
            homes: BTreeMap::new(),
            missing: None,
            needs_copies: settings.durability.is_asked(),
            opened: 0,
            rights: Rights::of(settings),
        }
    }
}

/// So many nodes are named in a log line.
const MAX_NAMED_NODES: usize = 8;

/// The primaries, as a log line names them.
impl<S> fmt::Display for Nodes<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut nodes: Vec<String> = self.map.nodes().map(Address::to_string).collect();
        nodes.sort();
        nodes.dedup();
        let unnamed = nodes.len().saturating_sub(MAX_NAMED_NODES);
        nodes.truncate(MAX_NAMED_NODES);
        write!(f, "cluster of {}", nodes.join(", "))?;
        if unnamed > 0 { write!(f, " and {unnamed} more") } else { Ok(()) }
    }
}

impl<S: Connection> Nodes<S> {
    /// A call begins: what was lost or torn in an earlier one may be whole.
    pub(super) fn begin(&mut self) {
        self.lost.clear();
        self.torn.clear();
    }

    /// Ends all connections.
    pub(in crate::worker) fn disconnect(&mut self) {
        self.lines.clear();
        self.is_stale = true;
    }

    /// Whether there is any.
    pub(in crate::worker) fn is_connected(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Whether keys of the slot were found to be on their way.
    pub(super) fn is_torn(&self, slot: Slot) -> bool {
        self.torn.contains(&slot)
    }

    /// Whether a transaction of this slot may be sent without a word before.
    pub(super) fn is_guarded(&self, slot: Slot) -> bool {
        self.lines.iter().any(|line| line.guarded == Some(slot))
    }

    /// The node that has the slot, as far as it is known.
    pub(super) fn owner(&self, slot: Slot) -> Option<&Address> {
        self.map.owner(slot)
    }

    /// All connections.
    pub(super) fn lines(&mut self) -> impl Iterator<Item = &mut Line<S>> {
        self.lines.iter_mut()
    }

    /// Whether keys that are on their way may be found apart: not where copies of all of them are wanted.
    pub(super) fn needs_copies(&self) -> bool {
        self.needs_copies
    }

    /// Whether there were copies enough when this node was asked last.
    pub(super) fn is_proven(&self, node: &Address) -> bool {
        self.lines.iter().any(|line| line.node == *node && line.is_proven)
    }

    /// The nodes that were asked for copies and have not answered yet, and the connections to them.
    pub(super) fn asked(&self) -> impl Iterator<Item = (Address, u64)> {
        let asked = self.lines.iter().filter(|line| line.is_asked);
        asked.map(|line| (line.node.clone(), line.id))
    }

    /// The connection to a node that there was a moment ago.
    pub(super) fn line(&mut self, node: &Address) -> Result<&mut Line<S>, Error> {
        let line = self.lines.iter_mut().find(|line| line.node == *node);
        line.ok_or_else(|| Error::broken(Cause::Connect, format!("not connected to {node}")))
    }

    /// The connection to a node is of no use any more, or did not come about.
    pub(super) fn failed(&mut self, node: &Address, error: Error) -> Trouble {
        self.lines.retain(|line| line.node != *node);
        self.is_stale = true;
        // One immediate attempt more: the node may have closed an idle connection, or another one may
        // have its slots now.
        let is_first = error.cause != Cause::Timeout && !self.lost.contains(node);
        self.lost.push(node.clone());
        Trouble { error, retry: if is_first { Retry::AtOnce } else { Retry::Later } }
    }

    /// A node refused something for a slot.
    pub(super) fn refused(&mut self, slot: Slot, refusal: &Refusal, node: &Address) -> Trouble {
        let error = Error::refused(&format!("node {node} refuses slot {slot}"), refusal);
        // What is said about a slot before its records is about its marker.
        let error = self.rights.explain_refusal(error, refusal, self.rights.markers());
        let retry = match Redirect::read(refusal, node) {
            Some(Redirect::Moved(to)) => {
                self.informant = Some(to.clone());
                self.map.moved(slot, to);
                Retry::AtOnce
            }
            Some(Redirect::Ask(_) | Redirect::Later) => {
                self.torn.push(slot);
                Retry::Soon
            }
            None if error.drops_connection => return self.failed(node, error),
            None => return error.into(),
        };
        self.is_stale = true;
        Trouble { error, retry }
    }

    /// Brings the map up to date if it may be wrong.
    pub(super) fn refresh<C>(&mut self, servers: &C, deadline: Deadline) -> Result<bool, Error>
    where
        C: Connect<Connection = S>,
    {
        if !self.is_stale {
            return Ok(false);
        }
        let informant = self.informant.take();
        let mut candidates = Vec::new();
        let known = self.lines.iter().map(|line| &line.node).chain(self.map.nodes());
        for node in known.chain(servers.seeds()) {
            if !candidates.contains(node) {
                candidates.push(node.clone());
            }
        }
        ask_last(&mut candidates, self.source.as_ref());
        // A node that a slot has just moved to knows of that, whatever it said before.
        if let Some(node) = informant {
            candidates.retain(|other| *other != node);
            candidates.insert(0, node);
        }
        let mut unasked = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
        let mut errors: Vec<Error> = Vec::new();
        for node in candidates {
            // One that does not answer must leave time for the others.
            let Some(left) = deadline.remaining() else { break };
            let share = deadline.capped(left / unasked.saturating_add(1));
            unasked -= 1;
            match self.ask_for_map(servers, &node, share) {
                Ok(map) => {
                    self.lines.retain(|line| map.nodes().any(|node| *node == line.node));
                    self.map = map;
                    self.source = Some(node);
                    self.is_stale = false;
                    return Ok(true);
                }
                Err(error) => {
                    self.lines.retain(|line| line.node != node);
                    errors.push(error);
                }
            }
        }
        let cause = errors.iter().map(|error| error.cause).find(|cause| *cause == Cause::Auth);
        let cause = cause.or(errors.first().map(|error| error.cause)).unwrap_or(Cause::Timeout);
        let mut reasons: Vec<&str> = errors.iter().map(|error| error.what.as_str()).collect();
        if reasons.is_empty() {
            reasons.push("no time was left to ask one");
        }
        let what = format!("no node says where the cluster's slots are: {}", reasons.join("; "));
        Err(Error::broken(cause, what))
    }

    fn ask_for_map<C>(
        &mut self,
        servers: &C,
        node: &Address,
        deadline: Deadline,
    ) -> Result<SlotMap, Error>
    where
        C: Connect<Connection = S>,
    {
        let session = &mut self.open(servers, node, deadline)?.session;
        let question = redis::cmd("CLUSTER").arg("SLOTS").get_packed_command();
        session.send(&[&question], deadline)?;
        let reply = session.replies(deadline).next()?;
        if let Some(refusal) = refusal(&reply) {
            let doing = format!("cannot ask {node} for CLUSTER SLOTS");
            let error = Error::refused(&doing, &refusal);
            return Err(self.rights.explain_refusal(error, &refusal, ""));
        }
        SlotMap::read(&reply, node).map_err(|why| {
            let what = format!("{node} does not say where the cluster's slots are: {why}");
            Error::broken(Cause::Busy, what)
        })
    }

    /// The connection to a node, made where there is none.
    pub(super) fn open<C>(
        &mut self,
        servers: &C,
        node: &Address,
        deadline: Deadline,
    ) -> Result<&mut Line<S>, Error>
    where
        C: Connect<Connection = S>,
    {
        if !self.lines.iter().any(|line| line.node == *node) {
            let session = servers.open(node, deadline)?;
            self.missing = session.missing_rights();
            if self.known.contains(node) {
                self.reconnects += 1;
            } else {
                self.known.push(node.clone());
            }
            self.opened += 1;
            self.lines.push(Line {
                node: node.clone(),
                session,
                id: self.opened,
                guarded: None,
                is_asked: false,
                is_proven: !self.needs_copies,
                is_new: true,
            });
        }
        self.line(node)
    }

    /// How many connections were made anew since the last such question.
    pub(super) fn take_reconnects(&mut self) -> u64 {
        std::mem::take(&mut self.reconnects)
    }

    /// The command that grants what the user lacked at the latest node, if anything.
    pub(super) fn missing_rights(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// Where the slot is now, and where it was when it was last written to, if that is another node.
    pub(super) fn moved_home(&mut self, slot: Slot) -> Option<(Address, Address)> {
        let now = self.map.owner(slot)?;
        let before = self.homes.insert(slot, now.clone())?;
        (before != *now).then(|| (before, now.clone()))
    }

    /// Connects to the node that has the slot.
    pub(super) fn connect<C>(
        &mut self,
        servers: &C,
        slot: Slot,
        deadline: Deadline,
    ) -> Result<Address, Trouble>
    where
        C: Connect<Connection = S>,
    {
        let Some(node) = self.map.owner(slot).cloned() else {
            self.is_stale = true;
            let what = format!("no node of the cluster has slot {slot}");
            let error = Error { cause: Cause::Busy, what, drops_connection: false };
            return Err(Trouble { error, retry: Retry::Soon });
        };
        match self.open(servers, &node, deadline) {
            Ok(_) => Ok(node),
            Err(error) => {
                let what = format!("{error}; this node has slot {slot}");
                Err(self.failed(&node, Error { what, ..error }))
            }
        }
    }
}

/// Whoever gave the map that turned out to be wrong is asked last: it may have lost sight of the others, and
/// would say the same for ever.
fn ask_last(candidates: &mut Vec<Address>, source: Option<&Address>) {
    if let Some(place) = candidates.iter().position(|node| Some(node) == source) {
        let node = candidates.remove(place);
        candidates.push(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gave_the_wrong_map_is_asked_last() {
        let [a, b, c] = ["a", "b", "c"].map(|host| Address::tcp(host, 1).unwrap());
        let order = |source: Option<&Address>| {
            let mut candidates = vec![a.clone(), b.clone(), c.clone()];
            ask_last(&mut candidates, source);
            candidates
        };
        assert_eq!(order(None), [a.clone(), b.clone(), c.clone()]);
        assert_eq!(order(Some(&a)), [b.clone(), c.clone(), a.clone()]);
        assert_eq!(order(Some(&b)), [a.clone(), c.clone(), b.clone()]);
    }
}
