//! The checked settings of one action.
#![forbid(unsafe_code)]

use super::place::{servers, topology};
use super::{Address, Reader, Values};
use crate::transaction::Limits;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A text that must not reach a log line.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the server only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How to log in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// The ACL user, if not the server's default one.
    pub user: Option<String>,
    /// The password in the configuration.
    pub password: Option<Secret>,
    /// The file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// Name of the connection.
    pub client_name: String,
    /// Number of the database.
    pub db: u64,
}

/// What the configured servers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// They are written to.
    Standalone,
    /// They are sentinels, and know which server is the primary.
    Sentinel {
        /// The name under which they watch the group of servers.
        master: String,
        /// How to log in there.
        login: Login,
    },
    /// They are nodes of a cluster, and know the others.
    Cluster,
}

/// How long calls may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Reaching the server and logging in.
    pub connect: Duration,
    /// Any call in all.
    pub commit: Duration,
}

/// What a record must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFormat {
    /// A JSON object.
    Json,
    /// Any text.
    Raw,
}

/// How a record becomes fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One field per member of the JSON object.
    Fields,
    /// The text in one field.
    Record,
}

/// Where the key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The same key for all records.
    Fixed(String),
    /// Each record brings its key, made by this template.
    Dynamic {
        /// The template's name.
        template: String,
    },
}

/// Which old entries a write removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// None.
    Forever,
    /// All but the newest so many.
    Entries(u64),
    /// Those older than this.
    Age(Duration),
}

/// Retention, and how exactly it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// What goes.
    pub retention: Retention,
    /// `=` instead of `~`.
    pub is_exact: bool,
}

/// How entries are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Where the records go.
    pub key: Key,
    /// Over so many streams a fixed key is spread.
    pub shards: usize,
    /// Where the others go.
    pub dead_letter_key: String,
    /// Start of the markers' keys.
    pub marker_key: String,
    /// Lifetime of a marker.
    pub marker_ttl: Duration,
    /// The field for a verbatim record.
    pub out_field: String,
    /// What a record must be.
    pub format: RecordFormat,
    /// How it becomes fields.
    pub layout: Layout,
    /// Longest record, in bytes.
    pub max_record_bytes: usize,
    /// Retention.
    pub trim: Trim,
}

/// How much is committed at once. The same type the transaction works with.
pub type Batch = Limits;

/// Everything an action was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The servers, in the order to try.
    pub servers: Vec<Address>,
    /// What they are.
    pub topology: Topology,
    /// How to log in at what is written to.
    pub login: Login,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// What to write.
    pub stream: Stream,
    /// How much at once.
    pub batch: Batch,
    /// Records' numbers are counted.
    pub counts_numbers: bool,
    /// The template of the record, if one is named.
    pub template: Option<String>,
    /// Where records outlive a stop.
    pub hold_file: Option<PathBuf>,
    /// The name of the counters in impstats, if one is given.
    pub stats_name: Option<String>,
}

/// `action.resumeRetryCount`, which is the core's own parameter: how often it calls `tryResume`
/// before it gives a batch up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retries {
    /// It never gives one up (-1).
    Forever,
    /// So often.
    Finite(u64),
}

impl Retries {
    /// Takes the core's number, which is 0 where none is given. A negative one other than -1 is
    /// below any count of attempts, so the core gives up at once.
    pub fn from_core(count: i64) -> Self {
        match count {
            -1 => Self::Forever,
            _ => Self::Finite(u64::try_from(count).unwrap_or(0)),
        }
    }
}

impl Stream {
    /// The fixed key, or what it is for one of its shards; empty where each record brings its own.
    pub fn shard_key(&self, shard: usize) -> String {
        match &self.key {
            Key::Dynamic { .. } => String::new(),
            Key::Fixed(key) if self.shards == 1 => key.clone(),
            // The braces alone decide where a cluster has the key.
            Key::Fixed(key) => format!("{key}:{{{shard}}}"),
        }
    }
}

impl Settings {
    /// Checks all values.
    ///
    /// # Errors
    /// One sentence for each thing that is wrong.
    pub fn from_values(values: &Values) -> Result<Self, Vec<String>> {
        let mut reader = Reader::new(values);
        let topology = topology(&mut reader);
        let stream = stream(&mut reader, &topology);
        let settings = Self {
            counts_numbers: counts_numbers(&mut reader, &stream),
            servers: servers(&mut reader, &topology),
            login: login(&mut reader, &topology),
            topology,
            timeouts: Timeouts {
                connect: Duration::from_millis(reader.number("timeout.connect")),
                commit: Duration::from_millis(reader.number("timeout.commit")),
            },
            stream,
            batch: Limits {
                records: size(reader.number("batch.maxrecords")),
                bytes: size(reader.number("batch.maxbytes")),
            },
            template: reader.text("template"),
            stats_name: stats_name(&mut reader),
            hold_file: hold_file(&mut reader),
        };
        // Only one mode exists so far; the table says which, and refuses others.
        reader.choice("mode");
        if reader.complaints.is_empty() { Ok(settings) } else { Err(reader.complaints) }
    }
}

/// All ranges in the table fit the address space of a 64-bit host; a smaller one saturates.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn counts_numbers(reader: &mut Reader<'_>, stream: &Stream) -> bool {
    if !reader.values.is_given("sequence.check") {
        return stream.layout == Layout::Fields;
    }
    let is_on = reader.is_on("sequence.check");
    if is_on && stream.format == RecordFormat::Raw {
        let allowed = "\"off\" where record.format is \"raw\": only a JSON object has node and seq";
        reader.complain("sequence.check", "on", allowed);
    }
    is_on
}

fn hold_file(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let text = reader.text("holdfile")?;
    let path = PathBuf::from(&text);
    // rsyslogd changes its working directory when it goes to the background.
    if !path.is_absolute() || path.file_name().is_none() {
        reader.complain("holdfile", &text, "the absolute path of a file");
    }
    Some(path)
}

fn login(reader: &mut Reader<'_>, topology: &Topology) -> Login {
    let login = Login {
        user: reader.text("user"),
        password: reader.text("serverpassword").map(Secret::new),
        password_file: reader.text("passwordfile").map(PathBuf::from),
        client_name: reader.text("clientname").unwrap_or_default(),
        db: reader.number("db"),
    };
    if *topology == Topology::Cluster && login.db > 0 {
        let allowed = "0 where topology is \"cluster\": a cluster has no other database";
        reader.complain("db", &login.db.to_string(), allowed);
    }
    if login.password.is_some() && login.password_file.is_some() {
        reader.complaints.push(
            "parameters \"serverpassword\" and \"passwordfile\" are both given, but only one of \
             them can say the password"
                .to_owned(),
        );
    }
    if login.user.is_some() && login.password.is_none() && login.password_file.is_none() {
        reader.complaints.push(
            "parameter \"user\" is given, but the password is missing: give \"passwordfile\" or \
             \"serverpassword\" too"
                .to_owned(),
        );
    }
    if !login.client_name.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
        let name = login.client_name.clone();
        reader.complain("clientname", &name, "printable ASCII without blanks");
    }
    login
}

fn stats_name(reader: &mut Reader<'_>) -> Option<String> {
    let name = reader.text("statsname");
    if let Some(name) = &name
        && name.chars().any(char::is_control)
    {
        reader.complain("statsname", name, "a text without control characters");
    }
    name
}

fn stream(reader: &mut Reader<'_>, topology: &Topology) -> Stream {
    let key_text = reader.text("key").unwrap_or_default();
    let (key, prefix) = if reader.is_on("dynakey") {
        if !reader.values.is_given("key") {
            reader.complaints.push(
                "parameter \"dynakey\" is \"on\", but \"key\" is missing: it must name the template \
                 that makes the key"
                    .to_owned(),
            );
        }
        (Key::Dynamic { template: key_text }, "omvalkeyaudit".to_owned())
    } else {
        (Key::Fixed(key_text.clone()), key_text)
    };
    let format = match reader.choice("record.format").as_str() {
        "raw" => RecordFormat::Raw,
        _ => RecordFormat::Json,
    };
    let layout = match reader.choice("layout").as_str() {
        "record" => Layout::Record,
        _ if format == RecordFormat::Raw => {
            if reader.values.is_given("layout") {
                reader.complain(
                    "layout",
                    "fields",
                    "\"record\" where record.format is \"raw\": only a JSON object has fields",
                );
            }
            Layout::Record
        }
        _ => Layout::Fields,
    };
    let dead_letter_key =
        reader.text("deadletter.key").unwrap_or_else(|| format!("{prefix}:deadletter"));
    let stream = Stream {
        shards: shards(reader, &key),
        key,
        dead_letter_key,
        marker_key: marker_key(reader, &prefix, topology),
        marker_ttl: Duration::from_secs(reader.number("marker.ttl")),
        out_field: reader.text("stream.outfield").unwrap_or_default(),
        format,
        layout,
        max_record_bytes: size(reader.number("record.maxbytes")),
        trim: trim(reader),
    };
    if (0..stream.shards).any(|shard| stream.shard_key(shard) == stream.dead_letter_key) {
        reader.complain("deadletter.key", &stream.dead_letter_key, "another key than \"key\"");
    }
    stream
}

fn marker_key(reader: &mut Reader<'_>, prefix: &str, topology: &Topology) -> String {
    let is_clustered = *topology == Topology::Cluster;
    let given = reader.text("marker.key");
    if let Some(key) = given.as_deref().filter(|key| is_clustered && key.contains('{')) {
        let allowed = "a text without { where topology is \"cluster\": each marker has braces of its \
                       own, which put it beside its records";
        reader.complain("marker.key", key, allowed);
    }
    given.unwrap_or_else(|| {
        let prefix = if is_clustered { &prefix.replace(['{', '}'], "") } else { prefix };
        format!("{prefix}:marker")
    })
}

fn shards(reader: &mut Reader<'_>, key: &Key) -> usize {
    let shards = size(reader.number("shards"));
    match key {
        _ if shards <= 1 => {}
        Key::Dynamic { .. } => reader.complain(
            "shards",
            &shards.to_string(),
            "1 where dynakey is \"on\": dynamic keys spread by themselves",
        ),
        Key::Fixed(key) if key.contains('{') => reader.complain(
            "key",
            &key.clone(),
            "a text without { where shards is given: the shards bring their own",
        ),
        Key::Fixed(_) => {}
    }
    shards.max(1)
}

fn trim(reader: &mut Reader<'_>) -> Trim {
    let entries = reader.number("stream.capacitylimit");
    let seconds = reader.number("stream.maxage");
    if entries > 0 && seconds > 0 {
        reader.complaints.push(
            "parameters \"stream.capacitylimit\" and \"stream.maxage\" are both given, but the \
             server trims by one of them at a time"
                .to_owned(),
        );
    }
    let retention = match (entries, seconds) {
        (0, 0) => Retention::Forever,
        (0, seconds) => Retention::Age(Duration::from_secs(seconds)),
        (entries, _) => Retention::Entries(entries),
    };
    Trim { retention, is_exact: reader.choice("stream.trim") == "exact" }
}
