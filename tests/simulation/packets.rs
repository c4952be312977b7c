//! What commands and packets of a worker are about.

use crate::resp::Command;
use crate::world::MARKER;

/// Whether the command stores a record: all that write do, but for the marker's.
pub(crate) fn stores(words: &Command) -> bool {
    match words[0].as_slice() {
        b"XADD" | b"LPUSH" | b"RPUSH" | b"PUBLISH" => true,
        b"SET" => !words[1].starts_with(MARKER.as_bytes()),
        _ => false,
    }
}

/// Whether the command stores a record with this in it that is no dead letter. A push is never refused for
/// one of its elements.
pub(crate) fn is_bad(words: &Command, text: &str) -> bool {
    match words[0].as_slice() {
        b"XADD" => words[3] != b"record" && contains(&words[4], text),
        b"PUBLISH" | b"SET" => stores(words) && contains(&words[2], text),
        _ => false,
    }
}

/// How many keys a packet asks the types of, to find out what became of a flush.
pub(crate) fn look_ups(bytes: &[u8]) -> usize {
    const QUESTION: &[u8] = b"*2\r\n$4\r\nTYPE";
    if !bytes.starts_with(QUESTION) {
        return 0;
    }
    bytes.windows(QUESTION.len()).filter(|window| *window == QUESTION).count()
}

/// Whether a packet has records in it.
pub(crate) fn holds_records(bytes: &[u8]) -> bool {
    let has = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    if has(b"XADD") || has(b"PUSH") || has(b"PUBLISH") {
        return true;
    }
    const SET: &[u8] = b"$3\r\nSET\r\n$";
    let sets = bytes.windows(SET.len()).enumerate().filter(|(_, window)| *window == SET);
    sets.into_iter().any(|(at, _)| {
        let rest = &bytes[at + SET.len()..];
        let key = rest.iter().position(|byte| *byte == b'\n').map(|end| &rest[end + 1..]);
        key.is_some_and(|key| !key.starts_with(MARKER.as_bytes()))
    })
}

/// Whether `text` is somewhere in `bytes`, which are text too.
pub(crate) fn contains(bytes: &[u8], text: &str) -> bool {
    std::str::from_utf8(bytes).expect("the scenarios write text only").contains(text)
}
