//! One rsyslog worker: makes the calls that the engine asks for, and holds every answer to what the
//! worker promises.

use crate::buffers::Buffers;
use crate::engine::{Answer, Outcome, Plugin};
use crate::faults::Fault;
use crate::line::{Gate, Shared, Simulated};
use crate::oracle::{Fate, Oracle, show};
use crate::random::Random;
use crate::scenario::Quiet;
use crate::world::{DEAD_LETTERS, DYNAMIC_KEYS, Effort, FIXED_KEY};
use omvalkeyaudit::error::Verdict;
use omvalkeyaudit::params::Retries;
use omvalkeyaudit::record::Texts;
use omvalkeyaudit::worker::{Action, Worker};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// A record as the template rendered it: its dynamic key and its text.
pub(crate) type Rendered = (Option<Vec<u8>>, Vec<u8>);

/// A record as the core has it.
pub(crate) struct Slot {
    address: usize,
    pub(crate) text: Vec<u8>,
    pub(crate) key: Option<Vec<u8>>,
    /// Handed over already.
    number: Option<usize>,
    /// Comes back after a stop, and has not been handed over again.
    is_awaited: bool,
}

/// What ends with rsyslogd.
pub(crate) struct Process {
    pub(crate) worker: Worker<'static, Gate>,
    pub(crate) action: Arc<Action>,
}

/// One worker, its buffers and what is expected of it.
pub(crate) struct Host {
    index: usize,
    world: Shared,
    /// Nothing while rsyslogd does not run.
    process: Option<Process>,
    buffers: Buffers,
    batch: Vec<Slot>,
    /// Size of the latest batch before this one that the worker got to see.
    previous_size: usize,
    oracle: Oracle,
    /// Entries of the server that the oracle has seen.
    seen: usize,
    last_act: Option<(usize, Answer)>,
    /// An endTransaction of this batch was answered with SUSPENDED, in this process.
    has_failed: bool,
    calls: usize,
    /// So many calls of tryResume in a row.
    failed_resumes: u64,
}

/// A call connects where it has no connection, and once more where that one breaks in a flush; a doAction may
/// flush twice, to make room and because the batch is full.
const MAX_CONNECTS: i32 = 3;

/// No scenario needs so many calls.
const MAX_CALLS: usize = 3_000;

impl Host {
    pub(crate) fn new(index: usize, world: Shared, process: Process, buffers: Buffers) -> Self {
        Self {
            index,
            world,
            process: Some(process),
            buffers,
            batch: Vec::new(),
            previous_size: 0,
            oracle: Oracle::default(),
            seen: 0,
            last_act: None,
            has_failed: false,
            calls: 0,
            failed_resumes: 0,
        }
    }

    /// Renders the next batch into the buffers.
    pub(crate) fn load(&mut self, records: Vec<Rendered>, random: &mut Random) {
        self.has_failed = false;
        let (moved, reused) = (self.buffers.moved, self.buffers.reused);
        let old = std::mem::take(&mut self.batch);
        // A batch that the core gave up without a call changes nothing.
        if old.iter().any(|slot| slot.number.is_some()) {
            self.previous_size = old.len();
        }
        for (place, (key, text)) in records.into_iter().enumerate() {
            let address = self.buffers.hold(place, text.len(), random);
            self.batch.push(Slot { address, text, key, number: None, is_awaited: false });
        }
        let is_same = |slot: &&Slot| {
            old.iter().any(|old| old.address == slot.address && old.text == slot.text)
        };
        let world = &mut self.world.borrow_mut();
        for (fault, count) in [
            (Fault::SameTextInSameBuffer, self.batch.iter().filter(is_same).count() as u64),
            (Fault::BufferMoved, self.buffers.moved - moved),
            (Fault::BufferTookAnothersPlace, self.buffers.reused - reused),
        ] {
            (0..count).for_each(|_| world.strikes.note(fault));
        }
        world.trace(|| format!("w{} new batch of {}", self.index, self.batch.len()));
    }

    /// rsyslogd is stopped, with the batch unfinished: the core ends the worker.
    pub(crate) fn stop(&mut self) {
        self.trace(|| "is stopped".to_owned());
        let Some(Process { worker, .. }) = self.process.take() else { return };
        // A panic in freeWrkrInstance ends the last chance there is.
        self.world.borrow_mut().may_panic = false;
        self.world.borrow_mut().effort = Effort::default();
        worker.close();
        self.world.borrow_mut().may_panic = true;
        self.last_act = None;
        self.has_failed = false;
    }

    /// And is started again.
    pub(crate) fn start(&mut self, process: Process, buffers: Buffers) {
        self.process = Some(process);
        self.buffers = buffers;
        self.previous_size = self.batch.len();
    }

    /// The queue brings the same batch again, in buffers of the new process.
    pub(crate) fn load_again(&mut self, random: &mut Random) {
        for (place, slot) in self.batch.iter_mut().enumerate() {
            slot.address = self.buffers.hold(place, slot.text.len(), random);
            slot.is_awaited = true;
        }
        self.trace(|| format!("the batch of {} comes back", self.batch.len()));
    }

    fn worker(&mut self) -> &mut Worker<'static, Gate> {
        &mut self.process.as_mut().expect("rsyslogd runs").worker
    }

    fn action(&self) -> &Action {
        &self.process.as_ref().expect("rsyslogd runs").action
    }

    /// rsyslogd may be stopped here: the whole batch was handed over, and is not over.
    fn may_stop_here(&mut self) {
        let mut world = self.world.borrow_mut();
        world.is_stopping |= world.may_stop && world.strikes(15);
    }

    /// Which worker this is.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// How many records the batch has.
    pub(crate) fn size(&self) -> usize {
        self.batch.len()
    }

    /// The core is done with the batch. Returns the records that its queue took back. (Where the interval
    /// of a suspension ends while the batch is taken out of the queue, they were also handed over. The
    /// worker cannot know: each is a record of its own.)
    pub(crate) fn ended(&mut self, outcome: &Outcome) -> Vec<Rendered> {
        let requeued = outcome.requeued.iter().map(|place| &self.batch[*place]);
        let requeued = requeued.map(|slot| (slot.key.clone(), slot.text.clone())).collect();
        let given_up: Vec<usize> =
            outcome.error_file.iter().chain(&outcome.vanished).copied().collect();
        let size = self.batch.len();
        if matches!(self.last_act, Some((place, Answer::Ok)) if place + 1 == size) {
            self.note(Fault::EndedWithoutEnd);
        }
        if given_up.is_empty() {
            let unsettled = self.worker().unsettled();
            assert_eq!(unsettled, 0, "the core has let go of records that are not committed");
            return requeued;
        }
        self.trace(|| format!("given up: {given_up:?}"));
        self.note(Fault::GivenUp);
        let numbers: Vec<usize> =
            given_up.iter().filter_map(|place| self.batch[*place].number).collect();
        self.oracle.give_up(&numbers);
        requeued
    }

    /// Everything that was handed over is in the store, once and in order.
    pub(crate) fn check(&mut self) {
        self.look().unwrap_or_else(|why| panic!("worker {}: {why}", self.index));
    }

    fn look(&mut self) -> Result<(), String> {
        let world = self.world.borrow();
        for written in &world.server.written[self.seen..] {
            if written.worker != self.index || written.is_void {
                continue;
            }
            let text = &written.fields[1];
            if written.key != DEAD_LETTERS.as_bytes() {
                self.oracle.stored(&written.key, text);
                continue;
            }
            let reason = &written.fields[3];
            if reason.starts_with(b"server refused") {
                self.oracle.letter(home(text).as_bytes(), reason, text);
            } else {
                self.oracle.letter(b"", b"broken", text);
            }
        }
        self.seen = world.server.written.len();
        drop(world);
        // Only then all that was ever handed over must be there.
        if self.batch.iter().any(|slot| slot.is_awaited) { Ok(()) } else { self.oracle.check() }
    }

    fn call(
        &mut self,
        on_panic: Verdict,
        call: impl FnOnce(&mut Worker<'static, Gate>) -> Verdict,
    ) -> Answer {
        self.calls += 1;
        assert!(self.calls < MAX_CALLS, "worker {} does not come to an end", self.index);
        self.world.borrow_mut().effort = Effort::default();
        let worker = self.worker();
        // As the seam does it.
        let verdict = catch_unwind(AssertUnwindSafe(|| call(worker))).unwrap_or_else(|panic| {
            if !panic.is::<Simulated>() {
                resume_unwind(panic);
            }
            self.worker().poison(on_panic == Verdict::Suspended);
            on_panic
        });
        self.world.borrow_mut().call_ended(self.index);
        let connects = self.world.borrow().effort.connects;
        assert!(connects <= MAX_CONNECTS, "{connects} connections in one call");
        let kept = self.worker().unsettled();
        assert!(kept <= self.batch.len().max(self.previous_size), "{kept} records are kept");
        match verdict {
            Verdict::Committed => Answer::Ok,
            Verdict::Deferred => Answer::Defer,
            Verdict::PreviousCommitted => Answer::Previous,
            Verdict::Suspended => Answer::Suspended,
        }
    }

    /// The worker says that everything is committed.
    fn confirmed(&mut self) {
        assert_eq!(self.worker().unsettled(), 0, "OK although records are not settled");
        self.world.borrow_mut().resolved(self.index);
        self.check();
    }

    fn expect(&mut self, place: usize) {
        let Slot { text, key, .. } = &self.batch[place];
        let (home, fate) = fate(text, key.as_deref());
        if fate == Fate::DeadLetter {
            self.note(Fault::BrokenRecord);
        }
        let Slot { text, .. } = &self.batch[place];
        let number = self.oracle.expect(home.as_bytes(), text, fate);
        self.batch[place].number = Some(number);
    }

    fn note(&self, fault: Fault) {
        self.world.borrow_mut().strikes.note(fault);
    }

    fn trace(&self, line: impl FnOnce() -> String) {
        self.world.borrow().trace(|| format!("w{} {}", self.index, line()));
    }
}

/// The key in a record's text, which every record of a scenario with dynamic keys has.
fn home(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let key = text.strip_prefix("{\"k\":\"").and_then(|rest| rest.split('"').next());
    key.unwrap_or(FIXED_KEY).to_owned()
}

/// The stream that a record belongs to, and whether it may end in the dead letter instead.
fn fate(text: &[u8], key: Option<&[u8]>) -> (String, Fate) {
    if !text.ends_with(b"}") || key.is_some_and(<[u8]>::is_empty) {
        return (String::new(), Fate::DeadLetter);
    }
    let home = home(text);
    let shown = String::from_utf8_lossy(text);
    let may_be_refused = DYNAMIC_KEYS[2..].contains(&home.as_str())
        || shown.contains("\"refuse")
        || shown.contains("\"fail");
    (home, if may_be_refused { Fate::StoredOrRefused } else { Fate::Stored })
}

impl Plugin for Host {
    fn begin(&mut self) -> Answer {
        if self.world.borrow_mut().strikes(1) {
            self.note(Fault::Hup);
            self.trace(|| "HUP".to_owned());
            self.action().hup(&Quiet);
        }
        let answer = self.call(Verdict::Committed, Worker::begin_transaction);
        self.trace(|| format!("B {answer:?}"));
        assert_eq!(answer, Answer::Ok, "beginTransaction");
        self.failed_resumes = 0;
        answer
    }

    fn act(&mut self, place: usize) -> Answer {
        let slot = &self.batch[place];
        let (address, text, key) = (slot.address, slot.text.clone(), slot.key.clone());
        let is_replay = slot.number.is_some();
        if is_replay {
            let is_alone = self.last_act.is_none();
            self.note(if is_alone { Fault::ReplayedSingly } else { Fault::ReplayedAsBatch });
        }
        let key = key.unwrap_or_default();
        let texts = Texts { record: &text, key: &key, ..Texts::default() };
        // Left out: a panic while a partial commit makes room for a record that is not kept yet.
        self.world.borrow_mut().may_panic = false;
        let answer = self.call(Verdict::Deferred, |worker| worker.do_action(address, &texts));
        self.world.borrow_mut().may_panic = true;
        self.trace(|| {
            format!(
                "{place} {answer:?} at {address:#x} {}{}",
                show(&text),
                if is_replay { " (replay)" } else { "" }
            )
        });
        let mut is_right = Ok(());
        if answer == Answer::Previous {
            self.note(Fault::PreviousCommitted);
            if self.world.borrow().is_certain(self.index) {
                is_right = self.look();
            }
        }
        if !is_replay {
            self.expect(place);
        }
        self.batch[place].is_awaited = false;
        if is_right.is_err() {
            // The record itself may be there too, where a commit of its own went only half well.
            self.check();
        }
        match answer {
            Answer::Ok => {
                self.note(Fault::PartialCommit);
                self.confirmed();
            }
            Answer::Defer | Answer::Previous => {}
            Answer::Suspended | Answer::DataFail => panic!("doAction: {answer:?}"),
        }
        // Left out: a stop in a batch that has not failed yet. Where it comes between a partial commit and the
        // next call, nobody can tell whether the batch was over.
        if self.has_failed {
            self.may_stop_here();
        }
        self.last_act = Some((place, answer));
        answer
    }

    fn end(&mut self) -> Answer {
        let answer = self.call(Verdict::Suspended, Worker::end_transaction);
        self.trace(|| format!("E {answer:?}"));
        if answer == Answer::Ok {
            self.confirmed();
        }
        assert!(matches!(answer, Answer::Ok | Answer::Suspended), "endTransaction: {answer:?}");
        self.last_act = None;
        if answer == Answer::Suspended {
            self.has_failed = true;
            self.may_stop_here();
        }
        answer
    }

    fn resume(&mut self) -> Answer {
        let answer = self.call(Verdict::Suspended, Worker::try_resume);
        self.trace(|| format!("R {answer:?}"));
        let is_patient = match self.action().retries {
            Retries::Forever => true,
            Retries::Finite(count) => self.failed_resumes <= count,
        };
        if answer == Answer::Ok && is_patient {
            self.confirmed();
        }
        // Otherwise the core may have given the batch up: what is not committed comes again, or never.
        if answer == Answer::Ok {
            if !is_patient {
                self.oracle.let_go();
            }
            assert_eq!(self.worker().unsettled(), 0, "OK although records are not settled");
            self.world.borrow_mut().resolved(self.index);
            self.failed_resumes = 0;
        } else {
            self.failed_resumes += 1;
        }
        assert!(matches!(answer, Answer::Ok | Answer::Suspended), "tryResume: {answer:?}");
        if answer == Answer::Suspended {
            self.may_stop_here();
        }
        answer
    }

    fn has_interval_passed(&mut self, is_between_batches: bool) -> bool {
        is_between_batches && self.world.borrow_mut().random.is(20)
    }
}
