//! A server's replies, read piece by piece. A reply is never held as a whole: an entry of a stream may
//! have 512 MB, a page of them any size, and a check needs a few short fields of each. That is what
//! the client library, which builds each reply in memory, could not do.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

/// So many bytes are asked of the socket at once.
const READ_BYTES: usize = 64 * 1024;

/// The longest line: a length, or a server's error.
const MAX_LINE_BYTES: u64 = 4096;

/// How a server that speaks TLS begins to complain of one who does not.
const TLS_ALERT: &[u8] = &[0x15, 3];

/// What a reply begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// A short text.
    Status(String),
    /// The server refuses; its words.
    Refusal(String),
    /// A number.
    Number(i64),
    /// A string of so many bytes follows.
    Bulk(u64),
    /// So many replies follow.
    Array(u64),
    /// Nothing.
    Nil,
}

/// Why no reply could be read.
#[derive(Debug)]
pub enum ReadError {
    /// The connection.
    Socket(io::Error),
    /// The bytes are those of TLS.
    Tls,
    /// The bytes are no reply, or another one than expected.
    NoReply,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    f.write_str("did not answer in time")
                }
                io::ErrorKind::UnexpectedEof => f.write_str("closed the connection"),
                _ => write!(f, "connection lost: {error}"),
            },
            Self::Tls => f.write_str("answers with TLS"),
            Self::NoReply => f.write_str("does not answer as a Valkey or Redis server"),
        }
    }
}

/// Replies out of a connection.
#[derive(Debug)]
pub struct Replies<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    has_begun: bool,
}

impl<R: Read> Replies<R> {
    /// Reads from `input`.
    pub fn new(input: R) -> Self {
        let input = BufReader::with_capacity(READ_BYTES, input);
        Self { input, line: Vec::new(), has_begun: false }
    }

    /// The connection.
    pub fn connection(&self) -> &R {
        self.input.get_ref()
    }

    /// The connection, to write to.
    pub fn connection_mut(&mut self) -> &mut R {
        self.input.get_mut()
    }

    /// At least one reply has come.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// The beginning of the next reply.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn head(&mut self) -> Result<Head, ReadError> {
        self.line.clear();
        let mut limited = (&mut self.input).take(MAX_LINE_BYTES);
        limited.read_until(b'\n', &mut self.line)?;
        if self.line.starts_with(TLS_ALERT) {
            return Err(ReadError::Tls);
        }
        let Some(line) = self.line.strip_suffix(b"\r\n") else {
            // Cut by the end of the connection, not by the limit.
            let is_cut = limited.limit() > 0 && !self.line.ends_with(b"\n");
            let begins_well = self.line.first().is_none_or(|kind| b"+-:$*".contains(kind));
            return Err(if is_cut && begins_well {
                io::Error::from(io::ErrorKind::UnexpectedEof).into()
            } else {
                ReadError::NoReply
            });
        };
        self.has_begun = true;
        let (kind, text) = line.split_first().ok_or(ReadError::NoReply)?;
        let text = std::str::from_utf8(text).map_err(|_| ReadError::NoReply)?;
        match (kind, text) {
            (b'+', _) => Ok(Head::Status(text.to_owned())),
            (b'-', _) => Ok(Head::Refusal(text.to_owned())),
            (b':', _) => text.parse().map(Head::Number).map_err(|_| ReadError::NoReply),
            (b'$' | b'*', "-1") => Ok(Head::Nil),
            (b'$', _) => length(text).map(Head::Bulk),
            (b'*', _) => length(text).map(Head::Array),
            _ => Err(ReadError::NoReply),
        }
    }

    /// Hands the string that follows to `read`, and passes over what it leaves.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn bulk<T>(
        &mut self,
        bytes: u64,
        read: impl FnOnce(&mut io::Take<&mut BufReader<R>>) -> T,
    ) -> Result<T, ReadError> {
        let mut text = (&mut self.input).take(bytes);
        let outcome = read(&mut text);
        while text.limit() > 0 {
            let waiting = text.fill_buf()?.len();
            if waiting == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            text.consume(waiting);
        }
        let mut end = [0; 2];
        self.input.read_exact(&mut end)?;
        if end == *b"\r\n" { Ok(outcome) } else { Err(ReadError::NoReply) }
    }

    /// Reads the string that follows into `text`; of a longer one only the first `max` bytes.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn text(&mut self, bytes: u64, max: u64, text: &mut Vec<u8>) -> Result<(), ReadError> {
        text.clear();
        self.bulk(bytes, |input| input.take(max).read_to_end(text))??;
        Ok(())
    }

    /// Passes over `count` replies.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub fn skip(&mut self, count: u64) -> Result<(), ReadError> {
        let mut left = count;
        while left > 0 {
            left -= 1;
            match self.head()? {
                Head::Bulk(bytes) => self.bulk(bytes, |_| ())?,
                Head::Array(count) => left = left.checked_add(count).ok_or(ReadError::NoReply)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn length(text: &str) -> Result<u64, ReadError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or(ReadError::NoReply)
}

/// A server's words as they can be shown: quotation marks as they are, nothing that moves a terminal's cursor.
pub(crate) fn shown(words: &str) -> String {
    let mut shown = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '"' | '\'' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of a fixed size, and then an end.
    struct Pieces<'b>(&'b [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            let (piece, rest) = self.0.split_at(count);
            buffer[..count].copy_from_slice(piece);
            self.0 = rest;
            Ok(count)
        }
    }

    // Oracle: the same values however the bytes are cut into pieces.
    #[test]
    fn replies_are_read_from_any_pieces() {
        let wire = b"+OK\r\n-ERR no\r\n:-7\r\n$5\r\na\r\nbc\r\n$-1\r\n*3\r\n*2\r\n$0\r\n\r\n:1\r\n*-1\r\n+x\r\n*0\r\n$4\r\nlong\r\n";
        for size in 1..wire.len() {
            let mut replies = Replies::new(Pieces(wire, size));
            assert_eq!(replies.head().unwrap(), Head::Status("OK".into()));
            assert_eq!(replies.head().unwrap(), Head::Refusal("ERR no".into()));
            assert_eq!(replies.head().unwrap(), Head::Number(-7));
            assert_eq!(replies.head().unwrap(), Head::Bulk(5));
            let mut text = Vec::new();
            replies.text(5, 9, &mut text).unwrap();
            assert_eq!(text, b"a\r\nbc");
            assert_eq!(replies.head().unwrap(), Head::Nil);
            replies.skip(2).unwrap();
            assert_eq!(replies.head().unwrap(), Head::Bulk(4));
            replies.text(4, 2, &mut text).unwrap();
            assert_eq!(text, b"lo");
            let end = replies.head().unwrap_err();
            assert_eq!(end.to_string(), "closed the connection");
        }
    }

    // Oracle: an error instead of a panic, a hang or a huge allocation.
    #[test]
    fn bytes_that_are_no_reply_are_errors() {
        let long = vec![b'+'; 10_000];
        for wire in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"SSH-2.0",
            b"\r\n",
            b"$1x\r\n",
            b"$+1\r\n",
            b"$-2\r\n",
            b"*99999999999999999999\r\n",
            b":\r\n",
            b"+\xff\r\n",
            b"+a\n",
            &long,
        ] {
            let error = Replies::new(wire).head().unwrap_err();
            assert!(matches!(error, ReadError::NoReply), "{wire:?}: {error}");
        }
        let alert = Replies::new(&b"\x15\x03\x01\x00\x02\x02\x46"[..]).head().unwrap_err();
        assert!(matches!(alert, ReadError::Tls), "{alert}");
        let mut replies = Replies::new(&b"abcd"[..]);
        assert!(matches!(replies.bulk(2, |_| ()), Err(ReadError::NoReply)));
        let mut replies = Replies::new(&b"ab"[..]);
        assert!(matches!(replies.bulk(u64::MAX, |_| ()), Err(ReadError::Socket(_))));
        let nested = b"*18446744073709551615\r\n*18446744073709551615\r\n";
        assert!(matches!(Replies::new(&nested[..]).skip(1), Err(ReadError::NoReply)));
    }

    // Oracle: what a terminal would be given.
    #[test]
    fn a_servers_words_are_shown_without_what_a_terminal_obeys() {
        assert_eq!(shown("ERR 'x' \"y\" \u{1b}[2J\r"), "ERR 'x' \"y\" \\u{1b}[2J\\r");
    }
}
