//! The form in which records wait in the ring. A command event waits as the facts that its text is made of: making text is the
//! writer thread's work, the server's main thread only copies. What must not leave the callback is not among
//! the facts: what is marked as hidden is left out here, and so is what a record has no room for.
//!
//! A frame is words. The first says which form it has:
//!
//! - text: the length, and then the text.
//! - event: six words of numbers, the command's name, the client, what it was rejected for, and the arguments up to the
//!   frame's end.
#![forbid(unsafe_code)]

use crate::event::{Arguments, ClientInfo, CommandResult, DenyReason, Kind, Via};
use crate::json::prefix;
use crate::redact::{OMITTED, Shown};
use crate::ring::{self, WORD};
use crate::settings::Settings;

/// Room for the key or channel of a denial, and for the text of a rejection.
pub(crate) const LONGEST_CONTEXT: usize = 300;
/// Room for a user's name in a record.
pub(crate) const LONGEST_USER: usize = 256;

/// The form of a text. That of an event is its kind.
const TEXT: u8 = 0;

// Bits in an event's first word.
const HAS_NAME: u8 = 1;
const HAS_CLIENT: u8 = 2;
const IS_MODULE_CLIENT: u8 = 4;
const HAS_CONTEXT: u8 = 8;
/// The reason that a denial without one has.
const NO_REASON: u8 = u8::MAX;

// The forms of an argument, in the lowest byte of its first word.
const WHOLE: u8 = 0;
const CUT: u8 = 1;
/// Up to seven bytes, in the word itself; their number is in the upper half of the form.
const SHORT: u8 = 2;
const LONGEST_SHORT: usize = 7;
const HEAD: u8 = 3;
const HIDDEN: u8 = 4;
const LEFT_OUT: u8 = 5;

/// A command event and what is known about it.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    pub(crate) result: &'a CommandResult<'a>,
    /// The result's, without what it repeats of secrets.
    pub(crate) context: Option<&'a [u8]>,
    /// What [`client_words`] has made; `None` when the client is no connection.
    pub(crate) client: Option<&'a [u64]>,
    pub(crate) via: Via,
    /// How the arguments are shown, as far as one is not shown whole.
    pub(crate) marks: &'a [Shown],
    pub(crate) settings: &'a Settings,
}

/// Puts a text in.
pub(crate) fn put_text(frame: &mut ring::Frame<'_>, text: &[u8]) {
    frame.word(u64::from(TEXT) | (text.len() as u64) << 8);
    frame.bytes(text);
}

/// Puts a command event in.
pub(crate) fn put_event(
    frame: &mut ring::Frame<'_>,
    seq: u64,
    time: u64,
    event: &Event<'_>,
    args: &(impl Arguments + ?Sized),
) {
    let Event { result, context, client, settings, .. } = event;
    let name = result.command_name.unwrap_or_default();
    let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    let flags = flag(result.command_name.is_some(), HAS_NAME)
        | flag(client.is_some(), HAS_CLIENT)
        | flag(result.is_module_client, IS_MODULE_CLIENT)
        | flag(context.is_some(), HAS_CONTEXT);
    let reason = result.acl_deny_reason.map_or(NO_REASON, |reason| reason.0);
    let small = u32::from_le_bytes([result.kind as u8, event.via as u8, flags, reason]);
    frame.words(&[
        u64::from(small) | (name.len() as u64) << 32,
        seq,
        time,
        result.duration_us.cast_unsigned(),
        result.dirty.cast_unsigned(),
        args.count() as u64 | (settings.record_length as u64) << 32,
    ]);
    frame.bytes(name);
    match client {
        Some(client) => frame.words(client),
        None => frame.word(result.client_id),
    }
    if let Some(context) = context {
        let context = prefix(context, LONGEST_CONTEXT);
        frame.word(context.len() as u64);
        frame.bytes(context);
    }
    put_arguments(frame, event, args);
}

/// What the frames of a client have in common, made once.
pub(crate) fn client_words(id: u64, info: &ClientInfo, words: &mut Vec<u64>) {
    let user = prefix(info.user.as_deref().unwrap_or_default(), LONGEST_USER);
    let lengths = u64::from(info.user.is_some()) << 16
        | (user.len() as u64) << 32
        | (info.addr.len() as u64) << 48;
    words.clear();
    words.extend([id, u64::from(info.db) | lengths]);
    words.extend([user, info.addr.as_bytes()].concat().chunks(WORD).map(ring::word));
}

/// Puts the arguments in as far as a record could show them: of as many bytes as it is long.
fn put_arguments(frame: &mut ring::Frame<'_>, event: &Event<'_>, args: &(impl Arguments + ?Sized)) {
    let settings = event.settings;
    let longest = settings.argv_length.min(settings.record_length);
    let mut room = settings.record_length;
    for index in 0..args.count().min(settings.argv_count) {
        if room == 0 {
            break;
        }
        let arg = args.get(index);
        let shown_bytes = match event.marks.get(index) {
            None | Some(Shown::Whole) => put_argument(frame, arg, longest),
            Some(mark) => put_mark(frame, *mark, arg),
        };
        // With its quotation marks.
        room = room.saturating_sub(shown_bytes + 2);
    }
}

/// Puts in what stands in the place of an argument.
fn put_mark(frame: &mut ring::Frame<'_>, mark: Shown, arg: &[u8]) -> usize {
    let (form, head) = match mark {
        Shown::Head => {
            let head = arg.first().copied().filter(u8::is_ascii_punctuation);
            (HEAD, head.unwrap_or(b'*'))
        }
        Shown::Omitted => (LEFT_OUT, 0),
        Shown::Whole | Shown::Redacted => (HIDDEN, 0),
    };
    frame.word(u64::from_le_bytes([form, head, 0, 0, 0, 0, 0, 0]));
    OMITTED.len()
}

fn put_argument(frame: &mut ring::Frame<'_>, arg: &[u8], longest: usize) -> usize {
    let shown = prefix(arg, longest);
    let length = shown.len() as u64;
    if shown.len() < arg.len() {
        frame.word(u64::from(CUT) | length << 8);
        frame.bytes(shown);
    } else if arg.len() <= LONGEST_SHORT {
        frame.word(u64::from(SHORT) | length << 4 | ring::word(arg) << 8);
    } else {
        frame.word(u64::from(WHOLE) | length << 8);
        frame.bytes(arg);
    }
    shown.len()
}

/// A frame, read back.
#[derive(Debug)]
pub(crate) enum Content<'a> {
    Text(&'a [u8]),
    Event(Facts<'a>),
}

/// A command event as it stood in a frame.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) kind: Kind,
    pub(crate) via: Via,
    pub(crate) acl_deny_reason: Option<DenyReason>,
    pub(crate) is_module_client: bool,
    pub(crate) seq: u64,
    pub(crate) time: u64,
    pub(crate) duration_us: i64,
    pub(crate) dirty: i64,
    pub(crate) argc: usize,
    pub(crate) record_length: usize,
    pub(crate) command_name: Option<&'a [u8]>,
    pub(crate) client: Who<'a>,
    pub(crate) context: Option<&'a [u8]>,
    pub(crate) args: Args<'a>,
}

/// Who sent a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who<'a> {
    /// Of the client of a script, a module or the append-only file there is only the id.
    Nobody(u64),
    Client(ClientFacts<'a>),
}

/// A client as the server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientFacts<'a> {
    pub(crate) id: u64,
    pub(crate) user: Option<&'a [u8]>,
    pub(crate) addr: &'a [u8],
    pub(crate) db: u16,
}

/// An argument as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arg<'a> {
    Whole(&'a [u8]),
    /// Its first bytes.
    Cut(&'a [u8]),
    /// This byte, and then the word for a secret.
    Head(u8),
    Redacted,
    Omitted,
}

/// Reads a frame; `None` for what [`put_text`] and [`put_event`] do not write.
pub(crate) fn read(frame: &[u8]) -> Option<Content<'_>> {
    let mut words = Words(frame);
    let first = words.word()?;
    let [form, via, flags, reason, ..] = first.to_le_bytes();
    if form == TEXT {
        return words.bytes(first >> 8).map(Content::Text);
    }
    let has = |bit: u8| flags & bit != 0;
    let (seq, time) = (words.word()?, words.word()?);
    let (duration_us, dirty) = (words.word()?.cast_signed(), words.word()?.cast_signed());
    let counts = words.word()?;
    let name = words.bytes(first >> 32)?;
    let id = words.word()?;
    let client = if has(HAS_CLIENT) { Who::Client(words.client(id)?) } else { Who::Nobody(id) };
    let context = if has(HAS_CONTEXT) {
        let length = words.word()?;
        Some(words.bytes(length)?)
    } else {
        None
    };
    Some(Content::Event(Facts {
        kind: Kind::ALL.into_iter().find(|kind| *kind as u8 == form)?,
        via: Via::ALL.into_iter().find(|known| *known as u8 == via)?,
        acl_deny_reason: (reason != NO_REASON).then_some(DenyReason(reason)),
        is_module_client: has(IS_MODULE_CLIENT),
        seq,
        time,
        duration_us,
        dirty,
        argc: usize::try_from(counts & u64::from(u32::MAX)).ok()?,
        record_length: usize::try_from(counts >> 32).ok()?,
        command_name: has(HAS_NAME).then_some(name),
        client,
        context,
        args: Args(words),
    }))
}

/// The words of a frame that are not read yet.
#[derive(Clone, Debug)]
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn chunk(&mut self) -> Option<&'a [u8; WORD]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(chunk)
    }

    fn word(&mut self) -> Option<u64> {
        self.chunk().map(|chunk| u64::from_le_bytes(*chunk))
    }

    fn client(&mut self, id: u64) -> Option<ClientFacts<'a>> {
        let lengths = self.word()?;
        let [db @ .., has_user, _, u0, u1, a0, a1] = lengths.to_le_bytes();
        let user_bytes = usize::from(u16::from_le_bytes([u0, u1]));
        let addr_bytes = usize::from(u16::from_le_bytes([a0, a1]));
        let (user, addr) =
            self.bytes((user_bytes + addr_bytes) as u64)?.split_at_checked(user_bytes)?;
        let user = (has_user != 0).then_some(user);
        Some(ClientFacts { id, user, addr, db: u16::from_le_bytes(db) })
    }

    fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let length = usize::try_from(length).ok()?;
        let (padded, rest) = self.0.split_at_checked(length.next_multiple_of(WORD))?;
        self.0 = rest;
        padded.get(..length)
    }
}

/// The arguments.
#[derive(Clone, Debug)]
pub(crate) struct Args<'a>(Words<'a>);

impl<'a> Iterator for Args<'a> {
    type Item = Arg<'a>;

    fn next(&mut self) -> Option<Arg<'a>> {
        let chunk = self.0.chunk()?;
        let [form, data @ ..] = chunk;
        let length = u64::from_le_bytes(*chunk) >> 8;
        match form & 0xf {
            WHOLE => self.0.bytes(length).map(Arg::Whole),
            CUT => self.0.bytes(length).map(Arg::Cut),
            SHORT => data.get(..usize::from(form >> 4)).map(Arg::Whole),
            HEAD => Some(Arg::Head(data[0])),
            HIDDEN => Some(Arg::Redacted),
            _ => Some(Arg::Omitted),
        }
    }
}
