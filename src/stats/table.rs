//! The one declaration of every counter. What impstats shows, the README's reference and the tests
//! all read this table.
#![forbid(unsafe_code)]

/// Names a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// `records.received`
    Received,
    /// `records.committed`
    Committed,
    /// `records.deadlettered`
    DeadLettered,
    /// `acks.failed`
    AcksFailed,
    /// `records.abandoned`
    Abandoned,
    /// `records.held`
    Held,
    /// `duplicates.suppressed`
    Suppressed,
    /// `batches`
    Batches,
    /// `flushes`
    Flushes,
    /// `partial.commits`
    PartialCommits,
    /// `flushes.indoubt`
    InDoubt,
    /// `bytes.sent`
    BytesSent,
    /// `reconnects`
    Reconnects,
    /// `suspensions`
    Suspensions,
    /// `errors.connect`
    ErrorsConnect,
    /// `errors.tls`
    ErrorsTls,
    /// `errors.auth`
    ErrorsAuth,
    /// `errors.timeout`
    ErrorsTimeout,
    /// `errors.busy`
    ErrorsBusy,
    /// `errors.readonly`
    ErrorsReadOnly,
    /// `errors.oom`
    ErrorsOutOfMemory,
    /// `errors.refused`
    ErrorsRefused,
    /// `errors.protocol`
    ErrorsProtocol,
    /// `durability.waits`
    DurabilityWaits,
    /// `durability.short`
    DurabilityShort,
    /// `commit.usec`
    CommitMicros,
    /// `commit.usec.max`
    CommitMicrosMax,
    /// `sequence.gaps`
    SequenceGaps,
    /// `sequence.lost`
    SequenceLost,
    /// `sequence.repeated`
    SequenceRepeated,
}

/// What an operator has to know of a counter.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// Which one it is. Its place in the table is its number.
    pub counter: Counter,
    /// As impstats shows it.
    pub name: &'static str,
    /// What it counts.
    pub unit: &'static str,
    /// What makes it grow, in one sentence.
    pub about: &'static str,
    /// When somebody should look.
    pub alarm: &'static str,
    /// It may fall, and impstats never sets it to 0.
    pub is_level: bool,
}

const fn counter(
    counter: Counter,
    name: &'static str,
    unit: &'static str,
    about: &'static str,
    alarm: &'static str,
) -> Declaration {
    Declaration { counter, name, unit, about, alarm, is_level: false }
}

const fn level(
    counter: Counter,
    name: &'static str,
    unit: &'static str,
    about: &'static str,
    alarm: &'static str,
) -> Declaration {
    Declaration { counter, name, unit, about, alarm, is_level: true }
}

/// All counters, in the order of [`Counter`] and of the reference.
pub const TABLE: &[Declaration] = &[
    counter(
        Counter::Received,
        "records.received",
        "records",
        "Records that rsyslog handed over for the first time.",
        "stands still while the source is at work",
    ),
    counter(
        Counter::Committed,
        "records.committed",
        "records",
        "Records that the server confirmed, each once.",
        "stands still while `records.received` is ahead of it",
    ),
    counter(
        Counter::DeadLettered,
        "records.deadlettered",
        "records",
        "Records that the server confirmed in the dead letter, each once.",
        "grows",
    ),
    counter(
        Counter::AcksFailed,
        "acks.failed",
        "records",
        "Records whose entry in the stream that they came from was not acknowledged or deleted (`stream.ack`, `stream.del`), because the server refused to or the record did not name it.",
        "grows",
    ),
    counter(
        Counter::Abandoned,
        "records.abandoned",
        "records",
        "Records that rsyslog gave up before they were committed: `action.resumeRetryCount` is not -1.",
        "is not 0",
    ),
    counter(
        Counter::Held,
        "records.held",
        "records",
        "Records that were found in the hold file at the start, or were written to it because a worker ended.",
        "is not 0: rsyslogd was stopped while the server was away",
    ),
    counter(
        Counter::Suppressed,
        "duplicates.suppressed",
        "records",
        "Records that rsyslog handed over again after they were settled, and that were not written again.",
        "-",
    ),
    counter(
        Counter::Batches,
        "batches",
        "transactions",
        "Transactions of rsyslog's that brought at least one new record.",
        "-",
    ),
    counter(
        Counter::Flushes,
        "flushes",
        "round trips",
        "`MULTI`/`EXEC` round trips that were begun, those that failed included.",
        "-",
    ),
    counter(
        Counter::PartialCommits,
        "partial.commits",
        "commits",
        "Commits in the middle of a transaction, because `batch.maxrecords` or `batch.maxbytes` was reached.",
        "-",
    ),
    counter(
        Counter::InDoubt,
        "flushes.indoubt",
        "flushes",
        "Flushes whose confirmation did not arrive, and that are looked up on the next connection.",
        "grows steadily: the network or the server drops connections",
    ),
    counter(
        Counter::BytesSent,
        "bytes.sent",
        "bytes",
        "Bytes of all flushes on their way to the server, those that failed included; without logins and look-ups.",
        "-",
    ),
    counter(
        Counter::Reconnects,
        "reconnects",
        "connections",
        "Connections that a worker made after its first one; a HUP makes one too.",
        "grows steadily",
    ),
    counter(
        Counter::Suspensions,
        "suspensions",
        "answers",
        "Ends of transactions that were answered with SUSPENDED: rsyslog keeps the records, waits and comes again.",
        "grows; the log says why",
    ),
    counter(
        Counter::ErrorsConnect,
        "errors.connect",
        "errors",
        "Attempts to connect that failed, sentinels that led nowhere, and connections that ended.",
        "grows",
    ),
    counter(
        Counter::ErrorsTls,
        "errors.tls",
        "errors",
        "Connections that failed because of TLS, at sentinels too: certificates, and servers that do not speak it or expect it.",
        "grows",
    ),
    counter(
        Counter::ErrorsAuth,
        "errors.auth",
        "errors",
        "Logins that were refused, at sentinels too, and commands that the ACL forbids (NOAUTH, WRONGPASS, NOPERM).",
        "grows",
    ),
    counter(
        Counter::ErrorsTimeout,
        "errors.timeout",
        "errors",
        "Deadlines that passed: `timeout.connect` or `timeout.commit`.",
        "grows",
    ),
    counter(
        Counter::ErrorsBusy,
        "errors.busy",
        "errors",
        "Refusals of a server that cannot serve for now (LOADING, BUSY, MISCONF, NOREPLICAS, CLUSTERDOWN and their kin).",
        "grows for longer than a restart of the server takes",
    ),
    counter(
        Counter::ErrorsReadOnly,
        "errors.readonly",
        "errors",
        "Refusals of a server that takes no writes (READONLY): a replica.",
        "grows for longer than a failover takes",
    ),
    counter(
        Counter::ErrorsOutOfMemory,
        "errors.oom",
        "errors",
        "Refusals of a server that has reached `maxmemory` (OOM).",
        "is not 0",
    ),
    counter(
        Counter::ErrorsRefused,
        "errors.refused",
        "errors",
        "Any other refusal that is not one record's fault, WRONGTYPE on the configured key for instance.",
        "is not 0",
    ),
    counter(
        Counter::ErrorsProtocol,
        "errors.protocol",
        "errors",
        "Answers that are none of a Valkey or Redis server's.",
        "is not 0",
    ),
    counter(
        Counter::DurabilityWaits,
        "durability.waits",
        "questions",
        "Times that the server was asked to wait for copies: with each flush and each connection, where `durability.replicas` or `durability.fsync` asks for any.",
        "-",
    ),
    counter(
        Counter::DurabilityShort,
        "durability.short",
        "answers",
        "Answers to them that there are too few: the records are held, and only the waiting is repeated.",
        "grows; the log says what is missing",
    ),
    counter(
        Counter::CommitMicros,
        "commit.usec",
        "microseconds",
        "Time from sending the end of a flush to its last reply, summed over the flushes that were answered.",
        "rises faster than `flushes` does",
    ),
    counter(
        Counter::CommitMicrosMax,
        "commit.usec.max",
        "microseconds",
        "The longest of these times.",
        "comes near `timeout.commit`",
    ),
    level(
        Counter::SequenceGaps,
        "sequence.gaps",
        "numbers",
        "Numbers that are missing now, between the first and the last of each node, and that no `lost` record explains; a level, which falls when they come.",
        "stays above 0",
    ),
    level(
        Counter::SequenceLost,
        "sequence.lost",
        "numbers",
        "Numbers that are missing now and that the source says it lost; a level too.",
        "grows",
    ),
    counter(
        Counter::SequenceRepeated,
        "sequence.repeated",
        "records",
        "Committed records whose number was there already.",
        "grows",
    ),
];
