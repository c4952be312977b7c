//! The target of a test: a unix stream socket that keeps every byte it gets.

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use testkit::{poll, wait_until};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct State {
    bytes: Mutex<Vec<u8>>,
    connection: Mutex<Option<UnixStream>>,
    is_reading: AtomicBool,
    shall_end: AtomicBool,
}

/// Listens until it is dropped; what came over several connections stands one after the other, each
/// beginning with a new line.
pub(crate) struct Collector {
    path: PathBuf,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    pub(crate) fn listen(path: &Path) -> Collector {
        let state = Arc::new(State::default());
        state.is_reading.store(true, Ordering::Relaxed);
        let mut collector = Collector { path: path.to_owned(), state, thread: None };
        collector.open();
        collector
    }

    /// Accepts connections, again after [`close`](Self::close).
    pub(crate) fn open(&mut self) {
        let listener = UnixListener::bind(&self.path).expect("bind the target");
        listener.set_nonblocking(true).expect("a listener that does not wait");
        self.state.shall_end.store(false, Ordering::Relaxed);
        let state = Arc::clone(&self.state);
        self.thread = Some(thread::spawn(move || run(&listener, &state)));
    }

    /// Stops listening and closes the connection; what was not read is gone.
    pub(crate) fn close(&mut self) {
        self.state.shall_end.store(true, Ordering::Relaxed);
        if let Some(stream) = &*self.state.connection.lock().unwrap() {
            // The server may have closed it already.
            drop(stream.shutdown(Shutdown::Both));
        }
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the collector's thread");
        }
        drop(std::fs::remove_file(&self.path));
    }

    /// Leaves what comes in the socket, or reads it again.
    pub(crate) fn read(&self, is_reading: bool) {
        self.state.is_reading.store(is_reading, Ordering::Relaxed);
    }

    /// Everything that came.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state.bytes.lock().unwrap().clone()
    }

    /// Forgets what came.
    pub(crate) fn clear(&self) {
        self.state.bytes.lock().unwrap().clear();
    }

    /// Every whole line, read as JSON.
    pub(crate) fn records(&self) -> Vec<Value> {
        let bytes = self.bytes();
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = bytes[..end].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let read = |line: &[u8]| {
            serde_json::from_slice(line).unwrap_or_else(|e| {
                panic!("no JSON: {e}: {}", String::from_utf8_lossy(&line[..line.len().min(400)]))
            })
        };
        lines.map(read).collect()
    }

    /// Waits for a record, and gives all that came until then.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
        let found = poll(DEADLINE, || {
            let records = self.records();
            let end = records.iter().position(&is_it)?;
            Some(records[..=end].to_vec())
        });
        found.unwrap_or_else(|| {
            panic!("waited in vain for {what}; the last: {:?}", self.records().last())
        })
    }

    /// Waits for a record with this first and this last argument.
    #[track_caller]
    pub(crate) fn wait_argv(&self, first: &str, last: &str) -> Vec<Value> {
        self.wait(&format!("{first} {last}"), |record| {
            let argv = record["argv"].as_array();
            argv.is_some_and(|argv| argv[0] == first && argv[argv.len() - 1] == last)
        })
    }

    /// Waits until there is a connection.
    #[track_caller]
    pub(crate) fn wait_connection(&self) {
        wait_until("a connection to the target", DEADLINE, || {
            self.state.connection.lock().unwrap().is_some()
        });
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.close();
    }
}

fn run(listener: &UnixListener, state: &State) {
    let ends = || state.shall_end.load(Ordering::Relaxed);
    while !ends() {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                thread::park_timeout(Duration::from_millis(5));
                continue;
            }
            Err(e) => panic!("accept: {e}"),
        };
        stream.set_nonblocking(false).expect("a stream that waits");
        stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a deadline");
        *state.connection.lock().unwrap() = Some(stream.try_clone().expect("a second handle"));
        copy(stream, state, ends);
        *state.connection.lock().unwrap() = None;
    }
}

fn copy(mut stream: UnixStream, state: &State, ends: impl Fn() -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    while !ends() {
        if !state.is_reading.load(Ordering::Relaxed) {
            thread::park_timeout(Duration::from_millis(2));
            continue;
        }
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => state.bytes.lock().unwrap().extend_from_slice(&buffer[..count]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    // A record that the end cut is not read as the beginning of the next one.
    let mut bytes = state.bytes.lock().unwrap();
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    bytes.truncate(end);
}
