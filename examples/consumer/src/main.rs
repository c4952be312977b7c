//! An example to copy: reads an audit stream through a consumer group. Each entry is worked on at least once,
//! also when this program is killed at any moment; the work here is to print the entry as a line of JSON.
//!
//! ```text
//! audit-consumer redis://consumer:password@127.0.0.1/ audit siem host1
//! ```
#![forbid(unsafe_code)]

use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};
use redis::{Client, Connection, RedisResult, Value};
use serde_json::{Map, Value as Json};
use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

/// So many entries are worked on before they are acknowledged: the most that can come again.
const BATCH: usize = 100;

/// How long the server waits for a new entry before it says that there is none.
const BLOCK: Duration = Duration::from_secs(5);

/// Who has not acknowledged an entry for so long is taken for dead. Longer than a batch ever takes.
const ABANDONED: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, key, group, name] = arguments.as_slice() else {
        return Err("usage: audit-consumer URL KEY GROUP NAME".into());
    };
    let connection = Client::open(url.as_str())?.get_connection()?;
    // A server that is gone without a word must not be waited for for ever.
    connection.set_read_timeout(Some(BLOCK * 2))?;
    let mut consumer =
        Consumer { connection, key: key.clone(), group: group.clone(), name: name.clone() };
    consumer.make_group()?;
    // What this consumer had not acknowledged when it ended comes first.
    let mut last = "0".to_owned();
    loop {
        let entries = consumer.read(&last)?;
        let Some(end) = entries.last() else { break };
        last.clone_from(&end.id);
        consumer.work_on(&entries)?;
    }
    loop {
        let left = consumer.take_over()?;
        consumer.work_on(&left)?;
        let new = consumer.read(">")?;
        consumer.work_on(&new)?;
    }
}

/// One member of a consumer group. Its name must be its own as long as it runs, and the same after a restart.
struct Consumer {
    connection: Connection,
    key: String,
    group: String,
    name: String,
}

impl Consumer {
    /// Makes the group where there is none; it begins with the oldest entry.
    fn make_group(&mut self) -> RedisResult<()> {
        let mut command = redis::cmd("XGROUP");
        command.arg("CREATE").arg(&self.key).arg(&self.group).arg("0").arg("MKSTREAM");
        match command.exec(&mut self.connection) {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            made => made,
        }
    }

    /// New entries after `>`; after an id, those of this consumer that it has not acknowledged.
    fn read(&mut self, after: &str) -> RedisResult<Vec<StreamId>> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(&self.group).arg(&self.name).arg("COUNT").arg(BATCH);
        command.arg("BLOCK").arg(BLOCK.as_secs() * 1000).arg("STREAMS").arg(&self.key).arg(after);
        let reply: Option<StreamReadReply> = command.query(&mut self.connection)?;
        let streams = reply.map(|reply| reply.keys).unwrap_or_default();
        Ok(streams.into_iter().flat_map(|stream| stream.ids).collect())
    }

    /// Entries that another consumer of the group has left. Those that were trimmed meanwhile are gone.
    fn take_over(&mut self) -> RedisResult<Vec<StreamId>> {
        let mut command = redis::cmd("XAUTOCLAIM");
        command.arg(&self.key).arg(&self.group).arg(&self.name);
        command.arg(ABANDONED.as_secs() * 1000).arg("0").arg("COUNT").arg(BATCH);
        let reply: StreamAutoClaimReply = command.query(&mut self.connection)?;
        Ok(reply.claimed)
    }

    /// Works, and acknowledges then: in this order, because what is acknowledged never comes again.
    fn work_on(&mut self, entries: &[StreamId]) -> Result<(), Box<dyn Error>> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        for entry in entries {
            writeln!(out, "{}", line(entry))?;
        }
        // The work is done when it would survive the end of this process.
        out.flush()?;
        let mut command = redis::cmd("XACK");
        command.arg(&self.key).arg(&self.group);
        for entry in entries {
            command.arg(&entry.id);
        }
        Ok(command.exec(&mut self.connection)?)
    }
}

/// An entry as JSON. Whoever must not work on a record twice compares its `id`, which a repeated entry has
/// again; the pair of `node` and `seq` tells a record that was stored twice.
fn line(entry: &StreamId) -> Json {
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    let fields = entry.map.iter().map(|(name, value)| (name.clone(), Json::String(text(value))));
    let id = [("id".to_owned(), Json::String(entry.id.clone()))];
    Json::Object(id.into_iter().chain(fields).collect::<Map<_, _>>())
}
