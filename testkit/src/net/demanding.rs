//! A server that asks for a certificate, and refuses those who have none when they take the handshake for done, as TLS
//! 1.3 allows both sides.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::Address;
use super::tls::identify;
use crate::certificates::Identity;
use crate::scratch::Scratch;

/// Listens on a unix socket. Whoever sends more than the socket holds meets a closed door, behind which the alert that
/// says why lies ready.
#[derive(Debug)]
pub struct DemandingServer {
    address: Address,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DemandingServer {
    /// Starts it with this certificate; it trusts the authority that has issued that.
    ///
    /// # Panics
    /// When it cannot.
    pub fn start(scratch: &Scratch, identity: &Identity) -> DemandingServer {
        let path = scratch.join("demanding.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let config = config(identity);
        let is_over = Arc::new(AtomicBool::new(false));
        let is_done = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            // Their ends stay open: what was said can be read for as long as anybody wants.
            let mut clients = Vec::new();
            while let Ok((mut client, _)) = listener.accept() {
                if is_done.load(Ordering::Relaxed) {
                    break;
                }
                // A client that only looks whether TLS is spoken hangs up itself.
                drop(refuse(&mut client, &config));
                clients.push(client);
            }
        });
        DemandingServer { address: Address::Unix(path), is_over, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> Address {
        self.address.clone()
    }
}

impl Drop for DemandingServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Address::Unix(path) = &self.address {
            wake(path);
        }
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn wake(path: &Path) {
    drop(UnixStream::connect(path));
}

fn refuse(client: &mut UnixStream, config: &Arc<ServerConfig>) -> io::Result<()> {
    let mut connection = ServerConnection::new(Arc::clone(config)).expect("a connection");
    loop {
        while connection.wants_write() {
            connection.write_tls(client)?;
        }
        // No more than a record at a time: what comes behind the handshake stays unread.
        let mut head = [0; 5];
        client.read_exact(&mut head)?;
        let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        client.read_exact(&mut record)?;
        let bytes = [&head[..], &record].concat();
        connection.read_tls(&mut &bytes[..])?;
        if connection.process_new_packets().is_err() {
            client.shutdown(Shutdown::Read)?;
            while connection.wants_write() {
                connection.write_tls(client)?;
            }
            return Ok(());
        }
    }
}

fn config(identity: &Identity) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(&identity.authority).expect("a certificate");
    roots.add(authority).expect("an authority");
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let (certificates, key) = identify(identity);
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a version")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(certificates, key);
    Arc::new(config.expect("a certificate and its key"))
}
