//! The simulated connections, as the worker uses them.

use crate::copies::questions;
use crate::faults::Fault;
use crate::packets::{holds_records, look_ups};
use crate::server::Reply;
use crate::world::{End, Sent, World};
use omvalkeyaudit::commands::{Answer, Marker, Replies, read_fence};
use omvalkeyaudit::error::{Cause, Error};
use omvalkeyaudit::params::Address;
use omvalkeyaudit::server::{Connect, Connection, Deadline};
use redis::Value;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

/// The world, shared by everyone in it.
pub(crate) type Shared = Rc<RefCell<World>>;

/// One worker's way to the server.
pub(crate) struct Gate {
    pub(crate) world: Shared,
    pub(crate) worker: usize,
}

/// One connection.
pub(crate) struct Line {
    world: Shared,
    worker: usize,
    marker: Vec<u8>,
    client: usize,
    replies: VecDeque<Reply>,
    end: End,
    has_joined: bool,
    /// So many answers of a look-up have not been read.
    awaited: usize,
    /// So many questions for copies end the latest packet, and whether all answers so far said that there are
    /// enough.
    questions: usize,
    is_copied: bool,
}

impl Connect for Gate {
    type Connection = Line;

    fn connect(&self, marker: &Marker, deadline: Deadline) -> Result<(Line, Vec<u8>), Error> {
        {
            let world = &mut self.world.borrow_mut();
            world.meet(deadline);
            // What others have left has its own, one for each of its markers.
            if world.markers[self.worker] == marker.key.as_bytes() {
                world.effort.connects += 1;
            }
        }
        if let Some(error) = self.world.borrow_mut().connect_refused() {
            return Err(error);
        }
        let client =
            self.world.borrow_mut().server.accept(self.worker, marker.key.clone().into_bytes());
        let mut line = Line {
            world: Rc::clone(&self.world),
            worker: self.worker,
            marker: marker.key.clone().into_bytes(),
            client,
            replies: VecDeque::new(),
            end: End::Open,
            has_joined: false,
            awaited: 0,
            questions: 0,
            is_copied: false,
        };
        line.send(&[&marker.fence()], deadline)?;
        let held = read_fence(&mut line.replies(deadline), &mut |_| {})?
            .map_err(|refusal| Error::refused("cannot be written to", &refusal))?;
        line.has_joined = true;
        let mut world = self.world.borrow_mut();
        world.has_read(self.worker, &line.marker, &held);
        world.kept.insert(self.worker, (client, line.marker.clone()));
        drop(world);
        Ok((line, held))
    }

    fn open(&self, _: &Address, _: Deadline) -> Result<Line, Error> {
        Err(Error::broken(Cause::Connect, "one server has all keys"))
    }

    fn pause(&self, _: Duration) {}

    fn has_moved(&self, line: &mut Line, deadline: Deadline) -> bool {
        let world = &mut self.world.borrow_mut();
        world.meet(deadline);
        // A connection is kept, and asked about, only when all is known, or copies are missing.
        if !world.asks_for_copies() {
            world.resolved_under(self.worker, &line.marker);
        }
        let has_moved = world.primary_moved();
        world.effort.connects -= i32::from(has_moved);
        has_moved
    }
}

impl Connection for Line {
    fn send(&mut self, pieces: &[&[u8]], deadline: Deadline) -> Result<(), Error> {
        let bytes = pieces.concat();
        let mut world = self.world.borrow_mut();
        world.meet(deadline);
        // Only a look-up follows on what could not be read; before anything else is sent, all is
        // known.
        if self.has_joined && look_ups(&bytes) == 0 && !world.asks_for_copies() {
            world.resolved_under(self.worker, &self.marker);
        }
        // Nobody sends records before all that came earlier is known.
        if holds_records(&bytes) {
            world.resolved(self.worker);
        }
        self.awaited = look_ups(&bytes);
        self.questions = questions(&bytes);
        if self.end != End::Open {
            return Err(self.end.error());
        }
        // With a reply too many, all that follow are read wrongly. In the middle of a flush, nothing
        // was read yet.
        if !world.server.is_in_flush(self.client) {
            world.server.clients[self.client].is_doomed = !self.replies.is_empty();
        }
        let sent = world.send(self.client, &bytes);
        // What is not read as it was meant tells nothing.
        self.is_copied = self.questions > 0 && !world.server.clients[self.client].is_doomed;
        self.replies.extend(world.server.clients[self.client].replies.drain(..));
        drop(world);
        match sent {
            Sent::Taken(end) => self.end = end,
            Sent::Failed(error) => {
                self.end = End::Closed;
                return Err(error);
            }
            // As a panic, but without a word on standard error.
            Sent::Panics => resume_unwind(Box::new(Simulated)),
        }
        Ok(())
    }

    fn replies(&mut self, deadline: Deadline) -> impl Replies + '_ {
        self.world.borrow_mut().meet(deadline);
        Incoming(self)
    }

    fn address(&self) -> String {
        "simulated".to_owned()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        if world.kept.get(&self.worker).is_some_and(|(client, _)| *client == self.client) {
            world.kept.remove(&self.worker);
        }
        if !world.server.clients[self.client].is_orphan {
            world.server.close(self.client);
        }
    }
}

/// The payload of a panic that belongs to the plan.
pub(crate) struct Simulated;

struct Incoming<'l>(&'l mut Line);

impl Incoming<'_> {
    /// Who has read the last answer of a look-up knows what became of the flush.
    fn look_up_answered(&mut self) {
        let line = &mut self.0;
        if line.awaited == 1 && !line.world.borrow().asks_for_copies() {
            line.world.borrow_mut().resolved_under(line.worker, &line.marker);
        }
        line.awaited = line.awaited.saturating_sub(1);
    }

    /// Who has read that there are copies enough knows all.
    fn copies_answered(&mut self, answer: &Value) {
        let line = &mut self.0;
        if !line.is_copied || line.replies.len() >= line.questions {
            return;
        }
        let world = &mut line.world.borrow_mut();
        line.is_copied = world.is_enough(answer, line.replies.is_empty());
        if !line.is_copied {
            world.strikes.note(Fault::TooFewCopies);
        } else if line.replies.is_empty() {
            world.resolved_under(line.worker, &line.marker);
        }
    }

    /// Puts the replies of an array before the others.
    fn unfold(&mut self, results: Vec<Value>) {
        for value in results.into_iter().rev() {
            self.0.replies.push_front(Reply::One(value));
        }
    }
}

impl Replies for Incoming<'_> {
    fn next(&mut self) -> Result<Value, Error> {
        match self.0.replies.pop_front() {
            None => Err(self.0.end.error()),
            Some(Reply::One(value)) => {
                self.copies_answered(&value);
                match value {
                    Value::SimpleString(_) => self.look_up_answered(),
                    _ => self.0.awaited = 0,
                }
                Ok(value)
            }
            Some(Reply::Many(length, results)) => {
                self.unfold(results);
                let results: Result<Vec<Value>, Error> = (0..length).map(|_| self.next()).collect();
                Ok(Value::Array(results?))
            }
        }
    }

    fn skip(&mut self, answer: Answer, max: usize) -> Result<usize, Error> {
        let is_meant = |value: &Value| match (answer, value) {
            (Answer::Queued, Value::SimpleString(text)) => text == "QUEUED",
            (Answer::Any, value) => !matches!(value, Value::ServerError(_)),
            (Answer::Id, Value::BulkString(_))
            | (Answer::Ok, Value::Okay)
            | (Answer::Count, Value::Int(_)) => true,
            _ => false,
        };
        let mut count = 0;
        while count < max
            && let Some(Reply::One(value)) = self.0.replies.front()
            && is_meant(value)
        {
            self.0.replies.pop_front();
            count += 1;
        }
        Ok(count)
    }

    fn enter_array(&mut self) -> Result<Option<usize>, Error> {
        match self.0.replies.pop_front() {
            None => Err(self.0.end.error()),
            Some(Reply::Many(length, results)) => {
                self.unfold(results);
                Ok(Some(length))
            }
            Some(reply) => {
                self.0.replies.push_front(reply);
                Ok(None)
            }
        }
    }
}
