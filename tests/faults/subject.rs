//! Who is put to the test: the plugin in one version of rsyslogd, or a peer; and what each is configured with.

use std::fmt;
use std::time::Duration;

use testkit::{CallClock, Rsyslogd, Scratch, Version, module_path, plugin_path};

use crate::keys::{Keys, TEMPLATES};
use crate::scenario::{Needs, Queue};
use crate::setting::Topology;
use crate::store::{PASSWORD, Store};

/// An output module in an rsyslogd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Plugin(Version),
    /// omhiredis of 8.2504, the first with streams, in its mode "stream".
    Omhiredis,
}

/// Records of the core's batches; each is committed in flushes of `FLUSH`, so that there are partial commits.
pub(crate) const BATCH: u64 = 256;
pub(crate) const FLUSH: u64 = 100;

/// The most that a steady flow sends while one fault lasts, and so has waiting at a time.
pub(crate) const STEADY_RECORDS: u64 = 200_000;
const CONNECT_MS: u64 = 500;

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Subject::Plugin(Version::V8_2302) => "8.2302",
            Subject::Plugin(Version::V8_2504) => "8.2504",
            Subject::Plugin(Version::V8_2610) => "8.2610",
            Subject::Omhiredis => "omhiredis",
        })
    }
}

impl Subject {
    pub(crate) fn is_peer(self) -> bool {
        self == Subject::Omhiredis
    }

    /// How long a scenario may take.
    pub(crate) fn limit(self, needs: &Needs) -> Duration {
        // Those who choose another primary take their time, and so does a disk queue that checkpoints each record.
        let is_chosen = needs.topology.is_some_and(|topology| topology != Topology::Standalone);
        let patience = if is_chosen || needs.share > 1 { 600 } else { 180 };
        Duration::from_secs(if self.is_peer() { 60 } else { patience })
    }

    /// How long a stop may take.
    pub(crate) fn stop_limit(self) -> Duration {
        Duration::from_secs(if self.is_peer() { 15 } else { 60 })
    }

    fn version(self) -> Version {
        match self {
            Subject::Plugin(version) => version,
            Subject::Omhiredis => Version::V8_2504,
        }
    }

    pub(crate) fn rsyslogd(
        self,
        needs: &Needs,
        keys: Keys,
        store: &Store,
        records: u64,
        scratch: &Scratch,
    ) -> (Rsyslogd, CallClock) {
        let module = match self {
            Subject::Plugin(_) => {
                let mut own = format!(
                    "type=\"omvalkeyaudit\" {} batch.maxrecords=\"{FLUSH}\" \
                     timeout.connect=\"{CONNECT_MS}\" timeout.commit=\"{}\" {}",
                    store.parameters(needs.path),
                    needs.commit_ms,
                    needs.parameters
                );
                if needs.has_password {
                    let file = scratch.write("password", PASSWORD);
                    own.push_str(&format!(" passwordfile=\"{}\"", file.display()));
                }
                if needs.stops_suspended {
                    let file = scratch.join("hold");
                    own.push_str(&format!(" holdfile=\"{}\"", file.display()));
                }
                own
            }
            Subject::Omhiredis => {
                let text = store.address(needs.path);
                let (host, port) = text.rsplit_once(':').expect("a TCP address");
                format!(
                    "type=\"omhiredis\" server=\"{host}\" serverport=\"{port}\" mode=\"stream\""
                )
            }
        };
        // Twice the records: from 70 % on, a queue slows its input down, and a full one drops.
        let size = records.max(STEADY_RECORDS) * 2 + 1000;
        let queue = match needs.queue {
            Queue::Memory => format!("queue.type=\"LinkedList\" queue.size=\"{size}\""),
            Queue::DiskAssisted => format!(
                "queue.type=\"LinkedList\" queue.size=\"{size}\" queue.filename=\"audit\" \
                 queue.saveOnShutdown=\"on\""
            ),
            Queue::Disk => format!(
                "queue.type=\"Disk\" queue.size=\"{size}\" queue.filename=\"audit\" \
                 queue.maxFileSize=\"100m\" queue.checkpointInterval=\"1\" queue.syncQueueFiles=\"on\" \
                 queue.timeoutShutdown=\"10000\""
            ),
        };
        let action = format!(
            "action({module} {} name=\"audit\" template=\"raw\"\n  \
             action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\"\n  \
             {queue} queue.dequeueBatchSize=\"{BATCH}\"\n  \
             queue.workerThreads=\"{}\" queue.workerThreadMinimumMessages=\"100\")",
            keys.parameters(),
            needs.workers
        );
        let module = match self {
            Subject::Plugin(_) => plugin_path(),
            Subject::Omhiredis => module_path(self.version(), "omhiredis"),
        };
        let clock = CallClock::new(scratch, &module);
        // Direct: the input itself puts records into the action's queue, so none waits elsewhere when rsyslogd ends.
        let builder = Rsyslogd::builder(self.version())
            .ruleset_parameters("queue.type=\"Direct\"")
            .config(TEMPLATES)
            .action(&action);
        (clock.around(builder).start(scratch), clock)
    }
}
