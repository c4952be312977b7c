//! One logged-in connection: bytes out, replies in.
#![forbid(unsafe_code)]

use super::inbox::{Inbox, ReadError};
use super::socket::{DeadlineSocket, is_timeout};
use super::{Connection, Credentials, Deadline};
use crate::commands::{Marker, Replies, read_fence, refusal};
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
    /// An error's sentence names the server.
    pub(super) fn open(
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
            let reply = session.replies(deadline).next()?;
            if let Some(refusal) = refusal(&reply) {
                step.check(&refusal)?;
            }
        }
        let held = read_fence(&mut session.replies(deadline))?;
        let held = held.map_err(|refusal| {
            Error::refused(&format!("{} cannot be written to", session.address), &refusal)
        })?;
        Ok((session, held))
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

impl Connection for Session {
    fn send(&mut self, pieces: &[&[u8]], deadline: Deadline) -> Result<(), Error> {
        self.socket.set_deadline(deadline);
        self.write_all(pieces).map_err(|error| self.broken(&error))
    }

    fn replies(&mut self, deadline: Deadline) -> impl Replies + '_ {
        self.socket.set_deadline(deadline);
        Incoming { session: self }
    }

    fn address(&self) -> String {
        self.address.to_string()
    }
}

/// The replies on a session.
struct Incoming<'s> {
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
