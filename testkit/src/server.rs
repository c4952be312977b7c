//! A real Redis or Valkey server in a scratch folder.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use redis::{
    Client, Connection, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisResult,
};

use crate::aof;
use crate::certificates::Identity;
use crate::net::{Address, free_port};
use crate::process::{Process, in_words};
use crate::programs::Flavour;
use crate::scratch::Scratch;
use crate::wait::{poll, wait_until};

/// So often in a row a server may close a connection while it is made: sentinels have it close all of
/// them when its role changes.
const MAX_DROPPED_LOGINS: u32 = 5;

const START_DEADLINE: Duration = Duration::from_secs(20);
const STOP_DEADLINE: Duration = Duration::from_secs(20);
const REPLY_DEADLINE: Duration = Duration::from_secs(20);
/// So much longer everything may take under another program.
const PATIENCE: u32 = 6;
/// How often another port is tried when somebody took the one that was free.
const PORT_TRIES: u32 = 5;

/// What a server shall be; see [`Server::builder`].
#[derive(Debug, Clone)]
pub struct ServerBuilder {
    flavour: Flavour,
    has_unix: bool,
    has_tcp: bool,
    has_append_only: bool,
    tls: Option<Identity>,
    password: Option<String>,
    lines: Vec<String>,
    arguments: Vec<String>,
    wrapper: String,
}

impl ServerBuilder {
    /// Listens on a unix socket. This is what a server does when nothing is asked for.
    #[must_use]
    pub fn unix(mut self) -> Self {
        self.has_unix = true;
        self
    }

    /// Listens on a free TCP port of 127.0.0.1.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.has_tcp = true;
        self
    }

    /// Speaks TLS, and nothing else, on a free TCP port of 127.0.0.1 ([`Server::tcp_address`]), with this certificate;
    /// clients need none, unless `.config("tls-auth-clients yes")` says so. [`Server::connection`] and
    /// [`Server::address`] go by a unix socket then.
    #[must_use]
    pub fn tls(mut self, identity: &Identity) -> Self {
        self.tls = Some(identity.clone());
        self.tcp().unix()
    }

    /// Keeps its data over [`Server::stop`] and [`Server::kill`]: append-only file, fsync on every write.
    #[must_use]
    pub fn append_only(mut self) -> Self {
        self.has_append_only = true;
        self
    }

    /// Asks for a password of the default user; [`Server::connection`] gives it.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Adds an ACL user: what follows `user ` in the configuration, such as `audit on >secret ~* +@all`.
    #[must_use]
    pub fn acl_user(self, rules: &str) -> Self {
        self.config(&format!("user {rules}"))
    }

    /// Adds a line, or several, to the configuration; they win over the kit's own.
    #[must_use]
    pub fn config(mut self, lines: &str) -> Self {
        self.lines.push(lines.into());
        self
    }

    /// Makes it a sentinel, with these lines in its configuration.
    #[must_use]
    pub(crate) fn sentinel(self, lines: &str) -> Self {
        self.argument("--sentinel").config(lines)
    }

    /// Adds an argument to the command line.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Runs it by another program, such as valgrind with its options, none of which may hold a blank. It has more time then to
    /// start and to stop. For the servers of other suites only.
    #[must_use]
    pub fn wrapper(mut self, program_and_arguments: &[&str]) -> Self {
        self.wrapper = program_and_arguments.join(" ");
        self
    }

    /// Starts it in a folder of its own in `scratch` and waits for its PONG.
    ///
    /// # Panics
    /// When it does not come up; the message has its log.
    pub fn start(self, scratch: &Scratch) -> Server {
        let folder = scratch.new_folder("server");
        let has_unix = self.has_unix || !self.has_tcp;
        let unix = has_unix.then(|| folder.join("sock"));
        for left in (0..PORT_TRIES).rev() {
            let port = self.has_tcp.then(free_port);
            let server = Server {
                flavour: self.flavour,
                folder: folder.clone(),
                unix: unix.clone(),
                port,
                password: self.password.clone(),
                arguments: self.arguments.clone(),
                wrapper: self.wrapper.clone(),
                process: Mutex::new(None),
            };
            server.write_config(&self);
            match server.try_start() {
                Ok(()) => return server,
                Err(e) if left > 0 && e.contains("Address already in use") => {}
                Err(e) => panic!("{e}"),
            }
        }
        panic!("{} found {PORT_TRIES} times no free port", self.flavour);
    }
}

/// A running, or for a while stopped, server. It ends on drop.
#[derive(Debug)]
pub struct Server {
    flavour: Flavour,
    folder: PathBuf,
    unix: Option<PathBuf>,
    port: Option<u16>,
    password: Option<String>,
    arguments: Vec<String>,
    wrapper: String,
    process: Mutex<Option<Process>>,
}

impl Server {
    /// Describes a server: without further words one on a unix socket that keeps nothing on disk.
    pub fn builder(flavour: Flavour) -> ServerBuilder {
        ServerBuilder {
            flavour,
            has_unix: false,
            has_tcp: false,
            has_append_only: false,
            tls: None,
            password: None,
            lines: Vec::new(),
            arguments: Vec::new(),
            wrapper: String::new(),
        }
    }

    /// Which program it is.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// Where it listens: the unix socket where it has one, else the TCP address.
    pub fn address(&self) -> Address {
        match &self.unix {
            Some(path) => Address::Unix(path.clone()),
            None => self.tcp_address(),
        }
    }

    /// Its TCP address.
    ///
    /// # Panics
    /// When it was not built with [`ServerBuilder::tcp`].
    pub fn tcp_address(&self) -> Address {
        Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port())))
    }

    /// Its TCP port.
    ///
    /// # Panics
    /// When it was not built with [`ServerBuilder::tcp`].
    pub fn port(&self) -> u16 {
        self.port.expect("this server has no TCP port: build it with .tcp()")
    }

    /// Its folder: data, configuration and log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts it again after [`stop`](Self::stop) or [`kill`](Self::kill): same address, same folder. What a kill has torn
    /// in its append-only file is mended before.
    ///
    /// # Panics
    /// When it runs, or does not come up.
    pub fn start(&self) {
        assert!(self.process().is_none(), "{} runs already", self.flavour);
        aof::mend(self.flavour, &self.folder);
        if let Err(e) = self.try_start() {
            panic!("{e}");
        }
    }

    /// [`stop`](Self::stop) and [`start`](Self::start).
    pub fn restart(&self) {
        self.stop();
        self.start();
    }

    /// SIGTERM, and waits for the end. Only a server with [`ServerBuilder::append_only`] has its data afterwards.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub fn stop(&self) -> ExitStatus {
        let process = self.take_process();
        process.terminate();
        let deadline = self.patient(STOP_DEADLINE);
        let status = process.wait(deadline);
        status.unwrap_or_else(|| {
            panic!("{} did not stop within {deadline:?}:\n{}", self.flavour, self.log())
        })
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self) {
        self.take_process().kill();
    }

    /// SIGSTOP: it keeps its connections, the kernel still accepts new ones, and nothing is answered.
    pub fn pause(&self) {
        self.with_process(Process::pause);
    }

    /// SIGCONT after [`pause`](Self::pause).
    pub fn cont(&self) {
        self.with_process(Process::cont);
    }

    /// False after [`stop`](Self::stop) and [`kill`](Self::kill).
    pub fn is_running(&self) -> bool {
        self.process().is_some()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.with_process(Process::pid)
    }

    /// Processor time used so far, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.with_process(Process::cpu_seconds)
    }

    /// Its resident memory now, in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.with_process(Process::rss_kib)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// A new connection as the default user, with its password; every read and write has a deadline.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn connection(&self) -> Connection {
        let mut connection = self.try_connection(None);
        for _ in 0..MAX_DROPPED_LOGINS {
            if !connection.as_ref().is_err_and(redis::RedisError::is_connection_dropped) {
                break;
            }
            connection = self.try_connection(None);
        }
        connection.unwrap_or_else(|e| panic!("connect to {}: {e}\n{}", self.flavour, self.log()))
    }

    /// A new connection as an ACL user.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn connection_as(&self, user: &str, password: &str) -> Connection {
        let connection = self.try_connection(Some((user, password)));
        connection.unwrap_or_else(|e| panic!("connect to {} as {user}: {e}", self.flavour))
    }

    fn try_connection(&self, user: Option<(&str, &str)>) -> RedisResult<Connection> {
        let address = match (&self.unix, self.port) {
            (Some(path), _) => ConnectionAddr::Unix(path.clone()),
            (None, Some(port)) => ConnectionAddr::Tcp("127.0.0.1".into(), port),
            (None, None) => unreachable!("a server listens somewhere"),
        };
        let mut login = RedisConnectionInfo::default();
        if let Some((user, password)) = user {
            login = login.set_username(user).set_password(password);
        } else if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        let client = Client::open(address.into_connection_info()?.set_redis_settings(login))?;
        let connection = client.get_connection_with_timeout(REPLY_DEADLINE)?;
        connection.set_read_timeout(Some(REPLY_DEADLINE))?;
        connection.set_write_timeout(Some(REPLY_DEADLINE))?;
        Ok(connection)
    }

    /// Waits until a stream has this many entries.
    ///
    /// # Panics
    /// When `deadline` passes.
    #[track_caller]
    pub fn wait_entries(&self, key: &str, count: u64, deadline: Duration) {
        let mut connection = self.connection();
        let mut last = 0;
        let is_there = poll(deadline, || {
            last = redis::cmd("XLEN").arg(key).query(&mut connection).expect("XLEN");
            (last >= count).then_some(())
        });
        assert!(
            is_there.is_some(),
            "waited {deadline:?} for {count} entries of {key}, there are {last}"
        );
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        // A test that panicked while it asked for the pid leaves nothing half done.
        self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn take_process(&self) -> Process {
        self.process().take().unwrap_or_else(|| panic!("{} does not run", self.flavour))
    }

    fn with_process<T>(&self, ask: impl FnOnce(&Process) -> T) -> T {
        ask(self.process().as_ref().unwrap_or_else(|| panic!("{} does not run", self.flavour)))
    }

    fn patient(&self, deadline: Duration) -> Duration {
        if self.wrapper.is_empty() { deadline } else { deadline * PATIENCE }
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn write_config(&self, wish: &ServerBuilder) {
        let folder = self.folder.display();
        let port = self.port.unwrap_or(0);
        let mut text = format!("dir {folder}\nlogfile {folder}/log\nbind 127.0.0.1\n");
        match &wish.tls {
            None => writeln!(text, "port {port}"),
            Some(Identity { certificate, key, authority }) => writeln!(
                text,
                "port 0\ntls-port {port}\ntls-auth-clients no\ntls-cert-file {}\ntls-key-file {}\n\
                 tls-ca-cert-file {}",
                certificate.display(),
                key.display(),
                authority.display()
            ),
        }
        .expect("write to a string");
        // A snapshot would put a fork into measurements, and a slow replica must not delay the stop.
        text.push_str("daemonize no\nsave \"\"\nshutdown-timeout 1\n");
        if let Some(path) = &self.unix {
            writeln!(text, "unixsocket {}\nunixsocketperm 700", path.display())
                .expect("write to a string");
        }
        if wish.has_append_only {
            text.push_str("appendonly yes\nappendfsync always\n");
        }
        if let Some(password) = &self.password {
            writeln!(text, "requirepass {password}").expect("write to a string");
        }
        for line in &wish.lines {
            writeln!(text, "{line}").expect("write to a string");
        }
        fs::write(self.folder.join("conf"), text).expect("write the server's configuration");
    }

    /// Starts the program and waits until it answers and has its data.
    fn try_start(&self) -> Result<(), String> {
        let mut command = Command::new(self.flavour.program());
        command.arg(self.folder.join("conf")).args(&self.arguments);
        if !self.wrapper.is_empty() {
            command.env("RUN_UNDER", &self.wrapper);
        }
        let process = Process::spawn(&mut command, &self.folder.join("output"));
        let deadline = self.patient(START_DEADLINE);
        let answered = poll(deadline, || {
            if let Some(status) = process.ended() {
                return Some(Err(format!("ended with {}", in_words(status))));
            }
            let mut connection = self.try_connection(None).ok()?;
            // LOADING is an error here, and the wait goes on.
            let pong: String = redis::cmd("PING").query(&mut connection).ok()?;
            (pong == "PONG").then_some(Ok(()))
        });
        let outcome =
            answered.unwrap_or_else(|| Err(format!("did not answer within {deadline:?}")));
        match outcome {
            Ok(()) => {
                *self.process() = Some(process);
                Ok(())
            }
            Err(e) => {
                let output = fs::read_to_string(self.folder.join("output")).unwrap_or_default();
                Err(format!("{} {e}:\n{output}{}", self.flavour, self.log()))
            }
        }
    }

    /// Waits until the log has `text`.
    ///
    /// # Panics
    /// When `deadline` passes.
    #[track_caller]
    pub fn wait_log(&self, text: &str, deadline: Duration) {
        wait_until(&format!("{text:?} in the log of {}", self.flavour), deadline, || {
            self.log().contains(text)
        });
    }
}
