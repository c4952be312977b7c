//! The writing end of rsyslogd's input.

use std::io::{self, BufWriter, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use crate::net::{Address, Stream};

const READ_DEADLINE: Duration = Duration::from_secs(60);

/// Sends records to an imptcp input. What is written is buffered: [`flush`](Sender::flush) or
/// [`finish`](Sender::finish) sends the rest. A full queue in rsyslogd blocks the sender.
#[derive(Debug)]
pub struct Sender {
    stream: BufWriter<Stream>,
}

impl Sender {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(address: &Address) -> io::Result<Sender> {
        Ok(Sender { stream: BufWriter::with_capacity(64 * 1024, address.connect()?) })
    }

    /// One record as a line. It must not hold a line feed, and must not begin with a digit: imptcp takes that for
    /// an octet count.
    ///
    /// # Errors
    /// When rsyslogd has gone.
    pub fn line(&mut self, record: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(record.as_ref())?;
        self.stream.write_all(b"\n")
    }

    /// One record as an octet-counted frame. It may hold line feeds; a single one at its end is taken off by rsyslogd.
    ///
    /// # Errors
    /// When rsyslogd has gone.
    pub fn frame(&mut self, record: impl AsRef<[u8]>) -> io::Result<()> {
        let record = record.as_ref();
        write!(self.stream, "{} ", record.len())?;
        self.stream.write_all(record)
    }

    /// Sends what is buffered.
    ///
    /// # Errors
    /// When rsyslogd has gone.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }

    /// Sends what is buffered and waits until rsyslogd has put every record into its queue: it closes its side of the
    /// connection only then. (Whoever stops rsyslogd earlier loses what it has not read yet.)
    ///
    /// # Errors
    /// When rsyslogd has gone, or has not read everything within a minute.
    pub fn finish(mut self) -> io::Result<()> {
        self.stream.flush()?;
        let stream = self.stream.get_ref();
        stream.shutdown(Shutdown::Write)?;
        stream.set_read_timeout(Some(READ_DEADLINE))?;
        let mut stream: &Stream = stream;
        while stream.read(&mut [0; 64])? > 0 {}
        Ok(())
    }
}
