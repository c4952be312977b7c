//! A client's bytes as single commands. No socket.

/// How the name begins that a sentinel gives its connections.
const NAME: &[u8] = b"\r\nsentinel-";

/// One command as the client sent it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) bytes: Vec<u8>,
    /// Its first word; empty where the bytes are no RESP array (TLS, inline commands): those pass unread.
    name: Vec<u8>,
}

impl Request {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Whether it is what a sentinel sends first, but for its login.
    pub(super) fn is_of_sentinel(&self) -> bool {
        self.is("CLIENT") && self.bytes.windows(NAME.len()).any(|bytes| bytes == NAME)
    }
}

/// Collects bytes as they come and hands out whole commands.
#[derive(Debug, Default)]
pub(super) struct Requests {
    bytes: Vec<u8>,
    start: usize,
    is_opaque: bool,
}

impl Requests {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole command; `None` when more bytes are needed.
    pub(super) fn next(&mut self) -> Option<Request> {
        let rest = &self.bytes[self.start..];
        if rest.is_empty() {
            return None;
        }
        let (length, name) = match if self.is_opaque { Whole::Strange } else { measure(rest) } {
            Whole::Yes { length, name } => (length, rest[name.0..name.1].to_vec()),
            Whole::NotYet => return None,
            Whole::Strange => {
                self.is_opaque = true;
                (rest.len(), Vec::new())
            }
        };
        let bytes = rest[..length].to_vec();
        self.start += length;
        Some(Request { bytes, name })
    }
}

enum Whole {
    Yes { length: usize, name: (usize, usize) },
    NotYet,
    Strange,
}

/// How long the command at the beginning is: `*<count> CR LF`, then `$<length> CR LF <bytes> CR LF` for each word.
fn measure(bytes: &[u8]) -> Whole {
    let (count, mut at) = match header(bytes, 0, b'*') {
        Ok(found) => found,
        Err(whole) => return whole,
    };
    let mut name = (at, at);
    for word in 0..count {
        let (length, start) = match header(bytes, at, b'$') {
            Ok(found) => found,
            Err(whole) => return whole,
        };
        if word == 0 {
            name = (start, start + length);
        }
        at = start + length + 2;
        if at > bytes.len() {
            return Whole::NotYet;
        }
    }
    Whole::Yes { length: at, name }
}

/// A line of a sign and a number: the number, and where the next byte is.
fn header(bytes: &[u8], at: usize, sign: u8) -> Result<(usize, usize), Whole> {
    match bytes.get(at) {
        None => return Err(Whole::NotYet),
        Some(byte) if *byte != sign => return Err(Whole::Strange),
        Some(_) => {}
    }
    let rest = &bytes[at + 1..];
    let Some(digits) = rest.iter().position(|byte| *byte == b'\r') else {
        return Err(if rest.len() > 20 { Whole::Strange } else { Whole::NotYet });
    };
    if rest.len() < digits + 2 {
        return Err(Whole::NotYet);
    }
    let number = std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse().ok());
    number.map(|number| (number, at + 1 + digits + 2)).ok_or(Whole::Strange)
}

#[cfg(test)]
mod tests {
    use super::{Request, Requests};

    const TWO: &[u8] =
        b"*3\r\n$4\r\nXADD\r\n$0\r\n\r\n$14\r\n$4\r\nEXEC\r\n$4\r\n\r\n*1\r\n$4\r\nexec\r\n";

    fn all(pieces: impl Iterator<Item = Vec<u8>>) -> Vec<Request> {
        let mut requests = Requests::default();
        let mut found = Vec::new();
        for piece in pieces {
            requests.push(&piece);
            while let Some(request) = requests.next() {
                found.push(request);
            }
        }
        found
    }

    #[test]
    fn commands_come_out_whole_however_they_were_split() {
        for size in 1..=TWO.len() {
            let found = all(TWO.chunks(size).map(<[u8]>::to_vec));
            assert_eq!(found.len(), 2, "pieces of {size}");
            assert!(found[0].is("XADD") && found[1].is("EXEC"));
            assert_eq!([found[0].bytes.as_slice(), &found[1].bytes].concat(), TWO);
        }
    }

    #[test]
    fn what_is_no_command_passes_unread() {
        let hello = b"\x16\x03\x01 TLS *1\r\n$4\r\nEXEC\r\n".to_vec();
        let found = all([hello.clone()].into_iter());
        assert_eq!(found, [Request { bytes: hello, name: Vec::new() }]);
    }
}
