//! What the operating system is asked for and std has no word for.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Duration;

use libc::c_int;

/// Bytes in a socket's send queue (SIOCOUTQ).
pub(crate) fn unread_bytes(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: c_int = 0;
    // SAFETY: the descriptor is open as long as it is borrowed, and this request writes one int.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(bytes.max(0).unsigned_abs().into())
    }
}

/// Whether the other side has closed, or the connection is broken.
pub(crate) fn is_hung_up(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one entry, which lives until the call returns; it does not wait.
    let result = unsafe { libc::poll(&raw mut entry, 1, 0) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        count => Ok(count > 0),
    }
}

/// Waits until the socket takes something again, its connection ends, or the time has passed; not even that long
/// when the process is stopped and continued. Who writes next learns what is wrong.
pub(crate) fn wait_writable(socket: BorrowedFd<'_>, time: Duration) {
    let events = libc::POLLOUT | libc::POLLRDHUP;
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
    let milliseconds = c_int::try_from(time.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: one entry, which lives until the call returns.
    unsafe { libc::poll(&raw mut entry, 1, milliseconds) };
}

/// Keeps signals away from the calling thread: they are for the server's main thread.
pub(crate) fn block_signals() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the call writes the set that the pointer leads to.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the set was written by the call before; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut()) };
}
