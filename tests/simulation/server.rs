//! A model of the server: keys, connections, MULTI/EXEC and WATCH, executed as Valkey does
//! (`processCommand`, `execCommand`, `touchWatchedKey`). What breaks, and when, is decided in
//! `world.rs`.

mod history;

use crate::copies::Copies;
pub(crate) use crate::mood::Mood;
use crate::packets::{contains, is_bad, stores};
use crate::resp::{Command, command, error};
use redis::Value;
use std::collections::BTreeMap;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    Text(Vec<u8>),
    Stream,
    /// What is in it is of no interest here.
    List,
}

/// A reply on its way.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    One(Value),
    /// The length as it is said, and the replies.
    Many(usize, Vec<Value>),
}

/// What was written, published or set: to which key, by which worker, and its fields. What is no entry of
/// a stream has one without a name.
pub(crate) struct Written {
    pub(crate) worker: usize,
    pub(crate) key: Vec<u8>,
    pub(crate) fields: Vec<Vec<u8>>,
    /// Lost before any worker knew of it.
    pub(crate) is_void: bool,
}

/// The keys, and how many entries were written, after a commit.
type Snapshot = (BTreeMap<Vec<u8>, Held>, usize);

/// One connection, as the server sees it.
#[derive(Default)]
pub(crate) struct Client {
    /// Which worker's it is, and the key of the marker that it is to write.
    pub(crate) worker: usize,
    pub(crate) marker: Vec<u8>,
    /// Bytes that the server has not executed.
    pub(crate) unread: Vec<u8>,
    /// MULTI was executed.
    queue: Option<Vec<Command>>,
    /// A command was refused while it was queued.
    is_spoilt: bool,
    watched: Vec<Vec<u8>>,
    /// A watched key was touched.
    is_dirty: bool,
    pub(crate) replies: Vec<Reply>,
    /// The other end is gone.
    pub(crate) is_orphan: bool,
    /// The replies to what is executed now will not be seen as they are.
    pub(crate) is_doomed: bool,
    /// MULTI was refused, so commands are executed one by one until EXEC.
    pub(crate) is_unprotected: bool,
    /// The server has ended this connection, and the other end does not know it yet.
    pub(crate) is_dead: bool,
    /// The connection leads to a server that is a replica now.
    is_demoted: bool,
    /// A command wrote since the last look.
    has_written: bool,
    /// Where in the history its last write is.
    pub(crate) written: usize,
}

/// What an executed command was, for the one who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    RefusedInQueue,
    RefusedExec,
    Refused {
        is_wrong_type: bool,
    },
    /// EXEC ran, a flush's or a fence's.
    Executed {
        is_flush: bool,
    },
    GuardBroken,
    MultiRefused,
    WatchRefused,
    WaitRefused,
    KeyDenied,
    RecordRefused,
}

/// The server.
pub(crate) struct Server {
    keys: BTreeMap<Vec<u8>, Held>,
    pub(crate) clients: Vec<Client>,
    pub(crate) written: Vec<Written>,
    pub(crate) mood: Mood,
    /// The ACL forbids these keys.
    pub(crate) denied: Vec<Vec<u8>>,
    /// MULTI is refused with this text when it comes next.
    pub(crate) refuse_multi: Option<&'static str>,
    /// WATCH is refused when it comes next.
    pub(crate) refuses_watch: bool,
    /// A record with this in it is refused before it is executed.
    refused_text: &'static str,
    /// A record with this in it fails in EXEC.
    failing_text: &'static str,
    next_id: u64,
    pub(crate) events: Vec<Event>,
    /// How far they are.
    pub(crate) copies: Copies,
    /// WAIT is refused when it comes next.
    pub(crate) refuses_wait: bool,
    /// What a crash may fall back to; `None` where the server does not crash.
    history: Option<Vec<Snapshot>>,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            clients: Vec::new(),
            written: Vec::new(),
            mood: Mood::Fine,
            denied: Vec::new(),
            refuse_multi: None,
            refuses_watch: false,
            refused_text: "\"refuse",
            failing_text: "\"fail",
            next_id: 0,
            events: Vec::new(),
            copies: Copies::default(),
            refuses_wait: false,
            history: None,
        }
    }

    pub(crate) fn accept(&mut self, worker: usize, marker: Vec<u8>) -> usize {
        self.clients.push(Client { worker, marker, ..Client::default() });
        self.clients.len() - 1
    }

    /// The client is gone and the server has noticed.
    pub(crate) fn close(&mut self, id: usize) {
        let worker = self.clients[id].worker;
        self.clients[id] = Client { worker, is_orphan: true, ..Client::default() };
    }

    /// Another program's text, where a stream should be. False where there is a stream already.
    pub(crate) fn occupy(&mut self, key: &[u8]) -> bool {
        let is_free = !self.keys.contains_key(key);
        if is_free {
            self.keys.insert(key.to_vec(), Held::Text(b"not a stream".to_vec()));
            self.remember();
        }
        is_free
    }

    /// What a text's key holds.
    pub(crate) fn text(&self, key: &[u8]) -> Option<&[u8]> {
        match self.keys.get(key) {
            Some(Held::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Removes a key: deleted, expired or evicted. False where there was none.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let was_there = self.keys.remove(key).is_some();
        if was_there {
            self.touch(key);
            self.remember();
        }
        was_there
    }

    pub(crate) fn is_text(&self, key: &[u8]) -> bool {
        self.text(key).is_some()
    }

    /// The lists that have elements.
    pub(crate) fn lists(&self) -> Vec<Vec<u8>> {
        let lists = self.keys.iter().filter(|(_, held)| **held == Held::List);
        lists.map(|(key, _)| key.clone()).collect()
    }

    /// Whether part of a flush was executed, and EXEC was not.
    pub(crate) fn is_in_flush(&self, id: usize) -> bool {
        self.clients[id].queue.is_some() || self.clients[id].is_unprotected
    }

    /// Whether these bytes, or what they follow upon, hold a record that fails in EXEC.
    pub(crate) fn holds_failing(&self, id: usize, bytes: &[u8]) -> bool {
        let is_in = |bytes: &[u8]| contains(bytes, self.failing_text);
        is_in(bytes) || self.clients[id].queue.iter().flatten().flatten().any(|word| is_in(word))
    }

    /// The next command that the client has sent completely, if any.
    pub(crate) fn next_command(&mut self, id: usize) -> Option<Command> {
        let (words, length) = command(&self.clients[id].unread)?;
        self.clients[id].unread.drain(..length);
        Some(words)
    }

    /// Executes or queues one command and answers it.
    pub(crate) fn process(&mut self, id: usize, words: Command) {
        let name = String::from_utf8_lossy(&words[0]).into_owned();
        let reply = match self.refusal(id, &name, &words) {
            Some(reply) => Reply::One(reply),
            None if name == "EXEC" => self.exec(id),
            None if matches!(name.as_str(), "WAIT" | "WAITAOF") => self.count_copies(id, &words),
            None => Reply::One(self.queue_or_call(id, &name, words)),
        };
        // What runs one by one because MULTI was refused is lost as a whole too, or not at all.
        if self.clients[id].queue.is_none() && !self.clients[id].is_unprotected {
            self.remember();
            let now = self.history.as_ref().map_or(0, Vec::len);
            let client = &mut self.clients[id];
            if std::mem::take(&mut client.has_written) {
                client.written = now;
            }
        }
        self.clients[id].replies.push(reply);
    }

    /// `processCommand` up to where the command would be queued or called.
    fn refusal(&mut self, id: usize, name: &str, words: &Command) -> Option<Value> {
        if name == "EXEC" {
            let queued = self.clients[id].queue.iter().flatten();
            let mood = self.mood_for(id);
            let is_refused =
                queued.into_iter().any(|words| mood.refuses(&String::from_utf8_lossy(&words[0])));
            if is_refused {
                self.leave_multi(id);
                self.events.push(Event::RefusedExec);
                let why = mood.refusal();
                return Some(error(&format!("EXECABORT Transaction discarded because of: {why}")));
            }
            return None;
        }
        let is_in_multi = self.clients[id].queue.is_some();
        let (text, event) = if name == "MULTI" && self.refuse_multi.is_some() {
            self.clients[id].is_unprotected = true;
            (self.refuse_multi.take().unwrap_or_default(), Event::MultiRefused)
        } else if name == "WATCH" && self.refuses_watch {
            ("NOPERM No permissions to run 'watch'", Event::WatchRefused)
        } else if matches!(name, "WAIT" | "WAITAOF") && std::mem::take(&mut self.refuses_wait) {
            ("NOPERM No permissions to run 'wait'", Event::WaitRefused)
        } else if stores(words) && self.denied.contains(&words[1]) {
            ("NOPERM No permissions to access a key", Event::KeyDenied)
        } else if self.mood_for(id).refuses(name) {
            (self.mood_for(id).refusal(), Event::RefusedInQueue)
        } else if is_bad(words, self.refused_text) {
            ("ERR this record is not wanted here", Event::RecordRefused)
        } else {
            return None;
        };
        self.clients[id].is_spoilt |= is_in_multi;
        self.events.push(event);
        Some(error(text))
    }

    fn mood_for(&self, id: usize) -> Mood {
        if self.clients[id].is_demoted { Mood::ReadOnly } else { self.mood }
    }

    /// Whether the client talks to a replica, or to what is one for a while.
    pub(crate) fn is_replica_to(&self, id: usize) -> bool {
        self.mood_for(id) == Mood::ReadOnly
    }

    fn queue_or_call(&mut self, id: usize, name: &str, words: Command) -> Value {
        let client = &mut self.clients[id];
        match (name, &mut client.queue) {
            ("MULTI", None) => {
                client.queue = Some(Vec::new());
                Value::Okay
            }
            ("MULTI", Some(_)) => error("ERR MULTI calls can not be nested"),
            ("WATCH", Some(_)) => error("ERR WATCH inside MULTI is not allowed"),
            ("WATCH", None) => {
                // A client that is dirty stays so until EXEC.
                client.watched.extend(words.into_iter().skip(1));
                Value::Okay
            }
            (_, Some(queue)) => {
                queue.push(words);
                Value::SimpleString("QUEUED".to_owned())
            }
            (_, None) => self.call(id, name, words),
        }
    }

    /// `execCommand`.
    fn exec(&mut self, id: usize) -> Reply {
        let client = &self.clients[id];
        let (is_spoilt, is_dirty) = (client.is_spoilt, client.is_dirty);
        let Some(queue) = self.leave_multi(id) else {
            self.clients[id].is_unprotected = false;
            return Reply::One(error("ERR EXEC without MULTI"));
        };
        if is_spoilt {
            let text = "EXECABORT Transaction discarded because of previous errors.";
            return Reply::One(error(text));
        }
        if is_dirty {
            self.events.push(Event::GuardBroken);
            return Reply::One(Value::Nil);
        }
        let is_flush = queue.iter().any(stores);
        self.events.push(Event::Executed { is_flush });
        let mut results = Vec::with_capacity(queue.len());
        for words in queue {
            let name = String::from_utf8_lossy(&words[0]).into_owned();
            results.push(self.call(id, &name, words));
        }
        Reply::Many(results.len(), results)
    }

    /// Ends MULTI and WATCH; what was queued.
    fn leave_multi(&mut self, id: usize) -> Option<Vec<Command>> {
        let client = &mut self.clients[id];
        client.is_spoilt = false;
        client.is_dirty = false;
        client.watched.clear();
        client.queue.take()
    }

    fn call(&mut self, id: usize, name: &str, mut words: Command) -> Value {
        let wrong_type = "WRONGTYPE Operation against a key holding the wrong kind of value";
        let held = words.get(1).and_then(|key| self.keys.get(key)).cloned();
        if stores(&words) && is_bad(&words, self.failing_text) {
            self.events.push(Event::Refused { is_wrong_type: false });
            return error("ERR this record fails");
        }
        match (name, held) {
            ("XADD", Some(Held::Text(_) | Held::List))
            | ("LPUSH" | "RPUSH", Some(Held::Text(_) | Held::Stream)) => {
                self.events.push(Event::Refused { is_wrong_type: true });
                error(wrong_type)
            }
            ("XADD", _) => {
                assert_eq!(words[2], b"*", "the scenarios do not trim");
                let fields = words.split_off(3);
                let key = words.swap_remove(1);
                self.write(id, &key, fields, Some(Held::Stream));
                self.next_id += 1;
                Value::BulkString(format!("1784938493000-{}", self.next_id).into_bytes())
            }
            ("LPUSH" | "RPUSH", _) => {
                let elements = words.split_off(2);
                let count = i64::try_from(elements.len()).expect("few");
                for element in elements {
                    self.write(id, &words[1], vec![Vec::new(), element], Some(Held::List));
                }
                Value::Int(count)
            }
            ("PUBLISH", _) => {
                let text = words.swap_remove(2);
                self.write(id, &words[1], vec![Vec::new(), text], None);
                Value::Int(0)
            }
            ("SET", _) if stores(&words) => {
                let text = words.swap_remove(2);
                let held = Held::Text(text.clone());
                self.write(id, &words[1], vec![Vec::new(), text], Some(held));
                Value::Okay
            }
            ("SET", Some(_)) if words[3] == b"NX" => Value::Nil,
            ("SET", _) => {
                let text = words.swap_remove(2);
                let key = words.swap_remove(1);
                self.touch(&key);
                self.clients[id].has_written = true;
                self.keys.insert(key, Held::Text(text));
                if self.clients[id].is_unprotected {
                    // What went before it was a flush all the same.
                    self.events.push(Event::Executed { is_flush: true });
                }
                Value::Okay
            }
            ("EXPIRE", Some(_)) => {
                self.clients[id].has_written = true;
                self.touch(&words[1]);
                Value::Int(1)
            }
            ("EXPIRE", None) => Value::Int(0),
            ("GET", None) => Value::Nil,
            ("GET", Some(Held::Text(text))) => Value::BulkString(text),
            ("GET", Some(Held::Stream | Held::List)) => error(wrong_type),
            ("TYPE", held) => Value::SimpleString(
                match held {
                    None => "none",
                    Some(Held::Text(_)) => "string",
                    Some(Held::Stream) => "stream",
                    Some(Held::List) => "list",
                }
                .to_owned(),
            ),
            ("INFO", _) => Value::BulkString(b"aof_enabled:0\r\n".to_vec()),
            ("CONFIG", _) => Value::Array(vec![]),
            _ => panic!("the worker sent a command that the model does not have: {name}"),
        }
    }

    /// Notes what was written, and what its key holds from now on.
    fn write(&mut self, id: usize, key: &[u8], fields: Vec<Vec<u8>>, held: Option<Held>) {
        if let Some(held) = held {
            self.keys.insert(key.to_vec(), held);
            self.touch(key);
        }
        let client = &mut self.clients[id];
        client.has_written = true;
        let worker = client.worker;
        self.written.push(Written { worker, key: key.to_vec(), fields, is_void: false });
    }

    /// `touchWatchedKey`.
    fn touch(&mut self, key: &[u8]) {
        for client in &mut self.clients {
            client.is_dirty |= client.watched.iter().any(|watched| watched == key);
        }
    }
}
