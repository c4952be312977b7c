//! What a server says about how it keeps what it has confirmed. It may refuse to; then nothing is known.
#![forbid(unsafe_code)]

use super::{Replies, refusal, unexpected};
use crate::error::Error;
use redis::Value;

/// The configuration that no INFO tells. These rights also show passwords, so most users lack them.
const CONFIGURATION: [&str; 2] = ["appendfsync", "save"];

/// What a server has refused to say, and is not asked again: it may write each refusal down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserve {
    /// INFO.
    pub info: bool,
    /// CONFIG GET.
    pub configuration: bool,
}

/// What is known of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keeping {
    /// It has an append-only file.
    pub has_log: Option<bool>,
    /// When that reaches the disk.
    pub fsync: Option<String>,
    /// It takes snapshots by itself.
    pub has_snapshots: Option<bool>,
    /// It has a limit of its memory.
    pub has_limit: Option<bool>,
    /// What it deletes at that limit.
    pub eviction: Option<String>,
    /// What it would not say, now or before.
    pub reserve: Reserve,
}

/// The question; empty where nothing is left to ask.
pub fn ask_keeping(reserve: Reserve) -> Vec<u8> {
    let mut wire = Vec::new();
    if !reserve.info {
        redis::cmd("INFO").write_packed_command(&mut wire);
    }
    if !reserve.configuration {
        for name in CONFIGURATION {
            redis::cmd("CONFIG").arg("GET").arg(name).write_packed_command(&mut wire);
        }
    }
    wire
}

/// Reads the replies to [`ask_keeping`].
///
/// # Errors
/// The connection's, or a reply that cannot stand where it does.
pub fn read_keeping(reserve: Reserve, replies: &mut dyn Replies) -> Result<Keeping, Error> {
    let mut keeping = Keeping { reserve, ..Keeping::default() };
    if !reserve.info {
        match replies.next()? {
            Value::BulkString(info) => keeping.read_info(&String::from_utf8_lossy(&info)),
            other => keeping.reserve.info = is_refused("INFO", &other)?,
        }
    }
    if !reserve.configuration {
        for name in CONFIGURATION {
            match replies.next()? {
                Value::Array(pair) => {
                    if let [_, Value::BulkString(value)] = pair.as_slice() {
                        keeping.read_configuration(name, &String::from_utf8_lossy(value));
                    }
                }
                other => keeping.reserve.configuration = is_refused("CONFIG GET", &other)?,
            }
        }
    }
    Ok(keeping)
}

fn is_refused(command: &str, reply: &Value) -> Result<bool, Error> {
    refusal(reply).map(|_| true).ok_or_else(|| unexpected(command, reply))
}

impl Keeping {
    fn read_info(&mut self, info: &str) {
        for line in info.lines() {
            match line.trim_end().split_once(':') {
                Some(("aof_enabled", value)) => self.has_log = Some(value == "1"),
                Some(("maxmemory", value)) => self.has_limit = Some(value != "0"),
                Some(("maxmemory_policy", value)) => self.eviction = Some(value.to_owned()),
                _ => {}
            }
        }
    }

    fn read_configuration(&mut self, name: &str, value: &str) {
        match name {
            "appendfsync" => self.fsync = Some(value.to_owned()),
            _ => self.has_snapshots = Some(!value.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tests::Script;

    fn read(wire: &str) -> Result<Keeping, Error> {
        read_keeping(Reserve::default(), &mut Script::new(wire))
    }

    #[test]
    fn what_a_server_tells_is_known_and_what_it_refuses_is_not() {
        let info =
            "# Memory\r\nmaxmemory:1024\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:1\r\n";
        let info = format!("${}\r\n{info}\r\n", info.len());
        let fsync = "*2\r\n$11\r\nappendfsync\r\n$8\r\neverysec\r\n";
        let save = "*2\r\n$4\r\nsave\r\n$0\r\n\r\n";
        let all = Keeping {
            has_log: Some(true),
            fsync: Some("everysec".to_owned()),
            has_snapshots: Some(false),
            has_limit: Some(true),
            eviction: Some("allkeys-lru".to_owned()),
            reserve: Reserve::default(),
        };
        assert_eq!(read(&format!("{info}{fsync}{save}")), Ok(all.clone()));
        let no = "-NOPERM no\r\n";
        let reserve = Reserve { configuration: true, ..Reserve::default() };
        let some = Keeping { fsync: None, has_snapshots: None, reserve, ..all };
        assert_eq!(read(&format!("{info}{no}{no}")), Ok(some));
        let reserve = Reserve { info: true, configuration: true };
        let none = Keeping { reserve, ..Keeping::default() };
        assert_eq!(read(&format!("{no}{no}{no}")), Ok(none.clone()));
        // Nobody is asked, and nothing is read, a second time.
        assert_eq!(ask_keeping(reserve), b"");
        assert_eq!(read_keeping(reserve, &mut Script::new("")), Ok(none));
        assert!(read(&format!("+OK\r\n{no}{no}")).is_err());
        assert!(read(&format!("{info}:1\r\n{no}")).is_err());
    }
}
