//! How records are stored: the mode, the keys, and what goes with each of them.
#![forbid(unsafe_code)]

use super::{Reader, Topology, size};
use std::time::Duration;

/// What a record becomes in the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An entry of a stream.
    Stream,
    /// An element of a list.
    Queue {
        /// At its tail (RPUSH), not at its head.
        at_tail: bool,
    },
    /// A message to a channel.
    Publish,
    /// The value of a key, for so many seconds where there is a number.
    Set {
        /// Lifetime of the key.
        expiration_secs: Option<u64>,
    },
    /// A command, which the record is.
    Template,
}

impl Mode {
    /// As it is written in rsyslog.conf.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Queue { .. } => "queue",
            Self::Publish => "publish",
            Self::Set { .. } => "set",
            Self::Template => "template",
        }
    }
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

/// Where a key, or what is said of an entry to acknowledge, comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The same for all records.
    Fixed(String),
    /// Each record brings its own, made by this template.
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

/// The entry of another stream that a record came from, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The stream.
    pub key: Key,
    /// The entry's id.
    pub index: Key,
    /// The consumer group in which it is acknowledged (XACK), if it is.
    pub group: Option<Key>,
    /// It is deleted (XDEL).
    pub is_deleted: bool,
    /// A cluster has it, so that the record must be in its slot.
    pub is_in_cluster: bool,
}

/// How records are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// What they become.
    pub mode: Mode,
    /// Where they go; of no meaning where they are commands.
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
    /// Where the records come from, if that is another stream.
    pub origin: Option<Origin>,
}

impl Store {
    /// The fixed key, or what it is for one of its shards; empty where each record brings its own.
    pub fn shard_key(&self, shard: usize) -> String {
        match &self.key {
            Key::Dynamic { .. } => String::new(),
            Key::Fixed(key) if self.shards == 1 => key.clone(),
            // The braces alone decide where a cluster has the key.
            Key::Fixed(key) => format!("{key}:{{{shard}}}"),
        }
    }

    /// The templates that make texts of a record besides the record itself, in the order in which the
    /// core is asked for them.
    pub fn dynamic(&self) -> impl Iterator<Item = &str> {
        let origin = self.origin.iter();
        let origin = origin.flat_map(|origin| {
            std::iter::once(&origin.key).chain(&origin.group).chain([&origin.index])
        });
        let key = (self.mode != Mode::Template).then_some(&self.key);
        key.into_iter().chain(origin).filter_map(|key| match key {
            Key::Fixed(_) => None,
            Key::Dynamic { template } => Some(template.as_str()),
        })
    }

    /// True when each record brings its key.
    pub fn has_dynamic_key(&self) -> bool {
        self.mode != Mode::Template && matches!(self.key, Key::Dynamic { .. })
    }

    /// True when each record tells the stream that it comes from.
    pub fn has_dynamic_origin(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| matches!(origin.key, Key::Dynamic { .. }))
    }
}

/// Parameters that mean something in one mode only.
const OF_ONE_MODE: &[(&str, &str)] = &[
    ("layout", "stream"),
    ("stream.outfield", "stream"),
    ("stream.capacitylimit", "stream"),
    ("stream.trim", "stream"),
    ("stream.maxage", "stream"),
    ("stream.ack", "stream"),
    ("stream.del", "stream"),
    ("stream.keyack", "stream"),
    ("stream.groupack", "stream"),
    ("stream.indexack", "stream"),
    ("stream.dynakeyack", "stream"),
    ("stream.dynagroupack", "stream"),
    ("stream.dynaindexack", "stream"),
    ("userpush", "queue"),
    ("expiration", "set"),
];

/// The parameters that are given and mean nothing in this mode.
pub(super) fn idle(reader: &Reader<'_>, mode: Mode) -> Vec<&'static str> {
    let idle = OF_ONE_MODE.iter().filter(|(_, of)| *of != mode.name()).map(|(name, _)| *name);
    let keys = ["key", "dynakey"].into_iter().filter(|_| mode == Mode::Template);
    let copies = ["durability.replicas", "durability.fsync", "durability.timeout"];
    let copies = copies.into_iter().filter(|_| mode == Mode::Publish);
    idle.chain(keys).chain(copies).filter(|name| reader.values.is_given(name)).collect()
}

pub(super) fn store(reader: &mut Reader<'_>, topology: &Topology) -> Store {
    let mode = mode(reader);
    let (key, prefix) = key(reader, mode);
    let (format, layout) = shape(reader, mode);
    let dead_letter_key =
        reader.text("deadletter.key").unwrap_or_else(|| format!("{prefix}:deadletter"));
    let store = Store {
        mode,
        shards: shards(reader, mode, &key),
        key,
        dead_letter_key,
        marker_key: marker_key(reader, &prefix, topology),
        marker_ttl: Duration::from_secs(reader.number("marker.ttl")),
        out_field: reader.text("stream.outfield").unwrap_or_default(),
        format,
        layout,
        max_record_bytes: size(reader.number("record.maxbytes")),
        trim: trim(reader, mode),
        origin: origin(reader, topology).filter(|_| mode == Mode::Stream),
    };
    let is_dead_letters = |shard| store.shard_key(shard) == store.dead_letter_key;
    if mode != Mode::Template && (0..store.shards).any(is_dead_letters) {
        reader.complain("deadletter.key", &store.dead_letter_key, "another key than \"key\"");
    }
    store
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

fn shards(reader: &mut Reader<'_>, mode: Mode, key: &Key) -> usize {
    let shards = size(reader.number("shards"));
    match key {
        _ if shards <= 1 => {}
        _ if mode != Mode::Stream => reader.complain(
            "shards",
            &shards.to_string(),
            "1 where mode is not \"stream\": only streams are spread",
        ),
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

fn mode(reader: &mut Reader<'_>) -> Mode {
    let at_tail = reader.is_on("userpush");
    let expiration = reader.number("expiration");
    match reader.choice("mode").as_str() {
        "queue" => Mode::Queue { at_tail },
        "publish" => Mode::Publish,
        "set" => Mode::Set { expiration_secs: (expiration > 0).then_some(expiration) },
        "template" => {
            if !reader.values.is_given("template") {
                reader.complaints.push(
                    "parameter \"mode\" is \"template\", but \"template\" is missing: it must name the \
                     template that makes the command"
                        .to_owned(),
                );
            }
            Mode::Template
        }
        _ => Mode::Stream,
    }
}

/// The key, and what the names of the other keys begin with.
fn key(reader: &mut Reader<'_>, mode: Mode) -> (Key, String) {
    const OWN: &str = "omvalkeyaudit";
    let is_given = reader.values.is_given("key");
    let text = reader.text("key").unwrap_or_default();
    let is_dynamic = reader.is_on("dynakey");
    match mode {
        Mode::Template if !is_given || is_dynamic => return (Key::Fixed(text), OWN.to_owned()),
        Mode::Stream | Mode::Template => {}
        // Nobody expects the default, a stream's name, in another type or as a channel.
        Mode::Queue { .. } | Mode::Publish | Mode::Set { .. } if !is_given && !is_dynamic => {
            reader.complaints.push(format!(
                "parameter \"mode\" is \"{}\", but \"key\" is missing: it must name what to write to",
                mode.name()
            ));
        }
        Mode::Queue { .. } | Mode::Publish | Mode::Set { .. } => {}
    }
    if !is_dynamic {
        return (Key::Fixed(text.clone()), text);
    }
    if !is_given {
        reader.complaints.push(
            "parameter \"dynakey\" is \"on\", but \"key\" is missing: it must name the template \
             that makes the key"
                .to_owned(),
        );
    }
    (Key::Dynamic { template: text }, OWN.to_owned())
}

/// What a record must be, and how it becomes fields.
///
/// A configuration that was omhiredis's stores texts of any kind as they are: in all modes but ours by
/// default, and there too where it names the field for the text and says nothing else.
fn shape(reader: &mut Reader<'_>, mode: Mode) -> (RecordFormat, Layout) {
    let names_field =
        reader.values.is_given("stream.outfield") && !reader.values.is_given("layout");
    let format = match reader.choice("record.format").as_str() {
        "raw" => RecordFormat::Raw,
        "json" => RecordFormat::Json,
        _ if mode != Mode::Stream || names_field => RecordFormat::Raw,
        _ => RecordFormat::Json,
    };
    let layout = match reader.choice("layout").as_str() {
        "record" => Layout::Record,
        _ if mode != Mode::Stream => Layout::Record,
        "fields" if format == RecordFormat::Raw => {
            let allowed =
                "\"record\" where record.format is \"raw\": only a JSON object has fields";
            reader.complain("layout", "fields", allowed);
            Layout::Record
        }
        _ if format == RecordFormat::Raw => Layout::Record,
        _ => Layout::Fields,
    };
    (format, layout)
}

fn trim(reader: &mut Reader<'_>, mode: Mode) -> Trim {
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
        // Nothing else has entries.
        _ if mode != Mode::Stream => Retention::Forever,
        (0, 0) => Retention::Forever,
        (0, seconds) => Retention::Age(Duration::from_secs(seconds)),
        (entries, _) => Retention::Entries(entries),
    };
    Trim { retention, is_exact: reader.choice("stream.trim") == "exact" }
}

fn origin(reader: &mut Reader<'_>, topology: &Topology) -> Option<Origin> {
    let (is_acknowledged, is_deleted) = (reader.is_on("stream.ack"), reader.is_on("stream.del"));
    let key = said(reader, "stream.keyack", "stream.dynakeyack");
    let index = said(reader, "stream.indexack", "stream.dynaindexack");
    let group = said(reader, "stream.groupack", "stream.dynagroupack");
    let mut missing = Vec::new();
    for (name, is_missing) in [
        ("stream.keyack", key.is_none()),
        ("stream.groupack", group.is_none() && is_acknowledged),
        ("stream.indexack", index.is_none()),
    ] {
        if is_missing && (is_acknowledged || is_deleted) {
            missing.push(format!("\"{name}\""));
        }
    }
    if !missing.is_empty() {
        let switch = if is_acknowledged { "stream.ack" } else { "stream.del" };
        let are = if missing.len() == 1 { "is" } else { "are" };
        reader.complaints.push(format!(
            "parameter \"{switch}\" is \"on\", but {} {are} missing: together they say which entry of \
             which stream the record was",
            missing.join(" and ")
        ));
    }
    let group = group.filter(|_| is_acknowledged);
    let is_in_cluster = *topology == Topology::Cluster;
    Some(Origin { key: key?, index: index?, group, is_deleted, is_in_cluster })
        .filter(|_| is_acknowledged || is_deleted)
}

/// What `name` says: a text, or the name of a template where `switch` is on.
fn said(reader: &mut Reader<'_>, name: &str, switch: &str) -> Option<Key> {
    let is_dynamic = reader.is_on(switch);
    let text = reader.text(name)?;
    Some(if is_dynamic { Key::Dynamic { template: text } } else { Key::Fixed(text) })
}
