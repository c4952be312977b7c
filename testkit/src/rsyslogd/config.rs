//! The configuration that an rsyslogd of the kit runs with.

use std::fmt::Write as _;
use std::path::Path;

use crate::net::Address;
use crate::programs::{Version, plugin_path};

/// imptcp refuses longer octet-counted frames unless it is told otherwise.
const DEFAULT_FRAME_BYTES: u64 = 200_000;

/// What an rsyslogd shall be; see [`Rsyslogd::builder`](super::Rsyslogd::builder).
#[derive(Debug, Clone)]
pub struct RsyslogdBuilder {
    pub(super) version: Version,
    action: String,
    config: String,
    main_queue: String,
    ruleset_parameters: String,
    pub(super) has_tcp_input: bool,
    has_plugin: bool,
    escapes_control_characters: bool,
    max_message_bytes: Option<u64>,
    pub(super) statistics_seconds: Option<u32>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) wrapper: Vec<String>,
}

impl RsyslogdBuilder {
    pub(super) fn new(version: Version) -> Self {
        RsyslogdBuilder {
            version,
            action: String::new(),
            config: String::new(),
            main_queue: "queue.workerThreads=\"1\"".into(),
            ruleset_parameters: String::new(),
            has_tcp_input: false,
            has_plugin: true,
            escapes_control_characters: false,
            max_message_bytes: None,
            statistics_seconds: None,
            environment: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    /// The text of the ruleset that the input feeds: one action as a rule, or several, with conditions if need be.
    #[must_use]
    pub fn action(mut self, text: &str) -> Self {
        self.action.push_str(text);
        self.action.push('\n');
        self
    }

    /// Text for the top level of the configuration, before the input: templates, modules, `global(...)`.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self.config.push('\n');
        self
    }

    /// Loads one of rsyslog's own modules, such as `omhiredis`, of the same version.
    #[must_use]
    pub fn module(self, name: &str) -> Self {
        self.config(&format!("module(load=\"{name}\")"))
    }

    /// Does not load the plugin under test.
    #[must_use]
    pub fn without_plugin(mut self) -> Self {
        self.has_plugin = false;
        self
    }

    /// Parameters of the main queue, in place of the kit's own, which is one worker: by default rsyslog starts a
    /// second one when 40,000 records wait, and the two of them mix the order before any action has seen a record.
    #[must_use]
    pub fn main_queue(mut self, parameters: &str) -> Self {
        self.main_queue = parameters.into();
        self
    }

    /// Parameters of the input's ruleset, such as `queue.type="LinkedList"`; without a queue of its own it is the main
    /// queue's worker that runs it.
    #[must_use]
    pub fn ruleset_parameters(mut self, text: &str) -> Self {
        self.ruleset_parameters = text.into();
        self
    }

    /// Listens on a free TCP port instead of a unix stream socket.
    #[must_use]
    pub fn tcp_input(mut self) -> Self {
        self.has_tcp_input = true;
        self
    }

    /// Sets rsyslog's maxMessageSize (8 KiB by default), and the largest octet-counted frame with it.
    #[must_use]
    pub fn max_message_bytes(mut self, bytes: u64) -> Self {
        self.max_message_bytes = Some(bytes);
        self
    }

    /// Leaves rsyslog's default in place, which rewrites control bytes as `#` and octal digits.
    #[must_use]
    pub fn escaping_control_characters(mut self) -> Self {
        self.escapes_control_characters = true;
        self
    }

    /// Writes statistics every so many seconds; read them with [`Rsyslogd::statistics`](super::Rsyslogd::statistics).
    #[must_use]
    pub fn statistics(mut self, seconds: u32) -> Self {
        self.statistics_seconds = Some(seconds);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs rsyslogd by another program, such as valgrind with its options.
    #[must_use]
    pub fn wrapper(mut self, program_and_arguments: &[&str]) -> Self {
        self.wrapper = program_and_arguments.iter().map(ToString::to_string).collect();
        self
    }

    /// The whole configuration.
    pub(super) fn text(&self, folder: &Path, input: &Address) -> String {
        let folder = folder.display();
        let mut text =
            format!("global(workDirectory=\"{folder}/work\" processInternalMessages=\"on\"\n");
        text.push_str(
            "  internalmsg.ratelimit.interval=\"1\" internalmsg.ratelimit.burst=\"1000000\"",
        );
        let mut frame = String::new();
        if let Some(bytes) = self.max_message_bytes {
            write!(text, "\n  maxMessageSize=\"{bytes}\"").expect("write to a string");
            frame = format!(" maxFrameSize=\"{}\"", bytes.max(DEFAULT_FRAME_BYTES));
        }
        if !self.escapes_control_characters {
            text.push_str("\n  parser.escapeControlCharactersOnReceive=\"off\"");
        }
        text.push_str(")\nmodule(load=\"imptcp\")\n");
        if let Some(seconds) = self.statistics_seconds {
            writeln!(
                text,
                "module(load=\"impstats\" interval=\"{seconds}\" format=\"json\" log.syslog=\"off\" log.file=\"{folder}/stats\")"
            )
            .expect("write to a string");
        }
        if self.has_plugin {
            writeln!(text, "module(load=\"{}\")", plugin_path().display())
                .expect("write to a string");
        }
        text.push_str("template(name=\"raw\" type=\"string\" string=\"%rawmsg%\")\n");
        text.push_str("template(name=\"line\" type=\"string\" string=\"%rawmsg%\\n\")\n");
        writeln!(text, "main_queue({})", self.main_queue).expect("write to a string");
        text.push_str(&self.config);
        let place = match input {
            Address::Tcp(address) => {
                format!("address=\"{}\" port=\"{}\"", address.ip(), address.port())
            }
            Address::Unix(path) => format!("path=\"{}\"", path.display()),
        };
        write!(
            text,
            "input(type=\"imptcp\" {place}{frame} ruleset=\"input\")\nruleset(name=\"input\" {}) {{\n{}}}\n\
             action(type=\"omfile\" file=\"{folder}/own\")\n",
            self.ruleset_parameters, self.action
        )
        .expect("write to a string");
        text
    }
}
