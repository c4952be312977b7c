//! The server's side of a TLS connection, read by one thread and written by another.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use crate::certificates::Identity;

/// So much is decrypted at once; the library refuses more when what it has decrypted is not taken.
const READ_BYTES: usize = 4096;

/// What such a connection is made with.
///
/// # Panics
/// When the files are no certificate and key.
pub(crate) fn config(identity: &Identity) -> Arc<ServerConfig> {
    let (certificates, key) = identify(identity);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(certificates, key);
    Arc::new(config.expect("a certificate and its key"))
}

/// What a server shows to prove who it is.
pub(super) fn identify(
    identity: &Identity,
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_file(&identity.certificate).expect("a certificate");
    (vec![certificate], PrivateKeyDer::from_pem_file(&identity.key).expect("a key"))
}

#[derive(Debug)]
pub(crate) struct TlsStream {
    pub(super) socket: TcpStream,
    connection: Mutex<ServerConnection>,
}

impl TlsStream {
    pub(crate) fn new(socket: TcpStream, config: Arc<ServerConfig>) -> TlsStream {
        let connection = ServerConnection::new(config).expect("a connection");
        TlsStream { socket, connection: Mutex::new(connection) }
    }

    fn connection(&self) -> MutexGuard<'_, ServerConnection> {
        self.connection.lock().expect("no panic under the lock")
    }

    fn send(&self, connection: &mut ServerConnection) -> io::Result<()> {
        while connection.wants_write() {
            connection.write_tls(&mut &self.socket)?;
        }
        Ok(())
    }
}

impl Read for &TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection().reader().read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            // Not under the lock: the other thread may have something to write.
            let mut bytes = [0; READ_BYTES];
            let count = (&self.socket).read(&mut bytes)?;
            if count == 0 {
                return Ok(0);
            }
            let mut connection = self.connection();
            let mut rest = &bytes[..count];
            while !rest.is_empty() {
                connection.read_tls(&mut rest)?;
                let state = connection.process_new_packets();
                self.send(&mut connection)?;
                state.map_err(io::Error::other)?;
            }
        }
    }
}

impl Write for &TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut connection = self.connection();
        let count = connection.writer().write(bytes)?;
        self.send(&mut connection)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
