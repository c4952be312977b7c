//! A TLS connection over a socket. How long it waits is up to the socket.
#![forbid(unsafe_code)]

use crate::failure::{self, Failure, is_about_tls, is_timeout};
use rustls::ClientConnection;
use std::fmt::Display;
use std::io::{self, IoSlice, Read, Write};

/// A connection through TLS.
#[derive(Debug)]
pub struct TlsStream<S> {
    connection: ClientConnection,
    socket: S,
    /// We have a certificate of our own.
    has_identity: bool,
}

impl<S: Read + Write> TlsStream<S> {
    pub(crate) fn new(connection: ClientConnection, socket: S, has_identity: bool) -> Self {
        Self { connection, socket, has_identity }
    }

    /// Begins the handshake; false where the server says nothing in the socket's time.
    ///
    /// # Errors
    /// Those of the socket, and what [`TlsStream::failure`] explains.
    pub fn begin(&mut self) -> io::Result<bool> {
        self.send_or_hear()?;
        match self.receive() {
            Err(error) if is_timeout(&error) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Brings the handshake to its end.
    ///
    /// # Errors
    /// As for [`TlsStream::begin`].
    pub fn complete(&mut self) -> io::Result<()> {
        while self.connection.is_handshaking() {
            self.send_or_hear()?;
            if self.connection.is_handshaking() {
                self.receive()?;
            }
        }
        self.send_or_hear()
    }

    /// What the bytes go through.
    pub fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    /// What TLS has to say about an error of this stream; `None` where the error is another's. `address` is what the
    /// operator calls the server.
    pub fn failure(&self, address: &dyn Display, error: &io::Error) -> Option<Failure> {
        failure::explain(address, error, self.has_agreed(), self.has_identity)
    }

    /// True when the server has agreed to version and cipher: what it objects to then is us.
    fn has_agreed(&self) -> bool {
        self.connection.negotiated_cipher_suite().is_some()
    }

    /// Sends everything that is encrypted.
    fn send(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            if self.connection.write_tls(&mut self.socket)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// As [`TlsStream::send`]. A server that refuses us says why and hangs up, perhaps before we have sent all: then
    /// its last words are the error.
    fn send_or_hear(&mut self) -> io::Result<()> {
        let Err(error) = self.send() else { return Ok(()) };
        if !is_timeout(&error)
            && let Err(alert) = self.receive()
            && is_about_tls(&alert)
        {
            return Err(alert);
        }
        Err(error)
    }

    /// Waits for bytes and takes them in; perhaps they complete nothing yet.
    fn receive(&mut self) -> io::Result<()> {
        if self.connection.read_tls(&mut self.socket)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match self.connection.process_new_packets() {
            Ok(_) => Ok(()),
            Err(error) => {
                // The server's log shall know it too; that it does not is no other error.
                drop(self.send());
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }
}

impl<S: Read + Write> Read for TlsStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                // Nothing is decrypted; not to be taken for the socket's word that time is up.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            // What the server asked for meanwhile, new keys for instance. One that has hung up may have said why before.
            let unsent = match self.send() {
                Err(error) if is_timeout(&error) => return Err(error),
                result => result.err(),
            };
            self.receive().map_err(|error| match unsent {
                Some(unsent) if !is_about_tls(&error) => unsent,
                _ => error,
            })?;
        }
    }
}

impl<S: Read + Write> Write for TlsStream<S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buffer)])
    }

    /// Encrypts as much as the library is willing to hold (64 KiB), in as few records as can be, and
    /// sends that before it takes more. It may wait until the server reads, as on a plain socket: the
    /// server keeps its replies until we read them, and goes on reading.
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = self.connection.writer().write_vectored(buffers)?;
        self.send()?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a server answers those who do not speak TLS, over a new connection. One that does not speak it takes a
/// handshake for a command whose end is still to come, and waits.
pub fn answers_plainly(mut socket: impl Read + Write) -> bool {
    let mut first = [0];
    let answer = socket.write_all(b"PING\r\n").and_then(|()| socket.read_exact(&mut first));
    answer.is_ok() && matches!(&first, b"+" | b"-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use std::sync::Arc;

    /// Takes nothing any more; what it said before is still to be read.
    struct HungUp(&'static [u8]);

    impl Read for HungUp {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for HungUp {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn begin(last_words: &'static [u8]) -> (io::Error, Option<Failure>) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from("db1").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = TlsStream::new(connection, HungUp(last_words), false);
        let error = stream.begin().unwrap_err();
        let failure = stream.failure(&"db1:6379", &error);
        (error, failure)
    }

    // Oracle: a fatal alert as RFC 5246 has it; without one, the socket's own error.
    #[test]
    fn the_alert_of_a_server_that_has_hung_up_is_heard() {
        let access_denied = b"\x15\x03\x03\x00\x02\x02\x31";
        let (_, failure) = begin(access_denied);
        assert_eq!(failure.unwrap().fault, Fault::OwnCertificateRefused);
        let (error, failure) = begin(b"");
        assert_eq!((error.kind(), failure), (io::ErrorKind::BrokenPipe, None));
    }
}
