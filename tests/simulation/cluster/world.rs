//! What goes wrong between a worker and a cluster, by the seed: connections that break, slots that move, key
//! by key or as a whole, and nodes that die and are replaced by their replicas.

mod lag;

use super::keys::MARKER;
use super::node::{Client, Cluster, Move};
use crate::random::Random;
use crate::resp::boundaries;
use crate::seeds::say;
use crate::world::End;
use omvalkeyaudit::commands::{Answer, Replies, slot_of};
use omvalkeyaudit::error::{Cause, Error};
use omvalkeyaudit::params::{Address, Durability};
use omvalkeyaudit::server::{Connect, Connection, Deadline};
use redis::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// What happened how often.
pub(super) type Counts = BTreeMap<&'static str, u64>;

pub(super) struct World {
    pub(super) random: Random,
    pub(super) cluster: Cluster,
    pub(super) counts: Counts,
    /// Keys that are written to.
    keys: Vec<Vec<u8>>,
    /// Somebody takes lists.
    pub(super) has_consumer: bool,
    /// What of which, in the order of time.
    pub(super) consumed: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    /// What is asked for, where copies are.
    asked: Option<Durability>,
    /// So long a node's copies still lag.
    lag_left: u64,
    budget: u32,
    rate: u64,
    is_traced: bool,
}

pub(super) type Shared = Rc<RefCell<World>>;

impl World {
    pub(super) fn new(mut random: Random, keys: Vec<Vec<u8>>, is_traced: bool) -> Self {
        let nodes = random.within(2, 3);
        let budget = u32::try_from(*random.pick(&[2, 6, 15, 30])).expect("small");
        let rate = *random.pick(&[3, 10, 25]);
        let cluster = Cluster::new(nodes);
        Self {
            random,
            cluster,
            counts: Counts::new(),
            keys,
            has_consumer: false,
            consumed: Vec::new(),
            asked: None,
            lag_left: 0,
            budget,
            rate,
            is_traced,
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
        self.trace(|| format!("    {what}"));
    }

    pub(super) fn trace(&self, line: impl FnOnce() -> String) {
        if self.is_traced {
            say(&line());
        }
    }

    pub(super) fn strikes(&mut self, percent: u64) -> bool {
        let strikes = self.budget > 0 && self.random.is(percent);
        self.budget -= u32::from(strikes);
        strikes
    }

    /// What may happen between any two commands.
    pub(super) fn pass(&mut self) {
        if self.random.is(10) {
            self.run_late();
        }
        if self.cluster.moving.is_some() {
            if self.random.is(20) {
                self.go_on_moving();
            }
        } else if self.strikes(3) {
            self.begin_move();
        }
        // What lags is what is lost.
        if self.strikes(if self.lag_left > 0 { 6 } else { 1 }) {
            let node = self.random.below(self.cluster.nodes.len());
            let is_busy = self.cluster.moving.is_some_and(|way| way.from == node || way.to == node);
            if !is_busy && !self.cluster.nodes[node].is_down {
                self.note("node killed");
                self.cluster.kill(node);
            }
        }
        if self.random.is(6) {
            self.promote();
        }
        if self.has_consumer && self.strikes(2) {
            self.consume();
        }
        if self.asked.is_some() {
            self.change_lag();
        }
    }

    fn consume(&mut self) {
        let key = self.random.pick(&self.keys).clone();
        if let Some(elements) = self.cluster.take(&key) {
            self.note("list consumed");
            self.consumed.push((key, elements));
        }
    }

    fn begin_move(&mut self) {
        // A worker's messages are in a slot that only its marker tells.
        let markers = self.cluster.nodes.iter().flat_map(|node| node.keys.keys());
        let markers = markers.filter(|key| key.starts_with(MARKER.as_bytes())).cloned();
        let keys: Vec<Vec<u8>> = self.keys.iter().cloned().chain(markers).collect();
        let slot = slot_of(self.random.pick::<Vec<u8>>(&keys));
        let from = self.cluster.owner(slot);
        let to = (from + 1) % self.cluster.nodes.len();
        if self.cluster.nodes[from].is_down || self.cluster.nodes[to].is_down {
            return;
        }
        if self.random.is(30) {
            self.note("slot moved as a whole");
            self.cluster.move_slot(slot, to);
        } else {
            self.note("slot set out");
            self.cluster.moving = Some(Move { slot, from, to });
        }
    }

    fn go_on_moving(&mut self) {
        let left = self.cluster.left();
        if left.is_empty() {
            if self.random.is(40) {
                self.note("slot arrived");
                self.cluster.end_move();
            }
        } else {
            let key = self.random.pick(&left).clone();
            self.note(if key.starts_with(MARKER.as_bytes()) {
                "marker moved"
            } else {
                "key moved"
            });
            self.cluster.move_key(&key);
        }
    }

    fn promote(&mut self) {
        let down = self.cluster.nodes.iter().position(|node| node.is_down);
        if let (Some(node), Some(asked)) = (down, &self.asked) {
            let (by_failover, by_crash) = self.cluster.at_risk(node, asked);
            let all = self.cluster.how_many_unconfirmed(node);
            let is_crash = self.random.is(40);
            let at_risk = if is_crash { by_crash } else { by_failover };
            let lost = if self.random.is(50) { at_risk } else { self.random.within(0, at_risk) };
            self.note(match (is_crash, lost > 0) {
                (true, true) => "restart lost what was not on the disk",
                (true, false) => "restart has all",
                (false, true) => "failover lost what was on no replica",
                (false, false) => "replica has all",
            });
            if is_crash {
                self.cluster.restart(node, all - lost);
            } else {
                self.cluster.promote(node, all - lost);
            }
        } else if let Some(node) = down {
            let more = self.cluster.how_many_unconfirmed(node);
            let kept = self.random.within(0, more);
            self.note(if kept < more { "replica lacks the last" } else { "replica has all" });
            self.cluster.promote(node, kept);
        }
    }

    /// Some of what broken connections have left behind is executed.
    fn run_late(&mut self) {
        let clients = self.cluster.clients.iter().enumerate();
        let late = clients.filter(|(_, client)| client.is_orphan && !client.unread.is_empty());
        let late: Vec<usize> = late.map(|(id, _)| id).collect();
        if late.is_empty() {
            return;
        }
        let id = *self.random.pick(&late);
        for _ in 0..self.random.within(1, 8) {
            if !self.step(id, " LATE") {
                return self.cluster.clients[id].unread.clear();
            }
        }
    }

    /// All of it, and no more trouble from here on.
    pub(super) fn calm_down(&mut self) {
        self.budget = 0;
        self.end_lag();
        while self.cluster.nodes.iter().any(|node| node.is_down) {
            self.promote();
        }
        if self.cluster.moving.is_some() {
            self.cluster.end_move();
        }
        while self
            .cluster
            .clients
            .iter()
            .any(|client| client.is_orphan && !client.unread.is_empty())
        {
            self.run_late();
        }
    }

    fn step(&mut self, id: usize, how: &str) -> bool {
        let Some(words) = self.cluster.step(id) else { return false };
        if !how.is_empty() && words[0] == b"EXEC" {
            self.note("late EXEC");
        }
        self.trace(|| {
            let text: Vec<String> =
                words.iter().take(5).map(|word| word.escape_ascii().to_string()).collect();
            let client = &self.cluster.clients[id];
            format!(
                "    client {id}@{}{how}: {} -> {:?}",
                client.port,
                text.join(" "),
                client.replies.last()
            )
        });
        true
    }

    fn send(&mut self, id: usize, bytes: &[u8]) -> Result<End, Error> {
        if self.cluster.clients[id].is_orphan {
            return if self.random.is(50) { Ok(End::Closed) } else { Err(End::Closed.error()) };
        }
        if self.strikes(self.rate) {
            return self.cut(id, bytes);
        }
        self.cluster.clients[id].unread.extend_from_slice(bytes);
        while !self.cluster.clients[id].is_orphan && self.step(id, "") {
            self.pass();
        }
        if self.cluster.clients[id].is_orphan {
            return Ok(End::Closed);
        }
        self.heard_of(id);
        Ok(End::Open)
    }

    fn heard_of(&mut self, id: usize) {
        if self.asked.is_none()
            && let Some(node) = self.cluster.at(self.cluster.clients[id].port)
        {
            self.cluster.confirm(node);
        }
    }

    /// The connection breaks: some of the bytes arrive, some of their commands are executed at once, the
    /// others later, and some of the replies come back.
    fn cut(&mut self, id: usize, bytes: &[u8]) -> Result<End, Error> {
        self.note("connection cut");
        let delivered =
            if self.random.is(60) { bytes.len() } else { self.random.below(bytes.len()) };
        self.cluster.clients[id].unread.extend_from_slice(&bytes[..delivered]);
        let commands = boundaries(&self.cluster.clients[id].unread).len();
        let at_once = if self.random.is(50) { commands } else { self.random.within(0, commands) };
        for _ in 0..at_once {
            if !self.step(id, "") {
                break;
            }
        }
        let client: &mut Client = &mut self.cluster.clients[id];
        client.is_orphan = true;
        let seen = if self.random.is(60) { 0 } else { self.random.within(0, client.replies.len()) };
        client.replies.truncate(seen);
        if seen > 0 {
            self.heard_of(id);
        }
        match self.random.below(4) {
            0 => Err(End::Closed.error()),
            1 => Ok(End::TimedOut),
            _ => Ok(End::Closed),
        }
    }
}

/// A worker's way into the cluster.
pub(super) struct Gate {
    pub(super) world: Shared,
    pub(super) seeds: Vec<Address>,
}

/// One connection.
pub(super) struct Line {
    world: Shared,
    id: usize,
    replies: VecDeque<Value>,
    end: End,
}

impl Connect for Gate {
    type Connection = Line;

    fn connect(
        &self,
        _: &omvalkeyaudit::commands::Marker,
        _: Deadline,
    ) -> Result<(Line, Vec<u8>), Error> {
        panic!("a cluster is not one server")
    }

    fn seeds(&self) -> &[Address] {
        &self.seeds
    }

    fn open(&self, node: &Address, _: Deadline) -> Result<Line, Error> {
        let world = &mut self.world.borrow_mut();
        world.pass();
        let Address::Tcp { port, .. } = node else { panic!("a node on TCP") };
        if !world.cluster.is_there(*port) || world.strikes(5) {
            world.trace(|| format!("    {node} refuses"));
            return Err(Error::broken(Cause::Connect, format!("{node} refuses")));
        }
        let id = world.cluster.accept(*port);
        Ok(Line { world: Rc::clone(&self.world), id, replies: VecDeque::new(), end: End::Open })
    }

    fn pause(&self, _: Duration) {
        let world = &mut self.world.borrow_mut();
        for _ in 0..5 {
            world.pass();
        }
    }
}

impl Connection for Line {
    fn send(&mut self, pieces: &[&[u8]], _: Deadline) -> Result<(), Error> {
        if self.end != End::Open {
            return Err(self.end.error());
        }
        let world = &mut self.world.borrow_mut();
        world.pass();
        let result = world.send(self.id, &pieces.concat());
        self.replies.extend(world.cluster.clients[self.id].replies.drain(..));
        self.end = *result.as_ref().unwrap_or(&End::Closed);
        result.map(drop)
    }

    fn replies(&mut self, _: Deadline) -> impl Replies + '_ {
        Incoming(self)
    }

    fn address(&self) -> String {
        "simulated".to_owned()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Whether what was not read is executed is not up to the one who hangs up.
        self.world.borrow_mut().cluster.clients[self.id].is_orphan = true;
    }
}

struct Incoming<'l>(&'l mut Line);

impl Replies for Incoming<'_> {
    fn next(&mut self) -> Result<Value, Error> {
        self.0.replies.pop_front().ok_or_else(|| self.0.end.error())
    }

    fn skip(&mut self, answer: Answer, max: usize) -> Result<usize, Error> {
        let is_meant = |value: &Value| match (answer, value) {
            (Answer::Queued, Value::SimpleString(text)) => text == "QUEUED",
            (Answer::Id, Value::BulkString(_))
            | (Answer::Count, Value::Int(_))
            | (Answer::Ok, Value::Okay) => true,
            _ => false,
        };
        let count = self.0.replies.iter().take(max).take_while(|value| is_meant(value)).count();
        self.0.replies.drain(..count);
        Ok(count)
    }

    fn enter_array(&mut self) -> Result<Option<usize>, Error> {
        match self.0.replies.pop_front() {
            None => Err(self.0.end.error()),
            Some(Value::Array(results)) => {
                let count = results.len();
                for value in results.into_iter().rev() {
                    self.0.replies.push_front(value);
                }
                Ok(Some(count))
            }
            Some(other) => {
                self.0.replies.push_front(other);
                Ok(None)
            }
        }
    }
}
