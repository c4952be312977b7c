//! One run of a scenario: servers, proxy, rsyslogd with the clock around the module, and the flow of records. Every
//! wait has a limit and fails the run instead of the process, because a peer may hang or never end.

mod acts;
mod flow;
mod group;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use redis::{Connection, RedisResult};
use testkit::{CallClock, Calls, Proxy, Rsyslogd, Scratch, Server, poll};

use crate::case::Case;
use crate::keys::{Keys, Wish};
use crate::scenario::Needs;
use crate::store::Store;
use crate::subject::Subject;
use crate::tally::Tally;

/// What every step gives.
pub(crate) type Run<T> = Result<T, Stuck>;

/// Why a scenario could not go on.
#[derive(Debug)]
pub(crate) struct Stuck(pub(crate) String);

impl From<std::io::Error> for Stuck {
    fn from(e: std::io::Error) -> Self {
        Stuck(e.to_string())
    }
}

impl From<redis::RedisError> for Stuck {
    fn from(e: redis::RedisError) -> Self {
        Stuck(e.to_string())
    }
}

/// A call that takes longer hangs.
const HANGS: Duration = Duration::from_secs(3);

/// What came out of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) faults: u64,
    pub(crate) sent: u64,
    pub(crate) tally: Tally,
    pub(crate) resumes: u64,
    pub(crate) longest: Duration,
    /// `None` where nothing was committed for long.
    pub(crate) recoveries: Vec<Option<Duration>>,
    /// What else was measured.
    pub(crate) remarks: Vec<String>,
    /// What should not have been.
    pub(crate) failures: Vec<String>,
}

/// Everything that a scenario acts on.
pub(crate) struct Stage {
    subject: Subject,
    needs: Needs,
    rounds: u64,
    records: u64,
    round: u64,
    sent: u64,
    limit: Instant,
    is_dead: bool,
    /// Records flow for as long as the fault lasts; how many is not known yet.
    is_steady: bool,
    /// The fault has begun: the rest of the slice may go.
    has_begun: Arc<AtomicBool>,
    streams: Vec<String>,
    /// What the first stream was before a text took its place, the oldest first.
    former_streams: Vec<String>,
    dead_letter: &'static str,
    /// Copies of former primaries' files: what they had and may not have passed on.
    aside: Vec<PathBuf>,
    outcome: Outcome,
    /// To the servers that were asked something, by their places.
    commands: HashMap<usize, Connection>,
    password_file: PathBuf,
    clock: CallClock,
    rsyslogd: Rsyslogd,
    store: Store,
    // Last: all of the above live in it.
    scratch: Scratch,
}

impl Stage {
    /// Starts everything.
    pub(crate) fn new(case: Case) -> Stage {
        let Case { scenario, subject, setting, rounds, records } = case;
        let needs = scenario.needs;
        let scratch = Scratch::new();
        let keys = Keys::of(needs.keys, setting);
        let (streams, dead_letter) = (keys.streams(), keys.dead_letter());
        let store = Store::start(&needs, setting, &streams[0], &scratch);
        // While all can be asked: a scenario may change passwords.
        for key in streams.iter().map(String::as_str).chain([dead_letter]) {
            store.place_of(key);
        }
        if let (true, Some(proxy)) = (subject.is_peer(), store.proxy()) {
            proxy.commits_by("XADD");
        }
        let password_file = scratch.join("password");
        let (rsyslogd, clock) = subject.rsyslogd(&needs, keys, &store, records, &scratch);
        Stage {
            subject,
            needs,
            rounds,
            records,
            round: 0,
            sent: 0,
            limit: Instant::now() + subject.limit(&needs),
            is_dead: false,
            is_steady: false,
            has_begun: Arc::default(),
            streams,
            former_streams: Vec::new(),
            dead_letter,
            aside: Vec::new(),
            outcome: Outcome::default(),
            commands: HashMap::new(),
            password_file,
            clock,
            rsyslogd,
            store,
            scratch,
        }
    }

    /// Lets the scenario run, waits for all records, ends rsyslogd and counts.
    pub(crate) fn play(mut self, run: fn(&mut Stage) -> Run<()>) -> Outcome {
        let played = run(&mut self).and_then(|()| self.wait_all());
        let played = played.and_then(|()| self.wait_calm());
        self.outcome.sent = self.sent;
        self.outcome.longest = self.calls().longest();
        self.outcome.resumes = self.calls().resumes();
        if let Err(Stuck(what)) = played {
            let state = self.state();
            self.fail(format!("{state}: {what}"));
        }
        if let Err(Stuck(what)) = self.end() {
            self.fail(what);
        }
        self.judge();
        if !self.is_peer() && !self.outcome.failures.is_empty() {
            self.scratch.keep();
            eprintln!("scratch folder kept: {}", self.scratch.path().display());
        }
        self.outcome
    }

    /// Whether it hangs, turns in circles or does nothing.
    fn state(&self) -> &'static str {
        let before = self.calls();
        let is_turning = poll(HANGS, || (self.calls().all() > before.all() + 100).then_some(()));
        match is_turning {
            Some(()) => "livelock",
            None if self.calls().is_in_call() => "hang",
            None => "stalled",
        }
    }

    /// Ends rsyslogd, with the server as it should be, and counts.
    fn end(&mut self) -> Run<()> {
        // A scenario that got stuck may have left servers that stand still.
        self.store.servers().iter().filter(|server| server.is_running()).for_each(Server::cont);
        if self.is_dead {
            self.start_server()?;
        }
        match self.rsyslogd.stop_within(self.subject.stop_limit()) {
            Some(stopped) if stopped.status.success() => {}
            Some(stopped) => self.fail(format!("rsyslogd ended with {:?}", stopped.status)),
            None => self.fail("rsyslogd did not stop".to_owned()),
        }
        if self.needs.has_replicas {
            // A machine that stood still for a moment has nodes take over that nobody asked to.
            self.store.forget_places();
        }
        let numbers = |key: &str| numbers(&self.store.servers()[self.store.place_of(key)], key);
        let mut stored: Vec<_> = self.streams.iter().map(|stream| numbers(stream)).collect();
        let former = self.former_streams.iter().flat_map(|stream| numbers(stream));
        stored[0].splice(0..0, former);
        let dead = numbers(self.dead_letter);
        let left = self.left_behind();
        self.outcome.tally = Tally::of(&stored, &dead, 0..self.sent, self.needs.is_bad, &left);
        Ok(())
    }

    /// What a run must not have.
    fn judge(&mut self) {
        let Tally { lost, unreplicated, doubled, misplaced, out_of_order, .. } = self.outcome.tally;
        if lost > 0 {
            self.fail("LOST".to_owned());
        }
        if unreplicated > 0 {
            self.remark(format!("{unreplicated} only on a former primary"));
        }
        if doubled > 0 && self.needs.may_double {
            self.remark("doubles are the known price".to_owned());
        } else if doubled > 0 {
            self.fail("DOUBLED".to_owned());
        }
        if misplaced > 0 {
            self.fail(format!("{misplaced} in the wrong place"));
        }
        if self.needs.keeps_order && out_of_order > 0 {
            self.fail(format!("{out_of_order} out of order"));
        }
        let slack = Duration::from_secs(1);
        if !self.is_peer() && self.outcome.longest > self.commit_deadline() + slack {
            self.fail("a call over its deadline".to_owned());
        }
        let log = self.log();
        for defect in ["internal error", "panicked"] {
            if log.contains(defect) {
                self.fail(format!("{defect:?} in the log"));
            }
        }
    }

    /// Entries that are there: of the streams and of the dead letter.
    pub(crate) fn length(&mut self) -> u64 {
        self.length_where(|_| true)
    }

    /// Those of them that the server which faults strike has: of a cluster, the others may go on meanwhile. Where each
    /// worker has its own stream, it is not known whom a fault struck.
    pub(crate) fn length_there(&mut self) -> u64 {
        let primary = self.store.primary();
        let is_anywhere = matches!(self.needs.keys, Wish::PerWorker(_));
        self.length_where(|place| is_anywhere || place == primary)
    }

    fn length_where(&mut self, is_wanted: impl Fn(usize) -> bool) -> u64 {
        let streams = self.streams.iter().chain(&self.former_streams).map(String::as_str);
        let keys = streams.chain([self.dead_letter]);
        let wanted = keys.filter(|key| is_wanted(self.store.place_of(key)));
        let wanted: Vec<String> = wanted.map(str::to_owned).collect();
        wanted.iter().map(|key| self.length_of(key)).sum()
    }

    fn length_of(&mut self, key: &str) -> u64 {
        let length: RedisResult<u64> = redis::cmd("XLEN").arg(key).query(self.commands_where(key));
        // A key of another type, as some faults make, holds none.
        length.unwrap_or(0)
    }

    pub(crate) fn calls(&self) -> Calls {
        self.clock.read()
    }

    pub(crate) fn rounds(&self) -> u64 {
        self.rounds
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// How many of the records that were sent belong into the dead letter.
    pub(crate) fn bad_records(&self) -> u64 {
        (0..self.sent).filter(|number| (self.needs.is_bad)(*number)).count() as u64
    }

    pub(crate) fn commit_deadline(&self) -> Duration {
        Duration::from_millis(self.needs.commit_ms)
    }

    pub(crate) fn is_peer(&self) -> bool {
        self.subject.is_peer()
    }

    pub(crate) fn log(&self) -> String {
        // The file alone: rsyslogd in the foreground also prints what it logs.
        std::fs::read_to_string(self.rsyslogd.folder().join("own")).unwrap_or_default()
    }

    pub(crate) fn server(&self) -> &Server {
        self.store.server()
    }

    pub(crate) fn rsyslogd(&self) -> &Rsyslogd {
        &self.rsyslogd
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        self.store.proxy().expect("the scenario's needs have a proxy")
    }

    pub(crate) fn remark(&mut self, text: String) {
        self.outcome.remarks.push(text);
    }

    pub(crate) fn fail(&mut self, text: String) {
        self.outcome.failures.push(text);
    }
}

/// The records of a stream, in its order; `None` for what is no record.
fn numbers(server: &Server, key: &str) -> Vec<Option<u64>> {
    let mut connection = server.connection();
    let kind: String = redis::cmd("TYPE").arg(key).query(&mut connection).unwrap_or_default();
    let mut numbers = Vec::new();
    if kind == "stream" {
        testkit::for_each_entry(&mut connection, key, |entry| numbers.push(entry.number()));
    }
    numbers
}
