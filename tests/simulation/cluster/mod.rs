//! The worker before a model of a cluster. The core's part is short here, because the models of the other
//! seeds have it in full: batches, partial commits, SUSPENDED, tryResume, a replay one by one, and a stop
//! with a hold file.
//!
//! Oracle: each record stands once, in order, in the stream or list of its key, was its value once, or was
//! published once, or stands once in a dead letter where it belongs there; and the entry that it was is
//! acknowledged and gone. So whenever the worker says that all is committed, and after everything that was late.
//! Where copies are asked for, all that it has said so of is on them, and a node that dies may take all the rest
//! away.
//!
//! `CLUSTER_SEEDS=n` sets the number of seeds, `CLUSTER_SEED=n` replays one and prints what happens.

mod keys;
mod node;
mod style;
mod world;

use crate::random::Random;
use crate::scenario::Quiet;
use crate::seeds::say;
use crate::stops::HoldPath;
use omvalkeyaudit::error::Verdict;
use omvalkeyaudit::params::{Address, Retries, Settings};
use omvalkeyaudit::worker::{Action, AtStop, Worker};
use std::cell::RefCell;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::Arc;
use style::{Record, Style};
use world::{Counts, Gate, Shared, World};

const DEFAULT_SEEDS: u64 = 4_000;
const MAX_CALLS: usize = 2_000;

struct Run {
    world: Shared,
    random: Random,
    settings: Settings,
    at_stop: AtStop,
    hold: Option<HoldPath>,
    workers: u128,
    seed: u64,
    style: Style,
    calls: usize,
    /// All that was handed over and has to be stored.
    sent: Vec<Record>,
}

impl Run {
    fn new(seed: u64, is_traced: bool) -> Self {
        let mut random = Random::new(seed);
        let style = Style::of(seed, random.is(60));
        let mut settings = style.settings(*random.pick(&[1, 2, 3, 5, 100, 100]));
        let hold = random.is(40).then(HoldPath::new);
        settings.hold_file = hold.as_ref().map(HoldPath::path);
        let mut world = World::new(Random::new(random.next()), style.keys(), is_traced);
        world.promise(settings.durability);
        world.trace(|| format!("{style:?}"));
        let at_stop = *random.pick(&[AtStop::Drops, AtStop::Requeues]);
        let world = Rc::new(RefCell::new(world));
        style.prepare(&mut world.borrow_mut());
        Self {
            world,
            random,
            settings,
            at_stop,
            hold,
            workers: 0,
            seed,
            style,
            calls: 0,
            sent: Vec::new(),
        }
    }

    fn worker(&mut self) -> Worker<'static, Gate> {
        self.workers += 1;
        let action = Action::new("simulated".to_owned(), self.settings.clone(), Retries::Forever);
        let action = Arc::new(action.expect("an action").under(self.at_stop));
        let ports: Vec<u16> =
            self.world.borrow().cluster.nodes.iter().map(|node| node.port).collect();
        let seeds = ports.iter().map(|port| Address::tcp("127.0.0.1", *port).expect("an address"));
        let gate = Gate { world: Rc::clone(&self.world), seeds: seeds.collect() };
        let id = u128::from(self.seed) << 16 | self.workers;
        Worker::with_servers(action, &Quiet, gate, id)
    }

    fn trace(&self, line: impl FnOnce() -> String) {
        self.world.borrow().trace(line);
    }

    fn called(&mut self) {
        self.calls += 1;
        assert!(self.calls < MAX_CALLS, "the worker does not come to an end");
        self.world.borrow_mut().pass();
    }

    fn hand_over(
        &mut self,
        worker: &mut Worker<'static, Gate>,
        place: usize,
        record: &Record,
    ) -> Verdict {
        self.called();
        let verdict = worker.do_action((place + 1) << 12, &self.style.texts(record));
        self.trace(|| format!("{} {} {verdict:?}", record.key, record.text));
        verdict
    }

    fn end(&mut self, worker: &mut Worker<'static, Gate>) -> Verdict {
        self.called();
        let verdict = worker.end_transaction();
        self.trace(|| format!("E {verdict:?}"));
        verdict
    }

    /// Whether rsyslogd is to be stopped here.
    fn stops(&mut self) -> bool {
        self.hold.is_some() && self.world.borrow_mut().strikes(15)
    }

    /// tryResume until it says yes; false where rsyslogd is stopped before.
    fn resume(&mut self, worker: &mut Worker<'static, Gate>) -> bool {
        loop {
            self.called();
            let verdict = worker.try_resume();
            self.trace(|| format!("R {verdict:?}"));
            if verdict == Verdict::Committed {
                assert_eq!(worker.unsettled(), 0, "OK although records are not settled");
                return true;
            }
            if self.stops() {
                return false;
            }
        }
    }

    /// One batch, whatever it takes; false where rsyslogd is stopped before it is over.
    fn batch(&mut self, worker: &mut Worker<'static, Gate>, size: usize) -> bool {
        let batch = self.sent.split_off(self.sent.len() - size);
        let is_over = self.hand_over_batch(worker, &batch);
        self.sent.extend(batch);
        is_over
    }

    fn hand_over_batch(&mut self, worker: &mut Worker<'static, Gate>, batch: &[Record]) -> bool {
        worker.begin_transaction();
        let mut last = Verdict::Deferred;
        for (place, record) in batch.iter().enumerate() {
            last = self.hand_over(worker, place, record);
        }
        if last == Verdict::Committed || self.end(worker) == Verdict::Committed {
            return true;
        }
        if self.stops() || !self.resume(worker) {
            return false;
        }
        for (place, record) in batch.iter().enumerate() {
            loop {
                worker.begin_transaction();
                self.hand_over(worker, place, record);
                if self.end(worker) == Verdict::Committed {
                    break;
                }
                if !self.resume(worker) {
                    return false;
                }
            }
        }
        true
    }

    /// So many records more, for the next batch.
    fn draw(&mut self, count: usize) {
        for number in self.sent.len() + 1..=self.sent.len() + count {
            self.sent.push(self.style.record(number, &mut self.random));
        }
    }

    /// All that was acknowledged so far is on the copies that were asked for.
    fn check_copies(&self) {
        self.world.borrow().check_copies(&self.style.promised(&self.sent));
    }

    fn check(&self) {
        self.style.check(&self.world.borrow(), &self.sent);
    }

    fn run(mut self) -> Counts {
        let mut worker = self.worker();
        for _ in 0..self.random.within(2, 6) {
            let size = self.random.within(1, 8);
            self.draw(size);
            let mut is_dropped = false;
            while !self.batch(&mut worker, size) {
                self.trace(|| "stopped".to_owned());
                worker.close();
                worker = self.worker();
                if self.at_stop == AtStop::Drops {
                    is_dropped = true;
                    break;
                }
            }
            if !is_dropped {
                self.check_copies();
            }
        }
        self.world.borrow_mut().calm_down();
        self.draw(1);
        assert!(self.batch(&mut worker, 1), "a stop without a fault");
        self.check_copies();
        self.check();
        self.world.borrow_mut().calm_down();
        self.check();
        let world = self.world.borrow();
        world.counts.clone()
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

#[test]
fn every_record_is_stored_once_and_in_order_wherever_its_slot_goes() {
    if let Some(seed) = number("CLUSTER_SEED") {
        Run::new(seed, true).run();
        return;
    }
    let (first, seeds) =
        (number("FIRST").unwrap_or(0), number("CLUSTER_SEEDS").unwrap_or(DEFAULT_SEEDS));
    let mut counts = Counts::new();
    for seed in first..first + seeds {
        let run = catch_unwind(|| Run::new(seed, false).run());
        let Ok(of_seed) = run else {
            panic!("seed {seed} failed; replay it with CLUSTER_SEED={seed}");
        };
        for (what, count) in of_seed {
            *counts.entry(what).or_default() += count;
        }
    }
    say(&format!("simulation of a cluster: {seeds} seeds from {first}: {counts:#?}"));
    for what in [
        "connection cut",
        "key moved",
        "copies lag",
        "failover lost what was on no replica",
        "late EXEC",
        "list consumed",
        "marker moved",
        "node killed",
        "replica has all",
        "replica lacks the last",
        "restart lost what was not on the disk",
        "slot arrived",
        "slot moved as a whole",
        "slot set out",
    ] {
        assert!(seeds < DEFAULT_SEEDS || counts.contains_key(what), "{what} never struck");
    }
}
