//! The text of the records. The members and their order are part of the interface: README.md describes them.
#![forbid(unsafe_code)]

use crate::clients::Client;
use crate::clock::{Clock, Moment, Now};
use crate::commands::Command;
use crate::counters::COUNTERS;
use crate::event::{Arguments, CommandResult, Kind, Via};
use crate::json;
use crate::redact::{OMITTED, REDACTED, Rule, Shown, clean_context};
use crate::settings::{Settings, TABLE};

/// Room for the key or channel of a denial, and for the text of a rejection.
const LONGEST_CONTEXT: usize = 300;
/// What the members behind `argv` take at most, without the client's and the context.
const TAIL_BYTES: usize = 260;
/// An argument is not begun with less room.
const LEAST_ARGUMENT: usize = 32;

/// What every record of a node begins with. The writer puts it in front: a fifth of the bytes need not go from
/// one processor core to the other.
pub(crate) fn head(node: &str) -> Vec<u8> {
    let mut head = br#"{"v":1,"node":"#.to_vec();
    json::push_text(&mut head, node, usize::MAX);
    head.extend_from_slice(br#","seq":"#);
    head
}

/// Writes records into a buffer that is used again and again.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// How every record begins, see [`head`].
    head_bytes: usize,
    clock: Clock,
    line: Vec<u8>,
}

impl Recorder {
    pub(crate) fn new(node: &str, now: Now) -> Self {
        Recorder {
            head_bytes: head(node).len(),
            clock: Clock::new(now),
            line: Vec::with_capacity(16 * 1024),
        }
    }

    /// The record that was written last, with its line feed and without its head.
    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }

    fn begin(&mut self, seq: u64, event: &str, moment: Moment) {
        self.number_and_time(seq, moment);
        self.text("event", event);
    }

    fn number_and_time(&mut self, seq: u64, moment: Moment) {
        self.line.clear();
        json::push_u64(&mut self.line, seq);
        self.clock.push_time(moment, &mut self.line);
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
        self.begin(seq, "start", Moment::Present);
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
        self.begin(seq, "stop", Moment::Present);
        self.text("reason", reason);
        self.end();
    }

    /// The trail goes on.
    pub(crate) fn heartbeat(&mut self, seq: u64) {
        self.begin(seq, "heartbeat", Moment::Present);
        for (name, value) in COUNTERS.all().filter(|(name, _)| *name != "seq") {
            self.number(name, value);
        }
        self.end();
    }

    /// The records from `first` to `last` found the buffer full.
    pub(crate) fn lost(&mut self, seq: u64, first: u64, last: u64) {
        self.begin(seq, "lost", Moment::Present);
        self.number("lost_count", last - first + 1);
        self.number("lost_first", first);
        self.number("lost_last", last);
        self.end();
    }

    /// A command event. `marks` has one place for each argument that is shown at all.
    pub(crate) fn command(
        &mut self,
        seq: u64,
        event: &Event<'_>,
        args: &(impl Arguments + ?Sized),
    ) {
        let Event { result, command, client, settings, .. } = event;
        let client_bytes = client.map_or(NOBODY.len(), |client| client.json.len());
        let moment = match result.kind {
            Kind::Success | Kind::Failure => Moment::Begin,
            Kind::Rejected | Kind::AclDenied => Moment::Present,
        };
        self.number_and_time(seq, moment);
        let line = &mut self.line;
        line.extend_from_slice(command.lead(result.kind));
        json::push_u64(line, args.count() as u64);
        line.extend_from_slice(br#","argv":["#);
        let context_bytes = result.context.map_or(0, |_| LONGEST_CONTEXT);
        let others = self.head_bytes + TAIL_BYTES + client_bytes + context_bytes;
        let end = settings.record_length.saturating_sub(others);
        let cut = push_arguments(line, args, event.marks, settings.argv_length, end);
        line.push(b']');
        if cut > 0 {
            line.extend_from_slice(br#","argv_cut":"#);
            json::push_u64(line, cut);
        }
        line.extend_from_slice(br#","duration_us":"#);
        json::push_i64(line, result.duration_us);
        line.extend_from_slice(br#","dirty":"#);
        json::push_i64(line, result.dirty);
        match client {
            Some(client) => line.extend_from_slice(&client.json),
            None => {
                line.extend_from_slice(br#","client_id":"#);
                json::push_u64(line, result.client_id);
                line.extend_from_slice(br#","is_module_client":"#);
                line.push(if result.is_module_client { b'1' } else { b'0' });
                line.extend_from_slice(NOBODY);
            }
        }
        line.extend_from_slice(br#","via":""#);
        line.extend_from_slice(event.via.name().as_bytes());
        line.push(b'"');
        push_context(line, event, args);
        self.end();
    }
}

/// The members of a command whose client is not known: the server tells scripts' and modules' commands
/// without their caller.
const NOBODY: &[u8] = br#","user":null,"addr":null,"db":null"#;

/// A command event and what is known about it.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    pub(crate) result: &'a CommandResult<'a>,
    pub(crate) command: &'a Command,
    pub(crate) client: Option<&'a Client>,
    pub(crate) via: Via,
    pub(crate) marks: &'a [Shown],
    pub(crate) settings: &'a Settings,
}

/// Writes the arguments up to `end`, where the record's other members need their room. Gives how many
/// arguments are not there as a whole.
fn push_arguments(
    line: &mut Vec<u8>,
    args: &(impl Arguments + ?Sized),
    marks: &[Shown],
    longest: usize,
    end: usize,
) -> u64 {
    let mut cut = args.count().saturating_sub(marks.len());
    for (index, shown) in marks.iter().enumerate() {
        let room = end.saturating_sub(line.len());
        if room < LEAST_ARGUMENT {
            cut += marks.len() - index;
            break;
        }
        if index > 0 {
            line.push(b',');
        }
        let arg = args.get(index);
        match shown {
            Shown::Whole => {
                let used = json::push_prefix(line, arg, longest, room);
                cut += usize::from(used < arg.len());
            }
            Shown::Head => {
                let head = arg.first().copied().filter(u8::is_ascii_punctuation).unwrap_or(b'*');
                line.extend_from_slice(&[b'"', head]);
                line.extend_from_slice(REDACTED.as_bytes());
                line.push(b'"');
            }
            Shown::Redacted => drop(json::push_text(line, REDACTED, room)),
            Shown::Omitted => drop(json::push_text(line, OMITTED, room)),
        }
    }
    cut as u64
}

/// `acl_deny_reason` and `acl_object`, or `rejection_context`.
fn push_context(line: &mut Vec<u8>, event: &Event<'_>, args: &(impl Arguments + ?Sized)) {
    let result = event.result;
    let mut limit = LONGEST_CONTEXT;
    if result.kind == Kind::AclDenied {
        let Some(reason) = result.acl_deny_reason else { return };
        let before = line.len();
        line.extend_from_slice(br#","acl_deny_reason":""#);
        line.extend_from_slice(reason.as_bytes());
        line.extend_from_slice(br#"","acl_object":"#);
        limit -= line.len() - before;
    } else if result.kind == Kind::Rejected {
        line.extend_from_slice(br#","rejection_context":"#);
        limit -= br#","rejection_context":"#.len();
    } else {
        return;
    }
    let Some(context) = result.context else {
        line.extend_from_slice(b"null");
        return;
    };
    let context = match result.kind {
        Kind::AclDenied => context,
        _ => clean_context(context, event.command.rule == Rule::Unknown, args, event.marks),
    };
    json::push_bytes(line, context, limit);
}
