//! A TLS connection over a socket whose every read and write ends by a deadline.
#![forbid(unsafe_code)]

use super::super::Deadline;
use super::super::socket::{DeadlineSocket, is_timeout};
use rustls::ClientConnection;
use std::io::{self, IoSlice, Read, Write};

pub(in crate::server) struct TlsStream {
    connection: ClientConnection,
    socket: DeadlineSocket,
    /// We have a certificate of our own.
    pub(super) has_identity: bool,
}

impl TlsStream {
    pub(super) fn new(
        connection: ClientConnection,
        socket: DeadlineSocket,
        has_identity: bool,
    ) -> Self {
        Self { connection, socket, has_identity }
    }

    /// Begins the handshake; false where the server says nothing by `deadline`.
    pub(super) fn begin(&mut self, deadline: Deadline) -> io::Result<bool> {
        self.socket.set_deadline(deadline);
        self.send()?;
        match self.receive() {
            Err(error) if is_timeout(&error) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Brings the handshake to its end.
    pub(super) fn complete(&mut self, deadline: Deadline) -> io::Result<()> {
        self.socket.set_deadline(deadline);
        while self.connection.is_handshaking() {
            self.send()?;
            if self.connection.is_handshaking() {
                self.receive()?;
            }
        }
        self.send()
    }

    pub(in crate::server) fn set_deadline(&mut self, deadline: Deadline) {
        self.socket.set_deadline(deadline);
    }

    /// True when the server has agreed to version and cipher: what it objects to then is us.
    pub(super) fn has_agreed(&self) -> bool {
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

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                // Nothing is decrypted; not to be taken for the socket's word that time is up.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            // What the server asked for meanwhile, new keys for instance.
            self.send()?;
            self.receive()?;
        }
    }
}

impl Write for TlsStream {
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
