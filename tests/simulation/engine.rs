//! A model of rsyslog's action engine: what it calls, depending on what it is told. It follows
//! `action.c` of 8.2302 (8.2504 has the same logic) function by function; what 8.2606 changed is
//! inferred from the recorded traces. `traces.rs` holds it to what real rsyslogds did.
//!
//! Not modelled: time (a suspension ends by chance) and disabled actions. The stop of rsyslogd is the end of the
//! future, between two calls (`stops.rs`).

use crate::random::Random;
use crate::turns::turn;

/// What a plugin's function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ok,
    Defer,
    Previous,
    Suspended,
    DataFail,
}

/// A plugin, as the engine calls it.
pub(crate) trait Plugin {
    fn begin(&mut self) -> Answer;
    /// `record` is the place in the batch.
    fn act(&mut self, record: usize) -> Answer;
    fn end(&mut self) -> Answer;
    fn resume(&mut self) -> Answer;
}

/// Which rsyslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 8.2302, 8.2504.
    Old,
    /// 8.2606 and later.
    New,
    /// Whatever any of them might do, and a replay of the whole batch at any time.
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    InTransaction,
    Retry,
    Suspended,
    DataFailed,
}

/// `getReturnCode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Ok,
    Suspended,
    ActionFailed,
    DataFail,
}

/// What became of a batch, apart from what was delivered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// In the error file.
    pub(crate) error_file: Vec<usize>,
    /// Neither delivered nor in the error file.
    pub(crate) vanished: Vec<usize>,
    /// Taken back by the queue.
    pub(crate) requeued: Vec<usize>,
}

/// Later cores go on for longer than a finite `action.resumeRetryCount` says: with 3, fifteen
/// attempts were seen before the recording ended.
const NEW_PATIENCE: u32 = 5;

/// One worker's action engine.
pub(crate) struct Engine {
    version: Version,
    /// `action.resumeRetryCount`, `None` for -1.
    resume_retry_count: Option<u32>,
    state: State,
    resume_in_row: u32,
    /// Decides what depends on time; `None` where a suspension never ends within a batch.
    pub(crate) chance: Option<Random>,
    is_singly: bool,
}

impl Engine {
    pub(crate) fn new(version: Version, resume_retry_count: Option<u32>) -> Self {
        Self {
            version,
            resume_retry_count,
            state: State::Ready,
            resume_in_row: 0,
            chance: None,
            is_singly: false,
        }
    }

    /// The engine of the next process.
    pub(crate) fn after_restart(&self, chance: Random) -> Self {
        Self { chance: Some(chance), ..Self::new(self.version, self.resume_retry_count) }
    }

    /// The time of `action.resumeInterval` has passed.
    pub(crate) fn wait(&mut self) {
        if self.state == State::Suspended {
            self.state = State::Retry;
        }
    }

    /// `processBatchMain`: a batch of so many records.
    pub(crate) async fn batch(&mut self, plugin: &mut impl Plugin, count: usize) -> Outcome {
        let mut outcome = Outcome::default();
        for record in 0..count {
            self.prepare(plugin).await;
            if self.code() == Code::Suspended {
                outcome.requeued.push(record);
            }
        }
        self.commit(plugin, count, &mut outcome).await;
        outcome
    }

    /// `actionCommit`.
    async fn commit(&mut self, plugin: &mut impl Plugin, count: usize, outcome: &mut Outcome) {
        let all: Vec<usize> = (0..count).collect();
        if self.state == State::Suspended {
            outcome.error_file.extend(all);
            return;
        }
        let code = self.try_commit(plugin, &all).await;
        if code == Code::Ok {
            return;
        }
        let left = if count == 1 {
            if code == Code::DataFail {
                outcome.vanished.extend(all);
                return;
            }
            all
        } else if self.version == Version::Any && self.is_likely(30) {
            all
        } else {
            self.try_singly(plugin, count, outcome).await
        };
        if left.is_empty() {
            return;
        }
        loop {
            match self.try_commit(plugin, &left).await {
                Code::Ok => return,
                Code::Suspended => {
                    if self.retry(plugin).await != Code::Ok {
                        outcome.error_file.extend(left);
                        return;
                    }
                }
                Code::ActionFailed => {
                    outcome.vanished.extend(left);
                    return;
                }
                Code::DataFail => {
                    if matches!(self.state, State::Ready | State::Suspended) {
                        outcome.vanished.extend(left);
                        return;
                    }
                }
            }
        }
    }

    /// `actionTryRemoveHardErrorsFromBatch`: each record by itself. Returns those still suspended.
    async fn try_singly(
        &mut self,
        plugin: &mut impl Plugin,
        count: usize,
        outcome: &mut Outcome,
    ) -> Vec<usize> {
        let mut left = Vec::new();
        for record in 0..count {
            self.resume_in_row = 0;
            self.is_singly = true;
            let code = self.try_commit(plugin, &[record]).await;
            let is_given_up = !std::mem::replace(&mut self.is_singly, false);
            match code {
                Code::Ok => {}
                Code::Suspended if is_given_up => {
                    left.extend(record..count);
                    break;
                }
                Code::Suspended => left.push(record),
                Code::ActionFailed | Code::DataFail => outcome.error_file.push(record),
            }
        }
        left
    }

    /// `actionTryCommit`.
    async fn try_commit(&mut self, plugin: &mut impl Plugin, records: &[usize]) -> Code {
        match self.prepare(plugin).await {
            Code::Ok => {}
            code => return code,
        }
        match self.transaction(plugin, records).await {
            Code::Ok => {}
            code => return code,
        }
        if self.state == State::InTransaction {
            let answer = plugin.end();
            turn().await;
            match answer {
                Answer::Suspended => self.fall_back(),
                Answer::Ok | Answer::Defer | Answer::Previous => self.state = State::Ready,
                // The state stays as it is: the next record comes without beginTransaction.
                Answer::DataFail => return Code::DataFail,
            }
        }
        self.code()
    }

    /// `doTransaction`.
    async fn transaction(&mut self, plugin: &mut impl Plugin, records: &[usize]) -> Code {
        for &record in records {
            let mut suspensions = 0;
            loop {
                match self.process(plugin, record).await {
                    Code::Ok => break,
                    Code::Suspended => {
                        suspensions += 1;
                        if suspensions > 1 && self.is_new() {
                            return Code::Suspended;
                        }
                    }
                    code => return code,
                }
            }
        }
        Code::Ok
    }

    /// `actionProcessMessage`.
    async fn process(&mut self, plugin: &mut impl Plugin, record: usize) -> Code {
        match self.prepare(plugin).await {
            Code::Ok => {}
            code => return code,
        }
        if self.state == State::InTransaction {
            let answer = plugin.act(record);
            turn().await;
            match answer {
                Answer::Ok => self.state = State::Ready,
                Answer::Defer | Answer::Previous => {}
                Answer::Suspended => self.fall_back(),
                Answer::DataFail => self.state = State::DataFailed,
            }
            if matches!(answer, Answer::Ok | Answer::Defer | Answer::Previous) {
                self.resume_in_row = 0;
            }
        }
        self.code()
    }

    /// `actionPrepare`.
    async fn prepare(&mut self, plugin: &mut impl Plugin) -> Code {
        // Whether the time has come.
        if self.state == State::Suspended && self.is_likely(20) {
            self.state = State::Retry;
        }
        if self.state == State::Retry && self.retry(plugin).await != Code::Ok {
            return Code::Suspended;
        }
        if self.state == State::Ready {
            let answer = plugin.begin();
            turn().await;
            match answer {
                Answer::Ok => self.state = State::InTransaction,
                _ => {
                    self.fall_back();
                    return Code::Suspended;
                }
            }
        }
        Code::Ok
    }

    /// `actionDoRetry`.
    async fn retry(&mut self, plugin: &mut impl Plugin) -> Code {
        let mut retries = 0;
        let mut code = Code::Ok;
        while self.state == State::Retry {
            let mut answer = plugin.resume();
            turn().await;
            if self.resume_in_row > 9 && self.resume_in_row.is_multiple_of(10) {
                self.resume_in_row = 0;
                answer = Answer::Suspended;
            }
            if answer == Answer::Ok {
                self.state = State::Ready;
                code = Code::Ok;
                continue;
            }
            code = Code::Suspended;
            let patience = self.resume_retry_count.map(|count| match self.version {
                Version::New if !self.is_singly => count * NEW_PATIENCE,
                _ => count,
            });
            if patience.is_some_and(|patience| retries >= patience) {
                self.state = State::Suspended;
            } else if self.is_singly && retries >= 1 && self.is_new() {
                // Later cores do not try singly for long, but the whole batch again.
                self.is_singly = false;
                return code;
            } else {
                retries += 1;
            }
        }
        code
    }

    /// `actionRetry`.
    fn fall_back(&mut self) {
        self.state = State::Retry;
        self.resume_in_row += 1;
    }

    fn code(&self) -> Code {
        match self.state {
            State::Ready | State::InTransaction => Code::Ok,
            State::Retry => Code::Suspended,
            State::Suspended => Code::ActionFailed,
            State::DataFailed => Code::DataFail,
        }
    }

    fn is_new(&mut self) -> bool {
        match self.version {
            Version::Old => false,
            Version::New => true,
            Version::Any => self.is_likely(50),
        }
    }

    fn is_likely(&mut self, percent: u64) -> bool {
        self.chance.as_mut().is_some_and(|chance| chance.is(percent))
    }
}
