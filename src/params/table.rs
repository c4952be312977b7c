//! The one declaration of every action parameter. The shim's descriptors, the checks, the error
//! texts, the README's reference and the tests all read this table.
#![forbid(unsafe_code)]

/// What a parameter's value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text, not empty.
    Text,
    /// Any text that must not be shown.
    Secret,
    /// One text or an array of texts.
    List,
    /// `on` or `off`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number in this range.
    Count(u64, u64),
    /// A number of bytes in this range; `k`, `m` and `g` multiply by 1024.
    Bytes(u64, u64),
    /// A number of milliseconds in this range.
    Milliseconds(u64, u64),
    /// A number of seconds in this range.
    Seconds(u64, u64),
}

/// One parameter of `action(type="omvalkeyaudit" ...)`.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// As written in rsyslog.conf, lower case.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The value it has when it is not given, as one would write it; `None` for "not set".
    pub default: Option<&'static str>,
    /// The release that first had it.
    pub since: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
}

impl Kind {
    /// The allowed values, as the end of a sentence and as a cell of the reference.
    pub fn allowed(self) -> String {
        match self {
            Self::Text => "a text that is not empty".to_owned(),
            Self::Secret => "a text that is not empty (never shown)".to_owned(),
            Self::List => "a text that is not empty, or an array of such texts".to_owned(),
            Self::Switch => "\"on\" or \"off\"".to_owned(),
            Self::Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                quoted.join(" or ")
            }
            Self::Count(low, high) => format!("a whole number from {low} to {high}"),
            Self::Bytes(low, high) => {
                format!("a number of bytes from {} to {}", bytes(low), bytes(high))
            }
            Self::Milliseconds(low, high) => format!("milliseconds from {low} to {high}"),
            Self::Seconds(low, high) => format!("seconds from {low} to {high}"),
        }
    }
}

/// Writes a number of bytes the way a configuration would.
fn bytes(count: u64) -> String {
    for (unit, suffix) in [(1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k")] {
        if count >= unit && count.is_multiple_of(unit) {
            return format!("{}{suffix}", count / unit);
        }
    }
    count.to_string()
}

const MIB: u64 = 1 << 20;

const fn parameter(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    about: &'static str,
) -> Parameter {
    Parameter { name, kind, default, since: "0.1.0", about }
}

/// All parameters, in the order of the reference.
pub static TABLE: &[Parameter] = &[
    // where
    parameter(
        "server",
        Kind::List,
        Some("127.0.0.1"),
        "The server: `host`, `host:port`, `[v6]:port` or `unix:/path`; of an array, the first that can be written to is used, so all must lead to the same data. With `topology=\"sentinel\"` the sentinels, with `topology=\"cluster\"` nodes to ask for the others.",
    ),
    parameter(
        "rebindinterval",
        Kind::Count(0, 1_000_000_000),
        Some("0"),
        "After so many flushes to another server of the array than the first, all are tried in order again, which takes up to `timeout.connect` for each that hangs; 0 stays with one while it works. Only with several `server` and `topology=\"standalone\"`.",
    ),
    parameter(
        "serverport",
        Kind::Count(1, 65535),
        Some("6379"),
        "The port of every `server` that names none; with `topology=\"sentinel\"` and without this parameter 26379, the sentinels' own.",
    ),
    parameter(
        "socketpath",
        Kind::Text,
        None,
        "Path of the server's unix socket; the same as `server=\"unix:/path\"`, and not together with `server`.",
    ),
    parameter(
        "db",
        Kind::Count(0, 65535),
        Some("0"),
        "The number of the database to write to; a cluster has 0 only.",
    ),
    parameter(
        "topology",
        Kind::Choice(&["standalone", "sentinel", "cluster"]),
        Some("standalone"),
        "What `server` names: the server itself; with `sentinel`, the sentinels that know which server is the primary; with `cluster`, some of the nodes of a cluster.",
    ),
    parameter(
        "sentinel.master",
        Kind::Text,
        None,
        "The name under which the sentinels watch the group of servers, `mymaster` for instance; required with `topology=\"sentinel\"`, and only there.",
    ),
    parameter(
        "sentinel.user",
        Kind::Text,
        None,
        "The ACL user to log in as at the sentinels; without it their `default` user.",
    ),
    parameter(
        "sentinel.passwordfile",
        Kind::Text,
        None,
        "As `passwordfile`, with the password for the sentinels; the servers behind them have `user` and `passwordfile`.",
    ),
    // who
    parameter(
        "user",
        Kind::Text,
        None,
        "The ACL user to log in as; without it the server's `default` user.",
    ),
    parameter(
        "serverpassword",
        Kind::Secret,
        None,
        "The password to log in with; prefer `passwordfile`, which keeps it out of the configuration.",
    ),
    parameter(
        "passwordfile",
        Kind::Text,
        None,
        "A file whose first line is the password; read at start-up before privileges are dropped and again at each login where it is still readable.",
    ),
    parameter(
        "tls",
        Kind::Switch,
        Some("off"),
        "Speak TLS 1.2 or 1.3 with the servers, and with the sentinels; the server's certificate is always verified, its name included.",
    ),
    parameter(
        "tls.cacert",
        Kind::Text,
        None,
        "A PEM file, or a directory of PEM files, with the certificates of the authorities that may issue the servers' certificates; without it the system's. This and the next two are read at start-up before privileges are dropped, and again on HUP.",
    ),
    parameter(
        "tls.mycert",
        Kind::Text,
        None,
        "A PEM file with our own certificate, for servers that ask for one, followed by those of the authorities between it and the one that the server knows.",
    ),
    parameter(
        "tls.myprivkey",
        Kind::Text,
        None,
        "A PEM file with the private key of `tls.mycert`, not encrypted.",
    ),
    parameter(
        "tls.servername",
        Kind::Text,
        None,
        "The host name or IP address that the certificate of every server must be for, sentinels included; without it the name or address by which each is reached. Required with a unix socket.",
    ),
    parameter(
        "clientname",
        Kind::Text,
        Some("omvalkeyaudit"),
        "The name under which CLIENT LIST shows the connections; no blanks.",
    ),
    // what
    parameter(
        "mode",
        Kind::Choice(&["stream", "queue", "publish", "set", "template"]),
        Some("stream"),
        "What a record becomes: `stream` an entry of a stream, `queue` an element of a list, `publish` a message to a channel, `set` the value of a key; with `template` it is a command, which a cluster does not take.",
    ),
    parameter(
        "key",
        Kind::Text,
        Some("audit"),
        "The key of the stream, list or value, or the channel, or, with `dynakey=\"on\"`, the name of the template that makes it; required with another mode than `stream`, and without meaning with `template`.",
    ),
    parameter(
        "dynakey",
        Kind::Switch,
        Some("off"),
        "Take `key` as the name of a template, so that each record chooses its key.",
    ),
    parameter(
        "shards",
        Kind::Count(1, 1024),
        Some("1"),
        "Spread a fixed `key` over so many streams, `key:{0}`, `key:{1}` and so on, each worker keeping to one of them; with 1 the stream is `key` itself; in every topology, but not with `dynakey`, and only with `mode=\"stream\"`.",
    ),
    parameter(
        "template",
        Kind::Text,
        None,
        "The name of the template whose text is the record; without it the message part, `%msg%`, and with `record.format=\"raw\"` the one named `RSYSLOG_ForwardFormat`; required with `mode=\"template\"`.",
    ),
    parameter(
        "layout",
        Kind::Choice(&["fields", "record"]),
        None,
        "`fields`, which is the default for JSON, makes each member of the JSON object a field of the entry; `record` stores the record's text verbatim in one field.",
    ),
    parameter(
        "stream.outfield",
        Kind::Text,
        Some("msg"),
        "The name of the field that holds a verbatim record; given without `layout` and `record.format` it implies `record.format=\"raw\"`.",
    ),
    parameter(
        "record.format",
        Kind::Choice(&["json", "raw"]),
        None,
        "`json`, which is the default with `mode=\"stream\"`, requires each record to be a JSON object; `raw`, the default with the other modes, takes any text and implies `layout=\"record\"`.",
    ),
    parameter(
        "record.maxbytes",
        Kind::Bytes(1, 64 * MIB),
        Some("256k"),
        "A longer record goes to the dead letter.",
    ),
    parameter(
        "sequence.check",
        Kind::Switch,
        None,
        "Count the numbers that are missing, lost or repeated among records that carry `node` and `seq`; by default `on`, but `off` with `layout=\"record\"` and with other modes than `stream`, where it means another look at each record; not with `record.format=\"raw\"`.",
    ),
    parameter(
        "stream.capacitylimit",
        Kind::Count(0, i64::MAX as u64),
        Some("0"),
        "Trim the stream to so many entries at each write (MAXLEN); 0 never trims.",
    ),
    parameter(
        "stream.trim",
        Kind::Choice(&["approximate", "exact"]),
        Some("approximate"),
        "How exactly `stream.capacitylimit` and `stream.maxage` are kept: `approximate` (`~`) trims whole nodes and is much cheaper.",
    ),
    parameter(
        "stream.maxage",
        Kind::Seconds(0, 3_155_760_000),
        Some("0"),
        "Trim entries that are older than so many seconds, by the server's clock, at each commit (XTRIM MINID); 0 never trims; not together with `stream.capacitylimit`.",
    ),
    parameter(
        "stream.ack",
        Kind::Switch,
        Some("off"),
        "Acknowledge the entry that the record was (XACK), in the same transaction: entry `stream.indexack` of stream `stream.keyack`, in the group `stream.groupack`.",
    ),
    parameter(
        "stream.del",
        Kind::Switch,
        Some("off"),
        "Delete the entry that the record was (XDEL), in the same transaction: entry `stream.indexack` of stream `stream.keyack`.",
    ),
    parameter(
        "stream.keyack",
        Kind::Text,
        None,
        "The stream that the records come from or, with `stream.dynakeyack=\"on\"`, the name of the template that makes its key; in a cluster, each record's own key must be in the same slot.",
    ),
    parameter(
        "stream.groupack",
        Kind::Text,
        None,
        "The consumer group that read the entry or, with `stream.dynagroupack=\"on\"`, the name of the template that makes its name.",
    ),
    parameter(
        "stream.indexack",
        Kind::Text,
        None,
        "The id of the entry or, with `stream.dynaindexack=\"on\"`, the name of the template that makes it.",
    ),
    parameter(
        "stream.dynakeyack",
        Kind::Switch,
        Some("off"),
        "Take `stream.keyack` as the name of a template.",
    ),
    parameter(
        "stream.dynagroupack",
        Kind::Switch,
        Some("off"),
        "Take `stream.groupack` as the name of a template.",
    ),
    parameter(
        "stream.dynaindexack",
        Kind::Switch,
        Some("off"),
        "Take `stream.indexack` as the name of a template.",
    ),
    parameter(
        "userpush",
        Kind::Switch,
        Some("off"),
        "With `mode=\"queue\"`, append to the list (RPUSH) instead of putting each record in front of it (LPUSH).",
    ),
    parameter(
        "expiration",
        Kind::Seconds(0, 3_155_760_000),
        Some("0"),
        "With `mode=\"set\"`, how long the key lives (SET ... EX); 0 keeps it for ever.",
    ),
    // how
    parameter(
        "batch.maxrecords",
        Kind::Count(1, 65536),
        Some("1024"),
        "Commit when so many records are open, even if the core's batch is larger.",
    ),
    parameter(
        "batch.maxbytes",
        Kind::Bytes(1024, 256 * MIB),
        Some("1m"),
        "Commit when the open records take so many bytes on the wire.",
    ),
    parameter(
        "timeout.connect",
        Kind::Milliseconds(1, 600_000),
        Some("2000"),
        "How long reaching the server and logging in may take.",
    ),
    parameter(
        "timeout.commit",
        Kind::Milliseconds(1, 600_000),
        Some("5000"),
        "How long any call may take in all, a reconnect included; then the action is suspended.",
    ),
    parameter(
        "durability.replicas",
        Kind::Count(0, 1000),
        Some("0"),
        "Acknowledge a batch only when so many replicas have it (WAIT); below that it is held, and only the waiting is repeated.",
    ),
    parameter(
        "durability.fsync",
        Kind::Choice(&["none", "local", "replicas"]),
        Some("none"),
        "Acknowledge a batch only when it is in the append-only file on the disk (WAITAOF: Valkey, or Redis from 7.2 on): with `local` of the server, with `replicas` also of as many replicas as `durability.replicas` says.",
    ),
    parameter(
        "durability.timeout",
        Kind::Milliseconds(1, 600_000),
        Some("2000"),
        "How long a call waits for these copies before the action is suspended; a call that has less time left waits less.",
    ),
    parameter(
        "marker.key",
        Kind::Text,
        None,
        "Start of the keys that mark finished commits, one per worker, in a cluster one per worker and slot; by default `<key>:marker`, with `dynakey`, or without a key, `omvalkeyaudit:marker`.",
    ),
    parameter(
        "marker.ttl",
        Kind::Seconds(60, 31_536_000),
        Some("86400"),
        "How long a marker outlives its last commit; longer than an outage should last.",
    ),
    parameter(
        "deadletter.key",
        Kind::Text,
        None,
        "The stream for records that cannot be stored as configured; by default `<key>:deadletter`, with `dynakey`, or without a key, `omvalkeyaudit:deadletter`. In a cluster with `stream.ack` or `stream.del` it must be in the slot of `stream.keyack`; with `stream.dynakeyack` each slot has one of its own, `<deadletter.key>:{n}`.",
    ),
    parameter(
        "statsname",
        Kind::Text,
        None,
        "The name of the action's counters in impstats; by default `omvalkeyaudit(<name>)` with the action's `name` or, where it has none, with its `key`.",
    ),
    parameter(
        "holdfile",
        Kind::Text,
        None,
        "A file, by its absolute path and of this action alone, that keeps what is not committed when rsyslogd stops while the server is away; without it rsyslogd before 8.2606 loses that.",
    ),
];

/// The declaration of `name`.
pub fn find(name: &str) -> Option<&'static Parameter> {
    TABLE.iter().find(|parameter| parameter.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_unique_and_free_of_the_cores_own_prefixes() {
        let mut seen = std::collections::HashSet::new();
        for parameter in TABLE {
            assert!(seen.insert(parameter.name), "{} is declared twice", parameter.name);
            assert_eq!(parameter.name, parameter.name.to_lowercase());
            for taken in ["action.", "queue.", "name", "type"] {
                assert!(!parameter.name.starts_with(taken), "{}", parameter.name);
            }
            assert!(parameter.about.ends_with('.'), "{}", parameter.name);
        }
    }

    #[test]
    fn sizes_read_like_a_configuration() {
        assert_eq!(bytes(64 << 20), "64m");
        assert_eq!(bytes(1024), "1k");
        assert_eq!(bytes(1500), "1500");
    }
}
