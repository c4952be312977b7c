//! The part of rsyslog's core: owns the records' buffers, makes the calls, replays after SUSPENDED.

use omvalkeyaudit::error::Verdict;
use omvalkeyaudit::params::{Retries, Settings, Values};
use omvalkeyaudit::worker::{Action, AtStop, Log, Severity, Worker};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::{Count, Server, entries, numbers, record, wait_until};

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Collects the log. Leaked, because workers borrow it for as long as they live.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<String>>);

impl Log for Lines {
    fn line(&self, _: Severity, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

impl Lines {
    /// All lines so far.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    /// How many lines have `text`.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }
}

/// A worker and the core that calls it.
pub(crate) struct Core {
    pub(crate) worker: Worker<'static>,
    pub(crate) action: Arc<Action>,
    pub(crate) log: &'static Lines,
    /// The buffers of the batch at hand; reused by the next one, as the core does it.
    buffers: Vec<String>,
    keys: Vec<String>,
    /// The verdicts of all `doAction` and `endTransaction` calls since the last look.
    pub(crate) verdicts: Vec<Verdict>,
    /// The longest call.
    pub(crate) longest: Duration,
}

impl Core {
    /// A worker of an action named `test` with these parameters, and short deadlines where none
    /// are given.
    pub(crate) fn new(server: &impl std::fmt::Display, parameters: &[(&str, &str)]) -> Self {
        Self::that(AtStop::Drops, Retries::Forever, server, parameters)
    }

    /// The same under a core that does this with the batch at hand when it is stopped, and tries so
    /// often before.
    pub(crate) fn that(
        at_stop: AtStop,
        retries: Retries,
        server: &impl std::fmt::Display,
        parameters: &[(&str, &str)],
    ) -> Self {
        let mut values = Values::default();
        let server = server.to_string();
        let defaults =
            [("server", server.as_str()), ("timeout.connect", "3000"), ("timeout.commit", "5000")];
        for (name, value) in defaults {
            if !parameters.iter().any(|(given, _)| *given == name) {
                values.add(name, value.as_bytes());
            }
        }
        for (name, value) in parameters {
            values.add(name, value.as_bytes());
        }
        let settings = Settings::from_values(&values).expect("good parameters");
        let action = Action::new("test".to_owned(), settings, retries);
        Self::worker_of(Arc::new(action.expect("an action").under(at_stop)))
    }

    /// One more worker of an action.
    pub(crate) fn worker_of(action: Arc<Action>) -> Self {
        let log: &'static Lines = Box::leak(Box::default());
        Self {
            worker: Worker::new(Arc::clone(&action), log),
            action,
            log,
            buffers: Vec::new(),
            keys: Vec::new(),
            verdicts: Vec::new(),
            longest: Duration::ZERO,
        }
    }

    /// The worker ends, and the action too where it was the last one. Gives the log.
    pub(crate) fn stop(self) -> &'static Lines {
        self.worker.close();
        self.log
    }

    fn timed(&mut self, call: impl FnOnce(&mut Worker<'static>) -> Verdict) -> Verdict {
        let begin = Instant::now();
        let verdict = call(&mut self.worker);
        self.longest = self.longest.max(begin.elapsed());
        verdict
    }

    /// Puts records into the buffers; their addresses stay the same as long as none outgrows its
    /// buffer.
    pub(crate) fn load(&mut self, records: impl IntoIterator<Item = String>) {
        self.load_keyed(records.into_iter().map(|record| (String::new(), record)));
    }

    /// The same, with what the other templates make: in lines, where it is several texts.
    pub(crate) fn load_keyed(&mut self, records: impl IntoIterator<Item = (String, String)>) {
        let mut count = 0;
        for (index, (key, record)) in records.into_iter().enumerate() {
            if let Some(buffer) = self.buffers.get_mut(index) {
                buffer.clear();
                buffer.push_str(&record);
                self.keys[index] = key;
            } else {
                self.buffers.push(record);
                self.keys.push(key);
            }
            count = index + 1;
        }
        self.buffers.truncate(count);
        self.keys.truncate(count);
    }

    /// `beginTransaction`, `doAction` for the buffers in `range`, `endTransaction`.
    pub(crate) fn transaction(&mut self, range: Range<usize>) -> Verdict {
        self.worker.begin_transaction();
        let mut last = Verdict::Deferred;
        for index in range {
            last = self.hand_over(index);
        }
        if last == Verdict::Committed {
            // The core ends a batch whose last record was committed without a further call.
            return last;
        }
        let verdict = self.timed(Worker::end_transaction);
        self.verdicts.push(verdict);
        verdict
    }

    /// `doAction` for one buffer.
    pub(crate) fn hand_over(&mut self, index: usize) -> Verdict {
        let buffer = self.buffers[index].clone();
        let address = self.buffers[index].as_ptr().addr();
        let key = self.keys[index].clone();
        let made = std::iter::once(buffer.as_bytes()).chain(key.split('\n').map(str::as_bytes));
        let verdict = self.timed(|worker| {
            let texts = worker.action().texts(made);
            worker.do_action(address, &texts)
        });
        self.verdicts.push(verdict);
        verdict
    }

    /// `tryResume`.
    pub(crate) fn try_resume(&mut self) -> Verdict {
        self.timed(Worker::try_resume)
    }

    /// Brings what is loaded home as the core does it with action.resumeRetryCount="-1": after
    /// SUSPENDED it resumes, then replays one record at a time.
    pub(crate) fn settle(&mut self) {
        let count = self.buffers.len();
        if self.transaction(0..count) != Verdict::Suspended {
            return;
        }
        self.resume();
        self.replay(count);
    }

    /// Calls `tryResume` until it says yes.
    pub(crate) fn resume(&mut self) {
        wait_until("tryResume to say yes", PATIENCE, || self.try_resume() == Verdict::Committed);
    }

    /// Replays the first `count` buffers, one transaction each, resuming where needed.
    pub(crate) fn replay(&mut self, count: usize) {
        for index in 0..count {
            while self.transaction(index..index + 1) == Verdict::Suspended {
                self.resume();
            }
        }
    }

    /// Hands over and settles the records numbered `numbers`, in batches of `size`.
    pub(crate) fn send(&mut self, numbers: Range<u64>, size: usize) {
        let all: Vec<u64> = numbers.collect();
        for batch in all.chunks(size) {
            self.load(batch.iter().map(|number| record(*number)));
            self.settle();
        }
    }
}

/// Asserts that the stream holds each number once, in order, and nothing else.
#[track_caller]
pub(crate) fn assert_exact(server: &Server, key: &str, expected: Range<u64>) {
    let count = Count::of(numbers(&entries(&mut server.connection(), key)), expected);
    assert!(count.is_exact() && count.is_in_order(), "{key}: {count}");
}

/// Runs a command that must succeed.
#[track_caller]
pub(crate) fn command(server: &Server, words: &[&str]) -> redis::Value {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command.query(&mut server.connection()).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}
