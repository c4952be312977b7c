//! The command line.
#![forbid(unsafe_code)]

use crate::error::CannotCheck;
use crate::sentinel::SentinelOptions;
use crate::server::Login;
use crate::stream::StreamId;
use crate::tls::TlsOptions;
use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;
use omvalkeyaudit_address::{Address, FORM};
use std::ffi::OsString;
use std::time::{Duration, UNIX_EPOCH};

/// What was asked for.
#[derive(Debug)]
pub enum Command {
    /// A check.
    Check(Box<Options>),
    /// The help text.
    Help,
    /// The version.
    Version,
}

/// What to check, and how to report it.
#[derive(Debug)]
pub struct Options {
    /// Where the server listens; of several, the first that answers is read. Or the sentinels.
    pub servers: Vec<Address>,
    /// Who is asked for the primary.
    pub sentinel: SentinelOptions,
    /// How to log in.
    pub login: Login,
    /// The longest wait for the server.
    pub timeout: Duration,
    /// Whether and how TLS is spoken.
    pub tls: TlsOptions,
    /// The streams, each shard by itself.
    pub keys: Vec<String>,
    /// Over how many each key was spread.
    pub shards: Option<u32>,
    /// The dead letters.
    pub dead_letters: Vec<String>,
    /// The field that holds a record as JSON.
    pub field: String,
    /// The first entry, if not the first there is.
    pub from: Option<StreamId>,
    /// The last entry, if not the last there is.
    pub to: Option<StreamId>,
    /// Starts of the ids of the nodes.
    pub nodes: Vec<String>,
    /// Expect records from number 1 on.
    pub is_from_start: bool,
    /// Take warnings as failures.
    pub is_strict: bool,
    /// The most ranges to remember.
    pub max_ranges: usize,
    /// Report as JSON.
    pub is_json: bool,
    /// Print nothing.
    pub is_quiet: bool,
    /// Show progress wherever stderr leads.
    pub has_progress: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            sentinel: SentinelOptions::default(),
            login: Login::default(),
            timeout: Duration::from_secs(30),
            tls: TlsOptions::default(),
            keys: Vec::new(),
            shards: None,
            dead_letters: Vec::new(),
            field: "msg".to_owned(),
            from: None,
            to: None,
            nodes: Vec::new(),
            is_from_start: false,
            is_strict: false,
            max_ranges: 1_000_000,
            is_json: false,
            is_quiet: false,
            has_progress: false,
        }
    }
}

impl Command {
    /// Reads the arguments, without the program's name.
    ///
    /// # Errors
    /// A sentence that names the argument and what is allowed.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, CannotCheck> {
        let mut options = Options::default();
        let mut servers = Vec::new();
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next().map_err(wrong)? {
            match argument {
                Long("help") | Short('h') => return Ok(Self::Help),
                Long("version") | Short('V') => return Ok(Self::Version),
                Long("tls") => options.tls.is_on = true,
                Long("from-start") => options.is_from_start = true,
                Long("strict") => options.is_strict = true,
                Long("json") => options.is_json = true,
                Long("quiet") => options.is_quiet = true,
                Long("progress") => options.has_progress = true,
                Long(name) => {
                    let name = name.to_owned();
                    if !VALUED.contains(&name.as_str()) {
                        return Err(unknown(&format!("--{name}")));
                    }
                    let value = parser.value().map_err(wrong)?.string().map_err(wrong)?;
                    if name == "server" {
                        servers.push(value);
                    } else {
                        options.set(&name, value)?;
                    }
                }
                Short(letter) => return Err(unknown(&format!("-{letter}"))),
                Value(value) => return Err(unknown(&value.to_string_lossy())),
            }
        }
        options.place(&servers)?;
        options.check()?;
        Ok(Self::Check(Box::new(options)))
    }
}

/// Where servers listen unless they are told otherwise.
const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// As many as the plugin makes.
const MAX_SHARDS: u32 = 1024;

/// The options that take a value.
const VALUED: [&str; 20] = [
    "server",
    "sentinel-master",
    "sentinel-user",
    "sentinel-passwordfile",
    "user",
    "passwordfile",
    "db",
    "timeout",
    "cacert",
    "cert",
    "privkey",
    "sni",
    "key",
    "shards",
    "deadletter",
    "field",
    "from",
    "to",
    "node",
    "max-ranges",
];

impl Options {
    /// Reads where the servers are, once it is known whether they are sentinels.
    fn place(&mut self, servers: &[String]) -> Result<(), CannotCheck> {
        let port = if self.sentinel.master.is_some() { SENTINEL_PORT } else { SERVER_PORT };
        let given = servers
            .iter()
            .map(|text| Address::parse(text, port).map_err(|_| wrong_value("server", text, FORM)));
        self.servers = given.collect::<Result<_, _>>()?;
        if self.servers.is_empty() {
            self.servers.push(Address::Tcp { host: "127.0.0.1".to_owned(), port });
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), CannotCheck> {
        let wrong = |allowed: &str| wrong_value(name, &value, allowed);
        if value.is_empty() {
            return Err(wrong("a text that is not empty"));
        }
        match name {
            "db" => {
                self.login.db =
                    number(&value, 0, 65_535).ok_or_else(|| wrong("a number from 0 to 65535"))?
            }
            "timeout" => {
                let seconds = number(&value, 1, 3600);
                let seconds = seconds.ok_or_else(|| wrong("seconds from 1 to 3600"))?;
                self.timeout = Duration::from_secs(seconds.into());
            }
            "shards" => {
                let count = number(&value, 1, MAX_SHARDS);
                let allowed = || wrong(&format!("a number from 1 to {MAX_SHARDS}"));
                self.shards = Some(count.ok_or_else(allowed)?);
            }
            "max-ranges" => {
                let most = number(&value, 1, u32::MAX);
                let most = most.and_then(|most| usize::try_from(most).ok());
                self.max_ranges = most.ok_or_else(|| wrong("a number from 1 to 4294967295"))?;
            }
            "from" | "to" => {
                let is_from = name == "from";
                let form = "an entry id such as 1767225600000-0 or a time in UTC such as 2026-01-01T00:00:00Z";
                let id =
                    id(&value, if is_from { 0 } else { u64::MAX }).ok_or_else(|| wrong(form))?;
                *(if is_from { &mut self.from } else { &mut self.to }) = Some(id);
            }
            "sentinel-master" => self.sentinel.master = Some(value),
            "sentinel-user" => self.sentinel.login.user = Some(value),
            "sentinel-passwordfile" => self.sentinel.login.password_file = Some(value.into()),
            "user" => self.login.user = Some(value),
            "passwordfile" => self.login.password_file = Some(value.into()),
            "cacert" => self.tls.authorities = Some(value.into()),
            "cert" => self.tls.certificate = Some(value.into()),
            "privkey" => self.tls.key = Some(value.into()),
            "sni" => self.tls.server_name = Some(value),
            "key" => self.keys.push(value),
            "deadletter" => self.dead_letters.push(value),
            "field" => self.field = value,
            _ => self.nodes.push(value),
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), CannotCheck> {
        if self.keys.is_empty() {
            self.keys.push("audit".to_owned());
        }
        self.sentinel.check()?;
        self.tls.check()?;
        if let Some(shards @ 2..) = self.shards {
            self.keys = shards_of(&self.keys, shards)?;
        }
        let mut all: Vec<&String> = self.keys.iter().chain(&self.dead_letters).collect();
        all.sort();
        if let Some([twice, _]) = all.windows(2).find(|pair| pair.first() == pair.last()) {
            return Err(CannotCheck(format!(
                "\"{twice}\" is given twice as --key or --deadletter; each stream is read once"
            )));
        }
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from > to
        {
            return Err(CannotCheck(format!("--from {from} comes after --to {to}")));
        }
        if self.from.is_some() && self.is_from_start {
            return Err(CannotCheck(
                "--from-start expects the first records, which --from may leave out; give one of them"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// The streams over which the plugin spreads each key.
fn shards_of(keys: &[String], count: u32) -> Result<Vec<String>, CannotCheck> {
    if let Some(key) = keys.iter().find(|key| key.contains('{')) {
        return Err(CannotCheck(format!(
            "--key \"{key}\" has a brace, and --shards adds its own; give the key as the action has it"
        )));
    }
    let shards =
        keys.iter().flat_map(|key| (0..count).map(move |shard| format!("{key}:{{{shard}}}")));
    Ok(shards.collect())
}

fn number(text: &str, min: u32, max: u32) -> Option<u32> {
    text.parse().ok().filter(|number| (min..=max).contains(number))
}

/// A time is taken as the millisecond it lies in, as the server makes ids of it.
fn id(text: &str, seq: u64) -> Option<StreamId> {
    if let Some(id) = StreamId::parse(text, seq) {
        return Some(id);
    }
    let time = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(StreamId { ms: u64::try_from(time.as_millis()).ok()?, seq })
}

fn wrong_value(name: &str, value: &str, allowed: &str) -> CannotCheck {
    CannotCheck(format!("--{name} has the value \"{value}\", but it must be {allowed}"))
}

fn wrong(error: lexopt::Error) -> CannotCheck {
    CannotCheck(format!("{error}; --help lists the options"))
}

fn unknown(argument: &str) -> CannotCheck {
    CannotCheck(format!(
        "unknown argument \"{}\"; --help lists the options",
        argument.escape_debug()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help::HELP;

    fn read(arguments: &[&str]) -> Result<Options, String> {
        match Command::read(arguments.iter().map(OsString::from)) {
            Ok(Command::Check(options)) => Ok(*options),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    fn shown(servers: &[Address]) -> Vec<String> {
        servers.iter().map(ToString::to_string).collect()
    }

    // Oracle: the values that were given.
    #[test]
    fn every_option_of_the_help_text_is_read() {
        let arguments = "--server [::1]:7 --server db1 --user u --passwordfile=/p --db 3 --timeout 5 --tls --cacert /ca \
                    --cert /cert --privkey=/key --sni db1 --key a --key b --shards 2 --deadletter d \
                    --field f --from 2026-01-01T00:00:00.5Z --to 1767225600500 --node ab --strict \
                    --max-ranges 7 --json --quiet --progress";
        let options = read(&arguments.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!(shown(&options.servers), ["[::1]:7", "db1:6379"]);
        assert_eq!(shown(&read(&[]).unwrap().servers), ["127.0.0.1:6379"]);
        assert_eq!((options.login.user.as_deref(), options.login.db), (Some("u"), 3));
        assert_eq!(options.keys, ["a:{0}", "a:{1}", "b:{0}", "b:{1}"]);
        let tls = options.tls;
        let files = [tls.authorities, tls.certificate, tls.key].map(|path| path.unwrap());
        assert!(
            tls.is_on && files.map(|path| path.display().to_string()) == ["/ca", "/cert", "/key"]
        );
        assert_eq!(tls.server_name.as_deref(), Some("db1"));
        let ms = 1_767_225_600_500;
        assert_eq!(options.from, Some(StreamId { ms, seq: 0 }));
        assert_eq!(options.to, Some(StreamId { ms, seq: u64::MAX }));
        assert!(options.is_strict && options.is_json && options.is_quiet && options.has_progress);
        assert!(read(&["--from-start"]).unwrap().is_from_start);
        assert_eq!(read(&[]).unwrap().keys, ["audit"]);
        assert_eq!(read(&["--shards", "1"]).unwrap().keys, ["audit"]);
        for name in
            VALUED.iter().chain(&["tls", "from-start", "strict", "json", "quiet", "progress"])
        {
            assert!(HELP.contains(&format!("  --{name} ")), "{name}");
        }
    }

    // Oracle: the values that were given, and the sentinels' own port, in whatever order.
    #[test]
    fn the_servers_are_sentinels_where_a_group_is_named() {
        let under = ["--server", "s1", "--server", "s2:1", "--sentinel-master", "m"];
        let login = ["--sentinel-user", "u", "--sentinel-passwordfile", "/p"];
        let options = read(&[&under[..], &login].concat()).unwrap();
        assert_eq!(shown(&options.servers), ["s1:26379", "s2:1"]);
        let SentinelOptions { master, login } = options.sentinel;
        assert_eq!((master.as_deref(), login.user.as_deref()), (Some("m"), Some("u")));
        assert_eq!(login.password_file, Some("/p".into()));
        assert_eq!(shown(&read(&under[4..]).unwrap().servers), ["127.0.0.1:26379"]);
    }

    // Oracle: the sentence names the argument.
    #[test]
    fn wrong_arguments_are_refused_with_a_sentence() {
        for (arguments, named) in [
            (&["--server", "redis://x"][..], "\"redis://x\""),
            (&["--server", ""], "--server"),
            (&["--sentinel-user", "u"], "--sentinel-master is not"),
            (&["--sentinel-passwordfile", "/p"], "--sentinel-master is not"),
            (&["--db", "-1"], "--db"),
            (&["--timeout", "0"], "--timeout"),
            (&["--from", "yesterday"], "--from"),
            (&["--from", "2", "--to", "1"], "comes after"),
            (&["--from", "2", "--from-start"], "--from-start"),
            (&["--key", "a", "--key", "a"], "\"a\" is given twice"),
            (&["--key", "a", "--deadletter", "a"], "\"a\" is given twice"),
            (&["--key", "a:{0}", "--shards", "2"], "\"a:{0}\""),
            (&["--shards", "0"], "--shards"),
            (&["--shards", "1025"], "1 to 1024"),
            (&["--cacert", "/ca"], "--tls is not"),
            (&["--sni", "db1"], "--tls is not"),
            (&["--tls", "--cert", "/c"], "--privkey"),
            (&["--tls", "--sni", "a b"], "\"a b\""),
            (&["--key", ""], "--key"),
            (&["--key"], "--key"),
            (&["--strict=1"], "--strict"),
            (&["--keys", "a"], "--keys"),
            (&["-x"], "-x"),
            (&["audit"], "audit"),
        ] {
            let error = read(arguments).unwrap_err();
            assert!(error.contains(named), "{arguments:?}: {error}");
        }
    }
}
