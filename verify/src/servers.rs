//! The servers that streams are read from: the one that was named, and in a cluster the nodes to which it and the
//! others redirect.
#![forbid(unsafe_code)]

use crate::error::CannotCheck;
use crate::reply::Head;
use crate::server::{Access, Session};
use omvalkeyaudit_address::{Address, word};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Nodes that disagree for longer than this are not followed any more.
const MAX_REDIRECTIONS: usize = 16;

/// The servers, connected to as they are needed.
pub struct Servers<'a> {
    access: &'a Access,
    named: Address,
    /// Where a key was found, if not there.
    homes: BTreeMap<String, Address>,
    sessions: BTreeMap<Address, Session>,
}

impl<'a> Servers<'a> {
    /// Those that are reached through the one that is named.
    pub fn new(named: &Address, access: &'a Access) -> Self {
        let named = named.clone();
        Self { access, named, homes: BTreeMap::new(), sessions: BTreeMap::new() }
    }

    /// The one that `session` leads to.
    pub(crate) fn with(session: Session, access: &'a Access) -> Self {
        let mut servers = Self::new(session.address(), access);
        servers.sessions.insert(session.address().clone(), session);
        servers
    }

    /// The server that is named.
    pub fn named(&self) -> &Address {
        &self.named
    }

    /// The server that has `key`, as far as is known.
    pub fn home(&self, key: &str) -> &Address {
        self.homes.get(key).unwrap_or(&self.named)
    }

    /// Closes the connections to all but the server that has `key`: while that one's stream is read, the others would
    /// be idle for so long that their servers may close them.
    pub fn stay_with(&mut self, key: &str) {
        let home = self.home(key).clone();
        self.sessions.retain(|address, _| *address == home);
    }

    /// Sends a request about `key` to the server that has it. Gives the beginning of its reply, and the connection
    /// from which the rest is to be read.
    ///
    /// # Errors
    /// A sentence that names the server and what is wrong.
    pub fn ask(
        &mut self,
        key: &str,
        request: &[&str],
    ) -> Result<(&mut Session, Head), CannotCheck> {
        let mut address = self.home(key).clone();
        let mut is_on_its_way = false;
        for _ in 0..=MAX_REDIRECTIONS {
            let session = self.session(&address)?;
            if is_on_its_way {
                session.expect_ok(&["ASKING"])?.map_err(|why| {
                    CannotCheck(format!(
                        "cannot follow stream \"{key}\" to {address}: {why}; the user needs +asking"
                    ))
                })?;
            }
            session.send(request)?;
            let head = session.replies().head().map_err(|error| session.unreadable(&error))?;
            match Redirection::read(&head, &address) {
                None => return Ok((self.session(&address)?, head)),
                Some(Redirection::Moved(node)) => {
                    self.homes.insert(key.to_owned(), node.clone());
                    (address, is_on_its_way) = (node, false);
                }
                Some(Redirection::Ask(node)) => (address, is_on_its_way) = (node, true),
            }
        }
        Err(CannotCheck(format!(
            "the cluster's nodes send whoever reads stream \"{key}\" from one to the other; try again when they \
             agree (CLUSTER NODES)"
        )))
    }

    fn session(&mut self, address: &Address) -> Result<&mut Session, CannotCheck> {
        match self.sessions.entry(address.clone()) {
            Entry::Occupied(session) => Ok(session.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Session::open(address, self.access)?)),
        }
    }
}

/// Where a node of a cluster sends those who ask for a key that it does not have.
#[derive(Debug, PartialEq, Eq)]
enum Redirection {
    /// There, from now on.
    Moved(Address),
    /// There, for this request: the slot is on its way.
    Ask(Address),
}

impl Redirection {
    fn read(head: &Head, asked: &Address) -> Option<Self> {
        let Head::Refusal(text) = head else { return None };
        let way = match text.split(' ').next()? {
            "MOVED" => Self::Moved,
            "ASK" => Self::Ask,
            _ => return None,
        };
        word::redirection(text, asked).map(way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Oracle: what is to be followed, and for how long; of all else the server's words are shown.
    #[test]
    fn a_redirection_is_for_good_or_for_one_request() {
        let asked = Address::tcp("10.0.0.9", 7000).unwrap();
        let read = |text: &str| Redirection::read(&Head::Refusal(text.to_owned()), &asked);
        let to = |host, port| Address::tcp(host, port).unwrap();
        assert_eq!(read("MOVED 3999 b:6381"), Some(Redirection::Moved(to("b", 6381))));
        assert_eq!(read("MOVED 3999 :6381"), Some(Redirection::Moved(to("10.0.0.9", 6381))));
        assert_eq!(read("ASK 1 a:2"), Some(Redirection::Ask(to("a", 2))));
        for text in ["MOVED", "MOVED 1 ?:1", "ERR MOVED 1 a:1"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(Redirection::read(&Head::Nil, &asked), None);
    }
}
