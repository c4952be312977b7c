//! How TLS is spoken: whom we trust, and who we are. Made from files, once for many connections.
#![forbid(unsafe_code)]

use crate::failure::{Failure, Fault};
use crate::files;
use crate::stream::TlsStream;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::fmt::Display;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of a certificate of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those that lead from it to an authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What the operator calls the settings: complaints are sentences with these words.
#[derive(Debug)]
pub struct Terms {
    /// What stands before the name of a setting that begins a sentence.
    pub kind: &'static str,
    /// The beginning of a sentence: that TLS is wanted.
    pub wanted: &'static str,
    /// The certificates of the trusted authorities.
    pub authorities: &'static str,
    /// Our own certificate.
    pub certificate: &'static str,
    /// Its private key.
    pub key: &'static str,
}

/// How TLS is spoken.
#[derive(Clone, Debug)]
pub struct Config {
    client: Arc<ClientConfig>,
    has_identity: bool,
}

impl Config {
    /// Reads the files; without `authorities` those that this system trusts are.
    ///
    /// # Errors
    /// A sentence that names the setting, its value and what is wrong with the file.
    pub fn read(
        authorities: Option<&Path>,
        identity: Option<&Identity>,
        terms: &Terms,
    ) -> Result<Self, String> {
        let roots = files::roots(authorities, terms)?;
        // Named, because a process-wide default might be another module's, or missing, which panics.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("{}, but TLS cannot be used: {error}", terms.wanted))?
            .with_root_certificates(roots);
        let mut client = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let own = files::own(identity, &provider, terms)?;
                builder.with_client_cert_resolver(Arc::new(own))
            }
        };
        // A resumed session would go on with a certificate that may not be trusted any more.
        client.resumption = Resumption::disabled();
        Ok(Self { client: Arc::new(client), has_identity: identity.is_some() })
    }

    /// TLS over `socket`, before the handshake, with a server whose certificate must be for `name`. `address` is
    /// what the operator calls the server.
    ///
    /// # Errors
    /// No certificate can be for such a name.
    pub fn stream<S: Read + Write>(
        &self,
        address: &dyn Display,
        name: &str,
        socket: S,
    ) -> Result<TlsStream<S>, Failure> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            Failure::new(Fault::Name, format!("no certificate can be for the host of {address}"))
        })?;
        let connection =
            ClientConnection::new(Arc::clone(&self.client), name).map_err(|error| {
                Failure::new(Fault::Other, format!("cannot begin TLS with {address}: {error}"))
            })?;
        Ok(TlsStream::new(connection, socket, self.has_identity))
    }
}

/// Whether a certificate can be for this name: a host's, or an IP address.
pub fn is_name(text: &str) -> bool {
    ServerName::try_from(text).is_ok()
}
