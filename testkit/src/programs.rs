//! Where the servers, the rsyslogds and the plugin are found.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fmt};

/// Which server program to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// Redis 7.0, the machine's own on Debian 12.
    Redis70,
    /// Redis 8.0.
    Redis80,
    /// Valkey 8.1.
    Valkey81,
    /// Valkey 9.1 or newer.
    Valkey91,
}

impl Flavour {
    /// All of them: Redis, then Valkey, each oldest first.
    pub const ALL: [Flavour; 4] =
        [Flavour::Redis70, Flavour::Redis80, Flavour::Valkey81, Flavour::Valkey91];

    /// The server program.
    ///
    /// # Panics
    /// When it is not there; the message says what to run.
    pub fn program(self) -> PathBuf {
        match self {
            Flavour::Redis70 => present(PathBuf::from("/usr/bin/redis-server")),
            Flavour::Redis80 => present(suite("trixie-redis").join("bin/redis-server")),
            Flavour::Valkey81 => present(suite("trixie").join("bin/valkey-server")),
            Flavour::Valkey91 => present(suite("sid").join("bin/valkey-server")),
        }
    }
}

impl Flavour {
    /// Its command line client.
    ///
    /// # Panics
    /// When it is not there; the message says what to run.
    pub fn client(self) -> PathBuf {
        match self {
            Flavour::Redis70 => present(PathBuf::from("/usr/bin/redis-cli")),
            Flavour::Redis80 => present(suite("trixie-redis").join("bin/redis-cli")),
            Flavour::Valkey81 => present(suite("trixie").join("bin/valkey-cli")),
            Flavour::Valkey91 => present(suite("sid").join("bin/valkey-cli")),
        }
    }
}

impl Flavour {
    /// What mends its append-only file.
    ///
    /// # Panics
    /// When it is not there; the message says what to run.
    pub(crate) fn check_aof(self) -> PathBuf {
        match self {
            Flavour::Redis70 => present(PathBuf::from("/usr/bin/redis-check-aof")),
            Flavour::Redis80 => present(suite("trixie-redis").join("bin/redis-check-aof")),
            Flavour::Valkey81 => present(suite("trixie").join("bin/valkey-check-aof")),
            Flavour::Valkey91 => present(suite("sid").join("bin/valkey-check-aof")),
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavour::Redis70 => "Redis 7.0",
            Flavour::Redis80 => "Redis 8.0",
            Flavour::Valkey81 => "Valkey 8.1",
            Flavour::Valkey91 => "Valkey 9.1",
        })
    }
}

/// Which rsyslogd to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// 8.2302, of Debian 12.
    V8_2302,
    /// 8.2504, of Debian 13.
    V8_2504,
    /// 8.2610 or newer, of Debian sid: it puts an unfinished batch back into the queue when it stops.
    V8_2610,
}

const OWN_RSYSLOGD: &str = "/usr/sbin/rsyslogd";
const MODULES: &str = "usr/lib/x86_64-linux-gnu/rsyslog";

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Version; 3] = [Version::V8_2302, Version::V8_2504, Version::V8_2610];

    /// The version of the machine's own rsyslogd.
    ///
    /// # Panics
    /// When there is none, or it is a version the kit does not know.
    pub fn of_this_machine() -> Version {
        static OWN: OnceLock<Option<Version>> = OnceLock::new();
        let own = OWN.get_or_init(|| {
            let output =
                Command::new(present(PathBuf::from(OWN_RSYSLOGD))).arg("-v").output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let number: u32 = text.split("8.").nth(1)?.split('.').next()?.parse().ok()?;
            match number {
                2302 => Some(Version::V8_2302),
                2504 => Some(Version::V8_2504),
                2610.. => Some(Version::V8_2610),
                _ => None,
            }
        });
        own.unwrap_or_else(|| panic!("{OWN_RSYSLOGD} is none of the versions that the tests know"))
    }

    /// The program and the folder of its modules: the suite's, or the machine's own where it is this version.
    ///
    /// # Panics
    /// When it is not there; the message says what to run.
    pub fn program(self) -> (PathBuf, PathBuf) {
        let suite = suite(match self {
            Version::V8_2302 => "bookworm",
            Version::V8_2504 => "trixie",
            Version::V8_2610 => "sid",
        });
        let program = suite.join("bin/rsyslogd");
        if program.exists() {
            return (program, present(suite.join("root").join(MODULES)));
        }
        if Path::new(OWN_RSYSLOGD).exists() && Version::of_this_machine() == self {
            return (PathBuf::from(OWN_RSYSLOGD), present(Path::new("/").join(MODULES)));
        }
        (present(program), PathBuf::new())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V8_2302 => "rsyslogd 8.2302",
            Version::V8_2504 => "rsyslogd 8.2504",
            Version::V8_2610 => "rsyslogd 8.2610",
        })
    }
}

/// The plugin under test: what OMVALKEYAUDIT_SO names, else the library beside the running program
/// (cargo puts it there), else `target/release/omvalkeyaudit.so`.
///
/// # Panics
/// When there is none; the message says what to run.
pub fn plugin_path() -> PathBuf {
    find_plugin().expect("the plugin is not built: run `cargo build --release`")
}

/// One of rsyslog's own modules, of this version.
///
/// # Panics
/// When it is not there; the message says what to run.
pub fn module_path(version: Version, name: &str) -> PathBuf {
    present(version.program().1.join(format!("{name}.so")))
}

/// The audit source, a module of the audited server: what AUDITSOURCE_SO names, else the library beside the running
/// program, else `target/release/libauditsource.so`.
///
/// # Panics
/// When there is none; the message says what to run.
pub fn source_path() -> PathBuf {
    let path = find("AUDITSOURCE_SO", "libauditsource.so", &["libauditsource.so"]);
    path.expect("the audit source is not built: run `cargo build --release -p audit-source`")
}

/// `omvalkeyaudit-verify`, built beside the running program or in `target/release`.
///
/// # Panics
/// When there is none; the message says what to run.
pub fn verify_path() -> PathBuf {
    let path = find("OMVALKEYAUDIT_VERIFY", "omvalkeyaudit-verify", &["omvalkeyaudit-verify"]);
    path.expect("the checker is not built: run `cargo build --release -p omvalkeyaudit-verify`")
}

pub(crate) fn find_plugin() -> Option<PathBuf> {
    find("OMVALKEYAUDIT_SO", "libomvalkeyaudit.so", &["omvalkeyaudit.so", "libomvalkeyaudit.so"])
}

/// What the variable names, else `name` beside the running program or one folder above, else one of `released`.
fn find(variable: &str, name: &str, released: &[&str]) -> Option<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Some(absolute(&present(PathBuf::from(path))));
    }
    let program = env::current_exe().expect("the path of the running program");
    let beside = program.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let built = repository().join("target/release");
    let otherwise = released.iter().map(|name| built.join(name));
    beside.chain(otherwise).find(|path| path.exists()).map(|path| absolute(&path))
}

/// The module that stands in the plugin's place where a test looks at rsyslog's core alone; cargo puts it
/// beside the running test.
///
/// # Panics
/// When there is none.
pub fn probe_path() -> PathBuf {
    let found = find("OMVALKEYAUDIT_PROBE", "libprobe.so", &[]);
    found.expect("libprobe.so is not built: the test's package must depend on it")
}

/// The folder of a suite's programs, made by `make setup`.
fn suite(name: &str) -> PathBuf {
    let host = env::var_os("OMVALKEYAUDIT_HOST_DIR")
        .map_or_else(|| repository().join("target/host"), PathBuf::from);
    absolute(&host).join(name)
}

/// The folder that holds this package's.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the kit lies in the repository")
        .to_path_buf()
}

fn present(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is not there: run `make setup`", path.display());
    path
}

/// Absolute, with symbolic links left alone: a server's name on disk selects what it does.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).expect("an absolute path")
}
