//! Replies out of bytes. The client library's parser reads any reply, but a flush has thousands of
//! the same few kinds, on which it would spend more time than the rest of the plugin on everything else (about
//! 300 ns a record, against 15 ns here): these are passed over without building a value.
#![forbid(unsafe_code)]

use crate::commands::Answer;
use redis::{Parser, Value};
use std::io::{self, Read};

/// Why no reply could be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The connection.
    Socket(io::Error),
    /// The bytes are no reply.
    NoReply,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

/// So many bytes are asked of the socket at once.
const READ_BYTES: usize = 32 * 1024;

/// A line with a length in it is not longer than this, its end included.
const MAX_LENGTH_LINE_BYTES: usize = 24;

/// The longest bulk string that is taken for a stream id: two numbers of twenty digits and a dash.
const MAX_ID_BYTES: usize = 41;

/// No reply that is left to the parser is longer; a server that sends more is none.
const MAX_REPLY_BYTES: usize = 1 << 20;

/// What a reply may begin with, in either version of the protocol.
const REPLY_KINDS: &[u8] = b"+-:$*_,#!=(%~|>";

/// How an alert of TLS begins, in any version.
const TLS_ALERT: &[u8] = b"\x15\x03";

/// Bytes that have arrived and are not read yet.
#[derive(Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    read: usize,
}

impl Inbox {
    /// The next reply, by the client library's parser.
    pub(super) fn value(&mut self, socket: &mut impl Read) -> Result<Value, ReadError> {
        if self.waiting().is_empty() {
            self.fill(socket)?;
        }
        // Fed byte by byte, the parser would wait for the end of what does not even begin as a reply.
        if !self.waiting().first().is_some_and(|kind| REPLY_KINDS.contains(kind)) {
            return Err(ReadError::NoReply);
        }
        let mut input = OneByOne { inbox: self, socket, failure: None, left: MAX_REPLY_BYTES };
        let value = Parser::new().parse_value(&mut input);
        match (value, input.failure) {
            (Ok(value), _) => Ok(value),
            (Err(_), Some(error)) => Err(ReadError::Socket(error)),
            (Err(_), None) => Err(ReadError::NoReply),
        }
    }

    /// Passes over at most `max` successive replies of this kind.
    pub(super) fn skip(
        &mut self,
        socket: &mut impl Read,
        answer: Answer,
        max: usize,
    ) -> Result<usize, ReadError> {
        let mut count = 0;
        while count < max {
            let is_one = match answer {
                Answer::Queued => self.skip_exactly(socket, b"+QUEUED\r\n")?,
                Answer::Ok => self.skip_exactly(socket, b"+OK\r\n")?,
                Answer::Id => self.skip_id(socket)?,
                Answer::Count => self.skip_count(socket)?,
                Answer::Any => self.skip_any(socket)?,
            };
            if !is_one {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    fn skip_exactly(&mut self, socket: &mut impl Read, reply: &[u8]) -> Result<bool, ReadError> {
        loop {
            let waiting = self.waiting();
            if waiting.starts_with(reply) {
                self.read += reply.len();
                return Ok(true);
            }
            if !reply.starts_with(waiting) {
                return Ok(false);
            }
            self.fill(socket)?;
        }
    }

    /// A bulk string that is short enough for a stream id.
    fn skip_id(&mut self, socket: &mut impl Read) -> Result<bool, ReadError> {
        loop {
            match self.length(b'$')? {
                Length::Of(length, header) if length <= MAX_ID_BYTES => {
                    let end = header + length;
                    match self.waiting().get(end..end + 2) {
                        Some(b"\r\n") => {
                            self.read += end + 2;
                            return Ok(true);
                        }
                        Some(_) => return Err(ReadError::NoReply),
                        None => self.fill(socket)?,
                    }
                }
                Length::Incomplete => self.fill(socket)?,
                Length::Of(..) | Length::None => return Ok(false),
            }
        }
    }

    fn skip_count(&mut self, socket: &mut impl Read) -> Result<bool, ReadError> {
        loop {
            match self.length(b':')? {
                Length::Of(_, line) => {
                    self.read += line;
                    return Ok(true);
                }
                Length::Incomplete => self.fill(socket)?,
                Length::None => return Ok(false),
            }
        }
    }

    /// Any reply that is no error, however long and nested: what a command that is not ours answers
    /// with is not kept.
    fn skip_any(&mut self, socket: &mut impl Read) -> Result<bool, ReadError> {
        if self.first(socket)? == b'-' {
            return Ok(false);
        }
        let mut left: usize = 1;
        while left > 0 {
            left -= 1;
            match self.first(socket)? {
                b'+' | b'-' | b':' => self.pass_line(socket)?,
                kind @ (b'$' | b'*') => match self.await_length(socket, kind)? {
                    None => self.pass_line(socket)?,
                    Some(length) if kind == b'$' => self.pass(socket, length.saturating_add(2))?,
                    Some(length) => left = left.saturating_add(length),
                },
                _ => return Err(ReadError::NoReply),
            }
        }
        Ok(true)
    }

    /// Passes over a line such as `$15`; nothing for a length that is none.
    fn await_length(
        &mut self,
        socket: &mut impl Read,
        kind: u8,
    ) -> Result<Option<usize>, ReadError> {
        loop {
            match self.length(kind)? {
                Length::Of(length, header) => {
                    self.read += header;
                    return Ok(Some(length));
                }
                Length::Incomplete => self.fill(socket)?,
                Length::None => return Ok(None),
            }
        }
    }

    /// True when what came instead of a reply is how TLS says no.
    pub(super) fn is_tls(&self) -> bool {
        self.waiting().starts_with(TLS_ALERT)
    }

    /// The first byte of what comes next.
    fn first(&mut self, socket: &mut impl Read) -> Result<u8, ReadError> {
        loop {
            match self.waiting().first() {
                Some(first) => return Ok(*first),
                None => self.fill(socket)?,
            }
        }
    }

    /// Passes over so many bytes.
    fn pass(&mut self, socket: &mut impl Read, mut bytes: usize) -> Result<(), ReadError> {
        loop {
            let waiting = self.waiting().len();
            self.read += waiting.min(bytes);
            bytes -= waiting.min(bytes);
            if bytes == 0 {
                return Ok(());
            }
            self.fill(socket)?;
        }
    }

    /// Passes over a line.
    fn pass_line(&mut self, socket: &mut impl Read) -> Result<(), ReadError> {
        loop {
            let waiting = self.waiting();
            if let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
                self.read += end + 1;
                return Ok(());
            }
            let bytes = waiting.len();
            self.pass(socket, bytes)?;
            self.fill(socket)?;
        }
    }

    /// If an array comes next: passes over its head, and says how many replies it has.
    pub(super) fn enter_array(
        &mut self,
        socket: &mut impl Read,
    ) -> Result<Option<usize>, ReadError> {
        self.await_length(socket, b'*')
    }

    fn waiting(&self) -> &[u8] {
        self.bytes.get(self.read..).unwrap_or_default()
    }

    /// Reads a line such as `$15` with this first byte.
    fn length(&self, kind: u8) -> Result<Length, ReadError> {
        let waiting = self.waiting();
        let Some((first, rest)) = waiting.split_first() else { return Ok(Length::Incomplete) };
        if *first != kind || rest.first() == Some(&b'-') {
            return Ok(Length::None);
        }
        let mut length = 0_usize;
        for (index, byte) in rest.iter().enumerate().take(MAX_LENGTH_LINE_BYTES) {
            match byte {
                b'0'..=b'9' => {
                    length = length
                        .checked_mul(10)
                        .and_then(|length| length.checked_add(usize::from(byte - b'0')))
                        .ok_or(ReadError::NoReply)?;
                }
                b'\r' if index > 0 => {
                    return match rest.get(index + 1) {
                        Some(b'\n') => Ok(Length::Of(length, index + 3)),
                        Some(_) => Err(ReadError::NoReply),
                        None => Ok(Length::Incomplete),
                    };
                }
                _ => return Err(ReadError::NoReply),
            }
        }
        if rest.len() < MAX_LENGTH_LINE_BYTES {
            Ok(Length::Incomplete)
        } else {
            Err(ReadError::NoReply)
        }
    }

    /// Waits for more bytes.
    fn fill(&mut self, socket: &mut impl Read) -> io::Result<()> {
        self.bytes.drain(..self.read);
        self.read = 0;
        let old = self.bytes.len();
        self.bytes.resize(old + READ_BYTES, 0);
        let result = socket.read(self.bytes.get_mut(old..).unwrap_or_default());
        self.bytes.truncate(old + *result.as_ref().unwrap_or(&0));
        match result {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A length at the front of what is waiting.
enum Length {
    /// The length, and the size of its line.
    Of(usize, usize),
    /// The line's end has not arrived.
    Incomplete,
    /// Something else is waiting.
    None,
}

/// Hands the parser one byte at a time, so that it takes none of the reply behind its own. The
/// replies that are read this way are few and short.
struct OneByOne<'i, R> {
    inbox: &'i mut Inbox,
    socket: &'i mut R,
    failure: Option<io::Error>,
    /// So many bytes may still belong to this reply.
    left: usize,
}

impl<R: Read> Read for OneByOne<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(slot) = buffer.first_mut() else { return Ok(0) };
        if self.inbox.waiting().is_empty()
            && let Err(error) = self.inbox.fill(self.socket)
        {
            let kind = error.kind();
            self.failure = Some(error);
            return Err(kind.into());
        }
        let Some(byte) = self.inbox.waiting().first() else { return Ok(0) };
        if self.left == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.left -= 1;
        *slot = *byte;
        self.inbox.read += 1;
        Ok(1)
    }
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

    // Oracle: the same counts and values however the bytes are cut into pieces.
    #[test]
    fn the_short_cuts_and_the_parser_share_one_stream_of_bytes() {
        let wire = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n-ERR no\r\n+QUEUED\r\n*3\r\n$3\r\n1-0\r\n-WRONGTYPE x\r\n$15\r\n1784938493000-1\r\n*-1\r\n+OK\r\n";
        for size in 1..wire.len() {
            let mut socket = Pieces(wire, size);
            let mut inbox = Inbox::default();
            assert_eq!(inbox.value(&mut socket).unwrap(), Value::Okay);
            assert_eq!(inbox.skip(&mut socket, Answer::Queued, 9).unwrap(), 2);
            assert!(matches!(inbox.value(&mut socket).unwrap(), Value::ServerError(_)));
            assert_eq!(inbox.skip(&mut socket, Answer::Queued, 1).unwrap(), 1);
            assert_eq!(inbox.skip(&mut socket, Answer::Id, 3).unwrap(), 0);
            assert_eq!(inbox.enter_array(&mut socket).unwrap(), Some(3));
            assert_eq!(inbox.skip(&mut socket, Answer::Id, 3).unwrap(), 1);
            assert!(matches!(inbox.value(&mut socket).unwrap(), Value::ServerError(_)));
            assert_eq!(inbox.skip(&mut socket, Answer::Id, 1).unwrap(), 1);
            assert_eq!(inbox.enter_array(&mut socket).unwrap(), None);
            assert_eq!(inbox.value(&mut socket).unwrap(), Value::Nil);
            assert_eq!(inbox.value(&mut socket).unwrap(), Value::Okay);
            let end = inbox.value(&mut socket).unwrap_err();
            assert!(
                matches!(end, ReadError::Socket(error) if error.kind() == io::ErrorKind::UnexpectedEof)
            );
        }
    }

    // Oracle: an error instead of a count, a hang or a huge allocation.
    #[test]
    fn bytes_that_are_no_reply_are_errors() {
        for wire in [
            &b"$1x\r\n"[..],
            b"$\r\n",
            b"$3\r\n1-0xx",
            b"$99999999999999999999999999\r\n",
            b"$0000000000000000000000000000001\r\n",
            b"$1\rx",
        ] {
            let mut inbox = Inbox::default();
            assert!(inbox.skip(&mut Pieces(wire, 100), Answer::Id, 1).is_err(), "{wire:?}");
        }
        let mut inbox = Inbox::default();
        let web = inbox.value(&mut Pieces(b"HTTP/1.1 400\r\n", 5)).unwrap_err();
        assert!(matches!(web, ReadError::NoReply), "{web:?}");
        // A length is only a number until somebody waits for that many bytes.
        let mut inbox = Inbox::default();
        assert_eq!(inbox.skip(&mut Pieces(b"$4000000000\r\n", 50), Answer::Id, 1).unwrap(), 0);
    }

    // Oracle: the parser reads a long bulk string that the short cut leaves alone.
    #[test]
    fn a_string_too_long_for_an_id_is_left_to_the_parser() {
        let wire = format!("$50\r\n{}\r\n", "9".repeat(50));
        let mut socket = Pieces(wire.as_bytes(), 7);
        let mut inbox = Inbox::default();
        assert_eq!(inbox.skip(&mut socket, Answer::Id, 1).unwrap(), 0);
        assert_eq!(inbox.value(&mut socket).unwrap(), Value::BulkString(vec![b'9'; 50]));
    }
}
