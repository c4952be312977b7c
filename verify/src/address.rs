//! Where a server listens, as it is written on the command line, in a report and in a redirection.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;

const DEFAULT_PORT: u16 = 6379;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
        port.map_or_else(|| Self::of(host, DEFAULT_PORT), |port| Self::tcp(host, port))
    }

    /// A host without brackets, and a port; `None` where one is not.
    pub(crate) fn tcp(host: &str, port: &str) -> Option<Self> {
        Self::of(host, port.parse().ok()?)
    }

    fn of(host: &str, port: u16) -> Option<Self> {
        let is_clean = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        let is_host = !host.is_empty() && host.chars().all(is_clean);
        (is_host && port > 0).then(|| Self::Tcp(host.to_owned(), port))
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
