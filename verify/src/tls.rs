//! TLS as the command line asks for it, and what to do about each way in which it does not come about.
#![forbid(unsafe_code)]

use crate::error::CannotCheck;
use crate::socket::PlainSocket;
use omvalkeyaudit_address::Address;
use omvalkeyaudit_tls::{Config, Failure, Fault, Identity, Terms, TlsStream, is_name};
use std::path::PathBuf;

const TERMS: Terms = Terms {
    kind: "",
    wanted: "--tls is given",
    authorities: "--cacert",
    certificate: "--cert",
    key: "--privkey",
};

/// The options that concern TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// It is spoken.
    pub is_on: bool,
    /// The file or directory with the certificates of the trusted authorities; without it the system's.
    pub authorities: Option<PathBuf>,
    /// Our own certificate.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// The name that the certificate of each server must be for, in place of the one it is reached by.
    pub server_name: Option<String>,
}

impl TlsOptions {
    /// Refuses what does not go together.
    pub(crate) fn check(&self) -> Result<(), CannotCheck> {
        let given = [
            ("--cacert", self.authorities.is_some()),
            ("--cert", self.certificate.is_some()),
            ("--privkey", self.key.is_some()),
            ("--sni", self.server_name.is_some()),
        ];
        if let Some((name, _)) = given.iter().find(|(_, is_given)| *is_given && !self.is_on) {
            return Err(CannotCheck(format!("{name} is given, but --tls is not: give both")));
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err(CannotCheck("--cert and --privkey go together: give both".to_owned()));
        }
        match &self.server_name {
            Some(name) if !is_name(name) => Err(CannotCheck(format!(
                "--sni has the value \"{}\", but it must be a host name or an IP address",
                name.escape_debug()
            ))),
            _ => Ok(()),
        }
    }
}

/// How TLS is spoken with all servers.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    config: Config,
    server_name: Option<String>,
}

impl Tls {
    /// Reads the files; nothing where TLS is not asked for.
    pub(crate) fn read(options: &TlsOptions) -> Result<Option<Self>, CannotCheck> {
        if !options.is_on {
            return Ok(None);
        }
        let identity = options.certificate.clone().zip(options.key.clone());
        let identity = identity.map(|(certificate, key)| Identity { certificate, key });
        let config = Config::read(options.authorities.as_deref(), identity.as_ref(), &TERMS);
        let server_name = options.server_name.clone();
        Ok(Some(Self { config: config.map_err(CannotCheck)?, server_name }))
    }

    /// TLS over `socket`, before the handshake.
    pub(crate) fn stream(
        &self,
        address: &Address,
        socket: PlainSocket,
    ) -> Result<TlsStream<PlainSocket>, Failure> {
        let name = match (&self.server_name, address) {
            (Some(name), _) => name.as_str(),
            (None, Address::Tcp { host, .. }) => host,
            (None, Address::Unix(_)) => "",
        };
        self.config.stream(address, name, socket)
    }
}

/// What happened, and what to do about it.
pub(crate) fn sentence(failure: &Failure) -> CannotCheck {
    let advice = match failure.fault {
        Fault::Name => "let --server, or --sni, be a name that is in the certificate",
        Fault::Expired => "renew the server's certificate, or correct this machine's clock",
        Fault::NotYetValid => "correct the clock of this machine, or of the one that issued it",
        Fault::Issuer => {
            "let --cacert name the certificate of the authority that issued the server's"
        }
        Fault::Certificate => "give the server another certificate",
        Fault::OwnCertificateMissing => "give --cert and --privkey",
        Fault::OwnCertificateRefused => {
            "check that --cert is valid, for clients, and issued by an authority that the server knows"
        }
        Fault::Agreement => "TLS 1.2 with ECDHE and AEAD, or 1.3, is needed",
        Fault::NotSpoken => "let --server name the port for TLS, or leave --tls out",
        Fault::Expected => "give --tls, or let --server name the port without TLS",
        Fault::Other => "the server's log may say more",
    };
    CannotCheck(format!("{failure}; {advice}"))
}
