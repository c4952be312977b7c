//! The bytes to a server and from it: as they are, or through TLS. Every read and write ends by a
//! deadline.
#![forbid(unsafe_code)]

use super::Deadline;
use super::socket::DeadlineSocket;
use super::tls::{self, Tls};
use crate::error::Error;
use crate::params::Address;
use omvalkeyaudit_tls::TlsStream;
use std::io::{self, IoSlice, Read, Write};

pub(super) enum Stream {
    Plain(DeadlineSocket),
    Tls(Box<TlsStream<DeadlineSocket>>),
}

impl Stream {
    /// Connects, and shakes hands where that is due.
    pub(super) fn connect(
        address: &Address,
        tls: Option<&Tls>,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let socket = DeadlineSocket::connect(address, deadline)?;
        match tls {
            None => Ok(Self::Plain(socket)),
            Some(tls) => Ok(Self::Tls(Box::new(tls.open(address, socket, deadline)?))),
        }
    }

    /// All later reads and writes end by `deadline`.
    pub(super) fn set_deadline(&mut self, deadline: Deadline) {
        match self {
            Self::Plain(socket) => socket.set_deadline(deadline),
            Self::Tls(stream) => stream.socket().set_deadline(deadline),
        }
    }

    /// What is behind an error, where TLS is.
    pub(super) fn tls_failure(&self, address: &Address, error: &io::Error) -> Option<Error> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => tls::failure(address, stream, error),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buffer)])
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write_vectored(buffers),
            Self::Tls(stream) => stream.write_vectored(buffers),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
