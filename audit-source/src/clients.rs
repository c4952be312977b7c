//! Who the clients are: user, address and database of each, kept until something may have changed them.
//! Asking the server costs a system call; most events need none.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::event::{ClientInfo, Host};
use crate::frame;
use crate::settings::Settings;

/// A connected client.
#[derive(Debug, Default)]
pub(crate) struct Client {
    is_fresh: bool,
    /// What its frames have in common.
    pub(crate) words: Vec<u64>,
    pub(crate) is_primary: bool,
    /// Between MULTI and EXEC, so its commands may be those of the transaction.
    pub(crate) is_in_multi: bool,
    /// The filters for users and addresses let it pass.
    pub(crate) is_included: bool,
}

impl Client {
    fn refresh(&mut self, id: u64, info: &ClientInfo, settings: &Settings) {
        frame::client_words(id, info, &mut self.words);
        self.is_primary = info.is_primary;
        self.is_in_multi = info.is_in_multi;
        self.is_included = settings.users.includes(info.user.as_deref())
            && settings.addresses.includes(&info.addr);
        self.is_fresh = true;
    }
}

/// The clients that were met and are still connected.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    /// The place of each.
    known: HashMap<u64, usize, BuildHasherDefault<IdHasher>>,
    places: Vec<Client>,
    /// Places that nobody has.
    free: Vec<usize>,
    /// Who was asked for last, and the place: a pipeline's commands come one after the other.
    last: Option<(u64, usize)>,
}

impl Clients {
    /// A client as the server knows it; `None` when the id is not that of a connection. `is_stale` asks the
    /// server in any case.
    pub(crate) fn get(
        &mut self,
        id: u64,
        is_stale: bool,
        host: &impl Host,
        settings: &Settings,
    ) -> Option<&Client> {
        let place = match self.last {
            Some((last, place)) if last == id => place,
            _ => self.known.get(&id).copied().unwrap_or(usize::MAX),
        };
        let is_fresh = !is_stale && self.places.get(place).is_some_and(|client| client.is_fresh);
        let place = if is_fresh { place } else { self.refresh(id, place, host, settings)? };
        self.last = Some((id, place));
        self.places.get(place)
    }

    /// Asks the server. Gives the client's place, a new one when it had none.
    #[cold]
    fn refresh(
        &mut self,
        id: u64,
        place: usize,
        host: &impl Host,
        settings: &Settings,
    ) -> Option<usize> {
        let info = host.client(id)?;
        if let Some(client) = self.places.get_mut(place) {
            client.refresh(id, &info, settings);
            return Some(place);
        }
        let place = self.free.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(Client::default());
        }
        self.known.insert(id, place);
        self.places.get_mut(place)?.refresh(id, &info, settings);
        Some(place)
    }

    /// A client's user may be another one from now on.
    pub(crate) fn expire(&mut self, id: u64) {
        if let Some(client) = self.known.get(&id).and_then(|place| self.places.get_mut(*place)) {
            client.is_fresh = false;
        }
    }

    /// Everything has to be asked again.
    pub(crate) fn expire_all(&mut self) {
        self.places.iter_mut().for_each(|client| client.is_fresh = false);
    }

    /// A client has gone.
    pub(crate) fn remove(&mut self, id: u64) {
        self.last = None;
        if let Some(place) = self.known.remove(&id) {
            if let Some(client) = self.places.get_mut(place) {
                client.is_fresh = false;
            }
            self.free.push(place);
        }
    }
}

/// Client ids are consecutive numbers that the server gives: one multiplication spreads them.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
