//! The text of the records. The members and their order are part of the interface: README.md describes them.
#![forbid(unsafe_code)]

use crate::clock::{Clock, Moment, Now};
use crate::counters::COUNTERS;
use crate::event::Kind;
use crate::frame::{self, Arg, ClientFacts, Content, Facts, LONGEST_CONTEXT, LONGEST_USER, Who};
use crate::json;
use crate::redact::{OMITTED, REDACTED};
use crate::settings::{Settings, TABLE};

/// What the members behind `argv` take at most, without the client's and the context.
const TAIL_BYTES: usize = 260;
/// An argument is not begun with less room.
const LEAST_ARGUMENT: usize = 32;

/// What every record of a node begins with.
pub(crate) fn head(node: &str) -> Vec<u8> {
    let mut head = br#"{"v":1,"node":"#.to_vec();
    json::push_text(&mut head, node, usize::MAX);
    head.extend_from_slice(br#","seq":"#);
    head
}

/// Writes the records of the source itself into a buffer that is used again and again, all but their [`head`].
#[derive(Debug)]
pub(crate) struct Recorder {
    now: Now,
    clock: Clock,
    line: Vec<u8>,
}

impl Recorder {
    pub(crate) fn new(now: Now) -> Self {
        Recorder { now, clock: Clock::new(), line: Vec::with_capacity(4096) }
    }

    /// The record that was written last, with its line feed.
    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }

    fn begin(&mut self, seq: u64, event: &str) {
        self.line.clear();
        json::push_u64(&mut self.line, seq);
        self.clock.push_time((self.now)(Moment::Present), &mut self.line);
        self.text("event", event);
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        json::push_text(&mut self.line, value, usize::MAX);
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        json::push_u64(&mut self.line, value);
    }

    fn name(&mut self, name: &str) {
        self.line.push(b',');
        json::push_text(&mut self.line, name, usize::MAX);
        self.line.push(b':');
    }

    fn end(&mut self) {
        self.line.extend_from_slice(b"}\n");
    }

    /// The trail begins, with these settings.
    pub(crate) fn start(&mut self, seq: u64, server_version: &str, settings: &Settings) {
        self.begin(seq, "start");
        self.text("version", env!("CARGO_PKG_VERSION"));
        self.text("server_version", server_version);
        self.line.extend_from_slice(br#","settings":{"#);
        for (index, parameter) in TABLE.iter().enumerate() {
            if index > 0 {
                self.line.push(b',');
            }
            json::push_text(&mut self.line, parameter.name, usize::MAX);
            self.line.push(b':');
            json::push_text(&mut self.line, settings.text(index), 256);
        }
        self.line.push(b'}');
        self.end();
    }

    /// The trail ends.
    pub(crate) fn stop(&mut self, seq: u64, reason: &str) {
        self.begin(seq, "stop");
        self.text("reason", reason);
        self.end();
    }

    /// The trail goes on.
    pub(crate) fn heartbeat(&mut self, seq: u64) {
        self.begin(seq, "heartbeat");
        for (name, value) in COUNTERS.all().filter(|(name, _)| *name != "seq") {
            self.number(name, value);
        }
        self.end();
    }

    /// The records from `first` to `last` found the buffer full.
    pub(crate) fn lost(&mut self, seq: u64, first: u64, last: u64) {
        self.begin(seq, "lost");
        self.number("lost_count", last - first + 1);
        self.number("lost_first", first);
        self.number("lost_last", last);
        self.end();
    }
}

/// Makes records' text of the frames in the ring. The same frame gives the same text each time: what a
/// broken connection has cut is made again.
#[derive(Debug)]
pub(crate) struct Renderer {
    head: Vec<u8>,
    clock: Clock,
    client: ClientText,
}

impl Renderer {
    /// `head` goes in front of every record, see [`head`].
    pub(crate) fn new(head: Vec<u8>) -> Self {
        Renderer { head, clock: Clock::new(), client: ClientText::default() }
    }

    /// Appends the record that a frame holds, with its line feed.
    pub(crate) fn render(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        match frame::read(frame) {
            Some(Content::Text(text)) => {
                out.extend_from_slice(&self.head);
                out.extend_from_slice(text);
            }
            Some(Content::Event(facts)) => self.event(&facts, out),
            // The gap in the numbers tells.
            None => debug_assert!(false, "a frame that nobody has written"),
        }
    }

    fn event(&mut self, facts: &Facts<'_>, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.head);
        json::push_u64(out, facts.seq);
        self.clock.push_time(facts.time, out);
        out.extend_from_slice(br#","event":""#);
        out.extend_from_slice(facts.kind.name().as_bytes());
        out.extend_from_slice(br#"","command_name":"#);
        match facts.command_name {
            Some(name) => drop(json::push_bytes(out, name, usize::MAX)),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(br#","argc":"#);
        json::push_u64(out, facts.argc as u64);
        out.extend_from_slice(br#","argv":["#);
        let client = self.client.of(facts);
        let others = TAIL_BYTES + client.len() + facts.context.map_or(0, |_| LONGEST_CONTEXT);
        let end = begin + facts.record_length.saturating_sub(others);
        let cut = push_arguments(out, facts, end);
        out.push(b']');
        if cut > 0 {
            out.extend_from_slice(br#","argv_cut":"#);
            json::push_u64(out, cut);
        }
        out.extend_from_slice(br#","duration_us":"#);
        json::push_i64(out, facts.duration_us);
        out.extend_from_slice(br#","dirty":"#);
        json::push_i64(out, facts.dirty);
        out.extend_from_slice(client);
        out.extend_from_slice(br#","via":""#);
        out.extend_from_slice(facts.via.name().as_bytes());
        out.push(b'"');
        push_context(out, facts);
        out.extend_from_slice(b"}\n");
    }
}

/// Writes the arguments up to `end`, where the record's other members need their room. Gives how many
/// arguments are not there as a whole.
fn push_arguments(out: &mut Vec<u8>, facts: &Facts<'_>, end: usize) -> u64 {
    let mut whole = 0;
    for (index, arg) in facts.args.clone().enumerate() {
        let room = end.saturating_sub(out.len());
        if room < LEAST_ARGUMENT {
            break;
        }
        if index > 0 {
            out.push(b',');
        }
        whole += usize::from(match arg {
            Arg::Whole(arg) => json::push_bytes(out, arg, room) == arg.len(),
            Arg::Cut(arg) => {
                json::push_bytes(out, arg, room);
                false
            }
            Arg::Head(head) => {
                out.extend_from_slice(&[b'"', head]);
                out.extend_from_slice(REDACTED.as_bytes());
                out.push(b'"');
                true
            }
            Arg::Redacted => {
                json::push_text(out, REDACTED, room);
                true
            }
            Arg::Omitted => {
                json::push_text(out, OMITTED, room);
                true
            }
        });
    }
    facts.argc.saturating_sub(whole) as u64
}

/// `acl_deny_reason` and `acl_object`, or `rejection_context`.
fn push_context(out: &mut Vec<u8>, facts: &Facts<'_>) {
    let before = out.len();
    match facts.kind {
        Kind::AclDenied => {
            let Some(reason) = facts.acl_deny_reason.and_then(|reason| reason.name()) else {
                return;
            };
            out.extend_from_slice(br#","acl_deny_reason":""#);
            out.extend_from_slice(reason.as_bytes());
            out.extend_from_slice(br#"","acl_object":"#);
        }
        Kind::Rejected => out.extend_from_slice(br#","rejection_context":"#),
        Kind::Success | Kind::Failure => return,
    }
    match facts.context {
        Some(context) => {
            json::push_bytes(out, context, LONGEST_CONTEXT - (out.len() - before));
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// The members from `client_id` to `db`, with a comma in front. Those of a client are kept until it is
/// another's turn: a pipeline's commands come one after the other.
#[derive(Debug, Default)]
struct ClientText {
    id: u64,
    user: Option<Vec<u8>>,
    addr: Vec<u8>,
    db: u16,
    text: Vec<u8>,
}

impl ClientText {
    fn of(&mut self, facts: &Facts<'_>) -> &[u8] {
        match facts.client {
            Who::Client(client) if self.is_of(&client) => {}
            Who::Client(client) => self.make(&client),
            Who::Nobody(id) => {
                self.text.clear();
                self.begin(id, facts.is_module_client);
                self.text.extend_from_slice(br#"null,"addr":null,"db":null"#);
                // Nobody's text is not kept: no address is empty.
                self.addr.clear();
            }
        }
        &self.text
    }

    fn is_of(&self, client: &ClientFacts<'_>) -> bool {
        let kept = (self.id, self.user.as_deref(), &*self.addr, self.db);
        kept == (client.id, client.user, client.addr, client.db)
    }

    fn make(&mut self, client: &ClientFacts<'_>) {
        let ClientFacts { id, user, addr, db } = *client;
        self.begin(id, false);
        match user {
            Some(user) => drop(json::push_bytes(&mut self.text, user, LONGEST_USER)),
            None => self.text.extend_from_slice(b"null"),
        }
        self.text.extend_from_slice(br#","addr":"#);
        json::push_bytes(&mut self.text, addr, usize::MAX);
        self.text.extend_from_slice(br#","db":"#);
        json::push_u64(&mut self.text, db.into());
        (self.id, self.user, self.addr, self.db) =
            (id, user.map(<[u8]>::to_vec), addr.to_vec(), db);
    }

    fn begin(&mut self, id: u64, is_module_client: bool) {
        self.text.clear();
        self.text.extend_from_slice(br#","client_id":"#);
        json::push_u64(&mut self.text, id);
        self.text.extend_from_slice(br#","is_module_client":"#);
        self.text.push(if is_module_client { b'1' } else { b'0' });
        self.text.extend_from_slice(br#","user":"#);
    }
}
