//! TLS with the servers of an action: what it is configured with, from files that are read at start-up
//! and on HUP, and the handshake under a deadline. Every connection is verified anew.
#![forbid(unsafe_code)]

use super::Deadline;
use super::socket::{DeadlineSocket, is_timeout};
use crate::error::{Cause, Error};
use crate::params::{self, Address};
use omvalkeyaudit_tls::{Config, Failure, Terms, TlsStream, answers_plainly};
use std::io;
use std::sync::{Mutex, PoisonError};

const TERMS: Terms = Terms {
    kind: "parameter ",
    wanted: "parameter \"tls\" is \"on\"",
    authorities: "\"tls.cacert\"",
    certificate: "\"tls.mycert\"",
    key: "\"tls.myprivkey\"",
};

/// How an action speaks TLS. Shared by its workers.
#[derive(Debug)]
pub(super) struct Tls {
    settings: params::Tls,
    /// Of the files as they were read last.
    config: Mutex<Config>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// A sentence that names the parameter, its value and what is wrong with the file.
    pub(super) fn load(settings: params::Tls) -> Result<Self, String> {
        let config = Mutex::new(read(&settings)?);
        Ok(Self { settings, config })
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// As for [`Tls::load`]; everything stays as it was.
    pub(super) fn reload(&self) -> Result<(), String> {
        let config = read(&self.settings)?;
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Shakes hands, by `deadline`, with the server at the other end of `socket`, which must prove to be the one that
    /// `address` means.
    pub(super) fn open(
        &self,
        address: &Address,
        socket: DeadlineSocket,
        deadline: Deadline,
    ) -> Result<TlsStream<DeadlineSocket>, Error> {
        // The configured servers' names are checked with the settings; sentinels name others.
        let name = match (&self.settings.server_name, address) {
            (Some(name), _) => name.as_str(),
            (None, Address::Tcp { host, .. }) => host,
            (None, Address::Unix(_)) => "",
        };
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut stream = config.stream(address, name, socket).map_err(broken)?;
        let soon = deadline.capped(deadline.remaining().unwrap_or_default() * 3 / 4);
        stream.socket().set_deadline(soon);
        match stream.begin() {
            Ok(false) if is_plain(address, deadline) => {
                return Err(broken(Failure::not_spoken(address)));
            }
            Ok(_) => {}
            Err(error) => return Err(in_handshake(address, &stream, &error)),
        }
        stream.socket().set_deadline(deadline);
        match stream.complete() {
            Ok(()) => Ok(stream),
            Err(error) => Err(in_handshake(address, &stream, &error)),
        }
    }
}

fn read(settings: &params::Tls) -> Result<Config, String> {
    Config::read(settings.authorities.as_deref(), settings.identity.as_ref(), &TERMS)
}

fn is_plain(address: &Address, deadline: Deadline) -> bool {
    DeadlineSocket::connect(address, deadline).is_ok_and(answers_plainly)
}

/// We do not speak TLS, and the server has answered in it.
pub(super) fn expected(address: &Address) -> Error {
    broken(Failure::expected(address))
}

/// What TLS has to say about an error of a stream; `None` where the error is another's.
pub(super) fn failure(
    address: &Address,
    stream: &TlsStream<DeadlineSocket>,
    error: &io::Error,
) -> Option<Error> {
    stream.failure(address, error).map(broken)
}

fn broken(failure: Failure) -> Error {
    Error::broken(Cause::Tls(failure.fault), failure.what)
}

/// Why the handshake did not come to its end.
fn in_handshake(address: &Address, stream: &TlsStream<DeadlineSocket>, error: &io::Error) -> Error {
    if let Some(error) = failure(address, stream, error) {
        return error;
    }
    if is_timeout(error) {
        let what = format!("{address} did not answer in time in the TLS handshake");
        return Error::broken(Cause::Timeout, what);
    }
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof => "closed by the server".to_owned(),
        _ => error.to_string(),
    };
    let what = format!("connection to {address} lost in the TLS handshake: {why}");
    Error::broken(Cause::Lost, what)
}
