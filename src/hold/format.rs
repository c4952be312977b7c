//! The hold file's bytes: frames to text and back. Pure; what is read was perhaps cut off or changed
//! on the disk, so nothing of a frame is believed before its checksum is. docs/hold-file.md has the
//! layout.
#![forbid(unsafe_code)]

use super::frame::{Doubt, Frame, Held, Letter, Note, Notes, Records, UnixSeconds};
use xxhash_rust::xxh3::xxh3_64;

/// What a file of this version starts with.
pub const HEADER: &[u8] = b"omvalkeyaudit hold file 1\n";

/// What a file of any version starts with.
const MAGIC: &[u8] = b"omvalkeyaudit hold file ";

/// No line of ours, a frame's or an item's first, is longer; the texts behind it are.
const MAX_LINE_BYTES: usize = 128;

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    /// All frames up to the first damage.
    pub frames: Vec<Frame>,
    /// So many bytes of the file are sound.
    pub sound: usize,
}

/// Why a file must not be touched.
#[derive(Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A later release wrote it.
    Newer {
        /// The version it states.
        version: String,
    },
    /// Something else.
    NotAHoldFile,
}

/// Reads a whole file.
///
/// # Errors
/// The file is not ours to read, and nothing of it may be changed.
pub fn decode(bytes: &[u8]) -> Result<Content, Foreign> {
    let Some(mut rest) = bytes.strip_prefix(HEADER) else {
        if HEADER.starts_with(bytes) {
            // Nothing yet, or the very first write was torn.
            return Ok(Content { frames: Vec::new(), sound: 0 });
        }
        return Err(match bytes.strip_prefix(MAGIC) {
            Some(rest) => Foreign::Newer { version: version(rest) },
            None => Foreign::NotAHoldFile,
        });
    };
    let mut frames = Vec::new();
    while let Some((frame, after)) = take_frame(rest) {
        frames.push(frame);
        rest = after;
    }
    Ok(Content { frames, sound: bytes.len() - rest.len() })
}

/// The version that a file states, fit for a log line.
fn version(rest: &[u8]) -> String {
    let digits = rest.iter().take(10).take_while(|byte| byte.is_ascii_digit());
    digits.map(|digit| char::from(*digit)).collect()
}

/// Appends a frame's bytes to `file`.
pub fn encode(frame: &Frame, file: &mut Vec<u8>) {
    let mut body = Vec::new();
    let kind = match frame {
        Frame::Records(records) => {
            head(&mut body, records.id, &records.action, records.time);
            if let Some(id) = records.replaces {
                item(&mut body, "replaces", &[format!("{id:032x}").as_bytes()]);
            }
            write_doubt(&mut body, records.doubt.as_ref());
            for Held { key, record, origin, letter } in &records.records {
                if origin.iter().any(|text| !text.is_empty()) {
                    item(&mut body, "origin", &origin.each_ref().map(Vec::as_slice));
                }
                match letter {
                    None => item(&mut body, "record", &[key, record]),
                    Some(Letter { reason, received }) => {
                        let parts = [key, record, reason.as_bytes(), received.as_bytes()];
                        item(&mut body, "letter", &parts);
                    }
                }
            }
            "records"
        }
        Frame::Notes(notes) => {
            head(&mut body, notes.id, &notes.action, notes.time);
            item(&mut body, "seed", &[hex(notes.seed).as_bytes()]);
            write_doubt(&mut body, notes.doubt.as_ref());
            for note in &notes.notes {
                let tag = if note.is_letter { "noted-letter" } else { "noted" };
                item(&mut body, tag, &[hex(note.fingerprint).as_bytes(), &note.key]);
            }
            "notes"
        }
        Frame::Done(id) => {
            write_id(&mut body, *id);
            "done"
        }
        Frame::Spent(id, places) => {
            write_id(&mut body, *id);
            for place in places {
                item(&mut body, "place", &[place.to_string().as_bytes()]);
            }
            "spent"
        }
    };
    file.extend_from_slice(frame_line(kind, &body).as_bytes());
    file.extend_from_slice(&body);
    file.push(b'\n');
}

fn frame_line(kind: &str, body: &[u8]) -> String {
    let checksum = xxh3_64(body) ^ xxh3_64(kind.as_bytes());
    format!("frame {kind} {} {}\n", body.len(), hex(checksum))
}

fn head(body: &mut Vec<u8>, id: u128, action: &str, time: UnixSeconds) {
    write_id(body, id);
    item(body, "action", &[action.as_bytes()]);
    item(body, "time", &[time.to_string().as_bytes()]);
}

fn write_id(body: &mut Vec<u8>, id: u128) {
    item(body, "id", &[format!("{id:032x}").as_bytes()]);
}

fn write_doubt(body: &mut Vec<u8>, doubt: Option<&Doubt>) {
    if let Some(Doubt { marker, worker, flush }) = doubt {
        let flush = flush.to_string();
        item(body, "doubt", &[marker.as_bytes(), worker.as_bytes(), flush.as_bytes()]);
    }
}

/// An item: its name and the lengths of its parts in a line, then the parts, and the end of a line.
fn item(body: &mut Vec<u8>, tag: &str, parts: &[&[u8]]) {
    body.extend_from_slice(tag.as_bytes());
    for part in parts {
        body.extend_from_slice(format!(" {}", part.len()).as_bytes());
    }
    body.push(b'\n');
    for part in parts {
        body.extend_from_slice(part);
    }
    body.push(b'\n');
}

fn hex(number: u64) -> String {
    format!("{number:016x}")
}

/// The first frame of `bytes` and what comes after it; nothing where it is damaged or cut off.
fn take_frame(bytes: &[u8]) -> Option<(Frame, &[u8])> {
    let (line, rest) = take_line(bytes)?;
    let mut words = line.strip_prefix("frame ")?.split(' ');
    let (kind, length) = (words.next()?, words.next()?.parse().ok()?);
    let (body, rest) = rest.split_at_checked(length)?;
    // Written anew and compared as a whole: nothing that only looks the same passes.
    if frame_line(kind, body).strip_suffix('\n')? != line {
        return None;
    }
    Some((read_frame(kind, body)?, rest.strip_prefix(b"\n")?))
}

fn read_frame(kind: &str, body: &[u8]) -> Option<Frame> {
    let mut items = Items { rest: body };
    let id = read_id(&items.expect("id")?)?;
    if kind == "done" {
        return items.rest.is_empty().then_some(Frame::Done(id));
    }
    if kind == "spent" {
        let mut places = Vec::new();
        while !items.rest.is_empty() {
            places.push(number(items.expect("place")?.first()?)?);
        }
        return Some(Frame::Spent(id, places));
    }
    let action = text(items.expect("action")?.first()?)?.to_owned();
    let time = number(items.expect("time")?.first()?)?;
    match kind {
        "records" => {
            let (replaces, doubt, records) = (None, None, Vec::new());
            let mut frame = Records { id, action, time, replaces, doubt, records };
            // It stands before its record.
            let mut origin = <[Vec<u8>; 3]>::default();
            while !items.rest.is_empty() {
                match items.next()? {
                    ("replaces", parts) => frame.replaces = Some(read_id(&parts)?),
                    ("doubt", parts) => frame.doubt = Some(read_doubt(&parts)?),
                    ("origin", parts) => origin = read_origin(&parts)?,
                    (tag, parts) => {
                        let held = read_held(tag, &parts)?;
                        frame.records.push(Held { origin: std::mem::take(&mut origin), ..held });
                    }
                }
            }
            Some(Frame::Records(frame))
        }
        "notes" => {
            let seed = u64::from_str_radix(text(items.expect("seed")?.first()?)?, 16).ok()?;
            let mut frame = Notes { id, action, time, seed, doubt: None, notes: Vec::new() };
            while !items.rest.is_empty() {
                match items.next()? {
                    ("doubt", parts) => frame.doubt = Some(read_doubt(&parts)?),
                    (tag, parts) => frame.notes.push(read_note(tag, &parts)?),
                }
            }
            Some(Frame::Notes(frame))
        }
        _ => None,
    }
}

fn read_id(parts: &[&[u8]]) -> Option<u128> {
    u128::from_str_radix(text(parts.first()?)?, 16).ok()
}

fn read_doubt(parts: &[&[u8]]) -> Option<Doubt> {
    let [marker, worker, flush] = parts else { return None };
    Some(Doubt {
        marker: text(marker)?.to_owned(),
        worker: text(worker)?.to_owned(),
        flush: number(flush)?,
    })
}

fn read_held(tag: &str, parts: &[&[u8]]) -> Option<Held> {
    let (key, record, letter) = match (tag, parts) {
        ("record", [key, record]) => (key, record, None),
        ("letter", [key, record, reason, received]) => {
            let (reason, received) = (text(reason)?.to_owned(), text(received)?.to_owned());
            (key, record, Some(Letter { reason, received }))
        }
        _ => return None,
    };
    Some(Held { key: key.to_vec(), record: record.to_vec(), letter, ..Held::default() })
}

fn read_origin(parts: &[&[u8]]) -> Option<[Vec<u8>; 3]> {
    let [key, group, index] = parts else { return None };
    Some([key.to_vec(), group.to_vec(), index.to_vec()])
}

fn read_note(tag: &str, parts: &[&[u8]]) -> Option<Note> {
    let [fingerprint, key] = parts else { return None };
    let is_letter = match tag {
        "noted" => false,
        "noted-letter" => true,
        _ => return None,
    };
    let fingerprint = u64::from_str_radix(text(fingerprint)?, 16).ok()?;
    Some(Note { fingerprint, key: key.to_vec(), is_letter })
}

/// The items of a frame's body.
struct Items<'b> {
    rest: &'b [u8],
}

impl<'b> Items<'b> {
    fn next(&mut self) -> Option<(&'b str, Vec<&'b [u8]>)> {
        let (line, mut rest) = take_line(self.rest)?;
        let mut words = line.split(' ');
        let tag = words.next()?;
        let mut parts = Vec::new();
        for word in words {
            let (part, after) = rest.split_at_checked(word.parse().ok()?)?;
            parts.push(part);
            rest = after;
        }
        self.rest = rest.strip_prefix(b"\n")?;
        Some((tag, parts))
    }

    fn expect(&mut self, wanted: &str) -> Option<Vec<&'b [u8]>> {
        let (tag, parts) = self.next()?;
        (tag == wanted).then_some(parts)
    }
}

/// The first line, without its end.
fn take_line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().take(MAX_LINE_BYTES).position(|byte| *byte == b'\n')?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((text(line)?, rest.get(1..)?))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    text(bytes)?.parse().ok()
}
