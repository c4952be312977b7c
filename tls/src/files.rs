//! Certificates and keys out of PEM files. Every complaint names the setting, the file and what is
//! wrong, and nothing of what is in it.
#![forbid(unsafe_code)]

use crate::config::{Identity, Terms};
use crate::file;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys, RootCertStore};
use std::fs;
use std::path::Path;

/// The longest file, in bytes: the certificates of all the world's authorities take a quarter of a
/// million.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The authorities in a file or in a directory's files; without a path those that this system trusts.
///
/// # Errors
/// A sentence for the operator.
pub(crate) fn roots(path: Option<&Path>, terms: &Terms) -> Result<RootCertStore, String> {
    let Some(path) = path else { return system_roots(terms) };
    let complain = |why: String| {
        let wanted =
            "a readable file or directory with the certificates of authorities, in PEM form";
        complaint(terms, terms.authorities, path, wanted, &why)
    };
    let mut roots = RootCertStore::empty();
    if path.is_dir() {
        for entry in fs::read_dir(path).map_err(|error| complain(error.to_string()))? {
            let file = entry.map_err(|error| complain(error.to_string()))?.path();
            // Whatever else lies there; a link that leads nowhere is what `openssl rehash` leaves.
            if file.is_file() {
                add_roots(&mut roots, &file)
                    .map_err(|why| complain(format!("{}: {why}", file.display())))?;
            }
        }
        if roots.is_empty() {
            return Err(complain("no file in it has a certificate".to_owned()));
        }
    } else if add_roots(&mut roots, path).map_err(complain)? == 0 {
        return Err(complain("it has no certificate".to_owned()));
    }
    Ok(roots)
}

/// Adds the certificates of a file, and says how many there are.
fn add_roots(roots: &mut RootCertStore, file: &Path) -> Result<usize, String> {
    let certificates = certificates(&read(file)?)?;
    let count = certificates.len();
    for (place, certificate) in certificates.into_iter().enumerate() {
        roots.add(certificate).map_err(|_| {
            format!("certificate {} in it is broken, or not an authority's", place + 1)
        })?;
    }
    Ok(count)
}

fn system_roots(terms: &Terms) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // A system's collection may have some that are of no use to anybody.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(format!(
            "{}, but this system has no certificates of authorities: install ca-certificates, or give {} too",
            terms.wanted, terms.authorities
        ));
    }
    Ok(roots)
}

/// The certificate by which we prove who we are.
///
/// # Errors
/// A sentence for the operator.
pub(crate) fn own(
    identity: &Identity,
    provider: &CryptoProvider,
    terms: &Terms,
) -> Result<impl ResolvesClientCert + use<>, String> {
    let complain = |why: &str| {
        let wanted = "a readable file with our certificate in PEM form";
        complaint(terms, terms.certificate, &identity.certificate, wanted, why)
    };
    let chain = read(&identity.certificate).and_then(|pem| certificates(&pem));
    let chain = chain.map_err(|why| complain(&why))?;
    if chain.is_empty() {
        return Err(complain("it has no certificate"));
    }
    let complain_key = |why: &str| {
        let certificate = terms.certificate;
        let wanted = format!(
            "a readable file with the unencrypted private key of {certificate} in PEM form"
        );
        complaint(terms, terms.key, &identity.key, &wanted, why)
    };
    let key = read(&identity.key).and_then(|pem| private_key(&pem));
    let key = key.map_err(|why| complain_key(&why))?;
    match CertifiedKey::from_der(chain, key, provider) {
        Ok(certified) => Ok(SingleCertAndKey::from(certified)),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let certificate = identity.certificate.display();
            Err(complain_key(&format!("it is another one than that of \"{certificate}\"")))
        }
        Err(Error::InvalidCertificate(_)) => Err(complain("its first certificate is broken")),
        Err(_) => Err(complain_key(
            "it is broken, or of a kind that TLS does not use; RSA of 2048 bits or more, ECDSA with \
             P-256, P-384 or P-521 and Ed25519 will do",
        )),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = file::read(path, MAX_FILE_BYTES)?;
    if bytes.is_empty() { Err("it is empty".to_owned()) } else { Ok(bytes) }
}

/// All certificates in their order; other sections are passed over.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem)
        .enumerate()
        .map(|(place, found)| found.map_err(|error| damage(&error, place + 1)))
        .collect()
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    // Either a kind of section of its own, or a header in the section.
    if pem.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED) {
        return Err(
            "the key in it is encrypted; write it without a passphrase (openssl pkey -in ... \
                    -out ...) and guard the file by its mode"
                .to_owned(),
        );
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound if certificates(pem).is_ok_and(|found| !found.is_empty()) => {
            "it has a certificate, but no private key".to_owned()
        }
        pem::Error::NoItemsFound => "it has no private key".to_owned(),
        error => damage(&error, 1),
    })
}

const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// The library's own words may repeat what is in the file.
fn damage(error: &pem::Error, section: usize) -> String {
    let what = match error {
        pem::Error::MissingSectionEnd { .. } => "does not end",
        pem::Error::IllegalSectionStart { .. } => "begins with a broken line",
        _ => "is not base64",
    };
    format!("section {section} in it {what}")
}

fn complaint(terms: &Terms, setting: &str, path: &Path, wanted: &str, why: &str) -> String {
    let (kind, path) = (terms.kind, path.display());
    format!("{kind}{setting} has the value \"{path}\", but it must be {wanted}: {why}")
}
