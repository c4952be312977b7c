//! A connection to a server: login, requests. Every wait has a time limit.
#![forbid(unsafe_code)]

use crate::error::CannotCheck;
use crate::reply::{Head, ReadError, Replies};
use crate::socket::Socket;
use crate::tls::{self, Tls, TlsOptions};
use omvalkeyaudit_address::Address;
use omvalkeyaudit_tls::{Failure, file};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest password file, in bytes: more is a wrong path.
const MAX_PASSWORD_FILE_BYTES: u64 = 64 * 1024;

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

/// What the command line calls a login, and those whom it is for: complaints are sentences with these words.
#[derive(Clone, Copy, Debug)]
struct Terms {
    whom: &'static str,
    user: &'static str,
    password_file: &'static str,
}

const SERVERS: Terms = Terms { whom: "", user: "--user", password_file: "--passwordfile" };

const SENTINELS: Terms =
    Terms { whom: "sentinel ", user: "--sentinel-user", password_file: "--sentinel-passwordfile" };

/// How every server is spoken to. The files have been read.
pub struct Access {
    terms: Terms,
    user: Option<String>,
    password: Option<String>,
    db: u32,
    tls: Option<Tls>,
    timeout: Duration,
}

impl Access {
    /// Reads the files.
    ///
    /// # Errors
    /// A sentence that names the option, the file and what is wrong with it.
    pub fn read(login: &Login, tls: &TlsOptions, timeout: Duration) -> Result<Self, CannotCheck> {
        Self::with(SERVERS, login, Tls::read(tls)?, timeout)
    }

    /// The same for the sentinels that watch the servers, where we are somebody else.
    pub(crate) fn to_sentinels(&self, login: &Login) -> Result<Self, CannotCheck> {
        Self::with(SENTINELS, login, self.tls.clone(), self.timeout)
    }

    fn with(
        terms: Terms,
        login: &Login,
        tls: Option<Tls>,
        timeout: Duration,
    ) -> Result<Self, CannotCheck> {
        let read = |path: &PathBuf| read_password(terms.password_file, path);
        let password = login.password_file.as_ref().map(read).transpose()?;
        Ok(Self { terms, user: login.user.clone(), password, db: login.db, tls, timeout })
    }
}

/// A logged-in connection.
#[derive(Debug)]
pub struct Session {
    address: Address,
    replies: Replies<Socket>,
}

impl Session {
    /// Connects and logs in; no step waits longer than the time limit.
    ///
    /// # Errors
    /// A sentence that names the server and what is wrong.
    pub fn open(address: &Address, access: &Access) -> Result<Self, CannotCheck> {
        let socket = Socket::connect(address, access.tls.as_ref(), access.timeout)?;
        let mut session = Self { address: address.clone(), replies: Replies::new(socket) };
        if access.password.is_some() || access.user.is_some() {
            let password = access.password.as_deref().unwrap_or_default();
            let user = access.user.as_deref();
            let mut request = vec!["AUTH"];
            request.extend(user);
            request.push(password);
            session.expect_ok(&request)?.map_err(|why| {
                let (user, terms) = (user.unwrap_or("default"), access.terms);
                CannotCheck(format!(
                    "cannot log in to {}{address} as user \"{user}\": {why}; check {} and {}",
                    terms.whom, terms.user, terms.password_file
                ))
            })?;
        }
        if access.db > 0 {
            let db = access.db.to_string();
            session.expect_ok(&["SELECT", &db])?.map_err(|why| {
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
        let sent = self.replies.connection_mut().write_all(wire.as_bytes());
        sent.map_err(|error| self.unsent(error))
    }

    /// The replies to what was sent.
    pub fn replies(&mut self) -> &mut Replies<impl Read + use<>> {
        &mut self.replies
    }

    /// The sentence for a reply that could not be read.
    pub fn unreadable(&self, error: &ReadError) -> CannotCheck {
        let failure = match error {
            ReadError::Socket(error) => self.tls_failure(error),
            ReadError::Tls => Some(Failure::expected(&self.address)),
            ReadError::NoReply => None,
        };
        if let Some(failure) = failure {
            return tls::sentence(&failure);
        }
        CannotCheck(format!("{} {error}{}", self.address, self.hint(error)))
    }

    /// A server that expects TLS closes the connection without a word.
    fn hint(&self, error: &ReadError) -> &'static str {
        let is_closed = matches!(error, ReadError::Socket(error)
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset));
        let may_want_tls = matches!(
            (self.replies.connection(), &self.address),
            (Socket::Plain(_), Address::Tcp { .. })
        );
        if is_closed && may_want_tls && !self.replies.has_begun() {
            " before its first answer; if it expects TLS, give --tls"
        } else {
            ""
        }
    }

    /// With TLS 1.3 a server refuses our certificate after the handshake; what it said then waits to be read.
    fn unsent(&mut self, error: io::Error) -> CannotCheck {
        match self.replies.head() {
            Err(ReadError::Socket(alert)) if self.tls_failure(&alert).is_some() => {
                self.unreadable(&alert.into())
            }
            _ => self.unreadable(&error.into()),
        }
    }

    fn tls_failure(&self, error: &io::Error) -> Option<Failure> {
        self.replies.connection().tls_failure(&self.address, error)
    }

    /// What the server has against a request to which it should say OK.
    pub(crate) fn expect_ok(
        &mut self,
        request: &[&str],
    ) -> Result<Result<(), String>, CannotCheck> {
        self.send(request)?;
        match self.replies.head() {
            Ok(Head::Status(_)) => Ok(Ok(())),
            Ok(Head::Refusal(why)) => Ok(Err(why)),
            Ok(_) => Err(self.unreadable(&ReadError::NoReply)),
            Err(error) => Err(self.unreadable(&error)),
        }
    }
}

fn read_password(option: &str, path: &Path) -> Result<String, CannotCheck> {
    let unreadable = |why: &str| {
        CannotCheck(format!(
            "{option} \"{}\" must be a readable file with a password in its first line: {why}",
            path.display()
        ))
    };
    let bytes = file::read(path, MAX_PASSWORD_FILE_BYTES).map_err(|why| unreadable(&why))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is no text"))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(unreadable("its first line is empty")),
    }
}
