//! A real rsyslogd in a scratch folder, with an imptcp input in front of the action under test.
//!
//! # What an action sees of a record
//!
//! Measured on 8.2302, 8.2504 and 8.2610, which agree. A bare JSON object on a line, without a syslog header, passes
//! rsyslog's parsers untouched: `%msg%` and `%rawmsg%` are both the line, there is no tag, no blank is put before it.
//! The two differ as soon as a line does not begin with `{` or `[`:
//!
//! | sent | `%msg%` | `%rawmsg%` |
//! | --- | --- | --- |
//! | `{"a": 1}`, `[1, 2]`, ` {"a": 1}` | as sent | as sent |
//! | `<30>{"a": 1}` | `{"a": 1}` | as sent |
//! | `<157>Nov 22 02:57:14 app[6]: {"a": 1}` | ` {"a": 1}`, with the blank | as sent |
//! | `<157>1 2026-11-22T02:57:14Z host app 1 - - {"a": 1}` | `{"a": 1}` | as sent |
//! | `@cee: {"a": 1}` | ` {"a": 1}`: the cookie became the tag | as sent |
//! | `"text"`, `null`, `abc` | empty: taken for a tag or a host name | as sent |
//! | a byte order mark and `{"a":1}` | `1}`: up to the colon it became the tag | as sent |
//!
//! So `%rawmsg%` is right for a source that sends records without a header (it also keeps a broken record whole for
//! the dead letter), and `%msg%` for one that sends syslog. Before either is made, and in both of them:
//!
//! - a control byte becomes `#` and three octal digits (a line feed `#012`, the carriage return of a CR LF line
//!   `#015`), which breaks the JSON, unless `global(parser.escapeControlCharactersOnReceive="off")` is set. The kit
//!   sets it; a NUL becomes `#000` even then. Bytes from 0x7f on, and invalid UTF-8, pass as they are.
//! - one line feed or NUL at the end of a frame is taken off; trailing blanks stay.
//! - a record longer than maxMessageSize is cut (octet-counted frame), split (line), or, in 8.2302, repeated once for
//!   every byte too many (line).

mod config;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub use config::RsyslogdBuilder;
use serde_json::Value;

use crate::net::{Address, free_port};
use crate::process::{Process, in_words};
use crate::programs::{Version, find_plugin};
use crate::scratch::Scratch;
use crate::sender::Sender;
use crate::wait::{poll, wait_for, wait_until};

const START_DEADLINE: Duration = Duration::from_secs(20);
const STOP_DEADLINE: Duration = Duration::from_secs(60);
const LOG_DEADLINE: Duration = Duration::from_secs(20);

impl RsyslogdBuilder {
    /// Starts it in a folder of its own in `scratch` and waits until its input accepts.
    ///
    /// # Panics
    /// When it does not come up; the message has its log.
    pub fn start(self, scratch: &Scratch) -> Rsyslogd {
        let rsyslogd = self.prepare(scratch);
        rsyslogd.start();
        rsyslogd
    }

    /// Runs `rsyslogd -N1` on the configuration that [`start`](Self::start) would run with.
    pub fn check(self, scratch: &Scratch) -> Check {
        let rsyslogd = self.prepare(scratch);
        check_with(rsyslogd.builder.version, &rsyslogd.config_path(), &rsyslogd.folder)
    }

    fn prepare(self, scratch: &Scratch) -> Rsyslogd {
        let folder = scratch.new_folder("rsyslogd");
        let input = if self.has_tcp_input {
            Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())))
        } else {
            Address::Unix(folder.join("in"))
        };
        fs::create_dir(folder.join("work")).expect("make rsyslogd's work folder");
        fs::write(folder.join("conf"), self.text(&folder, &input))
            .expect("write rsyslogd's configuration");
        Rsyslogd { builder: self, folder, input, process: Mutex::new(None) }
    }
}

/// A running, or for a while stopped, rsyslogd. It ends on drop.
#[derive(Debug)]
pub struct Rsyslogd {
    builder: RsyslogdBuilder,
    folder: PathBuf,
    input: Address,
    process: Mutex<Option<Process>>,
}

/// How a stopped rsyslogd ended.
#[derive(Debug, Clone, Copy)]
pub struct Stopped {
    /// From the signal to the end.
    pub took: Duration,
    /// The exit status.
    pub status: ExitStatus,
}

/// What `rsyslogd -N1` says about a configuration.
#[derive(Debug, Clone)]
pub struct Check {
    /// 0 when the configuration is fine.
    pub status: ExitStatus,
    /// Standard output and error.
    pub output: String,
}

impl Rsyslogd {
    /// Describes an rsyslogd: the plugin loaded, a unix stream socket as input, the ruleset empty.
    pub fn builder(version: Version) -> RsyslogdBuilder {
        RsyslogdBuilder::new(version)
    }

    /// Starts it again after [`stop`](Self::stop) or [`kill`](Self::kill): same configuration, same work folder.
    ///
    /// # Panics
    /// When it runs, or does not come up.
    pub fn start(&self) {
        assert!(self.process().is_none(), "{} runs already", self.builder.version);
        let (program, modules) = self.builder.version.program();
        let mut words = self.builder.wrapper.iter().map(PathBuf::from).chain([program]);
        let mut command = Command::new(words.next().expect("a program"));
        command
            .args(words)
            .arg("-n")
            .arg("-f")
            .arg(self.config_path())
            .arg("-i")
            .arg(self.folder.join("pid"));
        command.arg("-M").arg(module_folders(&modules, &self.folder));
        command.envs(self.builder.environment.iter().map(|(name, value)| (name, value)));
        // A killed one leaves its socket, on which nobody would accept, and its pid file.
        if let Address::Unix(path) = &self.input {
            let _ = fs::remove_file(path);
        }
        let _ = fs::remove_file(self.folder.join("pid"));
        let process = Process::spawn(&mut command, &self.folder.join("output"));
        let accepts = poll(START_DEADLINE, || {
            if let Some(status) = process.ended() {
                return Some(Err(format!("ended with {}", in_words(status))));
            }
            self.input.connect().ok().map(|_| Ok(()))
        });
        match accepts {
            Some(Ok(())) => *self.process() = Some(process),
            Some(Err(e)) => panic!("{} {e}:\n{}", self.builder.version, self.log()),
            None => panic!(
                "{} did not accept within {START_DEADLINE:?}:\n{}",
                self.builder.version,
                self.log()
            ),
        }
    }

    /// [`stop`](Self::stop) and [`start`](Self::start).
    pub fn restart(&self) {
        self.stop();
        self.start();
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When it does not run, or does not end within a minute; the message has its log.
    pub fn stop(&self) -> Stopped {
        let Some(stopped) = self.stop_within(STOP_DEADLINE) else {
            panic!(
                "{} did not stop within {STOP_DEADLINE:?}:\n{}",
                self.builder.version,
                self.log()
            )
        };
        stopped
    }

    /// As [`stop`](Self::stop); when the deadline passes, it is killed, and there is no result.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop_within(&self, deadline: Duration) -> Option<Stopped> {
        let process = self.take_process();
        let begin = Instant::now();
        process.terminate();
        let status = process.wait(deadline)?;
        Some(Stopped { took: begin.elapsed(), status })
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self) {
        self.take_process().kill();
    }

    /// SIGHUP.
    pub fn hup(&self) {
        self.with_process(Process::hang_up);
    }

    /// How it ended of itself, or `None` while it runs.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.with_process(Process::ended)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.with_process(Process::pid)
    }

    /// Processor time used so far, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.with_process(Process::cpu_seconds)
    }

    /// The most resident memory it has had, in KiB.
    pub fn peak_rss_kib(&self) -> u64 {
        self.with_process(Process::peak_rss_kib)
    }

    /// Asks the process itself: memory, threads, open files.
    ///
    /// # Panics
    /// When it does not run.
    pub fn with_process<T>(&self, ask: impl FnOnce(&Process) -> T) -> T {
        ask(self
            .process()
            .as_ref()
            .unwrap_or_else(|| panic!("{} does not run", self.builder.version)))
    }

    /// Where its input listens.
    pub fn input(&self) -> &Address {
        &self.input
    }

    /// Its folder: configuration, log and, in `work`, queue files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Connects to the input.
    ///
    /// # Panics
    /// When it does not accept.
    pub fn sender(&self) -> Sender {
        Sender::connect(&self.input).unwrap_or_else(|e| panic!("connect to {}: {e}", self.input))
    }

    /// Sends each record as a line over a connection of its own, and waits until rsyslogd has them in its queue.
    ///
    /// # Panics
    /// When rsyslogd goes away meanwhile, or its queue stays full for a minute.
    pub fn send<R: AsRef<[u8]>>(&self, records: impl IntoIterator<Item = R>) {
        let mut sender = self.sender();
        for record in records {
            sender.line(record).expect("rsyslogd reads");
        }
        sender.finish().expect("rsyslogd reads");
    }

    /// What rsyslogd and its modules have said: its own messages, standard output and error.
    pub fn log(&self) -> String {
        let texts =
            ["own", "output"].map(|name| fs::read(self.folder.join(name)).unwrap_or_default());
        String::from_utf8_lossy(&texts.concat()).into_owned()
    }

    /// Waits until the log has `text`.
    ///
    /// # Panics
    /// When 20 seconds pass; the message has the log.
    #[track_caller]
    pub fn wait_log(&self, text: &str) {
        let found = poll(LOG_DEADLINE, || self.log().contains(text).then_some(()));
        assert!(
            found.is_some(),
            "waited {LOG_DEADLINE:?} in vain for {text:?} in the log:\n{}",
            self.log()
        );
    }

    /// The newest statistics of the object whose name this is (an action's `name`, `action-name queue`, a plugin's
    /// `statsname`), as impstats wrote them; `None` before the first.
    ///
    /// # Panics
    /// When it was not built with [`RsyslogdBuilder::statistics`].
    pub fn statistics(&self, name: &str) -> Option<Value> {
        assert!(
            self.builder.statistics_seconds.is_some(),
            "build this rsyslogd with .statistics(seconds)"
        );
        let text = fs::read_to_string(self.folder.join("stats")).unwrap_or_default();
        // The last line may be half written: it is no JSON then.
        let objects = text
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str::<Value>(&line[line.find('{')?..]).ok());
        objects.into_iter().find(|object| object["name"] == name)
    }

    /// A counter of the newest statistics; `None` before the first, or when the object has no such counter.
    /// (An action's own `processed` counts what was put into the action's queue, where it has one.)
    pub fn counter(&self, object: &str, counter: &str) -> Option<u64> {
        self.statistics(object)?.get(counter)?.as_u64()
    }

    /// Waits until a counter is at least `value`, and gives it.
    ///
    /// # Panics
    /// When `deadline` passes.
    #[track_caller]
    pub fn wait_counter(&self, object: &str, counter: &str, value: u64, deadline: Duration) -> u64 {
        let what = format!("{counter} of {object} to reach {value}");
        wait_for(&what, deadline, || self.counter(object, counter).filter(|now| *now >= value))
    }

    /// Waits until it has ended of itself.
    ///
    /// # Panics
    /// When `deadline` passes.
    #[track_caller]
    pub fn wait_end(&self, deadline: Duration) {
        wait_until("rsyslogd to end", deadline, || self.ended().is_some());
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        // A test that panicked while it asked for the pid leaves nothing half done.
        self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn take_process(&self) -> Process {
        self.process().take().unwrap_or_else(|| panic!("{} does not run", self.builder.version))
    }

    fn config_path(&self) -> PathBuf {
        self.folder.join("conf")
    }
}

/// Runs `rsyslogd -N1` on a configuration file. It may load the plugin by its name, `omvalkeyaudit`.
pub fn check_config(version: Version, config: &Path, scratch: &Scratch) -> Check {
    check_with(version, config, &scratch.new_folder("check"))
}

fn check_with(version: Version, config: &Path, folder: &Path) -> Check {
    let (program, modules) = version.program();
    let mut command = Command::new(&program);
    command.arg("-N1").arg("-f").arg(config).arg("-M").arg(module_folders(&modules, folder));
    let output = command.output().unwrap_or_else(|e| panic!("run {}: {e}", program.display()));
    let text = [output.stdout, output.stderr].concat();
    Check { status: output.status, output: String::from_utf8_lossy(&text).into_owned() }
}

/// What `-M` takes: rsyslog's modules, and a folder where the plugin has the name that `module(load=...)` looks for.
fn module_folders(modules: &Path, folder: &Path) -> String {
    let own = folder.join("modules");
    if fs::create_dir(&own).is_ok()
        && let Some(plugin) = find_plugin()
    {
        symlink(plugin, own.join("omvalkeyaudit.so")).expect("link the plugin");
    }
    format!("{}:{}", modules.display(), own.display())
}
