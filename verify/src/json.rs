//! The members of a record that is stored as JSON, read without holding more of its text than the
//! values that are looked at.
#![forbid(unsafe_code)]

use crate::record::{Members, Scalar};
use crate::schema::Member;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use std::fmt;
use std::io::BufRead;

/// The plugin takes no longer record, whatever `record.maxbytes` says.
const MAX_RECORD_BYTES: u64 = 64 << 20;

/// Some senders put this in front of a JSON record.
const COOKIE: &[u8] = b"@cee:";

/// Collects the members of the JSON object in `text` and says whether it is one. Of a text that is
/// none, the members before the fault are collected all the same.
pub fn collect(text: impl BufRead, members: &mut Members) -> bool {
    let mut text = text.take(MAX_RECORD_BYTES);
    if skip_blanks_and_cookie(&mut text).is_none() {
        return false;
    }
    let mut json = serde_json::Deserializer::from_reader(text);
    Object(members).deserialize(&mut json).is_ok() && json.end().is_ok()
}

fn skip_blanks_and_cookie(text: &mut impl BufRead) -> Option<()> {
    let mut next = skip_blanks(text)?;
    if next == b'@' {
        for expected in COOKIE {
            let mut byte = [0];
            text.read_exact(&mut byte).ok()?;
            if byte != [*expected] {
                return None;
            }
        }
        next = skip_blanks(text)?;
    }
    (next == b'{').then_some(())
}

/// The first byte that is no blank; it stays where it is.
fn skip_blanks(text: &mut impl BufRead) -> Option<u8> {
    loop {
        let bytes = text.fill_buf().ok()?;
        let blanks = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if let Some(byte) = bytes.get(blanks) {
            let byte = *byte;
            text.consume(blanks);
            return Some(byte);
        }
        if bytes.is_empty() {
            return None;
        }
        text.consume(blanks);
    }
}

/// Fills the members in from an object.
struct Object<'m>(&'m mut Members);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(member)) = map.next_key()? {
            match member {
                Some(member) => map.next_value_seed(Value(self.0, member))?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The name of a member, if it is looked at.
struct Name(Option<Member>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
        Ok(Name(Member::named(name.as_bytes())))
    }
}

/// Takes the value of a member.
struct Value<'m>(&'m mut Members, Member);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Value<'_> {
    fn put<E>(self, value: Scalar<'_>) -> Result<(), E> {
        self.0.put(self.1, value);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.put(Scalar::Text(value.as_bytes()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.put(Scalar::Number(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.put(Scalar::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.put(Scalar::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.put(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.put(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.put(Scalar::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Flaw;
    use std::io::BufReader;

    fn read(text: &str) -> (bool, Result<(String, u64), Flaw>) {
        let mut outcomes = [1, 3, 8192].map(|size| {
            let mut members = Members::default();
            let is_json = collect(BufReader::with_capacity(size, text.as_bytes()), &mut members);
            (is_json, members.into_record().map(|record| (record.node, record.seq)))
        });
        assert_eq!(outcomes[0], outcomes[1], "{text}");
        assert_eq!(outcomes[1], outcomes[2], "{text}");
        std::mem::replace(&mut outcomes[0], (false, Err(Flaw::Foreign)))
    }

    // Oracle: node and seq of each text, however it arrives in pieces.
    #[test]
    fn node_and_seq_are_found_in_any_json_object() {
        let expected = (true, Ok(("n1".to_owned(), 7)));
        for text in [
            r#"{"v":1,"node":"n1","seq":7}"#,
            r#"{"argv":["{\"seq\":1}",{"seq":2}],"n\u006fde":"n1","x":{"seq":[3]},"seq":7}"#,
            " \t\r\n{\"seq\" : \"7\", \"node\" : \"n1\"} \n",
            r#"@cee: {"node":"n1","seq":7,"deep":[[[[null,true,1.5,-2]]]]}"#,
            r#"@cee:{"node":"n1","seq":7}"#,
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    // Oracle: each text is no JSON object, or none with one node and one seq.
    #[test]
    fn everything_else_is_refused() {
        for text in ["", " ", "7", "[]", "null", "@cee:", "@cxe:{}", "hello", "{", "{]", "@"] {
            assert!(!read(text).0, "{text}");
        }
        for text in [
            r#"{"node":7,"seq":7}"#,
            r#"{"node":"n1","seq":-7}"#,
            r#"{"node":"n1","seq":7.0}"#,
            r#"{"node":"n1","seq":null}"#,
            r#"{"node":"n1","seq":[7]}"#,
            r#"{"node":"n1","seq":{"seq":7}}"#,
            r#"{"node":"n1","seq":true}"#,
            r#"{"node":"n1","seq":7,"seq":8}"#,
        ] {
            let (is_json, outcome) = read(text);
            assert!(is_json && matches!(outcome, Err(Flaw::Broken(_))), "{text}: {outcome:?}");
        }
        assert!(!read(r#"{"node":"n1","seq":7}{"#).0);
    }

    // Oracle: the members in front of the fault.
    #[test]
    fn what_stands_before_a_fault_is_found() {
        let found = Ok(("n1".to_owned(), 7));
        assert_eq!(read(r#"{"node":"n1","seq":7,"argv":["se"#), (false, found));
    }
}
