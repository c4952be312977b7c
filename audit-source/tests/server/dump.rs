//! Reads the dump of what the module interface delivers, as the expectation for records.

use std::collections::BTreeMap;

/// One command event of the dump.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) number: String,
    pub(crate) event: &'static str,
    pub(crate) reason: Option<&'static str>,
    pub(crate) name: Option<String>,
    pub(crate) dirty: i64,
    pub(crate) is_module_client: u64,
    pub(crate) argc: u64,
    /// With the length where the dump shows only the beginning.
    pub(crate) argv: Vec<(Vec<u8>, Option<usize>)>,
    pub(crate) context: Option<Vec<u8>>,
    pub(crate) client_id: String,
    /// Of a connection; `None` for scripts and modules.
    pub(crate) connection: Option<Connection>,
    pub(crate) via: &'static str,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) db: u64,
    /// `None` when nobody had logged in.
    pub(crate) user: Option<String>,
}

/// The events of each section, without the marks between them.
pub(crate) fn sections() -> BTreeMap<String, Vec<Expected>> {
    let text = include_str!("../data/command-events-9.1.2.txt");
    let mut sections = BTreeMap::new();
    let mut title = "start".to_owned();
    for line in text.lines() {
        if let Some(next) = line.strip_prefix("# ") {
            title = next.to_owned();
        }
        let events: &mut Vec<Expected> = sections.entry(title.clone()).or_default();
        events.extend(expected(line));
    }
    sections
}

fn expected(line: &str) -> Option<Expected> {
    let (number, rest) = line.split_once(' ')?;
    let (word, rest) = rest.split_once(' ')?;
    let event = match word {
        "SUCCESS" => "success",
        "FAILURE" => "failure",
        "REJECTED" => "rejected",
        "ACLREJ" => "acl_denied",
        _ => return None,
    };
    let field = |name: &str| {
        let begin = format!(" {name}=");
        let (_, rest) = line.split_once(&begin).unwrap_or_else(|| panic!("no {name} in {line}"));
        rest.split(' ').next().unwrap().to_owned()
    };
    let name = field("name");
    if name == "evd.mark" {
        return None;
    }
    let reasons = ["auth", "command", "key", "channel", "db"];
    let sub: usize = field("sub").parse().unwrap();
    let (_, after) = rest.split_once(" argv=[").unwrap();
    let (argv, after) = strings(after);
    let context = after.strip_prefix(" ctx=\"").map(|text| string(text).0);
    let ci = field("ci");
    let flags = field("ctxfl");
    let is_module_client = field("mod").parse().unwrap();
    let connection = (ci != "SKIP").then(|| {
        let mut parts = ci.split('/');
        let db = parts.nth(1).unwrap().strip_prefix("db").unwrap().parse().unwrap();
        let is_logged_in = parts.next() != Some("fl=0");
        Connection { db, user: is_logged_in.then(|| field("user")) }
    });
    let via = match (is_module_client, flags.as_str()) {
        (1, _) => "module",
        (_, flags) if flags.contains("LUA") => "script",
        (_, flags) if flags.contains("MULTI") => "multi",
        _ => "client",
    };
    Some(Expected {
        number: number.into(),
        event,
        reason: (event == "acl_denied").then(|| reasons[sub]),
        name: (name != "(NULL)").then(|| name.replace("evd.", "caller.")),
        dirty: field("dirty").parse().unwrap(),
        is_module_client,
        argc: field("argc").parse().unwrap(),
        argv,
        context,
        client_id: field("cid"),
        connection,
        via,
    })
}

type Strings = Vec<(Vec<u8>, Option<usize>)>;

/// The strings up to the closing bracket, and what follows it.
fn strings(mut text: &str) -> (Strings, &str) {
    let mut strings = Vec::new();
    loop {
        text = text.trim_start_matches(' ');
        if let Some(rest) = text.strip_prefix(']') {
            return (strings, rest);
        }
        let (bytes, rest) = string(text.strip_prefix('"').expect("a string"));
        text = rest;
        let length = rest.strip_prefix("...(").map(|rest| {
            let (length, rest) = rest.split_once(')').unwrap();
            text = rest;
            length.parse().unwrap()
        });
        strings.push((bytes, length));
    }
}

/// A string behind its opening quotation mark, and what follows the closing one.
fn string(text: &str) -> (Vec<u8>, &str) {
    let mut bytes = Vec::new();
    let mut at = 0;
    let raw = text.as_bytes();
    while raw[at] != b'"' {
        if text[at..].starts_with("\\x") {
            bytes.push(u8::from_str_radix(&text[at + 2..at + 4], 16).unwrap());
            at += 4;
        } else {
            bytes.push(raw[at]);
            at += 1;
        }
    }
    (bytes, &text[at + 1..])
}
