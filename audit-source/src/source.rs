//! The audit source's state on the server's main thread: takes events, decides whether they are recorded,
//! numbers the records and puts them into the ring.
#![forbid(unsafe_code)]

use std::thread;
use std::time::{Duration, Instant};

use crate::clients::{Client, Clients};
use crate::clock::{Moment, Now};
use crate::commands::{Command, Effect, KnownCommands};
use crate::counters::COUNTERS;
use crate::event::{Arguments, CommandResult, Host, Kind, Via};
use crate::frame::{self, Event};
use crate::outbox::Outbox;
use crate::record::{Recorder, Renderer, head};
use crate::redact::{Rule, Shown, clean_context, mark};
use crate::ring::{Producer, ring};
use crate::settings::{Payload, Settings};
use crate::writer::Writer;

/// The client that stands for the append-only file while it is loaded.
const APPEND_ONLY_FILE: u64 = u64::MAX;
/// A loss is over when so much of the buffer is free again: a `lost` record for a whole outage, not for
/// each record that did not fit.
const FREE_AFTER_LOSS: u64 = 8;

/// Records that found the buffer full.
#[derive(Clone, Copy, Debug)]
struct Lost {
    first: u64,
    last: u64,
}

/// The state.
#[derive(Debug)]
pub(crate) struct Source {
    settings: Settings,
    clients: Clients,
    commands: KnownCommands,
    recorder: Recorder,
    now: Now,
    producer: Producer,
    writer: Option<Writer>,
    lost: Option<Lost>,
    /// Whether the server reports successes: then it is seen when a client's database changes, and between
    /// two changes nothing has to be asked.
    sees_success: bool,
    marks: Vec<Shown>,
    keys: Vec<usize>,
    heartbeat_at: Instant,
    has_stopped: bool,
}

impl Source {
    /// A source, and what its writer has to write.
    pub(crate) fn new(node: &str, now: Now, settings: Settings) -> (Source, Outbox) {
        let (mut producer, consumer) = ring(settings.buffer_bytes);
        COUNTERS.buffer_size.set(producer.usage().1);
        let source = Source {
            heartbeat_at: next_heartbeat(&settings),
            settings,
            clients: Clients::default(),
            commands: KnownCommands::new(),
            recorder: Recorder::new(now),
            now,
            producer,
            writer: None,
            lost: None,
            sees_success: false,
            marks: Vec::new(),
            keys: Vec::new(),
            has_stopped: false,
        };
        (source, Outbox::new(consumer, Renderer::new(head(node))))
    }

    /// Records go to this writer from now on.
    pub(crate) fn attach(&mut self, writer: Writer) {
        self.writer = Some(writer);
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Other settings from now on.
    pub(crate) fn apply(&mut self, settings: Settings) {
        if let Some(writer) =
            self.writer.as_ref().filter(|_| settings.target != self.settings.target)
        {
            writer.set_target(settings.target.clone());
        }
        if settings.heartbeat_seconds != self.settings.heartbeat_seconds {
            self.heartbeat_at = next_heartbeat(&settings);
        }
        self.settings = settings;
        self.commands.clear();
        self.clients.expire_all();
    }

    /// What the server reports from now on.
    pub(crate) fn subscribed(&mut self, sees_success: bool) {
        self.sees_success = sees_success;
        self.clients.expire_all();
    }

    /// A client has gone.
    pub(crate) fn client_gone(&mut self, id: u64) {
        self.clients.remove(id);
    }

    /// Somebody tried to log in, with whatever outcome.
    pub(crate) fn login_tried(&mut self, id: u64) {
        self.clients.expire(id);
    }

    /// Another module was loaded or unloaded: a command's name may mean another command.
    pub(crate) fn commands_changed(&mut self) {
        self.commands.clear();
    }

    /// A command event.
    pub(crate) fn command(
        &mut self,
        result: &CommandResult<'_>,
        args: &(impl Arguments + ?Sized),
        host: &impl Host,
    ) {
        let command = self.commands.get(result.command_name, &self.settings);
        match command.effect {
            Effect::None => {}
            Effect::Client => self.clients.expire(result.client_id),
            Effect::Everybody => self.clients.expire_all(),
        }
        let is_connection = !result.is_module_client && result.client_id != APPEND_ONLY_FILE;
        let client = if is_connection {
            self.clients.get(result.client_id, !self.sees_success, host, &self.settings)
        } else {
            None
        };
        if !is_recorded(&self.settings, result.kind, command, client) {
            COUNTERS.filtered.add(1);
            return;
        }
        let is_limited = self.settings.payload != Payload::Full && !command.is_administrative;
        self.marks.clear();
        if is_limited || command.rule != Rule::Plain {
            self.marks.resize(args.count().min(self.settings.argv_count), Shown::Whole);
            mark(command.rule, args, result.kind == Kind::Success, &mut self.marks);
        }
        if is_limited {
            self.keys.clear();
            if self.settings.payload == Payload::Keys && result.command_name.is_some() {
                host.key_positions(&mut self.keys);
            }
            omit(&mut self.marks, command.name_words, &self.keys);
        }
        let context = match result.kind {
            Kind::AclDenied => result.context,
            _ => result.context.map(|context| {
                clean_context(context, command.rule == Rule::Unknown, args, &self.marks)
            }),
        };
        let event = Event {
            result,
            context,
            client: client.map(|client| &*client.words),
            via: via(result, client, host),
            marks: &self.marks,
            settings: &self.settings,
        };
        let counter = match result.kind {
            Kind::Success => &COUNTERS.events_success,
            Kind::Failure => &COUNTERS.events_failure,
            Kind::Rejected => &COUNTERS.events_rejected,
            Kind::AclDenied => &COUNTERS.events_acl_denied,
        };
        counter.add(1);
        if self.lost.is_some()
            && !settle_loss(&mut self.lost, &mut self.producer, &mut self.recorder)
        {
            lose(&mut self.lost);
            return;
        }
        let moment = match result.kind {
            Kind::Success | Kind::Failure => Moment::Begin,
            Kind::Rejected | Kind::AclDenied => Moment::Present,
        };
        let mut frame = self.producer.begin();
        frame::put_event(&mut frame, next_seq(), (self.now)(moment), &event, args);
        let has_room = frame.end();
        self.sent(has_room);
    }

    /// Ten times a second.
    pub(crate) fn tick(&mut self) {
        COUNTERS.buffer_used.set(self.producer.usage().0);
        if self.lost.is_some()
            && settle_loss(&mut self.lost, &mut self.producer, &mut self.recorder)
            && let Some(writer) = &self.writer
        {
            writer.notice();
        }
        if self.settings.heartbeat_seconds > 0 && Instant::now() >= self.heartbeat_at {
            self.heartbeat_at = next_heartbeat(&self.settings);
            self.own(Recorder::heartbeat);
        }
    }

    /// The trail begins.
    pub(crate) fn start(&mut self, server_version: &str) {
        let settings = self.settings.clone();
        self.own(|recorder, seq| recorder.start(seq, server_version, &settings));
    }

    /// The trail ends: waits until the target has everything, or `auditsource.drain` has passed.
    pub(crate) fn stop(&mut self, reason: &str) {
        if std::mem::replace(&mut self.has_stopped, true) {
            return;
        }
        let deadline = Instant::now() + Duration::from_millis(self.settings.drain_ms);
        // Until there is room for what has to be said about a loss, and for the last record.
        self.wait_until(deadline, |source| {
            source.lost.is_none()
                || settle_loss(&mut source.lost, &mut source.producer, &mut source.recorder)
        });
        self.own(|recorder, seq| recorder.stop(seq, reason));
        if let Some(writer) = &self.writer {
            writer.drain();
        }
        self.wait_until(deadline, |source| source.writer.as_ref().is_none_or(Writer::is_drained));
    }

    /// Ends the writer thread.
    pub(crate) fn end(&mut self) {
        let deadline = Instant::now() + Duration::from_millis(500);
        if let Some(writer) = &mut self.writer {
            writer.end(deadline);
        }
    }

    fn wait_until(&mut self, deadline: Instant, mut condition: impl FnMut(&mut Self) -> bool) {
        while !condition(self) && Instant::now() < deadline {
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// A record of the source itself.
    fn own(&mut self, write: impl FnOnce(&mut Recorder, u64)) {
        if self.lost.is_some()
            && !settle_loss(&mut self.lost, &mut self.producer, &mut self.recorder)
        {
            lose(&mut self.lost);
            return;
        }
        write(&mut self.recorder, next_seq());
        let has_room = put(&mut self.producer, self.recorder.line());
        self.sent(has_room);
    }

    /// The next record is in the ring, or was not because there was no room.
    fn sent(&mut self, has_room: bool) {
        if !has_room {
            lose(&mut self.lost);
            return;
        }
        COUNTERS.seq.add(1);
        if let Some(writer) = &self.writer {
            writer.notice();
        }
    }
}

/// Puts a record of the source itself into the ring.
fn put(producer: &mut Producer, line: &[u8]) -> bool {
    let mut frame = producer.begin();
    frame::put_text(&mut frame, line);
    frame.end()
}

fn next_seq() -> u64 {
    COUNTERS.seq.get() + 1
}

/// The next number is that of a record that found no room.
fn lose(lost: &mut Option<Lost>) {
    let seq = next_seq();
    COUNTERS.seq.set(seq);
    COUNTERS.lost.add(1);
    lost.get_or_insert(Lost { first: seq, last: seq }).last = seq;
}

/// Sends the record about a loss when there is room again. Gives whether the loss is over.
fn settle_loss(lost: &mut Option<Lost>, producer: &mut Producer, recorder: &mut Recorder) -> bool {
    let Some(Lost { first, last }) = *lost else { return true };
    let (used, size) = producer.usage();
    if size - used < size / FREE_AFTER_LOSS {
        return false;
    }
    recorder.lost(next_seq(), first, last);
    if !put(producer, recorder.line()) {
        return false;
    }
    COUNTERS.seq.add(1);
    *lost = None;
    true
}

fn next_heartbeat(settings: &Settings) -> Instant {
    Instant::now() + Duration::from_secs(settings.heartbeat_seconds)
}

fn is_recorded(
    settings: &Settings,
    kind: Kind,
    command: &Command,
    client: Option<&Client>,
) -> bool {
    command.is_always
        || (settings.events.has(kind)
            && command.is_included
            && client.is_none_or(|client| client.is_included))
}

/// Leaves out what is neither the command's name nor a key.
fn omit(marks: &mut [Shown], name_words: usize, keys: &[usize]) {
    for (index, shown) in marks.iter_mut().enumerate().skip(name_words) {
        if *shown == Shown::Whole && !keys.contains(&index) {
            *shown = Shown::Omitted;
        }
    }
}

fn via(result: &CommandResult<'_>, client: Option<&Client>, host: &impl Host) -> Via {
    if result.is_module_client {
        return Via::Module;
    }
    match client {
        Some(client) if client.is_primary => Via::Replication,
        Some(client) if client.is_in_multi && host.running().is_exec => Via::Multi,
        Some(_) => Via::Client,
        None if result.client_id == APPEND_ONLY_FILE => Via::Load,
        None => {
            let running = host.running();
            if running.is_script {
                Via::Script
            } else if running.is_loading {
                Via::Load
            } else {
                Via::Module
            }
        }
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
