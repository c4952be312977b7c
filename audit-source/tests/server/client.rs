//! A client that sends what it is told, byte for byte, and nothing of its own accord.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);

/// A connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Client {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        stream.set_nodelay(true).expect("no delay");
        Client { stream: BufReader::new(stream) }
    }

    /// Sends words and gives the reply as a text, errors as `-...`.
    pub(crate) fn call(&mut self, words: &[&str]) -> String {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.call_bytes(&words)
    }

    /// The same, split at blanks.
    pub(crate) fn line(&mut self, line: &str) -> String {
        self.call(&line.split(' ').collect::<Vec<_>>())
    }

    pub(crate) fn call_bytes(&mut self, words: &[&[u8]]) -> String {
        self.send(words);
        self.reply()
    }

    /// Sends words without waiting for a reply.
    pub(crate) fn send(&mut self, words: &[&[u8]]) {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.raw(&request);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("send");
    }

    /// One reply; nested ones as their texts, one a line. Empty at the end of the connection.
    pub(crate) fn reply(&mut self) -> String {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).expect("a reply in time");
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let count = |rest: &str| rest.parse::<i64>().expect("a length");
        match line.split_at_checked(1) {
            Some(("$" | "=", rest)) if count(rest) >= 0 => {
                let mut text = vec![0; usize::try_from(count(rest)).unwrap() + 2];
                self.stream.read_exact(&mut text).expect("the rest of a reply");
                text.truncate(text.len() - 2);
                String::from_utf8_lossy(&text).into_owned()
            }
            Some((kind @ ("*" | "~" | "%" | ">"), rest)) => {
                let factor = if kind == "%" { 2 } else { 1 };
                let parts: Vec<String> = (0..count(rest) * factor).map(|_| self.reply()).collect();
                parts.join("\n")
            }
            _ => line,
        }
    }
}
