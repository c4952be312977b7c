//! A model of rsyslog's action engine: what it calls, depending on what it is told. It follows
//! `action.c` of 8.2302 (8.2504 has the same logic) function by function; what 8.2606 changed is
//! inferred from what it was seen to do. `traces.rs` holds it to recorded cases, and tests/engine to
//! sampled scripts in real rsyslogds.
//!
//! Not modelled: time (who plays the plugin says when a suspension's interval is over) and disabled
//! actions. The stop of rsyslogd is the end of the future, between two calls (`stops.rs`).

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
    /// Not the plugin's, but time's: whether `action.resumeInterval` has passed since the suspension. From
    /// one record of a batch to the next it does not, unless it ends just then: the core does nothing
    /// in between.
    fn has_interval_passed(&mut self, is_between_batches: bool) -> bool;
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

/// From where a suspended action is tried again. To later cores it makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// While a batch is taken out of the queue.
    Batch,
    /// Before one record of a batch that failed is tried by itself.
    Singly,
    /// Before what is left of such a batch is tried again.
    Rest,
    /// After that has failed.
    Loop,
}

impl Place {
    /// So often may tryResume fail before later cores give up; for ever without a number.
    fn patience(self, resume_retry_count: u32) -> Option<u32> {
        match self {
            Self::Singly | Self::Rest if resume_retry_count > 0 => None,
            _ => Some(resume_retry_count),
        }
    }
}

/// One worker's action engine.
pub(crate) struct Engine {
    version: Version,
    /// `action.resumeRetryCount`, `None` for -1.
    resume_retry_count: Option<u32>,
    state: State,
    resume_in_row: u32,
    /// Decides what depends on time; `None` where a suspension never ends within a batch.
    pub(crate) chance: Option<Random>,
    place: Place,
    /// Later cores do not try singly for long, but what is left as a whole again.
    has_tried_enough: bool,
}

impl Engine {
    pub(crate) fn new(version: Version, resume_retry_count: Option<u32>) -> Self {
        Self {
            version,
            resume_retry_count,
            state: State::Ready,
            resume_in_row: 0,
            chance: None,
            place: Place::Batch,
            has_tried_enough: false,
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
        self.place = Place::Batch;
        for record in 0..count {
            let code = self.prepare(plugin).await;
            // Later cores do so too where the suspension goes on: such a record is in the error file, and
            // comes again.
            if self.code() == Code::Suspended || (code == Code::Suspended && self.is_new()) {
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
            self.place = Place::Rest;
            match self.try_commit(plugin, &left).await {
                Code::Ok => return,
                Code::Suspended => {
                    self.place = Place::Loop;
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
            self.place = Place::Singly;
            match self.try_commit(plugin, &[record]).await {
                Code::Ok => {}
                Code::Suspended if std::mem::take(&mut self.has_tried_enough) => {
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
        if self.state == State::Suspended && plugin.has_interval_passed(self.place == Place::Batch)
        {
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
        let is_new = self.is_new();
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
            let patience = match self.resume_retry_count {
                Some(count) if is_new => self.place.patience(count),
                count => count,
            };
            if patience.is_some_and(|patience| retries >= patience) {
                self.state = State::Suspended;
            } else if is_new && self.place == Place::Singly && retries > 0 {
                self.has_tried_enough = true;
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
