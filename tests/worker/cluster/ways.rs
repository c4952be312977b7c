//! Each way to store a record in a cluster, and how what the nodes have done of it is counted: every
//! execution of a command, where a server tells of it, and not only what is left.

use crate::core::{Core, PATIENCE, command};
use omvalkeyaudit::error::Verdict;
use redis::Value;
use std::ops::Range;
use std::time::Duration;
use testkit::{Cluster, Count, Proxy, Server, entries, number_in, numbers, record, wait_until};

/// A way to store records, all of one slot, where they have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// XADD to a fixed key.
    Stream,
    /// LPUSH to a fixed key.
    Queue,
    /// RPUSH to keys that the records bring.
    Tail,
    /// SET of a key that each record brings.
    Set,
    Publish,
    /// XADD with XACK and XDEL of the entry that the record was.
    Moved,
}

/// All but [`Way::Stream`], which the other tests are about.
pub(super) const WAYS: [Way; 5] = [Way::Queue, Way::Tail, Way::Set, Way::Publish, Way::Moved];

/// So many lists.
const LISTS: u64 = 3;

impl Way {
    pub(super) fn parameters(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Stream => &[("key", "audit")],
            Self::Queue => &[("mode", "queue"), ("key", "list")],
            Self::Tail => {
                &[("mode", "queue"), ("userpush", "on"), ("key", "template"), ("dynakey", "on")]
            }
            Self::Set => {
                &[("mode", "set"), ("key", "template"), ("dynakey", "on"), ("expiration", "1000")]
            }
            Self::Publish => &[("mode", "publish"), ("key", "channel")],
            Self::Moved => &[
                ("key", "{move}:target"),
                ("stream.ack", "on"),
                ("stream.del", "on"),
                ("stream.keyack", "{move}:source"),
                ("stream.groupack", "readers"),
                ("stream.indexack", "template"),
                ("stream.dynaindexack", "on"),
            ],
        }
    }

    /// What the core hands over for this number: what the other template makes, and the record.
    fn texts(self, number: u64) -> (String, String) {
        let key = match self {
            Self::Stream | Self::Queue | Self::Publish => String::new(),
            Self::Tail => format!("{{lists}}:{}", number % LISTS),
            Self::Set => format!("{{values}}:{number}"),
            Self::Moved => format!("1-{}", number + 1),
        };
        (key, record(number))
    }

    /// A key in the slot of the records.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Stream => "audit",
            Self::Queue => "list",
            Self::Tail => "{lists}:0",
            Self::Set => "{values}:0",
            Self::Moved => "{move}:target",
            // The slot that the messages of an action leave by.
            Self::Publish => "channel:marker",
        }
    }

    pub(super) fn load(self, core: &mut Core, numbers: Range<u64>) {
        core.load_keyed(numbers.map(|number| self.texts(number)));
    }

    /// Hands over and settles the records with these numbers, in batches of `size`.
    pub(super) fn send(self, core: &mut Core, numbers: Range<u64>, size: u64) {
        let mut next = numbers.start;
        while next < numbers.end {
            let end = numbers.end.min(next + size);
            self.load(core, next..end);
            core.settle();
            next = end;
        }
    }
}

/// Sees all that the nodes do for one way from here on.
pub(super) struct Witness<'c> {
    way: Way,
    cluster: &'c Cluster,
    /// One at each node.
    listeners: Vec<redis::Connection>,
}

impl<'c> Witness<'c> {
    pub(super) fn new(way: Way, cluster: &'c Cluster) -> Self {
        let channel = if way == Way::Set { "__keyspace@0__:{values}:*" } else { "channel*" };
        for node in cluster.servers() {
            command(node, &["CONFIG", "SET", "notify-keyspace-events", "K$"]);
        }
        if way == Way::Moved {
            let source = cluster.owner("{move}:source");
            command(source, &["XGROUP", "CREATE", "{move}:source", "readers", "0", "MKSTREAM"]);
        }
        Self { way, cluster, listeners: listeners(cluster, channel) }
    }

    /// The source has these records, and somebody has read them.
    pub(super) fn prepare(&self, numbers: Range<u64>) {
        if self.way != Way::Moved {
            return;
        }
        let mut source = self.cluster.owner("{move}:source").connection();
        for number in numbers {
            let id = format!("1-{}", number + 1);
            let mut add = redis::cmd("XADD");
            add.arg("{move}:source").arg(id).arg("msg").arg("x").exec(&mut source).unwrap();
        }
        let words = ["GROUP", "readers", "reader", "STREAMS", "{move}:source", ">"];
        redis::cmd("XREADGROUP").arg(&words).exec(&mut source).unwrap();
    }

    /// What of the cluster is in order, in that order; everything else behind it.
    fn stored(&mut self) -> Vec<Vec<u64>> {
        let list = |key: &str| -> Vec<u64> {
            let mut owner = self.cluster.owner(key).connection();
            let all: Vec<Vec<u8>> =
                redis::cmd("LRANGE").arg(key).arg(0).arg(-1).query(&mut owner).unwrap();
            all.iter().map(|text| number_in(text).unwrap()).collect()
        };
        match self.way {
            Way::Stream => {
                vec![numbers(&entries(&mut self.cluster.owner("audit").connection(), "audit"))]
            }
            Way::Queue => vec![list("list").into_iter().rev().collect()],
            Way::Tail => {
                let lists = (0..LISTS).map(|number| list(&format!("{{lists}}:{number}")));
                let lists: Vec<Vec<u64>> = lists.collect();
                assert!(lists.iter().all(|list| list.is_sorted()), "{lists:?}");
                let mut all = lists.concat();
                all.sort_unstable();
                vec![all]
            }
            // A node tells of what it has done itself.
            Way::Set => {
                let mut all: Vec<u64> = self.heard().concat();
                all.sort_unstable();
                vec![all]
            }
            Way::Publish => self.heard(),
            Way::Moved => {
                let mut source = self.cluster.owner("{move}:source").connection();
                let left: u64 = redis::cmd("XLEN").arg("{move}:source").query(&mut source).unwrap();
                let summary: Vec<Value> = redis::cmd("XPENDING")
                    .arg("{move}:source")
                    .arg("readers")
                    .query(&mut source)
                    .unwrap();
                assert_eq!((left, &summary[0]), (0, &Value::Int(0)), "entries of the source");
                vec![numbers(&entries(&mut source, "{move}:target"))]
            }
        }
    }

    /// The numbers of all messages that each listener has heard before one of each node that says that
    /// there are no more: a message does not overtake another one of the same node.
    fn heard(&mut self) -> Vec<Vec<u64>> {
        let is_set = self.way == Way::Set;
        let end = if is_set { "__keyspace@0__:{values}:end" } else { "channel" };
        for node in self.cluster.servers() {
            command(node, &["PUBLISH", end, "end"]);
        }
        let listen = |listener: &mut redis::Connection| {
            let (mut ends, mut heard) = (0, Vec::new());
            while ends < self.cluster.servers().len() {
                let message = listener.recv_response().unwrap();
                let [_, _, channel, payload]: [String; 4] =
                    redis::from_redis_value::<Vec<String>>(message).unwrap().try_into().unwrap();
                let key = channel.rsplit(':').next().unwrap();
                match payload.as_str() {
                    "end" => ends += 1,
                    "set" => heard.push(key.parse().unwrap()),
                    _ if is_set => {}
                    text => heard.push(number_in(text.as_bytes()).unwrap()),
                }
            }
            heard
        };
        self.listeners.iter_mut().map(listen).collect()
    }

    /// Asserts that each number was stored once, in order, and nothing else was done; and that each node's
    /// listener heard of it, where that is the way.
    #[track_caller]
    pub(super) fn assert_exact(mut self, sent: Range<u64>) {
        for stored in self.stored() {
            let count = Count::of(stored, sent.clone());
            assert!(count.is_exact() && count.is_in_order(), "{:?}: {count}", self.way);
        }
    }

    /// The same but for the order.
    #[track_caller]
    pub(super) fn assert_complete(mut self, sent: Range<u64>) {
        for stored in self.stored() {
            let count = Count::of(stored, sent.clone());
            assert!(count.is_exact(), "{:?}: {count}", self.way);
        }
    }
}

/// A listener at each node, which hears what is published at every other one: nodes that have just met, or have
/// just been told of another port, do not pass everything on for a moment, whatever they say of their links.
pub(super) fn listeners(cluster: &Cluster, channel: &str) -> Vec<redis::Connection> {
    let listen = |channel: &str, patience: Duration| -> Vec<redis::Connection> {
        let listen = |node: &Server| {
            let mut listener = node.connection();
            listener.set_read_timeout(Some(patience)).unwrap();
            // The library's own subscription ends with the value that made it.
            let subscribe = redis::cmd("PSUBSCRIBE").arg(channel).get_packed_command();
            listener.send_packed_command(&subscribe).unwrap();
            listener.recv_response().unwrap();
            listener
        };
        cluster.servers().iter().map(listen).collect()
    };
    for node in cluster.servers() {
        wait_until("a node that is heard everywhere", PATIENCE, || {
            // The library drops a connection on which nothing has come in time.
            let mut listeners = listen("ready", Duration::from_millis(500));
            let mut publish = redis::cmd("PUBLISH");
            publish.arg("ready").arg("").exec(&mut node.connection()).unwrap();
            listeners.iter_mut().all(|listener| listener.recv_response().is_ok())
        });
    }
    listen(channel, PATIENCE)
}

/// One proxy for each node.
pub(super) fn proxies(cluster: &Cluster) -> Vec<Proxy> {
    cluster.servers().iter().map(|node| super::proxied(cluster, node)).collect()
}

/// The proxy of the node that has the slot of this way.
pub(super) fn proxy_of<'p>(way: Way, cluster: &Cluster, proxies: &'p [Proxy]) -> &'p Proxy {
    let owner = cluster.owner(way.key()).port();
    let place = cluster.servers().iter().position(|node| node.port() == owner).unwrap();
    &proxies[place]
}

/// Hands over what is loaded; it must not be committed at once.
pub(super) fn suspend(core: &mut Core, count: usize) {
    assert_eq!(core.transaction(0..count), Verdict::Suspended, "{}", core.log.text());
}
