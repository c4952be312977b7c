//! What a rule of docs/acl.md is tried in: a server, a proxy before it, a worker with the rule's parameters, and what
//! is stored by it, in each mode.

use crate::core::{Core, PATIENCE, command};
use omvalkeyaudit::error::Verdict::Suspended;
use redis::Connection;
use std::ops::Range;
use testkit::{
    AclRule, Fault, Flavour, Proxy, Scratch, SentinelGroup, Server, entries, number_in, record,
};

/// The keys of the records where they bring their own; the rules have `app:*`.
const BROUGHT: &str = "app:shop";

/// How many entries the source has where records come from one.
const ENTRIES: u64 = 20;

/// One rule's configuration, with a proxy before the server, and a sentinel that names the proxy.
pub(super) struct Place<'s> {
    rule: &'s AclRule,
    scratch: Scratch,
    pub(super) server: Server,
    pub(super) proxy: Proxy,
    sentinel: Option<Server>,
}

impl<'s> Place<'s> {
    pub(super) fn new(flavour: Flavour, rule: &'s AclRule) -> Self {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        let proxy = Proxy::tcp(server.address());
        let mut place = Self { rule, scratch, server, proxy, sentinel: None };
        if place.parameter("topology").is_some() {
            let address = place.proxy.address().to_string();
            let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
            let sentinel = SentinelGroup::lone_sentinel(flavour, port.expect("a port")).tcp();
            place.sentinel = Some(sentinel.start(&place.scratch));
        }
        place
    }

    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let found = self.rule.parameters().into_iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value)
    }

    /// The user gets this rule, and the server is empty.
    pub(super) fn begin(&self, rule: &[&str]) {
        self.empty();
        command(&self.server, rule);
    }

    /// Nothing is stored, but for what the records come from.
    pub(super) fn empty(&self) {
        command(&self.server, &["FLUSHALL"]);
        if self.parameter("stream.maxage").is_some() {
            let old = ["XADD", &self.key(), "1-1", "n", "999"];
            command(&self.server, &old);
        }
        if let Some(source) = self.parameter("stream.keyack") {
            let group = self.parameter("stream.groupack").expect("a group");
            command(&self.server, &["XGROUP", "CREATE", &source, &group, "0", "MKSTREAM"]);
            for number in 0..ENTRIES {
                command(&self.server, &["XADD", &source, &entry_of(number), "msg", "x"]);
            }
            let read = ["XREADGROUP", "GROUP", &group, "reader", "STREAMS", &source, ">"];
            command(&self.server, &read);
        }
    }

    /// A worker that logs in as that user.
    pub(super) fn worker(&self) -> Core {
        let server = self.sentinel.as_ref().map_or(self.proxy.address(), Server::tcp_address);
        let hold_file = self.scratch.join("hold").display().to_string();
        let mut parameters = self.rule.parameters();
        for (name, value) in &mut parameters {
            match name.as_str() {
                "holdfile" => value.clone_from(&hold_file),
                "sentinel.master" => SentinelGroup::name().clone_into(value),
                _ => {}
            }
        }
        let login = [("user", "audit"), ("serverpassword", "password"), ("stream.trim", "exact")];
        let limit = [("record.maxbytes", "1000")];
        let given = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Core::new(&server, &given.chain(login).chain(limit).collect::<Vec<_>>())
    }

    /// Loads the records of these numbers, each with what it brings.
    pub(super) fn load(&self, core: &mut Core, numbers: Range<u64>) {
        core.load_keyed(numbers.map(|number| self.texts(number)));
    }

    /// The same, and one that is too long to be stored.
    pub(super) fn load_with_a_bad_one(&self, core: &mut Core, numbers: Range<u64>) {
        let (key, _) = self.texts(ENTRIES);
        let bad = [(key, "x".repeat(1001))];
        core.load_keyed(numbers.map(|number| self.texts(number)).chain(bad));
    }

    fn texts(&self, number: u64) -> (String, String) {
        let text = record(number);
        if self.is_template() {
            let quoted = text.replace('"', "\\\"");
            (String::new(), format!("RPUSH {BROUGHT} \"{quoted}\""))
        } else if self.parameter("stream.keyack").is_some() {
            (entry_of(number), text)
        } else if self.parameter("dynakey").is_some() {
            (BROUGHT.to_owned(), text)
        } else {
            (String::new(), text)
        }
    }

    fn is_template(&self) -> bool {
        self.mode() == "template"
    }

    fn mode(&self) -> String {
        self.parameter("mode").unwrap_or_else(|| "stream".to_owned())
    }

    /// Whether a record chooses what this right is about.
    pub(super) fn is_brought(&self, right: &str) -> bool {
        right == "%W~app:*" || self.is_template() && right == "+rpush"
    }

    fn key(&self) -> String {
        let is_brought = self.is_template() || self.parameter("dynakey").is_some();
        if is_brought { BROUGHT.to_owned() } else { self.parameter("key").expect("a key") }
    }

    pub(super) fn dead_letter_key(&self) -> String {
        self.parameter("deadletter.key").unwrap_or_else(|| match self.key().as_str() {
            BROUGHT => "omvalkeyaudit:deadletter".to_owned(),
            key => format!("{key}:deadletter"),
        })
    }

    pub(super) fn connection(&self) -> Connection {
        let mut connection = self.server.connection();
        let db = self.parameter("db").unwrap_or_else(|| "0".to_owned());
        redis::cmd("SELECT").arg(db).exec(&mut connection).unwrap();
        connection
    }

    /// Sees what is stored from here on.
    pub(super) fn witness(&self) -> Witness<'_> {
        let mut listener = self.server.connection();
        listener.set_read_timeout(Some(PATIENCE)).unwrap();
        // The library's own subscription ends with the value that made it.
        let subscribe = redis::cmd("SUBSCRIBE").arg(self.key()).get_packed_command();
        listener.send_packed_command(&subscribe).unwrap();
        listener.recv_response().unwrap();
        Witness { place: self, listener }
    }

    /// What a witness sees when the records up to this one are stored, and one dead letter: of values only the
    /// last is left.
    pub(super) fn expected(&self, end: u64) -> (Vec<u64>, usize) {
        let first = if self.mode() == "set" { end - 1 } else { 0 };
        ((first..end).collect(), 1)
    }

    /// A batch whose confirmation is lost and that a stop meets, which the next worker finds in the hold file.
    pub(super) fn deliver_over_a_stop(&self, mut core: Core) -> Core {
        self.load(&mut core, 9..12);
        self.proxy.once(Fault::CutAfterExec);
        self.proxy.set(Fault::Refuse);
        assert_eq!(core.transaction(0..3), Suspended);
        let log = core.stop();
        assert_eq!(log.count("held records that are not committed"), 1, "{}", log.text());
        self.proxy.pass();
        let mut next = self.worker();
        self.load(&mut next, 12..15);
        next.settle();
        next
    }

    /// Three batches: one that is fine, one whose confirmation is lost, and one with a dead letter.
    pub(super) fn deliver(&self, core: &mut Core) {
        self.load(core, 0..2);
        core.settle();
        self.proxy.once(Fault::CutAfterExec);
        self.load(core, 2..5);
        core.settle();
        self.load_with_a_bad_one(core, 5..9);
        core.settle();
        assert_eq!(self.proxy.waiting(), 0, "the cut was made");
    }
}

/// Counts what was stored of the records, each mode in its way.
pub(super) struct Witness<'p> {
    place: &'p Place<'p>,
    listener: Connection,
}

impl Witness<'_> {
    /// The numbers of the records, and how many dead letters there are.
    pub(super) fn stored(&mut self) -> (Vec<u64>, usize) {
        let place = self.place;
        let (mut connection, key) = (place.connection(), place.key());
        let numbers = match place.mode().as_str() {
            "publish" => self.heard(),
            "set" => {
                let value: Option<Vec<u8>> =
                    redis::cmd("GET").arg(key).query(&mut connection).unwrap();
                value.iter().map(|text| number_in(text).unwrap()).collect()
            }
            "stream" => testkit::numbers(&entries(&mut connection, &key)),
            _ => {
                let texts: Vec<Vec<u8>> =
                    redis::cmd("LRANGE").arg(key).arg(0).arg(-1).query(&mut connection).unwrap();
                let mut numbers: Vec<u64> =
                    texts.iter().map(|text| number_in(text).unwrap()).collect();
                let is_at_head = !place.is_template() && place.parameter("userpush").is_none();
                if is_at_head {
                    numbers.reverse();
                }
                numbers
            }
        };
        if let Some(source) = place.parameter("stream.keyack") {
            let left: u64 = redis::cmd("XLEN").arg(source).query(&mut connection).unwrap();
            assert_eq!(left, ENTRIES - numbers.len() as u64, "entries of the source");
        }
        (numbers, entries(&mut connection, &place.dead_letter_key()).len())
    }

    /// The numbers of all messages before one that says that there are no more.
    fn heard(&mut self) -> Vec<u64> {
        command(&self.place.server, &["PUBLISH", &self.place.key(), "end"]);
        let mut numbers = Vec::new();
        loop {
            let message = self.listener.recv_response().unwrap();
            let message: Vec<String> = redis::from_redis_value(message).unwrap();
            match message[2].as_str() {
                "end" => return numbers,
                text => numbers.push(number_in(text.as_bytes()).unwrap()),
            }
        }
    }
}

/// The id of the entry that a record comes from.
fn entry_of(number: u64) -> String {
    format!("1-{}", number + 1)
}

/// The rules for one server at a time; those for a cluster are tried in one.
pub(super) fn rules() -> impl Iterator<Item = AclRule> {
    AclRule::of("audit").into_iter().filter(|rule| !rule.purpose.contains("\"cluster\""))
}
