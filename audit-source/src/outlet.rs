//! The connection to the target: a unix stream socket or TCP, with deadlines, and the question how much of
//! what was written the other side has taken.
#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, Write};
use std::net::ToSocketAddrs;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use crate::ffi::system;
use crate::settings::Target;

const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// A write returns at least this often, so that the thread notices when it shall end.
const WRITE_DEADLINE: Duration = Duration::from_millis(100);
/// A TCP peer that acknowledges nothing for so long is gone.
const TCP_DEADLINE: Duration = Duration::from_secs(20);

/// A connection.
#[derive(Debug)]
pub(crate) struct Outlet {
    socket: Socket,
}

impl Outlet {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there, or nobody answers in time.
    pub(crate) fn connect(target: &Target) -> io::Result<Outlet> {
        match target {
            Target::Unix(path) => Outlet::connect_to(&SockAddr::unix(path)?),
            Target::Tcp { host, port } => {
                let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    match Outlet::connect_to(&SockAddr::from(address)) {
                        Ok(outlet) => return Ok(outlet),
                        Err(e) => last = e,
                    }
                }
                Err(last)
            }
        }
    }

    fn connect_to(address: &SockAddr) -> io::Result<Outlet> {
        let domain = Domain::from(i32::from(address.family()));
        let socket = Socket::new(domain, Type::STREAM, None)?;
        // A unix socket's connect waits while the listener's queue is full; this deadline ends that.
        socket.set_write_timeout(Some(CONNECT_DEADLINE))?;
        if domain == Domain::UNIX {
            socket.connect(address)?;
        } else {
            socket.connect_timeout(address, CONNECT_DEADLINE)?;
            socket.set_tcp_nodelay(true)?;
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_DEADLINE))?;
            socket.set_tcp_user_timeout(Some(TCP_DEADLINE))?;
        }
        socket.set_write_timeout(Some(WRITE_DEADLINE))?;
        Ok(Outlet { socket })
    }

    /// Writes what fits within a tenth of a second; 0 when nothing did.
    ///
    /// # Errors
    /// When the connection is gone.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match (&self.socket).write(bytes) {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            other => other,
        }
    }

    /// How many of the written bytes the other side has not taken, at most: a unix socket counts its
    /// buffers' overhead too, and TCP what the other side's kernel has not acknowledged.
    ///
    /// # Errors
    /// When the connection is gone. The kernel forgets unread bytes when the reader closes, so the figure
    /// counts only if the connection is found alive after it was asked for.
    pub(crate) fn unread(&self) -> io::Result<u64> {
        let unread = system::unread_bytes(self.socket.as_fd())?;
        if system::is_hung_up(self.socket.as_fd())? {
            return Err(ErrorKind::ConnectionReset.into());
        }
        Ok(unread)
    }
}
