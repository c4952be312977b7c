//! A stream socket whose every read and write ends by a deadline.
#![forbid(unsafe_code)]

use super::{Deadline, resolve::resolve};
use crate::error::{Cause, Error};
use crate::params::Address;
use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};
use std::io::{self, IoSlice, Read, Write};
use std::time::Duration;

/// How soon an idle connection is probed: a peer that vanished is noticed before the next outage of
/// records, and firewalls keep the connection in mind.
const KEEPALIVE: Duration = Duration::from_secs(60);

pub(super) struct DeadlineSocket {
    socket: Socket,
    deadline: Deadline,
}

impl DeadlineSocket {
    /// Connects to the first of the address's endpoints that accepts.
    pub(super) fn connect(address: &Address, deadline: Deadline) -> Result<Self, Error> {
        let socket = match address {
            Address::Unix(path) => {
                let endpoint = SockAddr::unix(path).map_err(|error| failed(address, &error))?;
                open(&endpoint, Domain::UNIX, deadline).map_err(|error| failed(address, &error))?
            }
            Address::Tcp { host, port } => {
                let mut last =
                    Error::broken(Cause::Connect, format!("cannot connect to {address}"));
                let mut found = None;
                let endpoints = resolve(host, *port, deadline)?;
                let mut left = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
                for endpoint in endpoints {
                    // One that does not answer must leave time for the next.
                    let share = deadline.remaining().unwrap_or_default() / left.max(1);
                    left -= 1;
                    let deadline = deadline.capped(share);
                    match open(&endpoint.into(), Domain::for_address(endpoint), deadline) {
                        Ok(socket) => {
                            found = Some(socket);
                            break;
                        }
                        Err(error) => last = failed(address, &error),
                    }
                }
                let socket = found.ok_or(last)?;
                prepare_tcp(&socket).map_err(|error| failed(address, &error))?;
                socket
            }
        };
        Ok(Self { socket, deadline })
    }

    /// All later reads and writes end by `deadline`.
    pub(super) fn set_deadline(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    fn remaining(&self) -> io::Result<Duration> {
        self.deadline.remaining().ok_or_else(|| io::ErrorKind::TimedOut.into())
    }
}

fn open(endpoint: &SockAddr, domain: Domain, deadline: Deadline) -> io::Result<Socket> {
    let remaining = deadline.remaining().ok_or(io::ErrorKind::TimedOut)?;
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.connect_timeout(endpoint, remaining)?;
    Ok(socket)
}

fn prepare_tcp(socket: &Socket) -> io::Result<()> {
    // The last piece of a flush must leave at once: its reply is what we wait for.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))
}

fn failed(address: &Address, error: &io::Error) -> Error {
    // A unix socket whose queue of connections is full says WouldBlock at once.
    let cause = if is_timeout(error) { Cause::Timeout } else { Cause::Connect };
    let why = if is_timeout(error) { "no answer in time".to_owned() } else { error.to_string() };
    Error::broken(cause, format!("cannot connect to {address}: {why}"))
}

/// A read or write whose time is up ends as WouldBlock or TimedOut, depending on the call.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

// The host interrupts system calls with a signal when it shuts down. Calls go on until their
// deadline: an interrupted commit would only have to be looked up again.
impl Read for DeadlineSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.socket.set_read_timeout(Some(self.remaining()?))?;
            match (&self.socket).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl Write for DeadlineSocket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buffer)])
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            self.socket.set_write_timeout(Some(self.remaining()?))?;
            match (&self.socket).write_vectored(buffers) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
