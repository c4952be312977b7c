//! The server and everything between it and the workers: decides by the seed what is lost, late or
//! mangled, and when the server refuses.
//!
//! Left out, because the protocol does not claim to survive it, and checked nowhere else: a marker
//! that is lost, or a key whose type changes, between an EXEC whose reply was lost and the look-up
//! (`unseen`); a record's command that fails in EXEC for another reason than its key's type while the
//! reply is lost (the look-up tells of types only); a connection that breaks while commands run one by one because MULTI was refused.

mod background;

use crate::copies::questions;
use crate::faults::{Fault, Strikes};
use crate::known::Unseen;
use crate::mangle::mangle;
use crate::packets::look_ups;
use crate::random::Random;
use crate::resp::boundaries;
use crate::seeds::say;
use crate::server::{Event, Mood, Server};
use omvalkeyaudit::error::{Cause, Error};
use omvalkeyaudit::params::{Durability, Mode};
use omvalkeyaudit::server::Deadline;
use redis::Value;
use std::collections::BTreeMap;

pub(crate) const DEAD_LETTERS: &str = "dead";
pub(crate) const FIXED_KEY: &str = "audit";
/// What the markers' keys begin with.
pub(crate) const MARKER: &str = "marker";
/// Far more than any batch needs, and far less than a loop takes.
const MAX_STEPS: u32 = 10_000;
/// Dynamic keys: of these, the last two may hold the wrong type and be denied by the ACL.
pub(crate) const DYNAMIC_KEYS: [&str; 4] = ["k:1", "k:2", "k:wrong", "k:denied"];

/// What happens to one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Fine,
    /// The connection breaks.
    Cut,
    /// The replies are not what they should be.
    Mangle(Fault),
    Panic,
}

/// How a connection's replies end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// More may come.
    Open,
    Closed,
    TimedOut,
    Garbage,
}

impl End {
    pub(crate) fn error(self) -> Error {
        match self {
            Self::Open | Self::Closed => Error::broken(Cause::Lost, "connection lost"),
            Self::TimedOut => Error::broken(Cause::Timeout, "no answer in time"),
            Self::Garbage => Error::broken(Cause::Protocol, "no reply"),
        }
    }
}

/// What comes of a packet for the one who sent it.
pub(crate) enum Sent {
    Taken(End),
    Failed(Error),
    Panics,
}

/// What the call at hand has done so far.
#[derive(Default)]
pub(crate) struct Effort {
    deadline: Option<Deadline>,
    /// How often it has connected without a change of the primary.
    pub(crate) connects: i32,
    /// How often it has turned to the server.
    steps: u32,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) server: Server,
    pub(crate) strikes: Strikes,
    is_traced: bool,
    /// How the records are stored.
    pub(crate) mode: Mode,
    /// Whether the call at hand may panic.
    pub(crate) may_panic: bool,
    /// Whether rsyslogd may be stopped, and is to be at the next turn.
    pub(crate) may_stop: bool,
    pub(crate) is_stopping: bool,
    /// So many faults are left.
    budget: u32,
    /// How likely a packet is hit, in percent.
    rate: u64,
    mood_left: u32,
    /// What is asked for, where copies are.
    pub(crate) durability: Option<Durability>,
    pub(crate) lag_left: u32,
    /// By worker.
    pub(crate) unseen: BTreeMap<usize, Unseen>,
    /// How many of the server's entries each worker knows the fate of.
    pub(crate) known: BTreeMap<usize, usize>,
    /// The client that is each worker's connection, and its marker.
    pub(crate) kept: BTreeMap<usize, (usize, Vec<u8>)>,
    pub(crate) effort: Effort,
    /// The marker's key of each worker.
    pub(crate) markers: Vec<Vec<u8>>,
}

impl World {
    pub(crate) fn new(mut random: Random, mode: Mode, is_traced: bool) -> Self {
        let budget = u32::try_from(*random.pick(&[2, 6, 12, 25])).expect("small");
        let rate = *random.pick(&[3, 10, 25, 50]);
        let mut world = Self {
            random,
            server: Server::new(),
            strikes: Strikes::default(),
            is_traced,
            mode,
            may_panic: true,
            may_stop: false,
            is_stopping: false,
            budget,
            rate,
            mood_left: 0,
            durability: None,
            lag_left: 0,
            unseen: BTreeMap::new(),
            known: BTreeMap::new(),
            kept: BTreeMap::new(),
            effort: Effort::default(),
            markers: Vec::new(),
        };
        for (key, percent, fault) in [
            (FIXED_KEY, 10, Fault::WrongTypeFixedKey),
            (DEAD_LETTERS, 5, Fault::WrongTypeDeadLetterKey),
            (DYNAMIC_KEYS[2], 70, Fault::WrongTypeDynamicKey),
        ] {
            if world.random.is(percent) && world.server.occupy(key.as_bytes()) {
                world.strikes.note(fault);
            }
        }
        world
    }

    /// Writes a line of the trace of a replayed seed.
    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if self.is_traced {
            say(&line());
        }
    }

    /// Whether a fault strikes that does so in `percent` of all cases.
    pub(crate) fn strikes(&mut self, percent: u64) -> bool {
        let strikes = self.budget > 0 && self.random.is(percent);
        if strikes {
            self.budget -= 1;
        }
        strikes
    }

    /// All that a call does is under one deadline.
    pub(crate) fn meet(&mut self, deadline: Deadline) {
        let first = *self.effort.deadline.get_or_insert(deadline);
        assert_eq!(first, deadline, "a call with a second deadline");
        // Time stands still in here: what a real deadline would end has to be counted.
        self.effort.steps += 1;
        assert!(self.effort.steps <= MAX_STEPS, "a call that would go on to its deadline");
    }

    pub(crate) fn connect_refused(&mut self) -> Option<Error> {
        if !self.strikes(self.rate) {
            return None;
        }
        self.strikes.note(Fault::ConnectRefused);
        let cause = *self.random.pick(&[Cause::Connect, Cause::Auth, Cause::Timeout]);
        self.trace(|| format!("    connect refused: {cause:?}"));
        Some(Error::broken(cause, "refused"))
    }

    /// Whether the connection is to be left, before a flush, for one to a server that has the same data.
    pub(crate) fn primary_moved(&mut self) -> bool {
        let moved = self.strikes(self.rate);
        if moved {
            self.strikes.note(Fault::PrimaryMoved);
            self.trace(|| "    another primary".to_owned());
        }
        moved
    }

    /// A packet arrives, or not.
    pub(crate) fn send(&mut self, id: usize, bytes: &[u8]) -> Sent {
        // Not between the marker and the types of the keys: who has read the marker has been told.
        let may_befall = look_ups(bytes) == 0 || self.asks_for_copies();
        if self.server.may_crash() && may_befall && self.strikes(3) {
            self.befall();
        }
        if self.server.clients[id].is_dead {
            let closed = if self.random.is(50) {
                Sent::Taken(End::Closed)
            } else {
                Sent::Failed(End::Closed.error())
            };
            return closed;
        }
        if self.server.is_in_flush(id) {
            self.strikes.note(Fault::SentAhead);
        }
        let plan = if self.server.holds_failing(id, bytes) {
            if self.server.clients[id].is_doomed {
                self.server.clients[id].is_orphan = true;
                return Sent::Failed(End::Closed.error());
            }
            Plan::Fine
        } else {
            self.plan(id)
        };
        self.server.clients[id].is_doomed |= plan != Plan::Fine;
        match plan {
            Plan::Fine | Plan::Mangle(_) | Plan::Panic => {
                if !self.server.clients[id].is_doomed && self.strikes(3) {
                    let why: [&'static str; 3] =
                        ["NOPERM No permissions to run 'multi'", "LOADING not yet", "ERR no"];
                    self.server.refuse_multi = Some(*self.random.pick(&why[..]));
                }
                // Without a guard the worker gives the connection up, and the flush is in doubt.
                self.server.refuses_watch = plan == Plan::Fine
                    && self.server.refuse_multi.is_none()
                    && !self.server.clients[id].is_unprotected
                    && !self.server.holds_failing(id, bytes)
                    && self.strikes(2);
                self.server.clients[id].is_doomed |= self.server.refuses_watch;
                self.server.refuses_wait = plan == Plan::Fine && self.strikes(1);
                self.server.clients[id].unread.extend_from_slice(bytes);
                self.run(id, usize::MAX);
                self.server.refuse_multi = None;
                self.server.refuses_watch = false;
                self.server.refuses_wait = false;
            }
            Plan::Cut => return self.cut(id, bytes),
        }
        match plan {
            Plan::Mangle(fault) => Sent::Taken(self.mangle(id, fault, bytes)),
            Plan::Panic => {
                self.strikes.note(Fault::Panic);
                self.trace(|| "    panic after the packet was sent".to_owned());
                Sent::Panics
            }
            Plan::Fine | Plan::Cut => Sent::Taken(End::Open),
        }
    }

    fn plan(&mut self, id: usize) -> Plan {
        if self.server.clients[id].is_unprotected || !self.strikes(self.rate) {
            return Plan::Fine;
        }
        match self.random.below(100) {
            0..60 => Plan::Cut,
            60..70 => Plan::Mangle(Fault::StrangeReply),
            70..80 => Plan::Mangle(Fault::MiscountedReplies),
            80..88 => Plan::Mangle(Fault::WrongLength),
            88..94 => Plan::Mangle(Fault::Garbage),
            _ if self.may_panic => Plan::Panic,
            _ => Plan::Cut,
        }
    }

    /// The connection breaks: some of the bytes arrive, some of their commands are executed at once,
    /// the others later, and some of the replies come back.
    fn cut(&mut self, id: usize, bytes: &[u8]) -> Sent {
        let ends = boundaries(bytes);
        let delivered = match self.random.below(8) {
            0 => 0,
            1 | 2 => ends.get(self.random.below(ends.len().max(1))).copied().unwrap_or(0),
            3 => self.random.below(bytes.len()),
            _ => bytes.len(),
        };
        self.strikes.note(if delivered == 0 {
            Fault::LostUnread
        } else if ends.contains(&delivered) {
            Fault::LostBetweenCommands
        } else {
            Fault::LostInCommand
        });
        self.server.clients[id].unread.extend_from_slice(&bytes[..delivered]);
        let commands = boundaries(&self.server.clients[id].unread).len();
        let at_once = match self.random.below(3) {
            0 => 0,
            1 => self.random.within(0, commands),
            _ => commands,
        };
        self.trace(|| {
            format!("    cut: {delivered} of {} bytes arrive, {at_once} of {commands} commands are executed at once", bytes.len())
        });
        let before = self.unseen.contains_key(&self.server.clients[id].worker);
        self.run(id, at_once);
        if !before && self.unseen.contains_key(&self.server.clients[id].worker) {
            self.strikes.note(Fault::LostAfterExec);
        }
        let client = &mut self.server.clients[id];
        client.is_orphan = true;
        let all = client.replies.len();
        let seen = if self.random.is(50) { 0 } else { self.random.within(0, all) };
        client.replies.truncate(seen);
        if seen < all && self.server.may_crash() && look_ups(bytes) == 0 && self.random.is(25) {
            self.befall();
        }
        if self.random.is(20) {
            self.strikes.note(Fault::SendFailed);
            self.server.clients[id].replies.clear();
            return Sent::Failed(End::Closed.error());
        }
        if self.random.is(25) {
            self.strikes.note(Fault::TimedOut);
            return Sent::Taken(End::TimedOut);
        }
        Sent::Taken(End::Closed)
    }

    fn mangle(&mut self, id: usize, fault: Fault, bytes: &[u8]) -> End {
        let replies = &mut self.server.clients[id].replies;
        if replies.is_empty() {
            return End::Open;
        }
        let is_look_up = look_ups(bytes) > 0;
        let may_be_count = !is_look_up && matches!(self.mode, Mode::Queue { .. } | Mode::Publish);
        let strange =
            if may_be_count { Value::SimpleString("STRANGE".to_owned()) } else { Value::Int(42) };
        let end = mangle(replies, fault, is_look_up, questions(bytes), &strange, &mut self.random);
        self.strikes.note(fault);
        self.trace(|| format!("    mangled: {fault:?}"));
        end
    }

    /// The server executes at most so many of the client's commands, and things happen in between.
    fn run(&mut self, id: usize, max: usize) {
        for _ in 0..max {
            self.pass();
            let Some(words) = self.server.next_command(id) else { return };
            self.execute(id, words);
        }
    }

    fn execute(&mut self, id: usize, words: Vec<Vec<u8>>) {
        let client = &self.server.clients[id];
        let is_late = client.is_orphan;
        let is_hidden = client.is_doomed || is_late;
        let text = self.is_traced.then(|| show(&words));
        self.server.process(id, words);
        let events = std::mem::take(&mut self.server.events);
        if is_late {
            self.strikes.note(Fault::LateCommand);
        }
        if let Some(text) = text {
            let reply = self.server.clients[id].replies.last();
            say(&format!(
                "    client {id}{}: {text} -> {reply:?}",
                if is_late { " LATE" } else { "" }
            ));
        }
        for event in events {
            let fault = match event {
                Event::Executed { is_flush } => {
                    if (is_hidden || self.asks_for_copies()) && is_flush {
                        self.lose_sight(id);
                    }
                    (is_late && is_flush).then_some(Fault::LateExec)
                }
                Event::GuardBroken if is_late => Some(Fault::LateExecFenced),
                Event::GuardBroken => Some(Fault::GuardBroken),
                Event::RefusedInQueue => Some(Fault::RefusedInQueue),
                Event::RefusedExec => Some(Fault::RefusedExec),
                Event::MultiRefused => Some(Fault::MultiRefused),
                Event::WatchRefused => Some(Fault::WatchRefused),
                Event::WaitRefused => Some(Fault::WaitRefused),
                Event::KeyDenied => Some(Fault::KeyDenied),
                Event::RecordRefused | Event::Refused { is_wrong_type: false } => {
                    Some(Fault::RecordRefused)
                }
                Event::Refused { is_wrong_type: true } => None,
            };
            if let Some(fault) = fault {
                self.strikes.note(fault);
            }
        }
    }

    /// The worker that has this place now has this marker, which may be lost while nothing is in doubt.
    pub(crate) fn own_marker(&mut self, worker: usize, key: Vec<u8>) {
        if worker == self.markers.len() {
            self.markers.push(key);
        } else {
            self.markers[worker] = key;
        }
    }

    /// How many connections the worker has had.
    pub(crate) fn connections(&self, worker: usize) -> usize {
        self.server.clients.iter().filter(|client| client.worker == worker).count()
    }

    /// No more faults from here on.
    pub(crate) fn calm_down(&mut self) {
        self.budget = 0;
        self.mood_left = 0;
        self.server.mood = Mood::Fine;
        self.lag_left = 0;
        self.change_lag();
    }
}

/// A command for the trace, long words cut.
fn show(words: &[Vec<u8>]) -> String {
    let words: Vec<String> =
        words.iter().map(|word| word[..word.len().min(60)].escape_ascii().to_string()).collect();
    words.join(" ")
}
