//! Writing JSON into a buffer that is used again and again: numbers and strings, without any allocation.
#![forbid(unsafe_code)]

const HEX: [u8; 16] = *b"0123456789abcdef";
const BASE64: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Pairs of decimal digits: `00` to `99`.
const PAIRS: [[u8; 2]; 100] = pairs();

#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "at compile time")]
const fn pairs() -> [[u8; 2]; 100] {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
}

/// Two digits of a number below 100.
pub(crate) fn pair(number: u32) -> [u8; 2] {
    usize::try_from(number).ok().and_then(|index| PAIRS.get(index)).copied().unwrap_or([b'0'; 2])
}

/// Appends a number.
pub(crate) fn push_u64(out: &mut Vec<u8>, number: u64) {
    // Most numbers of a record have one digit.
    if let Some(digit) = u8::try_from(number).ok().filter(|digit| *digit < 10) {
        out.push(b'0' + digit);
        return;
    }
    let mut digits = [0_u8; 20];
    let mut rest = number;
    let mut used = 0;
    for slot in digits.rchunks_exact_mut(2) {
        let pair = usize::try_from(rest % 100).ok().and_then(|index| PAIRS.get(index));
        slot.copy_from_slice(pair.unwrap_or(&[b'0'; 2]));
        used += 2;
        if rest < 100 {
            used -= usize::from(rest < 10);
            break;
        }
        rest /= 100;
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

/// Appends a number that may be negative.
pub(crate) fn push_i64(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    push_u64(out, number.unsigned_abs());
}

/// Whether a byte stands for itself in a JSON string.
fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

/// The same, and it is a whole character.
fn is_plain_ascii(byte: u8) -> bool {
    (0x20..0x80).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

/// How many bytes of `text` a JSON string of at most `limit` bytes holds, quotes and escapes counted.
fn fitting(text: &str, limit: usize) -> usize {
    // No byte takes more than six, so nearly always nothing has to be counted.
    if text.len().saturating_mul(6).saturating_add(2) <= limit {
        return text.len();
    }
    let mut used = 2;
    for (at, c) in text.char_indices() {
        used += match c {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            '\0'..' ' => 6,
            _ => c.len_utf8(),
        };
        if used > limit {
            return at;
        }
    }
    text.len()
}

/// Appends bytes as a JSON string, or as `{"b64":"..."}` when they are not UTF-8. What is appended takes at
/// most `limit` bytes, however it is escaped; gives how many of the bytes it stands for. (Below twelve bytes
/// of room even an empty value does not fit and is written all the same.)
pub(crate) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8], limit: usize) -> usize {
    // Nearly all keys and names: looked at once, without a branch per byte, and copied.
    if bytes.len() + 2 <= limit && bytes.iter().fold(true, |all, byte| all & is_plain_ascii(*byte))
    {
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
        return bytes.len();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => push_text(out, text, limit),
        Err(_) => push_base64(out, bytes, limit),
    }
}

/// The first `length` bytes. A character that the cut would split is left out, and does not make the rest look as
/// if it were not UTF-8.
pub(crate) fn prefix(bytes: &[u8], length: usize) -> &[u8] {
    let Some(prefix) = bytes.get(..length) else { return bytes };
    let is_inside = |byte: u8| byte & 0xc0 == 0x80;
    if bytes.get(length).is_none_or(|next| !is_inside(*next)) {
        return prefix;
    }
    // A character has at most three bytes behind its first one.
    let begin = prefix.iter().rposition(|byte| !is_inside(*byte)).unwrap_or(0);
    let has_begin = length - begin <= 3 && prefix.get(begin).is_some_and(|byte| *byte >= 0xc0);
    if has_begin { prefix.get(..begin).unwrap_or_default() } else { prefix }
}

/// Appends a text as a JSON string of at most `limit` bytes.
pub(crate) fn push_text(out: &mut Vec<u8>, text: &str, limit: usize) -> usize {
    let length = fitting(text, limit);
    let mut rest = text.as_bytes().get(..length).unwrap_or_default();
    out.push(b'"');
    while let Some(at) = rest.iter().position(|byte| !is_plain(*byte)) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, after)) = from.split_first() else { break };
        push_escaped(out, *byte);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
    length
}

fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        byte => {
            out.extend_from_slice(b"\\u00");
            let digit = |value: u8| HEX.get(usize::from(value)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8], limit: usize) -> usize {
    const FRAME: usize = r#"{"b64":""}"#.len();
    let length = bytes.len().min(limit.saturating_sub(FRAME) / 4 * 3);
    out.extend_from_slice(br#"{"b64":""#);
    for group in bytes.get(..length).unwrap_or_default().chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digit = |shift: u32| {
            usize::try_from(bits >> shift & 63).ok().and_then(|index| BASE64.get(index)).copied()
        };
        let digits = [18, 12, 6, 0].map(|shift| digit(shift).unwrap_or(b'='));
        let (own, _) = digits.split_at(group.len() + 1);
        out.extend_from_slice(own);
        out.extend(std::iter::repeat_n(b'=', 3 - group.len()));
    }
    out.extend_from_slice(br#""}"#);
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn number(number: u64) -> String {
        let mut out = Vec::new();
        push_u64(&mut out, number);
        String::from_utf8(out).unwrap()
    }

    fn whole(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        assert_eq!(push_bytes(&mut out, bytes, usize::MAX), bytes.len());
        String::from_utf8(out).unwrap()
    }

    // Oracle: the standard library's own formatting.
    #[test]
    fn numbers_are_written_as_the_standard_library_does() {
        for power in 0..20 {
            let ten = 10_u64.pow(power);
            for near in [ten - 1, ten, ten + 1] {
                assert_eq!(number(near), near.to_string());
            }
        }
        assert_eq!(number(u64::MAX), u64::MAX.to_string());
        for negative in [i64::MIN, -1, 0, 1, i64::MAX] {
            let mut out = Vec::new();
            push_i64(&mut out, negative);
            assert_eq!(String::from_utf8(out).unwrap(), negative.to_string());
        }
    }

    // Oracle: serde_json reads the same text back; a line feed would end the record.
    #[test]
    fn every_character_comes_back_and_no_control_byte_stands_in_the_line() {
        for code in 0..=0x2_ffff_u32 {
            let Some(c) = char::from_u32(code) else { continue };
            let text = format!("a{c}b");
            let json = whole(text.as_bytes());
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), Value::from(text));
            assert!(json.bytes().all(|byte| byte >= 0x20), "{json:?}");
        }
    }

    // Oracle: RFC 4648's own examples, with a byte that is no UTF-8 in front.
    #[test]
    fn what_is_not_utf_8_is_base64() {
        assert_eq!(whole(b"\xff"), r#"{"b64":"/w=="}"#);
        assert_eq!(whole(b"\xfff"), r#"{"b64":"/2Y="}"#);
        assert_eq!(whole(b"\xfffo"), r#"{"b64":"/2Zv"}"#);
        assert_eq!(whole(b"\xfffoobar"), r#"{"b64":"/2Zvb2Jhcg=="}"#);
        assert_eq!(whole(b"\xc3"), r#"{"b64":"ww=="}"#);
    }

    // Oracle: the length of what was written, and that it is still JSON of a prefix.
    #[test]
    fn no_value_takes_more_room_than_it_is_given() {
        let texts: [&[u8]; 4] =
            [b"abcdefghijklmnopqrstuvwxyz", &[7; 30], "äöü€😀äöü".as_bytes(), &[0xff; 30]];
        for bytes in texts {
            for limit in 12..200 {
                let mut out = Vec::new();
                let used = push_bytes(&mut out, bytes, limit);
                assert!(out.len() <= limit, "{limit}: {}", String::from_utf8_lossy(&out));
                let value: Value = serde_json::from_slice(&out).unwrap();
                if let Some(text) = value.as_str() {
                    assert_eq!(text.as_bytes(), &bytes[..used]);
                }
                assert!(limit < 195 || used == bytes.len());
            }
        }
    }

    // Oracle: the characters that fit, counted by hand.
    #[test]
    fn a_cut_does_not_split_a_character() {
        let text = "aé€😀".as_bytes();
        let lengths: Vec<usize> = (0..=11).map(|length| prefix(text, length).len()).collect();
        assert_eq!(lengths, [0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10]);
        assert_eq!(prefix(b"a\xffb", 2), b"a\xff");
        assert_eq!(prefix(&[0x80; 9], 7), [0x80; 7]);
        assert_eq!(prefix(b"a\xc3b", 2), b"a\xc3");
    }
}
