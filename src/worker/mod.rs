//! One rsyslog worker: drives the transaction and the server, and turns what happened into verdicts.
#![forbid(unsafe_code)]

mod action;
mod batch;
mod cluster;
mod durable;
mod encode;
mod flush;
mod hold;
mod leave;
mod provoke;
mod report;
mod resume;
mod risks;
mod sequence;
mod settle;
mod shard;
mod tally;
mod types;

pub use action::{Action, AtStop, MAX_TEMPLATES};
pub use report::{Log, Severity, prefix};

use crate::commands::{FlushResult, Marker, Plan};
use crate::error::{Error, Verdict};
use crate::params::{Retries, Topology};
use crate::record::{Numbering, Texts};
use crate::server::{Connect, Connection, Deadline, Servers};
use crate::stats::Counter;
use crate::transaction::{Address, Admission, Fingerprint, Transaction};
use batch::{Batch, MAX_IDLE_BYTES, Record};
use cluster::Nodes;
use provoke::{Place, panic_if_asked};
use report::Reporter;
use shard::Shard;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tally::Tally;

/// The way to the server.
enum Link<S> {
    /// Not tried yet, or dropped a moment ago: the next flush connects.
    Down,
    /// Usable.
    Up(S),
    /// Tried in vain: `tryResume` connects.
    Lost,
}

/// So many bytes are sent ahead while the batch still fills, so that the server works while the
/// next records are encoded.
const SEND_AHEAD_BYTES: usize = 64 * 1024;

/// The state of one rsyslog worker.
pub struct Worker<'l, C: Connect = Servers> {
    action: Arc<Action>,
    transaction: Transaction<Record>,
    batch: Batch,
    /// The commands of the record at hand.
    command: Vec<u8>,
    /// Its number, where numbers are counted.
    numbering: Option<Numbering>,
    servers: Arc<C>,
    link: Link<C::Connection>,
    /// The connections to a cluster, where that is what is written to; then `link` is never up.
    nodes: Option<Nodes<C::Connection>>,
    /// The fixed key, or this worker's shard of it; empty where each record brings its own.
    key: String,
    /// Its place at that shard.
    shard: Option<Shard>,
    /// So many records of the open flush have left already; `None` before its MULTI.
    sent: Option<usize>,
    /// Their commands.
    plan: Plan,
    marker: Marker,
    /// Number of the latest flush.
    flush: u64,
    seed: u64,
    /// The action's count of HUPs when the link was last looked at.
    hups: u64,
    is_poisoned: bool,
    /// The next `tryResume` says no, so that the core waits: what failed may fail again at once.
    must_rest: bool,
    has_connected: bool,
    /// The last proof on this connection failed, and so perhaps the guard of its next flush.
    is_unguarded: bool,
    /// Nothing is known yet of how the server of this connection keeps what it confirms.
    is_connection_new: bool,
    tally: Tally,
    /// It commits what an earlier worker left, see `hold`.
    is_for_past: bool,
    /// How the server has answered flushes in doubt, where it has: they took place, and are not known to be
    /// on copies enough.
    answers: BTreeMap<u64, FlushResult>,
    /// Only replies have told what became of a record: its flush has a marker, and a look-up would take that for
    /// more than it did, or would not find what has become a dead letter since.
    is_marker_misleading: bool,
    report: Reporter<'l>,
}

impl<'l> Worker<'l> {
    /// A worker for the action's servers, without a connection. Touches no socket and cannot fail: the
    /// core throws records away where a worker cannot be made.
    pub fn new(action: Arc<Action>, log: &'l dyn Log) -> Self {
        let servers = action.servers.clone();
        Self::with_servers(action, log, servers, random())
    }
}

impl<'l, C: Connect> Worker<'l, C> {
    /// A worker for these servers. No two workers may get the same `random`.
    pub fn with_servers(action: Arc<Action>, log: &'l dyn Log, servers: C, random: u128) -> Self {
        let mut worker = Self::bare(action, log, Arc::new(servers), random);
        let shard = worker.action.shards.claim();
        worker.key = worker.action.settings.store.shard_key(shard.number);
        worker.shard = Some(shard);
        worker.open_hold();
        worker
    }

    /// A worker that cares for nothing but what it is given.
    fn bare(action: Arc<Action>, log: &'l dyn Log, servers: Arc<C>, random: u128) -> Self {
        let worker = format!("{random:032x}");
        let store = &action.settings.store;
        let marker = Marker {
            key: format!("{}:{worker}", store.marker_key),
            worker,
            ttl_secs: store.marker_ttl.as_secs(),
        };
        Self {
            transaction: Transaction::new(action.settings.batch, action.retries),
            batch: Batch::default(),
            command: Vec::new(),
            numbering: action.settings.counts_numbers.then(Numbering::default),
            link: Link::Down,
            nodes: (action.settings.topology == Topology::Cluster)
                .then(|| Nodes::new(&action.settings)),
            key: store.shard_key(0),
            shard: None,
            sent: None,
            plan: Plan::default(),
            marker,
            flush: 0,
            // The low half: which half does not matter, both are random.
            seed: u64::try_from(random & u128::from(u64::MAX)).unwrap_or_default(),
            hups: action.hups.load(Ordering::Relaxed),
            is_poisoned: false,
            must_rest: false,
            has_connected: false,
            is_unguarded: false,
            is_connection_new: false,
            tally: Tally::default(),
            is_for_past: false,
            answers: BTreeMap::new(),
            is_marker_misleading: false,
            report: Reporter::new(log, &action.name),
            servers,
            action,
        }
    }

    /// What it shares with the others.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// The core's `beginTransaction`.
    pub fn begin_transaction(&mut self) -> Verdict {
        self.transaction.begin();
        self.tally.begin();
        let hups = self.action.hups.load(Ordering::Relaxed);
        if self.hups != hups {
            self.hups = hups;
            let is_in_cluster = self.nodes.as_ref().is_some_and(Nodes::is_connected);
            if is_in_cluster || matches!(self.link, Link::Up(_)) {
                self.disconnect();
            }
        }
        Verdict::Committed
    }

    /// The core's `doAction`: `address` identifies the record's buffer.
    pub fn do_action(&mut self, address: usize, texts: &Texts<'_>) -> Verdict {
        panic_if_asked(Place::DoAction);
        let address = Address(address);
        let fingerprint = Fingerprint(self.fingerprint(self.seed, texts));
        let (admission, abandoned) = self.transaction.admit(address, fingerprint);
        if abandoned > 0 {
            self.abandon(abandoned);
        }
        match admission {
            Admission::Kept => Verdict::Deferred,
            Admission::Settled => {
                self.tally.suppressed();
                Verdict::Deferred
            }
            Admission::Fresh => self.take(address, fingerprint, texts),
        }
    }

    /// The core's `endTransaction`.
    pub fn end_transaction(&mut self) -> Verdict {
        self.tally.hand_over(&self.action.stats);
        let is_poisoned = std::mem::take(&mut self.is_poisoned);
        let is_settled = !is_poisoned
            && (self.transaction.kept().is_empty()
                || (!matches!(self.link, Link::Lost) && self.try_flush(self.deadline())));
        if is_settled {
            self.transaction.end_committed();
            Verdict::Committed
        } else {
            self.action.stats.add(Counter::Suspensions, 1);
            self.transaction.end_suspended();
            Verdict::Suspended
        }
    }

    /// Number of records that are neither committed nor in the dead letter.
    pub fn unsettled(&self) -> usize {
        self.transaction.kept().len()
    }

    /// True when records would be lost, or written twice, if the worker were not told of its end. What the
    /// core will give up anyway is not worth a longer stop.
    pub fn must_end_by_itself(&self) -> bool {
        self.action.retries == Retries::Forever && self.transaction.is_unfinished()
    }

    /// The worker ends, perhaps before its batch is over.
    pub fn close(mut self) {
        if self.transaction.is_unfinished() {
            self.leave();
        }
    }

    /// Takes a new record in, and commits when the batch is full.
    fn take(&mut self, address: Address, fingerprint: Fingerprint, texts: &Texts<'_>) -> Verdict {
        let encoded = self.encode(texts, None);
        let bytes = self.command.len();
        let mut verdict = Verdict::Deferred;
        let deadline = self.deadline();
        if !self.transaction.has_room(bytes) && self.commit_partially(deadline) {
            verdict = Verdict::PreviousCommitted;
        }
        if self.transaction.kept().is_empty() {
            self.batch.clear();
        }
        let payload = self.batch.push(texts, &self.command, encoded, self.numbering.as_ref());
        if bytes > MAX_IDLE_BYTES {
            self.command = Vec::new();
        }
        let part = self.part_of_record(&payload);
        self.transaction.keep(address, fingerprint, part, bytes, payload);
        self.tally.received();
        if !self.transaction.is_full() {
            self.send_ahead(deadline);
        } else if self.commit_partially(deadline) {
            verdict = Verdict::Committed;
        }
        verdict
    }

    /// True when everything kept is committed now.
    fn commit_partially(&mut self, deadline: Deadline) -> bool {
        let may = self.transaction.may_commit_partially() && !matches!(self.link, Link::Lost);
        let is_done = may && self.try_flush(deadline);
        if is_done {
            // This may be the last call of the batch.
            self.tally.hand_over(&self.action.stats);
            self.action.stats.add(Counter::PartialCommits, 1);
        } else {
            self.transaction.stall();
        }
        is_done
    }

    /// Flushes everything kept and reports how it went.
    fn try_flush(&mut self, deadline: Deadline) -> bool {
        match self.flush_all(deadline) {
            Ok(()) => {
                self.report_committed();
                true
            }
            Err(error) => {
                self.fail(&error);
                false
            }
        }
    }

    fn report_committed(&mut self) {
        if let Link::Up(session) = &self.link {
            self.report.committed(&session.address());
        } else if let Some(nodes) = &self.nodes {
            self.report.committed(nodes);
        }
    }

    /// The way to the server is of no use for now.
    fn fail(&mut self, error: &Error) {
        self.action.stats.failed(error.cause);
        self.report.failed(error);
        if error.drops_connection {
            if self.nodes.is_none() {
                self.disconnect();
            }
            self.link = Link::Lost;
        }
    }

    /// The core has given a batch up; what was kept of it must not be written any more.
    fn abandon(&mut self, count: usize) {
        if self.sent.is_some() {
            self.disconnect();
        }
        self.batch.clear();
        self.answers.clear();
        self.action.stats.add_len(Counter::Abandoned, count);
        self.report.line(
            Severity::Warning,
            &format!(
                "rsyslog gave up records that were not committed, count: {count} \
                 (set action.resumeRetryCount=\"-1\" to keep them)"
            ),
        );
    }

    fn disconnect(&mut self) {
        self.link = Link::Down;
        self.sent = None;
        if let Some(nodes) = &mut self.nodes {
            nodes.disconnect();
        }
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.action.settings.timeouts.commit)
    }
}

/// 128 random bits, without a file descriptor, of which there may be none left: a keyed hash whose key
/// the standard library has from the kernel.
fn random() -> u128 {
    let state = RandomState::new();
    u128::from(state.hash_one(0)) << 64 | u128::from(state.hash_one(1))
}
