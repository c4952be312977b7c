//! What went wrong with TLS, in words that an operator can act on.
#![forbid(unsafe_code)]

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription as Alert, CertificateError, InvalidMessage};
use std::fmt::{self, Display};
use std::io;
use std::time::{Duration, UNIX_EPOCH};

/// The longest list of a certificate's names that is repeated, in characters.
const MAX_NAMES_CHARS: usize = 200;

/// Why no TLS connection came about. Each wants something else done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The server's certificate is for other names.
    Name,
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is not valid yet.
    NotYetValid,
    /// Nobody whom we trust has issued the server's certificate.
    Issuer,
    /// The server's certificate cannot be used for another reason.
    Certificate,
    /// The server wants a certificate of ours, and there is none.
    OwnCertificateMissing,
    /// The server does not accept our certificate.
    OwnCertificateRefused,
    /// The two sides have no version or no cipher in common.
    Agreement,
    /// The server does not speak TLS.
    NotSpoken,
    /// The server speaks TLS, and we do not.
    Expected,
    /// Anything else.
    Other,
}

/// Why, and the sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure.
    pub fault: Fault,
    /// What happened, with the server's address.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Failure {
    pub(crate) fn new(fault: Fault, what: String) -> Self {
        Self { fault, what }
    }

    /// We do not speak TLS, and the server has answered in it.
    pub fn expected(address: &dyn Display) -> Self {
        Self::new(Fault::Expected, format!("{address} answers with TLS"))
    }

    /// The server has answered, and not in TLS.
    pub fn not_spoken(address: &dyn Display) -> Self {
        Self::new(Fault::NotSpoken, format!("{address} does not speak TLS"))
    }
}

/// What TLS has to say about an error of a stream: one whose server `has_agreed` to version and cipher, and where we
/// have a certificate of our own or not.
pub(crate) fn explain(
    address: &dyn Display,
    error: &io::Error,
    has_agreed: bool,
    has_identity: bool,
) -> Option<Failure> {
    let error = tls_error(error)?;
    let (fault, what) = match error {
        rustls::Error::InvalidCertificate(error) => of_certificate(address, error),
        rustls::Error::NoCertificatesPresented => {
            (Fault::Certificate, format!("{address} has no certificate"))
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) if !has_agreed => {
            return Some(Failure::not_spoken(address));
        }
        rustls::Error::PeerIncompatible(why) => {
            (Fault::Agreement, format!("{address} speaks another TLS: {why:?}"))
        }
        rustls::Error::AlertReceived(alert) => {
            of_alert(address, *alert, has_agreed && !has_identity)
        }
        error => (Fault::Other, format!("TLS with {address} failed: {error}")),
    };
    Some(Failure::new(fault, what))
}

fn of_certificate(address: &dyn Display, error: &CertificateError) -> (Fault, String) {
    let certificate = format!("the certificate of {address}");
    match error {
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = in_words(expected);
            let what = if presented.is_empty() {
                format!("{certificate} names no host (no subjectAltName), so not \"{expected}\"")
            } else {
                let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
                let names = cut(&names.join(", "));
                format!("{certificate} is not for \"{expected}\", but for {names}")
            };
            (Fault::Name, what)
        }
        CertificateError::NotValidForName => {
            (Fault::Name, format!("{certificate} is for another name"))
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            (Fault::Expired, format!("{certificate} has expired on {}", date(*not_after)))
        }
        CertificateError::Expired => (Fault::Expired, format!("{certificate} has expired")),
        CertificateError::NotValidYetContext { not_before, .. } => {
            (Fault::NotYetValid, format!("{certificate} is not valid before {}", date(*not_before)))
        }
        CertificateError::NotValidYet => {
            (Fault::NotYetValid, format!("{certificate} is not valid yet"))
        }
        CertificateError::UnknownIssuer => {
            (Fault::Issuer, format!("{certificate} is issued by nobody who is trusted"))
        }
        CertificateError::BadSignature => {
            (Fault::Issuer, format!("{certificate} has a signature that is not its issuer's"))
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            (Fault::Certificate, format!("{certificate} is not one for servers"))
        }
        CertificateError::Other(error) if is_authority(error) => (
            Fault::Certificate,
            format!("{certificate} is one for an authority (CA:TRUE), not for a server"),
        ),
        error => (Fault::Certificate, format!("{certificate} cannot be used: {error}")),
    }
}

/// What a certificate that was made by `openssl req -x509` is, unless it is told otherwise.
fn is_authority(error: &rustls::OtherError) -> bool {
    error.to_string().contains("CaUsedAsEndEntity")
}

fn of_alert(address: &dyn Display, alert: Alert, may_miss_ours: bool) -> (Fault, String) {
    match alert {
        // TLS 1.2 has only the latter for it; where a cipher is agreed on, little else can be meant.
        Alert::CertificateRequired | Alert::HandshakeFailure if may_miss_ours => {
            let what = format!("{address} asks for a certificate of ours, and there is none");
            (Fault::OwnCertificateMissing, what)
        }
        Alert::CertificateRequired
        | Alert::UnknownCA
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::AccessDenied
        | Alert::DecryptError => (
            Fault::OwnCertificateRefused,
            format!("{address} does not accept our certificate: {alert:?}"),
        ),
        Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => {
            (Fault::Agreement, format!("{address} speaks another TLS: {alert:?}"))
        }
        alert => (Fault::Other, format!("{address} ends TLS: {alert:?}")),
    }
}

/// The library writes `DnsName("db1")` and `IpAddress(10.0.0.1)`.
fn bare(presented: &str) -> &str {
    let inner = presented.split_once('(').map_or(presented, |(_, rest)| rest);
    inner.trim_end_matches(')').trim_matches('"')
}

fn in_words(name: &ServerName<'_>) -> String {
    name.to_str().into_owned()
}

fn date(time: UnixTime) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(time.as_secs());
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The beginning of a long list, fit for a line of a log.
fn cut(names: &str) -> String {
    let mut shown: String = names.chars().take(MAX_NAMES_CHARS).map(plain).collect();
    if shown.len() < names.len() {
        shown.push_str("...");
    }
    shown
}

/// Names of hosts and addresses have no other letters, whatever a certificate says.
fn plain(letter: char) -> char {
    if letter.is_ascii_graphic() || letter == ' ' { letter } else { '?' }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

pub(crate) fn is_about_tls(error: &io::Error) -> bool {
    tls_error(error).is_some()
}

/// A read or write whose time is up ends as WouldBlock or TimedOut, depending on the call.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
