//! A command line to its words, as valkey-cli splits it: blanks stand between words, and a word that
//! begins with a quote ends with one. Inside of a word quotes are characters like others, so that
//! JSON needs none around it.
#![forbid(unsafe_code)]

use super::Flaw;

const UNBALANCED: Flaw = Flaw::NotACommand { why: "a quote is not closed" };
const GLUED: Flaw = Flaw::NotACommand { why: "a closing quote is not followed by a blank" };

/// Gives each word of the line, in order, to `word`, and says how many they are. On a flaw some words
/// may have been given already.
///
/// # Errors
/// The flaw that makes it a dead letter.
pub fn words(line: &[u8], word: &mut dyn FnMut(&[u8])) -> Result<usize, Flaw> {
    let mut rest = line.trim_ascii_start();
    let mut count = 0;
    while let Some((first, inner)) = rest.split_first() {
        let after = match first {
            b'"' => {
                let (text, after) = double_quoted(inner)?;
                word(&text);
                after
            }
            b'\'' => {
                let (text, after) = single_quoted(inner)?;
                word(&text);
                after
            }
            _ => {
                let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
                let (text, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                word(text);
                after
            }
        };
        if after.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
            return Err(GLUED);
        }
        count += 1;
        rest = after.trim_ascii_start();
    }
    if count == 0 { Err(Flaw::Empty) } else { Ok(count) }
}

/// The text up to the closing quote, and what comes after that. Only `\'` is an escape.
fn single_quoted(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), Flaw> {
    let mut text = Vec::with_capacity(rest.len());
    loop {
        match rest {
            [b'\'', after @ ..] => return Ok((text, after)),
            [b'\\', b'\'', after @ ..] => {
                text.push(b'\'');
                rest = after;
            }
            [byte, after @ ..] => {
                text.push(*byte);
                rest = after;
            }
            [] => return Err(UNBALANCED),
        }
    }
}

/// The same with the escapes of valkey-cli, and those of JSON: what rsyslog's `json` option makes of a
/// property becomes that property again.
fn double_quoted(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), Flaw> {
    let mut text = Vec::with_capacity(rest.len());
    loop {
        match rest {
            [b'"', after @ ..] => return Ok((text, after)),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                text.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            [b'\\', b'u', after @ ..] if code_unit(after).is_some() => {
                let (c, after) = unicode(after);
                text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                text.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    b'f' => 0x0c,
                    other => *other,
                });
                rest = after;
            }
            [byte, after @ ..] => {
                text.push(*byte);
                rest = after;
            }
            [] => return Err(UNBALANCED),
        }
    }
}

fn digit(hex: u8) -> u8 {
    match hex {
        b'0'..=b'9' => hex - b'0',
        b'a'..=b'f' => hex - b'a' + 10,
        b'A'..=b'F' => hex - b'A' + 10,
        _ => 0,
    }
}

/// The four hexadecimal digits that come next.
fn code_unit(rest: &[u8]) -> Option<u16> {
    let digits = rest.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    Some(digits.iter().fold(0, |unit, hex| unit << 4 | u16::from(digit(*hex))))
}

/// The character behind `\u`, which may take a second one; half of a pair is the replacement character.
fn unicode(rest: &[u8]) -> (char, &[u8]) {
    let after = |count: usize| rest.get(count..).unwrap_or_default();
    let first = code_unit(rest).unwrap_or_default();
    if let Some(second) = after(4).strip_prefix(b"\\u").and_then(code_unit)
        && let Some(Ok(c)) = char::decode_utf16([first, second]).next()
        && u32::from(c) > 0xffff
    {
        return (c, after(10));
    }
    let c = char::decode_utf16([first]).next().and_then(Result::ok);
    (c.unwrap_or(char::REPLACEMENT_CHARACTER), after(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Result<Vec<String>, Flaw> {
        let mut all = Vec::new();
        words(line.as_bytes(), &mut |word| all.push(String::from_utf8_lossy(word).into_owned()))?;
        Ok(all)
    }

    // Oracle: what valkey-cli sends for these lines.
    #[test]
    fn a_line_is_split_at_blanks_and_quotes_hold_them_together() {
        let cases: [(&str, &[&str]); 6] = [
            ("HINCRBY progcount app 1", &["HINCRBY", "progcount", "app", "1"]),
            ("  SET\tk   'a b'  ", &["SET", "k", "a b"]),
            (r#"SET k "a \"b\"\n\x41\\""#, &["SET", "k", "a \"b\"\nA\\"]),
            (r"SET k 'it\'s \n'", &["SET", "k", r"it's \n"]),
            (r#"SET k """#, &["SET", "k", ""]),
            ("SET k 100%s%n", &["SET", "k", "100%s%n"]),
        ];
        for (line, expected) in cases {
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
    }

    // Oracle: the text before rsyslog's json option, written down here.
    #[test]
    fn escapes_of_json_become_what_they_stand_for() {
        let line = r#"SET k "tab\tslash\/quote\"\u0001\u00e9\uD83D\uDE00\ud83d.\f\b""#;
        let text = "tab\tslash/quote\"\u{1}\u{e9}\u{1f600}\u{fffd}.\u{c}\u{8}";
        assert_eq!(split(line).unwrap(), ["SET", "k", text]);
    }

    // Oracle: omhiredis, which knows no quotes, sends such a word as it is.
    #[test]
    fn quotes_inside_of_a_word_are_characters_like_others() {
        let line = r#"LPUSH q {"a":"b"} it's"#;
        assert_eq!(split(line).unwrap(), ["LPUSH", "q", r#"{"a":"b"}"#, "it's"]);
    }

    #[test]
    fn a_line_that_is_no_command_is_a_flaw() {
        for line in ["", "  \t"] {
            assert_eq!(split(line), Err(Flaw::Empty), "{line:?}");
        }
        for line in ["SET k \"a", "SET k 'a", "SET k \"a\\\"", "SET k '"] {
            assert_eq!(split(line), Err(UNBALANCED), "{line:?}");
        }
        for line in ["SET k \"a\"b", "SET 'k'v"] {
            assert_eq!(split(line), Err(GLUED), "{line:?}");
        }
    }
}
