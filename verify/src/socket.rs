//! The bytes to a server and from it: as they are, or through TLS. Every wait has a time limit.
#![forbid(unsafe_code)]

use crate::error::CannotCheck;
use crate::tls::{self, Tls};
use omvalkeyaudit_address::Address;
use omvalkeyaudit_tls::{Failure, TlsStream, answers_plainly};
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// So soon a server that speaks TLS answers; one that says nothing for so long is asked without.
const SOON: Duration = Duration::from_secs(3);

/// A connection.
#[derive(Debug)]
pub(crate) enum Socket {
    Plain(PlainSocket),
    Tls(Box<TlsStream<PlainSocket>>),
}

impl Socket {
    /// Connects, and shakes hands where that is due.
    pub(crate) fn connect(
        address: &Address,
        tls: Option<&Tls>,
        timeout: Duration,
    ) -> Result<Self, CannotCheck> {
        let socket = PlainSocket::connect(address, timeout).map_err(|error| {
            let why =
                if is_timeout(&error) { "no answer in time".into() } else { error.to_string() };
            CannotCheck(format!("cannot connect to {address}: {why}"))
        })?;
        let Some(tls) = tls else { return Ok(Self::Plain(socket)) };
        let mut stream = tls.stream(address, socket).map_err(|failure| tls::sentence(&failure))?;
        match shake_hands(&mut stream, address, timeout) {
            Ok(true) => Ok(Self::Tls(Box::new(stream))),
            Ok(false) => Err(tls::sentence(&Failure::not_spoken(address))),
            Err(error) => Err(stream.failure(address, &error).map_or_else(
                || {
                    let why = match error.kind() {
                        _ if is_timeout(&error) => "no answer in time".to_owned(),
                        io::ErrorKind::UnexpectedEof => "closed by the server".to_owned(),
                        _ => error.to_string(),
                    };
                    CannotCheck(format!("no TLS handshake with {address}: {why}"))
                },
                |failure| tls::sentence(&failure),
            )),
        }
    }

    /// What TLS has to say about an error; `None` where it is another's.
    pub(crate) fn tls_failure(&self, address: &Address, error: &io::Error) -> Option<Failure> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.failure(address, error),
        }
    }
}

/// False where the server does not speak TLS.
fn shake_hands(
    stream: &mut TlsStream<PlainSocket>,
    address: &Address,
    timeout: Duration,
) -> io::Result<bool> {
    stream.socket().set_timeout(SOON.min(timeout * 3 / 4))?;
    let has_answered = stream.begin()?;
    if !has_answered && PlainSocket::connect(address, timeout).is_ok_and(answers_plainly) {
        return Ok(false);
    }
    stream.socket().set_timeout(timeout)?;
    stream.complete().map(|()| true)
}

#[derive(Debug)]
pub(crate) enum PlainSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl PlainSocket {
    fn connect(address: &Address, timeout: Duration) -> io::Result<Self> {
        let socket = match address {
            Address::Tcp { host, port } => {
                let mut last = io::Error::other("the name has no address");
                let found = (host.as_str(), *port).to_socket_addrs()?.find_map(|address| {
                    let stream = TcpStream::connect_timeout(&address, timeout);
                    stream.map_err(|error| last = error).ok()
                });
                let stream = found.ok_or(last)?;
                stream.set_nodelay(true)?;
                Self::Tcp(stream)
            }
            Address::Unix(path) => Self::Unix(UnixStream::connect(path)?),
        };
        socket.set_timeout(timeout)?;
        Ok(socket)
    }

    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        let timeout = Some(timeout);
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(timeout).and_then(|()| stream.set_write_timeout(timeout))
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(timeout).and_then(|()| stream.set_write_timeout(timeout))
            }
        }
    }
}

impl Read for PlainSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for PlainSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    // TLS has several records to send at a time.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(pieces),
            Self::Unix(stream) => stream.write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
