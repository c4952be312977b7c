//! TLS with the servers of an action: what it is configured with, from files that are read at start-up
//! and on HUP, and the handshake. Every connection is verified anew.
#![forbid(unsafe_code)]

mod failure;
mod files;
mod stream;

pub(super) use failure::{expected, failure};
use failure::{in_handshake, not_spoken};
pub(super) use stream::TlsStream;

use super::Deadline;
use super::socket::DeadlineSocket;
use crate::error::{Cause, Error, TlsFault};
use crate::params::{self, Address};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// How an action speaks TLS. Shared by its workers.
#[derive(Debug)]
pub(super) struct Tls {
    settings: params::Tls,
    /// Of the files as they were read last.
    config: Mutex<Arc<ClientConfig>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// A sentence that names the parameter, its value and what is wrong with the file.
    pub(super) fn load(settings: params::Tls) -> Result<Self, String> {
        let config = Mutex::new(Arc::new(configure(&settings)?));
        Ok(Self { settings, config })
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// As for [`Tls::load`]; everything stays as it was.
    pub(super) fn reload(&self) -> Result<(), String> {
        let config = Arc::new(configure(&self.settings)?);
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
    ) -> Result<TlsStream, Error> {
        let name = self.name_of(address)?;
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let connection = ClientConnection::new(config, name).map_err(|error| {
            let what = format!("cannot begin TLS with {address}: {error}");
            Error::broken(Cause::Tls(TlsFault::Other), what)
        })?;
        let has_identity = self.settings.identity.is_some();
        let mut stream = TlsStream::new(connection, socket, has_identity);
        let soon = deadline.capped(deadline.remaining().unwrap_or_default() * 3 / 4);
        match stream.begin(soon) {
            Ok(false) if answers_plainly(address, deadline) => return Err(not_spoken(address)),
            Ok(_) => {}
            Err(error) => return Err(in_handshake(address, &stream, &error)),
        }
        match stream.complete(deadline) {
            Ok(()) => Ok(stream),
            Err(error) => Err(in_handshake(address, &stream, &error)),
        }
    }

    /// The name that the certificate must be for.
    fn name_of(&self, address: &Address) -> Result<ServerName<'static>, Error> {
        let name = match (&self.settings.server_name, address) {
            (Some(name), _) => name.as_str(),
            (None, Address::Tcp { host, .. }) => host,
            (None, Address::Unix(_)) => "",
        };
        // The configured servers' names are checked with the settings; sentinels name others.
        ServerName::try_from(name.to_owned()).map_err(|_| {
            let what = format!("no certificate can be for the host of {address}");
            Error::broken(Cause::Tls(TlsFault::Name), what)
        })
    }
}

fn configure(settings: &params::Tls) -> Result<ClientConfig, String> {
    let roots = files::roots(settings.authorities.as_deref())?;
    // Named, because a process-wide default might be another module's, or missing, which panics.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("parameter \"tls\" is \"on\", but TLS cannot be used: {error}"))?
        .with_root_certificates(roots);
    let mut config = match &settings.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(files::own(identity, &provider)?))
        }
    };
    // A resumed session would go on with a certificate that may not be trusted any more.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Whether the server answers those who do not speak TLS. One that does not speak it takes the handshake
/// for a command whose end is still to come, and waits.
fn answers_plainly(address: &Address, deadline: Deadline) -> bool {
    let Ok(mut socket) = DeadlineSocket::connect(address, deadline) else { return false };
    let mut first = [0];
    let answer = socket.write_all(b"PING\r\n").and_then(|()| socket.read_exact(&mut first));
    answer.is_ok() && matches!(&first, b"+" | b"-")
}
