//! Each way to store a record, and how what the server has done of it is counted: every execution of a
//! command, not only what is left of it.

use crate::core::{Core, PATIENCE, assert_exact, command};
use std::ops::Range;
use testkit::{Count, Server, number_in, record_of};

/// A way to store records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// LPUSH.
    Queue,
    /// RPUSH, with a key that each record brings.
    Tail,
    Publish,
    /// SET of a key that each record brings.
    Set,
    /// SET ... EX.
    Expiring,
    /// RPUSH, as a command of the record's own.
    Template,
    /// XADD with XACK and XDEL of the entry that the record was.
    Moved,
}

pub(crate) const WAYS: [Way; 7] =
    [Way::Queue, Way::Tail, Way::Publish, Way::Set, Way::Expiring, Way::Template, Way::Moved];

impl Way {
    pub(crate) fn parameters(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Queue => &[("mode", "queue"), ("key", "list")],
            Self::Tail => {
                &[("mode", "queue"), ("userpush", "on"), ("key", "template"), ("dynakey", "on")]
            }
            Self::Publish => &[("mode", "publish"), ("key", "channel")],
            Self::Set => &[("mode", "set"), ("key", "template"), ("dynakey", "on")],
            Self::Expiring => {
                &[("mode", "set"), ("key", "template"), ("dynakey", "on"), ("expiration", "1000")]
            }
            Self::Template => &[("mode", "template"), ("template", "template")],
            Self::Moved => &[
                ("key", "moved"),
                ("stream.ack", "on"),
                ("stream.del", "on"),
                ("stream.keyack", "source"),
                ("stream.groupack", "readers"),
                ("stream.indexack", "template"),
                ("stream.dynaindexack", "on"),
            ],
        }
    }

    /// What the core hands over for this number: what the other template makes, and the record, of at
    /// least so many bytes.
    pub(crate) fn texts(self, number: u64, bytes: usize) -> (String, String) {
        let text = record_of(number, bytes);
        match self {
            Self::Queue | Self::Publish => (String::new(), text),
            Self::Tail => ("list".to_owned(), text),
            Self::Set | Self::Expiring => (format!("value:{number}"), text),
            Self::Template => {
                let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
                (String::new(), format!("RPUSH list \"{escaped}\""))
            }
            Self::Moved => (format!("1-{}", number + 1), text),
        }
    }
}

/// Sees all that the server does for one way from here on.
pub(crate) struct Witness<'s> {
    way: Way,
    server: &'s Server,
    listener: redis::Connection,
}

impl<'s> Witness<'s> {
    pub(crate) fn new(way: Way, server: &'s Server) -> Self {
        let mut listener = server.connection();
        listener.set_read_timeout(Some(PATIENCE)).unwrap();
        let channel = match way {
            Way::Set | Way::Expiring => "__keyspace@0__:value:*",
            _ => "channel",
        };
        command(server, &["CONFIG", "SET", "notify-keyspace-events", "K$"]);
        // The library's own subscription ends with the value that made it.
        let subscribe = redis::cmd("PSUBSCRIBE").arg(channel).get_packed_command();
        listener.send_packed_command(&subscribe).unwrap();
        listener.recv_response().unwrap();
        if way == Way::Moved {
            command(server, &["XGROUP", "CREATE", "source", "readers", "0", "MKSTREAM"]);
        }
        Self { way, server, listener }
    }

    /// The source has these records, and somebody has read them.
    pub(crate) fn prepare(&self, numbers: Range<u64>) {
        if self.way != Way::Moved {
            return;
        }
        for number in numbers {
            let id = format!("1-{}", number + 1);
            command(self.server, &["XADD", "source", &id, "msg", "x"]);
        }
        let group = ["XREADGROUP", "GROUP", "readers", "reader", "STREAMS", "source", ">"];
        command(self.server, &group);
    }

    /// Asserts that each number was stored once, in order, and nothing else was done.
    #[track_caller]
    pub(crate) fn assert_exact(mut self, sent: Range<u64>) {
        let stored = match self.way {
            Way::Queue => self.elements().into_iter().rev().collect(),
            Way::Tail | Way::Template => self.elements(),
            Way::Publish | Way::Set | Way::Expiring => self.heard(),
            Way::Moved => {
                assert_exact(self.server, "moved", sent.clone());
                let left = command(self.server, &["XLEN", "source"]);
                assert_eq!(left, redis::Value::Int(0), "entries of the source");
                assert_eq!(pending(self.server), 0, "pending entries");
                return;
            }
        };
        let count = Count::of(stored, sent);
        assert!(count.is_exact() && count.is_in_order(), "{:?}: {count}", self.way);
    }

    fn elements(&self) -> Vec<u64> {
        let mut connection = self.server.connection();
        let all: Vec<Vec<u8>> =
            redis::cmd("LRANGE").arg("list").arg(0).arg(-1).query(&mut connection).unwrap();
        all.iter().map(|text| number_in(text).unwrap()).collect()
    }

    /// The numbers of all messages before one that says that there are no more.
    fn heard(&mut self) -> Vec<u64> {
        let end = if self.way == Way::Publish { "channel" } else { "__keyspace@0__:value:end" };
        command(self.server, &["PUBLISH", end, "end"]);
        let mut heard = Vec::new();
        loop {
            let message = self.listener.recv_response().unwrap();
            let [_, _, channel, payload]: [String; 4] =
                redis::from_redis_value::<Vec<String>>(message).unwrap().try_into().unwrap();
            let key = channel.rsplit(':').next().unwrap().to_owned();
            match payload.as_str() {
                "end" => return heard,
                "set" => heard.push(key.parse().unwrap()),
                // The lifetime of a key is news of its own.
                "expire" => {}
                text => heard.push(number_in(text.as_bytes()).unwrap()),
            }
        }
    }
}

/// How many entries of the source wait for their acknowledgement.
pub(crate) fn pending(server: &Server) -> u64 {
    let summary = command(server, &["XPENDING", "source", "readers"]);
    let redis::Value::Array(parts) = summary else { panic!("{summary:?}") };
    redis::from_redis_value(parts.into_iter().next().unwrap()).unwrap()
}

/// Hands over and settles the records with these numbers, in batches of `size`.
pub(crate) fn send(way: Way, core: &mut Core, numbers: Range<u64>, size: usize) {
    let all: Vec<u64> = numbers.collect();
    for batch in all.chunks(size) {
        core.load_keyed(batch.iter().map(|number| way.texts(*number, 0)));
        core.settle();
    }
}
