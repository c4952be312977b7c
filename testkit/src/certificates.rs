//! Certificates of an authority that a test makes for itself: good ones, and those that nobody should
//! accept.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

use crate::scratch::Scratch;

/// An authority, and the folder where it puts what it issues.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    issued: AtomicU32,
}

/// The files of a certificate.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The certificate of the authority that issued it, PEM.
    pub authority: PathBuf,
}

/// What a certificate shall be; see [`Authority::certificate`].
pub struct CertificateBuilder<'a> {
    authority: &'a Authority,
    params: CertificateParams,
}

impl Authority {
    /// Makes one with a folder of its own in `scratch`.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn new(scratch: &Scratch) -> Authority {
        let folder = scratch.new_folder("authority");
        let key = KeyPair::generate().expect("a key");
        let mut params = params(&[]);
        // Two of one name would be taken for one.
        params.distinguished_name.push(DnType::CommonName, folder.display().to_string());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        write(&folder.join("ca.pem"), &issuer.pem());
        Authority { issuer, folder, issued: AtomicU32::new(0) }
    }

    /// Its own certificate, PEM.
    pub fn path(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate for `localhost`, `127.0.0.1` and `::1`, good for server and client.
    pub fn for_loopback(&self) -> Identity {
        self.certificate(&["localhost", "127.0.0.1", "::1"]).issue()
    }

    /// Describes a certificate for these host names and addresses.
    ///
    /// # Panics
    /// When one of them is neither.
    pub fn certificate(&self, names: &[&str]) -> CertificateBuilder<'_> {
        CertificateBuilder { authority: self, params: params(names) }
    }
}

impl CertificateBuilder<'_> {
    /// It was valid in 2024.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.params.not_before = date_time_ymd(2024, 1, 1);
        self.params.not_after = date_time_ymd(2025, 1, 1);
        self
    }

    /// It will be valid in 2090.
    #[must_use]
    pub fn not_yet_valid(mut self) -> Self {
        self.params.not_before = date_time_ymd(2090, 1, 1);
        self
    }

    /// It may issue others, as one does that `openssl req -x509` made.
    #[must_use]
    pub fn for_an_authority(mut self) -> Self {
        self.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self
    }

    /// Makes it, with a new key.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn issue(self) -> Identity {
        let number = self.authority.issued.fetch_add(1, Ordering::Relaxed);
        let path = |kind| self.authority.folder.join(format!("{number}.{kind}.pem"));
        let identity = Identity {
            certificate: path("certificate"),
            key: path("key"),
            authority: self.authority.path(),
        };
        let key = KeyPair::generate().expect("a key");
        let certificate = self.params.signed_by(&key, &self.authority.issuer);
        write(&identity.certificate, &certificate.expect("a certificate").pem());
        write(&identity.key, &key.serialize_pem());
        identity
    }
}

impl Identity {
    /// Puts another one into its place, file by file, as a renewal does.
    ///
    /// # Panics
    /// When a file cannot be copied.
    pub fn become_a_copy_of(&self, other: &Identity) {
        for (from, to) in [(&other.certificate, &self.certificate), (&other.key, &self.key)] {
            fs::copy(from, to).unwrap_or_else(|e| panic!("copy to {}: {e}", to.display()));
        }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    CertificateParams::new(names).expect("host names and addresses")
}

fn write(path: &Path, pem: &str) {
    fs::write(path, pem).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
}
