//! The connection to the target: a unix stream socket or TCP, with deadlines, and the question how much of
//! what was written the other side has taken.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::ToSocketAddrs;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use crate::ffi::system;
use crate::settings::Target;

const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// The longest wait before another look at what was read.
const FULL_REST: Duration = Duration::from_millis(1);
/// The same where the kernel does not wake who waits, because little is on its way.
const SHORT_REST: Duration = Duration::from_micros(200);
/// The kernel makes twice that of it, and has room for what imptcp reads at once (128 KiB) and its overhead.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// What goes out before the reader has taken everything: less than imptcp reads at once.
const ONE_READ_BYTES: usize = 124 * 1024;
/// A TCP peer that acknowledges nothing for so long is gone.
const TCP_DEADLINE: Duration = Duration::from_secs(20);

/// A connection.
#[derive(Debug)]
pub(crate) struct Outlet {
    socket: Socket,
    is_unix: bool,
    /// The last write was cut. If the reader's end did that, its error is used up.
    was_cut: Cell<bool>,
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
            socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
            socket.connect(address)?;
        } else {
            socket.connect_timeout(address, CONNECT_DEADLINE)?;
            socket.set_tcp_nodelay(true)?;
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_DEADLINE))?;
            socket.set_tcp_user_timeout(Some(TCP_DEADLINE))?;
        }
        // A write that waits would be read in parts, and nobody would look how far before the end.
        socket.set_nonblocking(true)?;
        Ok(Outlet { socket, is_unix: domain == Domain::UNIX, was_cut: Cell::new(false) })
    }

    /// Writes what fits; waits a moment for room when nothing does, and gives 0. `unread` is what
    /// [`unread`](Self::unread) has just said.
    ///
    /// Over a unix socket only so much is on its way as is read at once, and the next follows when all of it was read:
    /// a read that ended inside of a kernel buffer would leave that counted as unread as a whole, and written twice
    /// when the reader goes away then. A reader that takes less at once may still do that.
    ///
    /// # Errors
    /// When the connection is gone.
    pub(crate) fn write(&self, bytes: &[u8], unread: u64) -> io::Result<usize> {
        let mut part = bytes;
        if self.is_unix {
            if unread > 0 {
                self.wait_read(unread);
                return Ok(0);
            }
            part = bytes.get(..ONE_READ_BYTES).unwrap_or(bytes);
        }
        match (&self.socket).write(part) {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                system::wait_writable(self.socket.as_fd(), FULL_REST);
                Ok(0)
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => Ok(0),
            Ok(written) => {
                self.was_cut.set(written < part.len());
                Ok(written)
            }
            other => other,
        }
    }

    /// Waits for the reader. The kernel calls a socket writable when less than a quarter of it is in use.
    fn wait_read(&self, unread: u64) {
        if unread > SEND_BUFFER_BYTES as u64 / 2 {
            system::wait_writable(self.socket.as_fd(), FULL_REST);
        } else {
            thread::park_timeout(SHORT_REST);
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

    /// Whether the reader had read everything when it closed. A unix socket says so: the end is an error where
    /// bytes were left, set before they are thrown away, so that the figure is asked for first. (A shutdown that
    /// is no close yet leaves them in the figure.) TCP does not know.
    pub(crate) fn was_read_to_the_end(&self) -> bool {
        self.is_unix
            && !self.was_cut.get()
            && system::unread_bytes(self.socket.as_fd()).is_ok_and(|unread| unread == 0)
            && (&self.socket).read(&mut [0]).is_ok_and(|count| count == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;
    use std::os::unix::net::{UnixListener, UnixStream};

    const TEXT: &[u8] = b"eight by";

    /// Both ends of a connection.
    fn pair() -> (Outlet, UnixStream) {
        // One at a time has the name: the test's thread.
        let name = format!("auditsource-{:?}-{}", thread::current().id(), std::process::id());
        let path = std::env::temp_dir().join(name);
        drop(std::fs::remove_file(&path));
        let listener = UnixListener::bind(&path).unwrap();
        let outlet = Outlet::connect(&Target::Unix(path.display().to_string())).unwrap();
        let (stream, _) = listener.accept().unwrap();
        std::fs::remove_file(path).unwrap();
        (outlet, stream)
    }

    /// What is left of a connection over which eight bytes went, when `reader` is done with its end.
    fn after(
        reader: impl FnOnce(UnixStream) -> Option<UnixStream>,
    ) -> (Outlet, Option<UnixStream>) {
        let (outlet, stream) = pair();
        assert_eq!(outlet.write(TEXT, 0).unwrap(), TEXT.len());
        assert!(outlet.unread().unwrap() >= TEXT.len() as u64);
        let left = reader(stream);
        assert!(outlet.unread().is_err());
        (outlet, left)
    }

    fn read(stream: &mut UnixStream, count: usize) {
        stream.read_exact(&mut vec![0; count]).unwrap();
    }

    /// Writes without regard to what is unread, until the kernel takes only a part. Gives the number of bytes.
    fn write_until_cut(outlet: &Outlet) -> usize {
        let batch = vec![b'x'; ONE_READ_BYTES];
        let mut written = 0;
        loop {
            let count = outlet.write(&batch, 0).unwrap();
            written += count;
            if (1..batch.len()).contains(&count) {
                return written;
            }
        }
    }

    // Oracle: the rule at `was_cut`. The reader had read everything both times; whether it had is not known where the
    // last write was cut.
    #[test]
    fn a_write_that_was_cut_leaves_the_end_uncertain() {
        for is_whole_last in [false, true] {
            let (outlet, mut stream) = pair();
            read(&mut stream, write_until_cut(&outlet));
            if is_whole_last {
                assert_eq!(outlet.write(TEXT, 0).unwrap(), TEXT.len());
                read(&mut stream, TEXT.len());
            }
            drop(stream);
            assert!(outlet.unread().is_err());
            assert_eq!(outlet.was_read_to_the_end(), is_whole_last);
        }
    }

    // Oracle: what the reader had read when it closed.
    #[test]
    fn the_end_tells_whether_everything_was_read() {
        for (count, is_all) in [(TEXT.len(), true), (TEXT.len() - 1, false), (0, false)] {
            let (outlet, _) = after(|mut stream| {
                read(&mut stream, count);
                None
            });
            assert_eq!(outlet.was_read_to_the_end(), is_all, "{count} bytes");
        }
    }

    // Oracle: the bytes are still there to be read.
    #[test]
    fn a_shutdown_is_not_taken_for_the_end() {
        let (outlet, left) = after(|stream| {
            stream.shutdown(Shutdown::Both).unwrap();
            Some(stream)
        });
        assert!(!outlet.was_read_to_the_end());
        drop(left);
        assert!(!outlet.was_read_to_the_end());
    }
}
