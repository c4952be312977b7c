//! Whether and how the servers are spoken to over TLS. The files are read elsewhere.
#![forbid(unsafe_code)]

use super::{Address, Reader};
use omvalkeyaudit_tls::{Identity, is_name};
use std::path::PathBuf;

/// How to speak TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The file or directory with the certificates of the trusted authorities; without it the system's.
    pub authorities: Option<PathBuf>,
    /// Who we are, to servers that ask.
    pub identity: Option<Identity>,
    /// The name that every server's certificate must be for, in place of the one it is reached by.
    pub server_name: Option<String>,
}

/// The parameters that mean nothing without TLS.
const TLS_ONLY: [&str; 4] = ["tls.cacert", "tls.mycert", "tls.myprivkey", "tls.servername"];

pub(super) fn tls(reader: &mut Reader<'_>, servers: &[Address]) -> Option<Tls> {
    let path = |text: Option<String>| text.map(PathBuf::from);
    let authorities = path(reader.text("tls.cacert"));
    let certificate = path(reader.text("tls.mycert"));
    let key = path(reader.text("tls.myprivkey"));
    let server_name = reader.text("tls.servername");
    if !reader.is_on("tls") {
        for name in TLS_ONLY {
            if reader.values.is_given(name) {
                reader.complaints.push(format!(
                    "parameter \"{name}\" is given, but \"tls\" is not \"on\": give tls=\"on\" too, or \
                     leave \"{name}\" out"
                ));
            }
        }
        return None;
    }
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (None, None) => None,
        (certificate, _) => {
            let (given, missing) = match certificate {
                Some(_) => ("tls.mycert", "tls.myprivkey"),
                None => ("tls.myprivkey", "tls.mycert"),
            };
            reader.complaints.push(format!(
                "parameter \"{given}\" is given, but \"{missing}\" is missing: a certificate and its key \
                 go together"
            ));
            None
        }
    };
    match &server_name {
        Some(name) if !is_name(name) => {
            reader.complain("tls.servername", name, "a host name or an IP address");
        }
        Some(_) => {}
        None => servers.iter().for_each(|server| require_name(reader, server)),
    }
    Some(Tls { authorities, identity, server_name })
}

/// A server whose certificate could not be held against any name is not spoken to.
fn require_name(reader: &mut Reader<'_>, server: &Address) {
    match server {
        Address::Unix(_) => reader.complaints.push(format!(
            "parameter \"tls\" is \"on\", but \"{server}\" has no host name that its certificate could \
             be for: give \"tls.servername\" too, or leave \"tls\" out"
        )),
        Address::Tcp { host, .. } if !is_name(host) => {
            reader.complaints.push(format!(
                "parameter \"tls\" is \"on\", but no certificate can be for the host of \"{server}\": \
                 give \"tls.servername\" too"
            ));
        }
        Address::Tcp { .. } => {}
    }
}
