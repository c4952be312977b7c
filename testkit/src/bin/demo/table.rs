//! The audit stream as a table, and texts cut to its columns.

use serde_json::Value;
use testkit::Entry;

/// Prints a line for each entry, without what the start of the demo asks the server.
pub(crate) fn print(stream: &[Entry]) {
    println!("\n3. The stream \"audit\", from the audited server's first record to its last:\n");
    println!("   SEQ TIME            USER     VIA    EVENT       COMMAND");
    for entry in stream {
        let user = entry.text("user");
        println!(
            "   {:>3} {:<15} {:<8} {:<6} {:<11} {}",
            entry.text("seq"),
            time(&entry.text("ts")),
            cut(if user == "null" { "-" } else { &user }, 8),
            cut(&entry.text("via"), 6),
            cut(&entry.text("event"), 11),
            cut(&what(entry), 58)
        );
    }
}

/// The time of day.
fn time(ts: &str) -> String {
    ts.split('T').nth(1).unwrap_or_default().trim_end_matches('Z').to_owned()
}

/// The arguments as they were typed, and why they were refused; of the source's own records what they say.
fn what(entry: &Entry) -> String {
    let Some(argv) = entry.get("argv") else {
        let members = ["reason", "server_version", "lost_count"];
        let said = members.map(|name| entry.text(name));
        return said.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    };
    let words: Vec<Value> = serde_json::from_slice(argv).unwrap_or_default();
    let words = words.iter().map(|word| match word {
        Value::String(word) if word.contains(' ') => format!("\"{}\"", cut(word, 22)),
        Value::String(word) => printable(word.as_bytes()),
        other => other.to_string(),
    });
    let mut text = words.collect::<Vec<_>>().join(" ");
    for name in ["acl_deny_reason", "rejection_context"] {
        let why = entry.text(name);
        if !why.is_empty() {
            text = format!("{} [{why}]", cut(&text, 58 - why.len().min(40) - 3));
        }
    }
    text
}

/// Text for a terminal: control bytes as their escapes.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

/// At most `width` characters.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_string();
    }
    text.chars().take(width - 2).chain("..".chars()).collect()
}
