//! Count and time of the calls that rsyslog's core makes into an output module, taken at the seam by a module around
//! the module (clock.c): any module, under full load, without a debug log.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::rsyslogd::RsyslogdBuilder;
use crate::scratch::Scratch;

const SOURCE: &str = include_str!("clock.c");

// Places in the file; clock.c writes them.
const CALLS: usize = 5;
const RECORD: usize = 1;
const END: usize = 2;
const RESUME: usize = 4;
const SUSPENDED: usize = 5;
const LONGEST: usize = 6;
const ENTERED: usize = 7;
const NUMBERS: usize = ENTERED + 64;

/// Reads what the clock around an rsyslogd's module shows. The sums go on over restarts of rsyslogd.
#[derive(Debug)]
pub struct CallClock {
    module: PathBuf,
    clock: PathBuf,
    file: PathBuf,
}

/// What a clock showed at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calls {
    numbers: Vec<u64>,
}

impl CallClock {
    /// Builds a clock for the module at this path.
    ///
    /// # Panics
    /// When there is no C compiler, or it fails.
    pub fn new(scratch: &Scratch, module: &Path) -> CallClock {
        let source = scratch.write("clock.c", SOURCE);
        let clock = scratch.join("clock.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&clock)
            .arg(source)
            .output()
            .unwrap_or_else(|e| panic!("run cc: {e}; run `make setup`"));
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let file = scratch.write("clock", vec![0; NUMBERS * size_of::<u64>()]);
        CallClock { module: module.to_path_buf(), clock, file }
    }

    /// Lets an rsyslogd load the clock, and the module in it, in place of the plugin.
    #[must_use]
    pub fn around(&self, builder: RsyslogdBuilder) -> RsyslogdBuilder {
        builder
            .without_plugin()
            .config(&format!("module(load=\"{}\")", self.clock.display()))
            .environment("CLOCKED_MODULE", &self.module.display().to_string())
            .environment("CLOCK_FILE", &self.file.display().to_string())
    }

    /// What it shows now.
    ///
    /// # Panics
    /// When its file is gone.
    pub fn read(&self) -> Calls {
        let bytes = fs::read(&self.file).expect("read the clock's file");
        let number = |eight: &[u8]| u64::from_ne_bytes(eight.try_into().expect("eight bytes"));
        Calls { numbers: bytes.chunks_exact(size_of::<u64>()).map(number).collect() }
    }
}

impl Calls {
    /// Calls that have returned, of any kind.
    pub fn all(&self) -> u64 {
        self.numbers[..CALLS].iter().sum()
    }

    /// Calls of doAction: records handed over, replays included.
    pub fn records(&self) -> u64 {
        self.numbers[RECORD]
    }

    /// Calls of endTransaction.
    pub fn ends(&self) -> u64 {
        self.numbers[END]
    }

    /// Calls of tryResume.
    pub fn resumes(&self) -> u64 {
        self.numbers[RESUME]
    }

    /// Calls that returned RS_RET_SUSPENDED.
    pub fn suspended(&self) -> u64 {
        self.numbers[SUSPENDED]
    }

    /// Whether a thread is in a call that can reach the server, or was when rsyslogd was killed.
    pub fn is_in_call(&self) -> bool {
        self.numbers[ENTERED..].iter().any(|entered| *entered > 0)
    }

    /// The longest call, one that has not returned included.
    pub fn longest(&self) -> Duration {
        let now = clock_gettime(ClockId::Monotonic);
        let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        let open = self.numbers[ENTERED..].iter().filter(|entered| **entered > 0);
        let open = open.map(|entered| now.saturating_sub(*entered)).max().unwrap_or(0);
        Duration::from_nanos(open.max(self.numbers[LONGEST]))
    }
}
