//! Numbered records, and the stream entries that they become.

use redis::{Connection, Value};

/// Entries per XRANGE.
const PAGE: usize = 10_000;

/// One entry of a stream, its fields in the order of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The entry's id, such as `1700000000000-0`.
    pub id: String,
    /// Names and values.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields
            .iter()
            .find(|(field, _)| field == name.as_bytes())
            .map(|(_, value)| value.as_slice())
    }

    /// The value of a field as text, invalid UTF-8 replaced; empty when there is no such field.
    pub fn text(&self, name: &str) -> String {
        self.get(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    }

    /// The number of the [`record`] that this entry holds, in fields, as a whole or as a dead letter.
    pub fn number(&self) -> Option<u64> {
        if let Some(value) = self.get("n") {
            return std::str::from_utf8(value).ok()?.parse().ok();
        }
        self.fields.iter().find_map(|(_, value)| number_in(value))
    }
}

/// Every entry of a stream, oldest first; none when there is no such key.
///
/// # Panics
/// When the server refuses, for example because the key is no stream.
pub fn entries(connection: &mut Connection, key: &str) -> Vec<Entry> {
    let mut all = Vec::new();
    for_each_entry(connection, key, |entry| all.push(entry));
    all
}

/// Hands each entry of a stream over, oldest first, without holding more than a page of them.
///
/// # Panics
/// When the server refuses, for example because the key is no stream.
pub fn for_each_entry(connection: &mut Connection, key: &str, mut with: impl FnMut(Entry)) {
    let mut start = "-".to_string();
    loop {
        let mut command = redis::cmd("XRANGE");
        command.arg(key).arg(&start).arg("+").arg("COUNT").arg(PAGE);
        let page: Value = command.query(connection).unwrap_or_else(|e| panic!("XRANGE {key}: {e}"));
        let page = entries_of(page);
        let is_last = page.len() < PAGE;
        if let Some(entry) = page.last() {
            start = format!("({}", entry.id);
        }
        page.into_iter().for_each(&mut with);
        if is_last {
            return;
        }
    }
}

/// The numbers of entries that hold a [`record`], in their order; other entries are left out.
pub fn numbers(entries: &[Entry]) -> Vec<u64> {
    entries.iter().filter_map(Entry::number).collect()
}

/// A numbered audit record: a JSON object of eight members, `n` being the number.
pub fn record(number: u64) -> String {
    record_of(number, 0)
}

/// A numbered audit record, padded to `bytes`; longer where the members need it.
pub fn record_of(number: u64, bytes: usize) -> String {
    let client = number % 100;
    let head = format!(
        r#"{{"v":1,"n":{number},"event":"success","command_name":"set","user":"app{client}","addr":"10.0.0.{client}:6000","db":0,"pad":""#
    );
    let padding = "x".repeat(bytes.saturating_sub(head.len() + 2));
    format!(r#"{head}{padding}"}}"#)
}

/// The number in the text of a [`record`], whole or broken.
pub fn number_in(text: &[u8]) -> Option<u64> {
    let name = br#""n":"#;
    let start = text.windows(name.len()).position(|window| window == name)? + name.len();
    let digits = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[start..start + digits]).ok()?.parse().ok()
}

fn entries_of(page: Value) -> Vec<Entry> {
    let Value::Array(page) = page else { panic!("XRANGE gave {page:?}") };
    page.into_iter().map(entry_of).collect()
}

fn entry_of(value: Value) -> Entry {
    let Value::Array(parts) = value else { panic!("an entry is {value:?}") };
    let mut parts = parts.into_iter();
    let (Some(Value::BulkString(id)), Some(Value::Array(fields))) = (parts.next(), parts.next())
    else {
        panic!("an entry without id or fields")
    };
    let mut fields = fields.into_iter().map(|field| match field {
        Value::BulkString(bytes) => bytes,
        other => panic!("a field is {other:?}"),
    });
    let mut pairs = Vec::with_capacity(fields.len() / 2);
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        pairs.push((name, value));
    }
    Entry { id: String::from_utf8(id).expect("an id is ASCII"), fields: pairs }
}

#[cfg(test)]
mod tests {
    use super::{Entry, number_in, record, record_of};

    #[test]
    fn a_record_is_json_of_the_length_asked_for_and_gives_its_number_back() {
        for number in [0, 7, 1_000_000] {
            let text = record_of(number, 130);
            assert_eq!(text.len(), 130);
            let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(value["n"], number);
            assert_eq!(number_in(text.as_bytes()), Some(number));
            assert_eq!(number_in(&record(number).as_bytes()[..20]), Some(number));
        }
    }

    #[test]
    fn an_entry_gives_its_number_from_its_fields_or_from_the_whole_record() {
        let in_fields = Entry { id: "1-0".into(), fields: vec![(b"n".to_vec(), b"12".to_vec())] };
        let whole =
            Entry { id: "1-0".into(), fields: vec![(b"msg".to_vec(), record(12).into_bytes())] };
        let other = Entry { id: "1-0".into(), fields: vec![(b"msg".to_vec(), b"hello".to_vec())] };
        assert_eq!(
            (in_fields.number(), whole.number(), other.number()),
            (Some(12), Some(12), None)
        );
    }
}
