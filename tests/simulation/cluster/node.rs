//! The model of a cluster's nodes: which keys each has, whose a slot is, and what a command is answered
//! while a slot is on its way. One replica stands behind each node and takes over when that dies.

mod route;

use super::keys::{HEARD, Held, Keys, Message, execute};
use crate::copies::Copies;
use crate::resp::{Command, command, error};
use omvalkeyaudit::commands::{Slot, slot_of};
use omvalkeyaudit::params::Durability;
use redis::Value;
use std::collections::BTreeMap;

const SLOTS: usize = 16384;

/// A primary, or whoever has taken its place.
#[derive(Default)]
pub(super) struct Node {
    /// Changes when the replica takes over.
    pub(super) port: u16,
    pub(super) is_down: bool,
    pub(super) keys: Keys,
    /// The keys after each commit since the latest one that a worker has heard of, that one included: what
    /// a replica may have.
    history: Vec<Keys>,
    /// So many commits there were before.
    before: usize,
    pub(super) copies: Copies,
}

impl Node {
    /// How many commits there were so far.
    fn commits(&self) -> usize {
        self.before + self.history.len() - 1
    }
}

/// One connection, as its node sees it.
#[derive(Default)]
pub(super) struct Client {
    pub(super) port: u16,
    pub(super) unread: Vec<u8>,
    queue: Option<Vec<Command>>,
    is_spoilt: bool,
    is_asking: bool,
    watched: Vec<Vec<u8>>,
    /// So many commits its node had after its last write.
    written: usize,
    is_dirty: bool,
    pub(super) replies: Vec<Value>,
    /// The other end is gone.
    pub(super) is_orphan: bool,
}

/// A slot on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub(super) slot: Slot,
    pub(super) from: usize,
    pub(super) to: usize,
}

pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    pub(super) clients: Vec<Client>,
    /// The slots that are not where their number says.
    strays: BTreeMap<Slot, usize>,
    pub(super) moving: Option<Move>,
    next_port: u16,
    /// Counts what was executed.
    time: u64,
    /// Where nodes that died have come back as replicas: they know the cluster, and have no slot.
    replicas: Vec<u16>,
    /// The command at hand has written something.
    has_written: bool,
    /// What a node had before a key left it may be all that its replica has.
    pub(super) is_move_from_at_risk: bool,
}

impl Cluster {
    pub(super) fn new(count: usize) -> Self {
        let mut cluster = Self {
            nodes: Vec::new(),
            clients: Vec::new(),
            strays: BTreeMap::new(),
            moving: None,
            next_port: 7000,
            time: 0,
            replicas: Vec::new(),
            has_written: false,
            is_move_from_at_risk: false,
        };
        for _ in 0..count {
            let port = cluster.new_port();
            cluster.nodes.push(Node { port, history: vec![Keys::new()], ..Node::default() });
        }
        cluster
    }

    fn new_port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }

    /// A new connection to a node.
    pub(super) fn accept(&mut self, port: u16) -> usize {
        self.clients.push(Client { port, ..Client::default() });
        self.clients.len() - 1
    }

    pub(super) fn at(&self, port: u16) -> Option<usize> {
        self.nodes.iter().position(|node| node.port == port && !node.is_down)
    }

    /// Whether somebody listens there.
    pub(super) fn is_there(&self, port: u16) -> bool {
        self.at(port).is_some() || self.replicas.contains(&port)
    }

    pub(super) fn owner(&self, slot: Slot) -> usize {
        let home = usize::from(slot) * self.nodes.len() / SLOTS;
        self.strays.get(&slot).copied().unwrap_or(home)
    }

    /// What the cluster has under a key.
    pub(super) fn held(&self, key: &[u8]) -> Option<&Held> {
        self.holder(key).keys.get(key)
    }

    /// The node that has a key, or would have it.
    fn holder(&self, key: &[u8]) -> &Node {
        let slot = slot_of(key);
        let moved = self.moving.filter(|moving| moving.slot == slot);
        let there = moved.map(|moving| &self.nodes[moving.to]);
        let there = there.filter(|node| node.keys.contains_key(key));
        there.unwrap_or(&self.nodes[self.owner(slot)])
    }

    /// The streams whose names have `part` in them.
    pub(super) fn streams(&self, part: &str) -> Vec<Vec<u8>> {
        let keys = self.nodes.iter().flat_map(|node| &node.keys);
        let is_meant = |key: &[u8]| String::from_utf8_lossy(key).contains(part);
        let streams = keys.filter_map(|(key, held)| match held {
            Held::Stream(entries) if is_meant(key) => Some(entries.clone()),
            _ => None,
        });
        streams.flatten().collect()
    }

    /// All messages, in the order in which they were published.
    pub(super) fn heard(&self) -> Vec<Message> {
        let held = self.nodes.iter().filter_map(|node| node.keys.get(HEARD));
        let mut heard: Vec<(u64, Message)> = held
            .flat_map(|held| if let Held::Heard(heard) = held { heard.clone() } else { Vec::new() })
            .collect();
        heard.sort();
        heard.into_iter().map(|(_, message)| message).collect()
    }

    /// A consumer takes a list, and that is not lost any more.
    pub(super) fn take(&mut self, key: &[u8]) -> Option<Vec<Vec<u8>>> {
        let node =
            self.nodes.iter().position(|node| !node.is_down && node.keys.contains_key(key))?;
        let Some(Held::List(_)) = self.nodes[node].keys.get(key) else { return None };
        let Some(Held::List(elements)) = self.nodes[node].keys.remove(key) else { return None };
        self.touch(node, key);
        self.confirm(node);
        Some(elements)
    }

    pub(super) fn put(&mut self, key: &[u8], held: Held) {
        let node = self.owner(slot_of(key));
        self.nodes[node].keys.insert(key.to_vec(), held);
        self.confirm(node);
    }

    /// From here on nothing of what this node has is lost: somebody knows of it.
    pub(super) fn confirm(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.before = node.commits();
        node.history = vec![node.keys.clone()];
        node.copies.have(node.before);
    }

    /// What is left of a key by each disaster that the copies are a remedy for.
    pub(super) fn safe(&self, key: &[u8], asked: &Durability) -> Vec<Option<&Held>> {
        let node = self.holder(key);
        let (replicas, disk) = node.copies.floors(asked);
        let floors = replicas.into_iter().chain(disk);
        floors.map(|floor| node.history[floor.saturating_sub(node.before)].get(key)).collect()
    }

    /// The keys of the slot that is on its way that have not gone yet.
    pub(super) fn left(&self) -> Vec<Vec<u8>> {
        let Some(Move { slot, from, .. }) = self.moving else { return Vec::new() };
        let keys = self.nodes[from].keys.keys();
        keys.filter(|key| slot_of(key) == slot && *key != HEARD).cloned().collect()
    }

    /// MIGRATE of one key. What it takes along stays where it goes: it is written, and replicated there.
    pub(super) fn move_key(&mut self, key: &[u8]) {
        let Some(Move { from, to, .. }) = self.moving else { return };
        let Some(held) = self.nodes[from].keys.remove(key) else { return };
        assert!(!self.nodes[to].keys.contains_key(key), "BUSYKEY: the worker was in the way");
        self.nodes[to].keys.insert(key.to_vec(), held);
        self.touch(from, key);
        self.touch(to, key);
        if self.is_move_from_at_risk {
            let Node { history, keys, .. } = &mut self.nodes[from];
            history.push(keys.clone());
        } else {
            self.confirm(from);
        }
        self.confirm(to);
    }

    pub(super) fn end_move(&mut self) {
        for key in self.left() {
            self.move_key(&key);
        }
        if let Some(Move { slot, to, .. }) = self.moving.take() {
            self.strays.insert(slot, to);
        }
    }

    /// The whole slot at once, as Valkey 9 does it.
    pub(super) fn move_slot(&mut self, slot: Slot, to: usize) {
        let from = self.owner(slot);
        if self.moving.is_none() && from != to {
            self.moving = Some(Move { slot, from, to });
            self.end_move();
        }
    }

    /// A primary dies with all that it was sent and has not executed.
    pub(super) fn kill(&mut self, node: usize) {
        let port = self.nodes[node].port;
        for client in self.clients.iter_mut().filter(|client| client.port == port) {
            *client = Client { port, is_orphan: true, ..Client::default() };
        }
        self.nodes[node].is_down = true;
    }

    /// Its replica takes over, with all that somebody knows of, and so many commits more.
    pub(super) fn promote(&mut self, node: usize, more: usize) {
        let port = self.new_port();
        self.replicas.push(self.nodes[node].port);
        self.nodes[node].port = port;
        self.restart(node, more);
    }

    /// It comes back itself, with as much.
    pub(super) fn restart(&mut self, node: usize, more: usize) {
        let Node { history, is_down, .. } = &mut self.nodes[node];
        let last = history.len() - 1;
        history.truncate(more.min(last) + 1);
        *is_down = false;
        let mut keys = history.last().cloned().unwrap_or_default();
        // What has a slot that another node has by now is deleted.
        keys.retain(|key, _| key == HEARD || self.owner(slot_of(key)) == node);
        self.nodes[node].keys = keys;
        self.confirm(node);
    }

    /// So many commits may be lost in a failover, and in a crash, where these copies are asked for.
    pub(super) fn at_risk(&self, node: usize, asked: &Durability) -> (usize, usize) {
        let node = &self.nodes[node];
        let all = node.commits();
        let (replicas, disk) = node.copies.floors(asked);
        let above = |floor: Option<usize>| all - floor.unwrap_or(all).clamp(node.before, all);
        (above(replicas), above(disk))
    }

    pub(super) fn how_many_unconfirmed(&self, node: usize) -> usize {
        self.nodes[node].history.len() - 1
    }

    /// Executes the next command that a client has sent completely. Gives its words.
    pub(super) fn step(&mut self, id: usize) -> Option<Command> {
        let (words, length) = command(&self.clients[id].unread)?;
        self.clients[id].unread.drain(..length);
        let node = self.at(self.clients[id].port);
        if !self.is_there(self.clients[id].port) {
            return None;
        }
        let name = String::from_utf8_lossy(&words[0]).into_owned();
        self.has_written = false;
        let reply = match self.elsewhere(id, node, &name, &words) {
            Some(text) => {
                if name == "EXEC" {
                    self.leave_multi(id);
                }
                self.clients[id].is_spoilt |= self.clients[id].queue.is_some();
                error(&text)
            }
            None => self.process(id, node.unwrap_or_default(), &name, words.clone()),
        };
        let client = &mut self.clients[id];
        client.is_asking &= name == "ASKING" || client.queue.is_some();
        client.replies.push(reply);
        let is_done = self.clients[id].queue.is_none();
        if let Some(Node { keys, history, .. }) = node.map(|node| &mut self.nodes[node])
            && is_done
            && history.last() != Some(keys)
        {
            history.push(keys.clone());
        }
        if let Some(node) = node.filter(|_| self.has_written) {
            self.clients[id].written = self.nodes[node].commits();
        }
        Some(words)
    }

    fn process(&mut self, id: usize, node: usize, name: &str, words: Command) -> Value {
        let client = &mut self.clients[id];
        match (name, &mut client.queue) {
            ("ASKING", _) => {
                client.is_asking = true;
                Value::Okay
            }
            ("MULTI", _) => {
                client.queue = Some(Vec::new());
                Value::Okay
            }
            ("WATCH", None) => {
                client.watched.push(words[1].clone());
                Value::Okay
            }
            ("EXEC", _) => self.exec(id, node),
            ("CLUSTER", None) => self.slots(),
            ("INFO" | "CONFIG", None) => error("NOPERM this user may not ask"),
            ("WAIT" | "WAITAOF", None) => {
                let written = self.clients[id].written;
                self.nodes[node].copies.answer(&words, written)
            }
            (_, Some(queue)) => {
                queue.push(words);
                Value::SimpleString("QUEUED".to_owned())
            }
            (_, None) => self.call(node, words),
        }
    }

    fn exec(&mut self, id: usize, node: usize) -> Value {
        let (is_spoilt, is_dirty) = (self.clients[id].is_spoilt, self.clients[id].is_dirty);
        let Some(queue) = self.leave_multi(id) else { return error("ERR EXEC without MULTI") };
        if is_spoilt {
            return error("EXECABORT Transaction discarded because of previous errors.");
        }
        if is_dirty {
            return Value::Nil;
        }
        let results = queue.into_iter().map(|words| self.call(node, words));
        Value::Array(results.collect())
    }

    fn leave_multi(&mut self, id: usize) -> Option<Vec<Command>> {
        let client = &mut self.clients[id];
        (client.is_spoilt, client.is_dirty) = (false, false);
        client.watched.clear();
        client.queue.take()
    }

    fn call(&mut self, node: usize, mut words: Command) -> Value {
        let key = words[1].clone();
        self.time += 1;
        let (reply, is_touched) = execute(&mut self.nodes[node].keys, &mut words, self.time);
        if is_touched {
            self.touch(node, &key);
        }
        reply
    }

    /// `touchWatchedKey`.
    fn touch(&mut self, node: usize, key: &[u8]) {
        self.has_written = true;
        let port = self.nodes[node].port;
        for client in self.clients.iter_mut().filter(|client| client.port == port) {
            client.is_dirty |= client.watched.iter().any(|watched| watched == key);
        }
    }
}
