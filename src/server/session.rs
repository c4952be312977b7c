//! One logged-in connection: bytes out, replies in.
#![forbid(unsafe_code)]

use super::inbox::{Inbox, ReadError};
use super::socket::is_timeout;
use super::stream::Stream;
use super::tls::{self, Tls};
use super::{Access, Connection, Credentials, Deadline, local_time};
use crate::commands::{
    Answer, Marker, Missing, Replies, UnixMillis, read_fence, refusal, text, with_grant,
};
use crate::error::{Cause, Error, Refusal};
use crate::params::{Address, Secret};
use redis::Value;
use std::io::{self, IoSlice, Write};
use std::time::Instant;

/// A connection that has proven to be authorised and writable.
pub struct Session {
    stream: Stream,
    inbox: Inbox,
    address: Address,
    /// The server has answered something.
    has_answered: bool,
    /// When the server told its time, and that time.
    clock: Option<(Instant, UnixMillis)>,
    /// What the user was refused so far, and the command that grants it.
    pub(super) missing: Missing,
    grant: Option<String>,
    /// When to make sure again that this is the primary.
    pub(super) look_at: Instant,
    /// So many flushes it was used for, or a few more.
    pub(super) flushes: u64,
}

impl Session {
    /// Connects, logs in, looks at the user's rights and fences off what an earlier connection of this
    /// worker may have left behind. Returns what the marker held.
    /// An error's sentence names the server.
    pub(super) fn open(
        address: &Address,
        access: &Access,
        marker: &Marker,
        deadline: Deadline,
    ) -> Result<(Self, Vec<u8>), Error> {
        let greeting = Greeting::to_server(&access.credentials);
        let more = [access.rights.probes(), &marker.fence()].concat();
        let tls = access.tls.as_deref();
        Self::greet(address, tls, greeting, &more, deadline)?.fenced(access, deadline)
    }

    /// The same at a node of a cluster, where which slot is to be fenced off is not known yet. What a probe is
    /// answered where its key is elsewhere says nothing about rights, which are looked at first.
    pub(super) fn open_node(
        address: &Address,
        access: &Access,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let (greeting, rights) = (Greeting::to_server(&access.credentials), &access.rights);
        let tls = access.tls.as_deref();
        let mut session = Self::greet(address, tls, greeting, rights.probes(), deadline)?;
        let mut missing = std::mem::take(&mut session.missing);
        let lacking = rights.read(&mut session.replies(deadline), &mut missing)?;
        session.grant = rights.grant(&missing);
        match lacking {
            None => Ok(session),
            Some(refusal) => {
                let what = format!("{address} cannot be written to");
                Err(rights.explain(Error::refused(&what, &refusal), &missing))
            }
        }
    }

    /// Connects and logs in. `more` leaves in the same packet; its replies are not read yet.
    pub(super) fn greet(
        address: &Address,
        tls: Option<&Tls>,
        greeting: Greeting,
        more: &[u8],
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let stream = Stream::connect(address, tls, deadline)?;
        let inbox = Inbox::default();
        let (address, look_at) = (address.clone(), Instant::now());
        let mut session = Self {
            stream,
            inbox,
            address,
            has_answered: false,
            clock: None,
            missing: Missing::default(),
            grant: None,
            look_at,
            flushes: 0,
        };
        if let Err(error) = session.send(&[&greeting.wire, more], deadline) {
            // A server that will not have us says why before it closes the connection.
            return Err(session.last_words(deadline).unwrap_or(error));
        }
        let mut unheeded = None;
        for step in greeting.steps {
            let reply = match session.replies(deadline).next() {
                Ok(reply) => reply,
                Err(error) => return Err(unheeded.unwrap_or(error)),
            };
            match refusal(&reply) {
                Some(refusal) => {
                    session.missing.note(&refusal, &step.object());
                    step.check(&refusal)
                        .map_err(|error| with_grant(error, &greeting.user, &session.missing))?;
                    let what = format!("{} refuses the connection", session.address);
                    unheeded = Some(Error::refused(&what, &refusal));
                }
                None => session.clock = session.clock.or(server_clock(&reply)),
            }
        }
        Ok(session)
    }

    /// Reads the replies to the probes of rights and to the marker's fence, which have been sent: what
    /// the marker held.
    pub(super) fn fenced(
        mut self,
        access: &Access,
        deadline: Deadline,
    ) -> Result<(Self, Vec<u8>), Error> {
        let rights = &access.rights;
        let mut missing = std::mem::take(&mut self.missing);
        let lacking = rights.read(&mut self.replies(deadline), &mut missing)?;
        let mut note = |refusal: &Refusal| missing.note(refusal, rights.markers());
        let held = read_fence(&mut self.replies(deadline), &mut note)?;
        self.grant = rights.grant(&missing);
        match (held, lacking) {
            (Ok(held), None) => Ok((self, held)),
            (Err(refusal), _) | (Ok(_), Some(refusal)) => {
                let what = format!("{} cannot be written to", self.address);
                Err(rights.explain(Error::refused(&what, &refusal), &missing))
            }
        }
    }

    pub(super) fn leads_to(&self, address: &Address) -> bool {
        self.address == *address
    }

    fn write_all(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = slices.as_mut_slice();
        // Leaves empty pieces behind, which no write would ever finish.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.stream.write_vectored(rest)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => IoSlice::advance_slices(&mut rest, count),
            }
        }
        Ok(())
    }

    /// The error that the server sent before it closed the connection, if it did.
    fn last_words(&mut self, deadline: Deadline) -> Option<Error> {
        let reply = match self.replies(deadline).next() {
            Ok(reply) => reply,
            // With TLS 1.3 a certificate of ours is refused only now.
            Err(error) => return matches!(error.cause, Cause::Tls(_)).then_some(error),
        };
        let what = format!("{} refuses the connection", self.address);
        refusal(&reply).map(|refusal| Error::refused(&what, &refusal))
    }

    fn unreadable(&self, error: ReadError) -> Error {
        match error {
            ReadError::Socket(error) => self.broken(&error),
            ReadError::NoReply if self.inbox.is_tls() => tls::expected(&self.address),
            ReadError::NoReply => Error::broken(
                Cause::Protocol,
                format!("{} does not answer as a Valkey or Redis server", self.address),
            ),
        }
    }

    fn broken(&self, error: &io::Error) -> Error {
        if let Some(error) = self.stream.tls_failure(&self.address, error) {
            return error;
        }
        if is_timeout(error) {
            return Error::broken(
                Cause::Timeout,
                format!("{} did not answer in time", self.address),
            );
        }
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof => "closed by the server".to_owned(),
            _ => error.to_string(),
        };
        // One that expects TLS closes the connection without a word; the word of one that does not accept
        // our certificate may be lost with the connection.
        let hint = match (&self.stream, &self.address) {
            _ if self.has_answered => "",
            (Stream::Plain(_), Address::Unix(_)) => "",
            (Stream::Plain(_), Address::Tcp { .. }) => {
                " before its first answer; if it expects TLS, set tls=\"on\""
            }
            (Stream::Tls(_), _) => " before its first answer; the server's log may say why",
        };
        Error::broken(Cause::Lost, format!("connection to {} lost: {why}{hint}", self.address))
    }
}

impl Connection for Session {
    fn send(&mut self, pieces: &[&[u8]], deadline: Deadline) -> Result<(), Error> {
        self.stream.set_deadline(deadline);
        self.write_all(pieces).map_err(|error| self.broken(&error))
    }

    fn replies(&mut self, deadline: Deadline) -> impl Replies + '_ {
        self.stream.set_deadline(deadline);
        Incoming { session: self }
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    fn missing_rights(&self) -> Option<String> {
        self.grant.clone()
    }

    fn server_time(&self) -> UnixMillis {
        self.clock.map_or_else(local_time, |(told, time)| {
            time.saturating_add(u64::try_from(told.elapsed().as_millis()).unwrap_or(u64::MAX))
        })
    }
}

/// The replies on a session.
struct Incoming<'s> {
    session: &'s mut Session,
}

impl Incoming<'_> {
    fn read<T>(
        &mut self,
        read: impl FnOnce(&mut Inbox, &mut Stream) -> Result<T, ReadError>,
    ) -> Result<T, Error> {
        let Session { stream, inbox, has_answered, .. } = self.session;
        let result = read(inbox, stream);
        *has_answered |= result.is_ok();
        result.map_err(|error| self.session.unreadable(error))
    }
}

impl Replies for Incoming<'_> {
    fn next(&mut self) -> Result<Value, Error> {
        self.read(|inbox, stream| inbox.value(stream))
    }

    fn skip(&mut self, answer: Answer, max: usize) -> Result<usize, Error> {
        self.read(|inbox, socket| inbox.skip(socket, answer, max))
    }

    fn enter_array(&mut self) -> Result<Option<usize>, Error> {
        self.read(|inbox, stream| inbox.enter_array(stream))
    }
}

/// What a connection begins with, and how to take a no.
#[derive(Default)]
pub(super) struct Greeting {
    wire: Vec<u8>,
    steps: Vec<Step>,
    /// Who will have logged in.
    user: String,
}

/// The reply to TIME: seconds and microseconds.
fn server_clock(reply: &Value) -> Option<(Instant, UnixMillis)> {
    let Value::Array(parts) = reply else { return None };
    let number = |place: usize| text(parts.get(place)?)?.parse::<u64>().ok();
    let millis = number(0)?.checked_mul(1000)?.checked_add(number(1)? / 1000)?;
    Some((Instant::now(), millis))
}

enum Step {
    Auth {
        who: String,
        password: Secret,
    },
    Select {
        db: u64,
    },
    /// A server that refuses it is as good.
    Courtesy,
}

impl Greeting {
    /// All that a sentinel wants to hear: who we are.
    pub(super) fn to_sentinel(credentials: &Credentials, address: &Address) -> Self {
        let mut greeting = Self::by(credentials);
        greeting.log_in(credentials, &format!(" at sentinel {address}"));
        greeting
    }

    /// Who we are, and the state that the connection shall have.
    pub(super) fn to_server(credentials: &Credentials) -> Self {
        let login = credentials.login();
        let mut greeting = Self::by(credentials);
        greeting.log_in(credentials, "");
        if login.db > 0 {
            greeting.say(redis::cmd("SELECT").arg(login.db), Step::Select { db: login.db });
        }
        let mut name = redis::cmd("CLIENT");
        greeting.say(name.arg("SETNAME").arg(&login.client_name), Step::Courtesy);
        // A large flush must not be what makes a server close connections to save memory.
        let mut stay = redis::cmd("CLIENT");
        greeting.say(stay.arg("NO-EVICT").arg("on"), Step::Courtesy);
        greeting.say(&redis::cmd("TIME"), Step::Courtesy);
        greeting
    }

    fn by(credentials: &Credentials) -> Self {
        Self { user: credentials.login().user_name().to_owned(), ..Self::default() }
    }

    /// `place` says where, in case of a refusal.
    fn log_in(&mut self, credentials: &Credentials, place: &str) {
        let Some(password) = credentials.password() else { return };
        let mut command = redis::cmd("AUTH");
        let user = credentials.login().user.as_deref();
        if let Some(user) = user {
            command.arg(user);
        }
        command.arg(password.expose());
        let who = format!("user \"{}\"{place}", self.user);
        self.say(&command, Step::Auth { who, password });
    }

    fn say(&mut self, command: &redis::Cmd, step: Step) {
        command.write_packed_command(&mut self.wire);
        self.steps.push(step);
    }
}

impl Step {
    /// What an ACL rule calls the object of this step, other than the command.
    fn object(&self) -> String {
        match self {
            Self::Select { db } => format!("db={db}"),
            Self::Auth { .. } | Self::Courtesy => String::new(),
        }
    }

    fn check(&self, refusal: &Refusal) -> Result<(), Error> {
        match self {
            Self::Auth { who, password } => {
                // Whatever else a server may repeat.
                let is_clean = !refusal.text.contains(password.expose());
                let shown = if is_clean { refusal.text.as_str() } else { refusal.code.as_str() };
                // A server answers a plain ERR where no password is set for the user.
                let is_about_login =
                    refusal.cause() == Cause::Auth || refusal.text.contains("without any password");
                let cause = if is_about_login { Cause::Auth } else { refusal.cause() };
                Err(Error::broken(cause, format!("cannot log in as {who}: {shown}")))
            }
            Self::Select { db } => Err(Error {
                drops_connection: true,
                ..Error::refused(&format!("cannot select database {db}"), refusal)
            }),
            // CLIENT LIST has no name then, memory may run short, and our own clock is used.
            Self::Courtesy => Ok(()),
        }
    }
}
