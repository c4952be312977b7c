//! What makes a transaction in a slot safe, and what is found out about one in doubt, while the slot may be
//! on its way from one node to another.
#![forbid(unsafe_code)]

use super::nodes::{Nodes, Way};
use super::trouble::{Retry, Trouble};
use crate::commands::{Marker, Slot, asking, read_fence, read_fence_asking, read_ok};
use crate::error::{Cause, Error, Refusal};
use crate::params::Address;
use crate::server::{Connect, Connection, Deadline, Redirect};
use crate::worker::settle::Types;
use crate::worker::types::{ask_types, cannot_look_up};

impl<S: Connection> Nodes<S> {
    /// Makes a slot's next transaction safe: see docs/cluster.md.
    pub(super) fn guard<C>(
        &mut self,
        servers: &C,
        slot: Slot,
        marker: &Marker,
        deadline: Deadline,
    ) -> Result<Way, Trouble>
    where
        C: Connect<Connection = S>,
    {
        if !self.is_torn(slot) {
            let node = self.connect(servers, slot, deadline)?;
            let way = Way { node: node.clone(), is_asking: false };
            let line = self.line(&node)?;
            if line.guarded == Some(slot) {
                return Ok(way);
            }
            // Who will be asked for copies must have been written to: the fence is a write.
            if line.is_proven {
                match self.watch(&node, slot, marker, deadline) {
                    Ok(None) => return Ok(way),
                    // Where the marker is on the other side already, the fence finds it.
                    Ok(Some(refusal)) if refusal.code == "ASK" => {}
                    Ok(Some(refusal)) => return Err(self.refused(slot, &refusal, &node)),
                    Err(error) => return Err(self.failed(&node, error)),
                }
            }
        }
        self.fence(servers, slot, marker, deadline).map(|(way, _)| way)
    }

    fn watch(
        &mut self,
        node: &Address,
        slot: Slot,
        marker: &Marker,
        deadline: Deadline,
    ) -> Result<Option<Refusal>, Error> {
        let line = self.line(node)?;
        line.session.send(&[&marker.watch().get_packed_command()], deadline)?;
        let refused = read_ok("WATCH", &mut line.session.replies(deadline))?;
        line.guarded = refused.is_none().then_some(slot);
        Ok(refused)
    }

    /// Breaks what earlier connections have left behind for the slot, and reads its marker: on the node that
    /// has the slot, and on the one that it is on its way to only where the first one says that
    /// the marker has gone there.
    pub(super) fn fence<C>(
        &mut self,
        servers: &C,
        slot: Slot,
        marker: &Marker,
        deadline: Deadline,
    ) -> Result<(Way, Vec<u8>), Trouble>
    where
        C: Connect<Connection = S>,
    {
        let node = self.connect(servers, slot, deadline)?;
        let refusal = match self.fence_at(&node, slot, marker, deadline) {
            Ok(Ok(held)) => return Ok((Way { node, is_asking: false }, held)),
            Ok(Err(refusal)) => refusal,
            Err(error) => return Err(self.failed(&node, error)),
        };
        let Some(Redirect::Ask(other)) = Redirect::read(&refusal, &node) else {
            return Err(self.refused(slot, &refusal, &node));
        };
        if let Err(error) = self.open(servers, &other, deadline) {
            return Err(self.failed(&other, error));
        }
        if !self.is_torn(slot) {
            self.torn.push(slot);
        }
        match self.fence_asking(&other, marker, deadline) {
            Ok(Ok(Some(held))) => Ok((Way { node: other, is_asking: true }, held)),
            Ok(Ok(None)) => Err(on_its_way(slot, &other)),
            Ok(Err(refusal)) => Err(self.refused(slot, &refusal, &other)),
            Err(error) => Err(self.failed(&other, error)),
        }
    }

    fn fence_at(
        &mut self,
        node: &Address,
        slot: Slot,
        marker: &Marker,
        deadline: Deadline,
    ) -> Result<Result<Vec<u8>, Refusal>, Error> {
        let line = self.line(node)?;
        // Its EXEC ends whatever guard there was.
        line.guarded = None;
        line.session.send(&[&marker.fence()], deadline)?;
        let held = read_fence(&mut line.session.replies(deadline), &mut |_| {})?;
        line.guarded = held.is_ok().then_some(slot);
        Ok(held)
    }

    /// The guard that it leaves is good for one transaction, at once; the next one is asked for anew.
    fn fence_asking(
        &mut self,
        node: &Address,
        marker: &Marker,
        deadline: Deadline,
    ) -> Result<Result<Option<Vec<u8>>, Refusal>, Error> {
        let line = self.line(node)?;
        line.guarded = None;
        line.session.send(&[&marker.fence_asking()], deadline)?;
        read_fence_asking(&mut line.session.replies(deadline))
    }

    /// The type of what each key of a slot holds. As with the marker, the node that has the slot is
    /// asked first: that a key is not on the node that its slot is on its way to says nothing.
    pub(super) fn types<C>(
        &mut self,
        servers: &C,
        slot: Slot,
        keys: Vec<Vec<u8>>,
        deadline: Deadline,
    ) -> Result<Types, Trouble>
    where
        C: Connect<Connection = S>,
    {
        let node = self.connect(servers, slot, deadline)?;
        let answers = self.ask_types(&node, &keys, &[], deadline)?;
        let (mut types, mut gone, mut other) = (Types::new(), Vec::new(), None);
        for (key, answer) in keys.into_iter().zip(answers) {
            match answer.map_err(|refusal| (Redirect::read(&refusal, &node), refusal)) {
                Ok(kind) => drop(types.insert(key, kind)),
                Err((Some(Redirect::Ask(node)), _)) => {
                    other = Some(node);
                    gone.push(key);
                }
                Err((Some(_), refusal)) => return Err(self.refused(slot, &refusal, &node)),
                Err((None, refusal)) => return Err(cannot_look_up(&refusal).into()),
            }
        }
        if let Some(node) = other {
            if self.needs_copies() {
                return Err(on_its_way(slot, &node));
            }
            if let Err(error) = self.open(servers, &node, deadline) {
                return Err(self.failed(&node, error));
            }
            let answers = self.ask_types(&node, &gone, &asking(), deadline)?;
            for (key, answer) in gone.into_iter().zip(answers) {
                let kind = answer.map_err(|refusal| self.refused(slot, &refusal, &node))?;
                if kind == "none" {
                    return Err(on_its_way(slot, &node));
                }
                types.insert(key, kind);
            }
        }
        Ok(types)
    }

    fn ask_types(
        &mut self,
        node: &Address,
        keys: &[Vec<u8>],
        prefix: &[u8],
        deadline: Deadline,
    ) -> Result<Vec<Result<String, Refusal>>, Trouble> {
        let line = self.line(node)?;
        let answers = ask_types(&mut line.session, keys, prefix, deadline);
        answers.map_err(|error| self.failed(node, error))
    }
}

/// What one node sent us for is not with the other one: it is on its way back, or nowhere. Who has the slot in
/// the end knows. And who is asked for copies has to have all that they are wanted of.
pub(super) fn on_its_way(slot: Slot, to: &Address) -> Trouble {
    let what = format!("slot {slot} is on its way to {to}");
    let error = Error { cause: Cause::Busy, what, drops_connection: false };
    Trouble { error, retry: Retry::Soon }
}
