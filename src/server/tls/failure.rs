//! What went wrong with TLS, in words that an operator can act on.
#![forbid(unsafe_code)]

use super::super::socket::is_timeout;
use super::TlsStream;
use crate::error::{Cause, Error, TlsFault, printable};
use crate::params::Address;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription as Alert, CertificateError, InvalidMessage};
use std::io;
use std::time::{Duration, UNIX_EPOCH};

/// The longest list of a certificate's names that is repeated in a log line, in characters.
const MAX_NAMES_CHARS: usize = 200;

/// We do not speak TLS, and the server has answered in it.
pub(in crate::server) fn expected(address: &Address) -> Error {
    Error::broken(Cause::Tls(TlsFault::Expected), format!("{address} answers with TLS"))
}

/// The server has answered, and not in TLS.
pub(super) fn not_spoken(address: &Address) -> Error {
    Error::broken(Cause::Tls(TlsFault::NotSpoken), format!("{address} does not speak TLS"))
}

/// Why the handshake did not come to its end.
pub(super) fn in_handshake(address: &Address, stream: &TlsStream, error: &io::Error) -> Error {
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

/// What TLS has to say about an error of a stream; `None` where the error is another's.
pub(in crate::server) fn failure(
    address: &Address,
    stream: &TlsStream,
    error: &io::Error,
) -> Option<Error> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let (fault, what) = match error {
        rustls::Error::InvalidCertificate(error) => of_certificate(address, error),
        rustls::Error::NoCertificatesPresented => {
            (TlsFault::Certificate, format!("{address} has no certificate"))
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)
            if !stream.has_agreed() =>
        {
            (TlsFault::NotSpoken, format!("{address} does not speak TLS"))
        }
        rustls::Error::PeerIncompatible(why) => {
            (TlsFault::Agreement, format!("{address} speaks another TLS: {why:?}"))
        }
        rustls::Error::AlertReceived(alert) => of_alert(address, stream, *alert),
        error => (TlsFault::Other, format!("TLS with {address} failed: {error}")),
    };
    Some(Error::broken(Cause::Tls(fault), what))
}

fn of_certificate(address: &Address, error: &CertificateError) -> (TlsFault, String) {
    let certificate = format!("the certificate of {address}");
    match error {
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = in_words(expected);
            let what = if presented.is_empty() {
                format!("{certificate} names no host (no subjectAltName), so not \"{expected}\"")
            } else {
                let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
                let names = printable(&names.join(", "), MAX_NAMES_CHARS);
                format!("{certificate} is not for \"{expected}\", but for {names}")
            };
            (TlsFault::Name, what)
        }
        CertificateError::NotValidForName => {
            (TlsFault::Name, format!("{certificate} is for another name"))
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            (TlsFault::Expired, format!("{certificate} has expired on {}", date(*not_after)))
        }
        CertificateError::Expired => (TlsFault::Expired, format!("{certificate} has expired")),
        CertificateError::NotValidYetContext { not_before, .. } => (
            TlsFault::NotYetValid,
            format!("{certificate} is not valid before {}", date(*not_before)),
        ),
        CertificateError::NotValidYet => {
            (TlsFault::NotYetValid, format!("{certificate} is not valid yet"))
        }
        CertificateError::UnknownIssuer => {
            (TlsFault::Issuer, format!("{certificate} is issued by nobody who is trusted"))
        }
        CertificateError::BadSignature => {
            (TlsFault::Issuer, format!("{certificate} has a signature that is not its issuer's"))
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            (TlsFault::Certificate, format!("{certificate} is not one for servers"))
        }
        CertificateError::Other(error) if is_authority(error) => (
            TlsFault::Certificate,
            format!("{certificate} is one for an authority (CA:TRUE), not for a server"),
        ),
        error => (TlsFault::Certificate, format!("{certificate} cannot be used: {error}")),
    }
}

/// What a certificate that was made by `openssl req -x509` is, unless it is told otherwise.
fn is_authority(error: &rustls::OtherError) -> bool {
    error.to_string().contains("CaUsedAsEndEntity")
}

fn of_alert(address: &Address, stream: &TlsStream, alert: Alert) -> (TlsFault, String) {
    match alert {
        // TLS 1.2 has only the latter for it; where a cipher is agreed on, little else can be meant.
        Alert::CertificateRequired | Alert::HandshakeFailure
            if stream.has_agreed() && !stream.has_identity =>
        {
            let what = format!("{address} asks for a certificate of ours, and there is none");
            (TlsFault::OwnCertificateMissing, what)
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
            TlsFault::OwnCertificateRefused,
            format!("{address} does not accept our certificate: {alert:?}"),
        ),
        Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => {
            (TlsFault::Agreement, format!("{address} speaks another TLS: {alert:?}"))
        }
        alert => (TlsFault::Other, format!("{address} ends TLS: {alert:?}")),
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
