//! A connection to a server: address, login, requests. Every wait has a time limit.
#![forbid(unsafe_code)]

use crate::error::CannotCheck;
use crate::reply::{Head, ReadError, Replies};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DEFAULT_PORT: u16 = 6379;

/// The longest password file, in bytes: more is a wrong path.
const MAX_PASSWORD_FILE_BYTES: u64 = 64 * 1024;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host name or IP address, without brackets, and a port.
    Tcp(String, u16),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `host`, `host:port`, `[v6]:port` or `unix:/path`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return path.starts_with('/').then(|| Self::Unix(path.into()));
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            // More than one colon and no brackets: an IPv6 address without a port.
            None => match text.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (text, None),
            },
        };
        let is_clean = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || !host.chars().all(is_clean) {
            return None;
        }
        let port = port.map_or(Some(DEFAULT_PORT), |port| port.parse().ok())?;
        (port > 0).then(|| Self::Tcp(host.to_owned(), port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How to log in.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// The ACL user; without it the server's `default` user.
    pub user: Option<String>,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// The number of the database.
    pub db: u32,
}

/// A logged-in connection.
#[derive(Debug)]
pub struct Session {
    address: Address,
    replies: Replies<Socket>,
}

impl Session {
    /// Connects and logs in; no step waits longer than `timeout`.
    ///
    /// # Errors
    /// A sentence that names the server and what is wrong.
    pub fn open(address: &Address, login: &Login, timeout: Duration) -> Result<Self, CannotCheck> {
        let password = login.password_file.as_deref().map(read_password).transpose()?;
        let socket = Socket::connect(address, timeout).map_err(|error| {
            let why =
                if is_timeout(&error) { "no answer in time".into() } else { error.to_string() };
            CannotCheck(format!("cannot connect to {address}: {why}"))
        })?;
        let mut session = Self { address: address.clone(), replies: Replies::new(socket) };
        if password.is_some() || login.user.is_some() {
            let password = password.as_deref().unwrap_or_default();
            let user = login.user.as_deref();
            let mut request = vec!["AUTH"];
            request.extend(user);
            request.push(password);
            session.expect_ok(&request).map_err(|why| {
                let user = user.unwrap_or("default");
                CannotCheck(format!(
                    "cannot log in to {address} as user \"{user}\": {why}; check --user and --passwordfile"
                ))
            })?;
        }
        if login.db > 0 {
            let db = login.db.to_string();
            session.expect_ok(&["SELECT", &db]).map_err(|why| {
                CannotCheck(format!("cannot select database {db} of {address}: {why}; check --db"))
            })?;
        }
        Ok(session)
    }

    /// Where it leads.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a request; the reply is read from [`Session::replies`].
    ///
    /// # Errors
    /// A sentence that names the server.
    pub fn send(&mut self, request: &[&str]) -> Result<(), CannotCheck> {
        let mut wire = format!("*{}\r\n", request.len());
        for word in request {
            wire.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let sent = self.replies.connection().write_all(wire.as_bytes());
        sent.map_err(|error| self.unreadable(&error.into()))
    }

    /// The replies to what was sent.
    pub fn replies(&mut self) -> &mut Replies<impl Read + use<>> {
        &mut self.replies
    }

    /// The sentence for a reply that could not be read.
    pub fn unreadable(&self, error: &ReadError) -> CannotCheck {
        CannotCheck(format!("{} {error}", self.address))
    }

    fn expect_ok(&mut self, request: &[&str]) -> Result<(), String> {
        self.send(request).map_err(|error| error.to_string())?;
        match self.replies.head() {
            Ok(Head::Status(_)) => Ok(()),
            Ok(Head::Refusal(why)) => Err(why),
            Ok(_) => Err(ReadError::NoReply.to_string()),
            Err(error) => Err(format!("the server {error}")),
        }
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn connect(address: &Address, timeout: Duration) -> io::Result<Self> {
        match address {
            Address::Tcp(host, port) => {
                let mut last = io::Error::other("the name has no address");
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, timeout) {
                        Ok(stream) => {
                            stream.set_nodelay(true)?;
                            stream.set_read_timeout(Some(timeout))?;
                            stream.set_write_timeout(Some(timeout))?;
                            return Ok(Self::Tcp(stream));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                Ok(Self::Unix(stream))
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn read_password(path: &Path) -> Result<String, CannotCheck> {
    let unreadable = |why: &str| {
        CannotCheck(format!(
            "--passwordfile \"{}\" must be a readable file with a password in its first line: {why}",
            path.display()
        ))
    };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_PASSWORD_FILE_BYTES).read_to_string(&mut text))
        .map_err(|error| unreadable(&error.to_string()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(unreadable("its first line is empty")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_read_and_written_back() {
        for (text, shown) in [
            ("db1", "db1:6379"),
            ("db1.example.org:7000", "db1.example.org:7000"),
            ("::1", "[::1]:6379"),
            ("[::1]", "[::1]:6379"),
            ("[fe80::1%eth0]:7", "[fe80::1%eth0]:7"),
            ("unix:/run/valkey.sock", "unix:/run/valkey.sock"),
        ] {
            assert_eq!(Address::parse(text).map(|a| a.to_string()).as_deref(), Some(shown));
        }
        for text in
            ["", ":1", "db1:", "db1:0", "db1:65536", "[::1", "[::1]7", "a b", "/run/x", "unix:x"]
        {
            assert_eq!(Address::parse(text), None, "{text:?}");
        }
    }
}
