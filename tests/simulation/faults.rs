//! What can go wrong, and how often it did.

use std::collections::BTreeMap;

/// One kind of trouble. Each must strike in a full run, or the simulation tests nothing there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The connection was lost before the server had anything.
    LostUnread,
    /// After part of what was sent, at the end of a command.
    LostBetweenCommands,
    /// In the middle of a command.
    LostInCommand,
    /// EXEC ran and its reply was lost.
    LostAfterExec,
    /// The deadline passed instead of an end of file.
    TimedOut,
    /// The failure showed when sending already.
    SendFailed,
    /// What a broken connection had sent was executed later than a command of another one.
    LateCommand,
    /// The same, and it was an EXEC.
    LateExec,
    /// A late EXEC that came after the next connection's fence.
    LateExecFenced,
    ConnectRefused,
    /// Another server became the primary, and a connection that was whole was left for it.
    PrimaryMoved,
    Loading,
    OutOfMemory,
    ReadOnly,
    NoReplicas,
    /// A command was refused while it was queued.
    RefusedInQueue,
    /// EXEC was refused because of what it holds.
    RefusedExec,
    MultiRefused,
    WatchRefused,
    KeyDenied,
    WrongTypeDynamicKey,
    WrongTypeFixedKey,
    WrongTypeDeadLetterKey,
    /// The server refuses this one record while it is queued, or in EXEC.
    RecordRefused,
    MarkerLost,
    /// A consumer took all elements of a list, and the key with them.
    ListTaken,
    GuardBroken,
    /// The server crashed, and came back with all that it had.
    Crash,
    /// Without its last commits.
    CrashLostTail,
    /// A replica that lacks the last commits became the primary.
    FailoverLostTail,
    FlushAll,
    /// An entry that the worker did not know of was lost in one of these.
    LostInDoubt,
    /// Replicas, or the disk, do not get what is written.
    CopiesLag,
    /// A worker was told that there are too few copies.
    TooFewCopies,
    WaitRefused,
    /// An entry was lost that was on too few copies.
    LostUncopied,
    /// A reply that cannot stand where it does.
    StrangeReply,
    /// A reply is missing or doubled.
    MiscountedReplies,
    /// The array of EXEC's results has not the length that it says.
    WrongLength,
    /// Bytes that are no reply.
    Garbage,
    /// rsyslogd got a HUP.
    Hup,
    /// A panic in the middle of a call.
    Panic,
    GivenUp,
    /// Two successive batches had a record of the same text in the same buffer.
    SameTextInSameBuffer,
    BufferMoved,
    /// A buffer is where another one was.
    BufferTookAnothersPlace,
    PartialCommit,
    PreviousCommitted,
    /// The last doAction of a batch committed, and no endTransaction came.
    EndedWithoutEnd,
    ReplayedSingly,
    ReplayedAsBatch,
    /// Part of a flush was sent before its batch was complete.
    SentAhead,
    BrokenRecord,
    /// rsyslogd was stopped and left records, or notes, in the hold file.
    Held,
    Noted,
    /// The same with something left in it from before.
    HeldAgain,
}

impl Fault {
    pub(crate) const ALL: &'static [Self] = &[
        Self::LostUnread,
        Self::LostBetweenCommands,
        Self::LostInCommand,
        Self::LostAfterExec,
        Self::TimedOut,
        Self::SendFailed,
        Self::LateCommand,
        Self::LateExec,
        Self::LateExecFenced,
        Self::ConnectRefused,
        Self::PrimaryMoved,
        Self::Loading,
        Self::OutOfMemory,
        Self::ReadOnly,
        Self::NoReplicas,
        Self::RefusedInQueue,
        Self::RefusedExec,
        Self::MultiRefused,
        Self::WatchRefused,
        Self::KeyDenied,
        Self::WrongTypeDynamicKey,
        Self::WrongTypeFixedKey,
        Self::WrongTypeDeadLetterKey,
        Self::RecordRefused,
        Self::MarkerLost,
        Self::ListTaken,
        Self::GuardBroken,
        Self::Crash,
        Self::CrashLostTail,
        Self::FailoverLostTail,
        Self::FlushAll,
        Self::LostInDoubt,
        Self::CopiesLag,
        Self::TooFewCopies,
        Self::WaitRefused,
        Self::LostUncopied,
        Self::StrangeReply,
        Self::MiscountedReplies,
        Self::WrongLength,
        Self::Garbage,
        Self::Hup,
        Self::Panic,
        Self::GivenUp,
        Self::SameTextInSameBuffer,
        Self::BufferMoved,
        Self::BufferTookAnothersPlace,
        Self::PartialCommit,
        Self::PreviousCommitted,
        Self::EndedWithoutEnd,
        Self::ReplayedSingly,
        Self::ReplayedAsBatch,
        Self::SentAhead,
        Self::BrokenRecord,
        Self::Held,
        Self::Noted,
        Self::HeldAgain,
    ];
}

/// How often each fault struck.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strikes(BTreeMap<Fault, u64>);

impl Strikes {
    pub(crate) fn note(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    pub(crate) fn count(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (fault, count) in &other.0 {
            *self.0.entry(*fault).or_default() += count;
        }
    }
}
