//! The checked settings of one action.
#![forbid(unsafe_code)]

use super::durability::durability;
use super::place::{rebind, servers, topology, within_cluster};
use super::store::{Layout, Mode, RecordFormat, Store, idle, store};
use super::tls::tls;
use super::{Address, Durability, Reader, Tls, Values};
use crate::transaction::Limits;
use std::fmt;
use std::num::NonZeroU64;
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

impl Login {
    /// The ACL user, which is the server's `default` one where none is given.
    pub fn user_name(&self) -> &str {
        self.user.as_deref().unwrap_or("default")
    }
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

/// How much is committed at once. The same type the transaction works with.
pub type Batch = Limits;

/// Everything an action was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The servers, in the order to try.
    pub servers: Vec<Address>,
    /// After so many flushes to another one than the first they are tried again.
    pub rebind: Option<NonZeroU64>,
    /// What they are.
    pub topology: Topology,
    /// How to log in at what is written to.
    pub login: Login,
    /// How to speak TLS with all of them, sentinels included; `None` for not at all.
    pub tls: Option<Tls>,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// What to write.
    pub store: Store,
    /// How much at once.
    pub batch: Batch,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Records' numbers are counted.
    pub counts_numbers: bool,
    /// The template of the record.
    pub template: String,
    /// Parameters that are given and mean nothing in this mode.
    pub idle: Vec<&'static str>,
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

impl Settings {
    /// Checks all values.
    ///
    /// # Errors
    /// One sentence for each thing that is wrong.
    pub fn from_values(values: &Values) -> Result<Self, Vec<String>> {
        let mut reader = Reader::new(values);
        let topology = topology(&mut reader);
        let store = store(&mut reader, &topology);
        let durability = durability(&mut reader).of(store.mode);
        within_cluster(&mut reader, &topology, &store);
        let servers = servers(&mut reader, &topology);
        let template = template(&mut reader, &store);
        let settings = Self {
            counts_numbers: counts_numbers(&mut reader, &store),
            tls: tls(&mut reader, &servers),
            rebind: rebind(&mut reader, &topology),
            servers,
            login: login(&mut reader, &topology),
            topology,
            timeouts: Timeouts {
                connect: Duration::from_millis(reader.number("timeout.connect")),
                commit: Duration::from_millis(reader.number("timeout.commit")),
            },
            batch: Limits {
                records: size(reader.number("batch.maxrecords")),
                bytes: size(reader.number("batch.maxbytes")),
            },
            durability,
            template,
            idle: idle(&reader, store.mode),
            stats_name: stats_name(&mut reader),
            hold_file: hold_file(&mut reader),
            store,
        };
        if reader.complaints.is_empty() { Ok(settings) } else { Err(reader.complaints) }
    }
}

/// The shim's own template: the message part, as it came.
pub const MESSAGE_TEMPLATE: &str = " omvalkeyaudit";

/// What omhiredis takes without a template, which is one of rsyslog's own.
const FORWARD_TEMPLATE: &str = "RSYSLOG_ForwardFormat";

/// A JSON object is the message; any other text tells more with its header.
fn template(reader: &mut Reader<'_>, store: &Store) -> String {
    let default = match store.format {
        RecordFormat::Json => MESSAGE_TEMPLATE,
        RecordFormat::Raw => FORWARD_TEMPLATE,
    };
    reader.text("template").unwrap_or_else(|| default.to_owned())
}

/// All ranges in the table fit the address space of a 64-bit host; a smaller one saturates.
pub(super) fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn counts_numbers(reader: &mut Reader<'_>, store: &Store) -> bool {
    if !reader.values.is_given("sequence.check") {
        return store.mode == Mode::Stream && store.layout == Layout::Fields;
    }
    let is_on = reader.is_on("sequence.check");
    if is_on && store.format == RecordFormat::Raw {
        let allowed = "\"off\" where record.format is \"raw\": only a JSON object has node and seq";
        reader.complain("sequence.check", "on", allowed);
    }
    is_on
}

fn hold_file(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let text = reader.text("holdfile")?;
    let path = PathBuf::from(&text);
    // rsyslogd changes its working directory when it goes to the background.
    let names_a_folder = text.ends_with('/') || text.ends_with("/.");
    if !path.is_absolute() || path.file_name().is_none() || names_a_folder {
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
