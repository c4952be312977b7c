//! How a server's address is written in a configuration and on a command line.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A host name or IP address, and a port.
    Tcp {
        /// Without brackets, also for IPv6.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// A unix stream socket.
    Unix(PathBuf),
}

/// What an address must look like, as the end of a sentence.
pub const FORM: &str = "host, host:port, [v6]:port or unix:/path";

/// The longest path a unix socket address can carry, in bytes, without the closing NUL.
const MAX_UNIX_PATH_BYTES: usize = 107;

impl Address {
    /// Reads `text`; `default_port` stands in where it names none.
    ///
    /// # Errors
    /// A sentence fragment that says what is wrong.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::unix(path);
        }
        if is_url(text) {
            return Err(
                "a URL is not read; user, password and db are parameters of their own".to_owned()
            );
        }
        if text.starts_with('/') {
            return Err(format!("a socket's path is written unix:{text}"));
        }
        let (host, port) = split(text)?;
        let port = match port {
            None => default_port,
            Some(port) => match port.parse::<u16>() {
                Ok(port) if port > 0 => port,
                _ => return Err(format!("\"{port}\" is no port from 1 to 65535")),
            },
        };
        Self::tcp(host, port)
    }

    /// A host, IPv6 without brackets, and a port.
    ///
    /// # Errors
    /// A sentence fragment that says what is wrong.
    pub fn tcp(host: &str, port: u16) -> Result<Self, String> {
        let is_clean = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() {
            return Err("the host is missing".to_owned());
        }
        if let Some(strange) = host.chars().find(|c| !is_clean(*c)) {
            return Err(format!("a host has no {strange:?} in it"));
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }

    /// A unix socket by its path.
    ///
    /// # Errors
    /// A sentence fragment that says what is wrong.
    pub fn unix(path: &str) -> Result<Self, String> {
        if !path.starts_with('/') {
            return Err("the path of a unix socket must be absolute".to_owned());
        }
        if path.len() > MAX_UNIX_PATH_BYTES {
            return Err(format!(
                "the path of a unix socket has at most {MAX_UNIX_PATH_BYTES} bytes"
            ));
        }
        Ok(Self::Unix(PathBuf::from(path)))
    }
}

/// True where a scheme or a login stands in it; a login may have a password that nobody shall read.
pub fn is_url(text: &str) -> bool {
    text.contains("://") || text.contains('@')
}

/// Splits host and port; the port is `None` where none is written.
fn split(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the ] is missing")?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("after the ] comes nothing but a port".to_owned()),
        };
    }
    match text.split_once(':') {
        // More than one colon and no brackets: an IPv6 address without a port.
        Some((_, rest)) if rest.contains(':') => Ok((text, None)),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
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
            ("10.0.0.1", "10.0.0.1:6379"),
            ("::1", "[::1]:6379"),
            ("[::1]", "[::1]:6379"),
            ("[fe80::1%eth0]:7", "[fe80::1%eth0]:7"),
            ("unix:/run/valkey.sock", "unix:/run/valkey.sock"),
        ] {
            assert_eq!(Address::parse(text, 6379).map(|a| a.to_string()).as_deref(), Ok(shown));
        }
    }

    #[test]
    fn wrong_forms_are_refused() {
        for text in [
            "",
            ":6379",
            "db1:",
            "db1:0",
            "db1:65536",
            "db1:x",
            "[::1",
            "[::1]7",
            "a b",
            "/run/valkey.sock",
            "unix:run/x",
            "redis://db1",
            "user:secret@db1",
            "unix:",
        ] {
            assert!(Address::parse(text, 6379).is_err(), "{text:?}");
        }
        assert!(Address::parse(&format!("unix:/{}", "x".repeat(120)), 1).is_err());
    }
}
