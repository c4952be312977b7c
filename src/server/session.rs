//! One logged-in connection: bytes out, replies in.
#![forbid(unsafe_code)]

use super::inbox::{Inbox, ReadError};
use super::socket::{DeadlineSocket, is_timeout};
use super::{Credentials, Deadline};
use crate::commands::{FENCE_REPLIES, Marker, Replies, refusal, unexpected};
use crate::error::{Cause, Error, Refusal};
use crate::params::Address;
use redis::Value;
use std::io::{self, IoSlice, Write};

/// A connection that has proven to be authorised and writable.
pub struct Session {
    socket: DeadlineSocket,
    inbox: Inbox,
    address: Address,
}

impl Session {
    /// Connects, logs in and fences off what an earlier connection of this worker may have left
    /// behind. Returns what the marker held.
    ///
    /// # Errors
    /// Why the server cannot be used; the sentence names the server.
    pub fn open(
        address: &Address,
        credentials: &Credentials,
        marker: &Marker,
        deadline: Deadline,
    ) -> Result<(Self, Vec<u8>), Error> {
        let socket = DeadlineSocket::connect(address, deadline)?;
        let mut session = Self { socket, inbox: Inbox::default(), address: address.clone() };
        let greeting = Greeting::new(credentials);
        let mut wire = greeting.wire;
        wire.extend_from_slice(&marker.fence());
        session.send(&[&wire], deadline)?;
        for step in greeting.steps {
            let reply = session.receive(deadline)?;
            if let Some(refusal) = refusal(&reply) {
                step.check(&refusal)?;
            }
        }
        let held = session.fence_replies(deadline)?;
        Ok((session, held))
    }

    /// Proves again that the server is there and writable; returns what the marker held.
    ///
    /// # Errors
    /// Why the server cannot be used.
    pub fn probe(&mut self, marker: &Marker, deadline: Deadline) -> Result<Vec<u8>, Error> {
        self.send(&[&marker.fence()], deadline)?;
        self.fence_replies(deadline)
    }

    /// Where the session leads.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends all of `pieces`, one after the other and, where the socket takes them, in one packet:
    /// each packet is a round of its own for the server.
    ///
    /// # Errors
    /// The connection is of no use after any.
    pub fn send(&mut self, pieces: &[&[u8]], deadline: Deadline) -> Result<(), Error> {
        self.socket.set_deadline(deadline);
        self.write_all(pieces).map_err(|error| self.broken(&error))
    }

    fn write_all(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = slices.as_mut_slice();
        // Leaves empty pieces behind, which no write would ever finish.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.socket.write_vectored(rest)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => IoSlice::advance_slices(&mut rest, count),
            }
        }
        Ok(())
    }

    /// Reads one reply. An error reply is a reply.
    ///
    /// # Errors
    /// The connection is of no use after any.
    pub fn receive(&mut self, deadline: Deadline) -> Result<Value, Error> {
        self.replies(deadline).next()
    }

    /// The replies that come until `deadline`.
    pub fn replies(&mut self, deadline: Deadline) -> Incoming<'_> {
        self.socket.set_deadline(deadline);
        Incoming { session: self }
    }

    fn fence_replies(&mut self, deadline: Deadline) -> Result<Vec<u8>, Error> {
        let mut replies = Vec::with_capacity(FENCE_REPLIES);
        for _ in 0..FENCE_REPLIES {
            replies.push(self.receive(deadline)?);
        }
        // EXECABORT only repeats that an earlier command was refused, which says why.
        if let Some(refusal) = replies.iter().find_map(refusal) {
            return Err(Error::refused(
                &format!("{} cannot be written to", self.address),
                &refusal,
            ));
        }
        let exec = replies.into_iter().nth(FENCE_REPLIES - 2).unwrap_or(Value::Nil);
        let Value::Array(mut results) = exec else { return Err(unexpected("EXEC", &exec)) };
        if let Some(refusal) = results.iter().find_map(refusal) {
            return Err(Error::refused(
                &format!("{} cannot be written to", self.address),
                &refusal,
            ));
        }
        match results.pop() {
            Some(Value::BulkString(held)) => Ok(held),
            other => Err(unexpected("GET", &other.unwrap_or(Value::Nil))),
        }
    }

    fn unreadable(&self, error: ReadError) -> Error {
        match error {
            ReadError::Socket(error) => self.broken(&error),
            ReadError::NoReply => Error::broken(
                Cause::Protocol,
                format!("{} does not answer as a Valkey or Redis server", self.address),
            ),
        }
    }

    fn broken(&self, error: &io::Error) -> Error {
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
        Error::broken(Cause::Lost, format!("connection to {} lost: {why}", self.address))
    }
}

/// The replies on a session.
pub struct Incoming<'s> {
    session: &'s mut Session,
}

impl Incoming<'_> {
    fn read<T>(
        &mut self,
        read: impl FnOnce(&mut Inbox, &mut DeadlineSocket) -> Result<T, ReadError>,
    ) -> Result<T, Error> {
        let Session { socket, inbox, .. } = self.session;
        read(inbox, socket).map_err(|error| self.session.unreadable(error))
    }
}

impl Replies for Incoming<'_> {
    fn next(&mut self) -> Result<Value, Error> {
        self.read(|inbox, socket| inbox.value(socket))
    }

    fn skip_queued(&mut self, max: usize) -> Result<usize, Error> {
        self.read(|inbox, socket| inbox.skip_queued(socket, max))
    }

    fn skip_ids(&mut self, max: usize) -> Result<usize, Error> {
        self.read(|inbox, socket| inbox.skip_ids(socket, max))
    }

    fn enter_array(&mut self) -> Result<Option<usize>, Error> {
        self.read(|inbox, socket| inbox.enter_array(socket))
    }
}

/// What is said before the fence, and how to take a no.
struct Greeting {
    wire: Vec<u8>,
    steps: Vec<Step>,
}

enum Step {
    Auth { user: String },
    Select { db: u64 },
    Name,
}

impl Greeting {
    fn new(credentials: &Credentials) -> Self {
        let login = credentials.login();
        let mut greeting = Self { wire: Vec::new(), steps: Vec::new() };
        if let Some(password) = credentials.password() {
            let mut command = redis::cmd("AUTH");
            if let Some(user) = &login.user {
                command.arg(user);
            }
            command.arg(password.expose());
            let user = login.user.clone().unwrap_or_else(|| "default".to_owned());
            greeting.say(&command, Step::Auth { user });
        }
        if login.db > 0 {
            greeting.say(redis::cmd("SELECT").arg(login.db), Step::Select { db: login.db });
        }
        let mut name = redis::cmd("CLIENT");
        greeting.say(name.arg("SETNAME").arg(&login.client_name), Step::Name);
        greeting
    }

    fn say(&mut self, command: &redis::Cmd, step: Step) {
        command.write_packed_command(&mut self.wire);
        self.steps.push(step);
    }
}

impl Step {
    fn check(&self, refusal: &Refusal) -> Result<(), Error> {
        match self {
            // Some servers answer a plain ERR where no password is set for the user.
            Self::Auth { user } if refusal.cause() != Cause::Busy => Err(Error::broken(
                Cause::Auth,
                format!("cannot log in as user \"{user}\": {refusal}"),
            )),
            Self::Auth { user } => {
                Err(Error::refused(&format!("cannot log in as user \"{user}\""), refusal))
            }
            Self::Select { db } => Err(Error {
                drops_connection: true,
                ..Error::refused(&format!("cannot select database {db}"), refusal)
            }),
            // The name is a courtesy to whoever reads CLIENT LIST.
            Self::Name => Ok(()),
        }
    }
}
