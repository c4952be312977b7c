//! A child process: signals, deadlines and what /proc says about it.

use std::fs::{self, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::poll;

/// A process that the kit started; killed by its id on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    child: Mutex<Child>,
}

impl Process {
    /// Starts `command` with its output appended to the file `output`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn spawn(command: &mut Command, output: &Path) -> Process {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = OpenOptions::new().create(true).append(true).open(output);
        let file = file.unwrap_or_else(|e| panic!("open {}: {e}", output.display()));
        let twin = file.try_clone().expect("duplicate a file descriptor");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(twin).spawn();
        let child = child.unwrap_or_else(|e| panic!("start {name}: {e}; run `make setup`"));
        Process { name, pid: child.id(), child: Mutex::new(child) }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child
            .lock()
            .expect("no panic under the lock")
            .try_wait()
            .expect("ask for a child's status")
    }

    /// Waits until it has ended; `None` when `deadline` has passed.
    pub fn wait(&self, deadline: Duration) -> Option<ExitStatus> {
        poll(deadline, || self.ended())
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Sends SIGSTOP: it stops working and keeps its sockets.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Sends SIGCONT.
    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&self) -> ExitStatus {
        let mut child = self.child.lock().expect("no panic under the lock");
        // An error says that it has ended already, which is what is wanted.
        let _ = child.kill();
        child.wait().expect("wait for a killed child")
    }

    fn signal(&self, signal: Signal) {
        // The child is not reaped before this look, so the id cannot be another process's.
        assert!(self.ended().is_none(), "{} has ended; no signal can be sent", self.name);
        let pid = Pid::from_raw(self.pid.try_into().expect("a process id"))
            .expect("a process id is not 0");
        kill_process(pid, signal).unwrap_or_else(|e| panic!("signal to {}: {e}", self.name));
    }

    /// Processor time used so far, user and system, in seconds; the kernel counts in hundredths.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = self.proc_file("stat");
        // The second field is the name in brackets, which may hold blanks.
        let fields: Vec<&str> =
            stat[stat.rfind(')').expect("a name in stat") + 1..].split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<u64>().expect("a number in stat");
        (ticks(11) + ticks(12)) as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// The most resident memory it has had, in KiB.
    pub fn peak_rss_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Its resident memory now, in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Its threads now.
    pub fn threads(&self) -> u64 {
        self.status("Threads:")
    }

    /// Its open file descriptors now.
    pub fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.pid);
        fs::read_dir(&folder)
            .unwrap_or_else(|e| panic!("read {folder} of {}: {e}", self.name))
            .count()
    }

    fn status(&self, key: &str) -> u64 {
        let status = self.proc_file("status");
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let line = line.unwrap_or_else(|| panic!("no {key} for {}; has it ended?", self.name));
        line.split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
            .expect("a number in status")
    }

    fn proc_file(&self, name: &str) -> String {
        let path = format!("/proc/{}/{name}", self.pid);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {path} of {}: {e}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An end status in words: "exit status 0", "signal 11".
pub(crate) fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".into(),
    }
}
