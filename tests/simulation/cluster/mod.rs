//! The worker before a model of a cluster. The core's part is short here, because the models of the other
//! seeds have it in full: batches, partial commits, SUSPENDED, tryResume, a replay one by one, and a stop
//! with a hold file.
//!
//! Oracle: each record stands once, in order, in the stream of its key, or once in the dead letter where it
//! belongs there; whenever the worker says that all is committed, and after everything that was late. Where copies
//! are asked for, all that it has said so of is on them, and a node that dies may take all the rest away.
//!
//! `CLUSTER_SEEDS=n` sets the number of seeds, `CLUSTER_SEED=n` replays one and prints what happens.

mod node;
mod world;

use crate::random::Random;
use crate::scenario::Quiet;
use crate::seeds::say;
use crate::stops::HoldPath;
use node::Held;
use omvalkeyaudit::error::Verdict;
use omvalkeyaudit::params::{Address, Retries, Settings, Values};
use omvalkeyaudit::record::Texts;
use omvalkeyaudit::worker::{Action, AtStop, Worker};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::Arc;
use world::{Counts, Gate, Shared, World};

const DEFAULT_SEEDS: u64 = 4_000;
const DEAD_LETTERS: &str = "dead";
const FIXED_KEY: &str = "audit";
const WRONG_KEY: &str = "wrong";
/// Two of them in one slot.
const DYNAMIC_KEYS: [&str; 6] = ["a", "b", "c", "{x}1", "{x}2", WRONG_KEY];
const MAX_CALLS: usize = 2_000;
/// `durability.replicas` and `durability.fsync`.
const COPIES: [(&str, &str); 5] =
    [("1", "none"), ("2", "none"), ("0", "local"), ("1", "local"), ("1", "replicas")];

struct Record {
    key: &'static str,
    text: String,
    is_dead: bool,
}

struct Run {
    world: Shared,
    random: Random,
    settings: Settings,
    at_stop: AtStop,
    hold: Option<HoldPath>,
    workers: u128,
    seed: u64,
    is_dynamic: bool,
    number: usize,
    calls: usize,
    expected: BTreeMap<&'static str, Vec<Vec<u8>>>,
}

impl Run {
    fn new(seed: u64, is_traced: bool) -> Self {
        let mut random = Random::new(seed);
        let is_dynamic = random.is(60);
        let mut values = Values::default();
        let mut add = |name: &str, value: &str| values.add(name, value.as_bytes());
        add("topology", "cluster");
        add("key", FIXED_KEY);
        add("dynakey", if is_dynamic { "on" } else { "off" });
        add("deadletter.key", DEAD_LETTERS);
        add("marker.key", "marker");
        add("layout", "record");
        let records = *random.pick(&[1, 2, 3, 5, 100, 100]);
        add("batch.maxrecords", &records.to_string());
        // Of its own, so that the other half of the seeds is what it was before.
        let mut of_copies = Random::new(!seed);
        if of_copies.is(50) {
            let (replicas, fsync) = *of_copies.pick(&COPIES);
            add("durability.replicas", replicas);
            add("durability.fsync", fsync);
        }
        let mut settings = Settings::from_values(&values).expect("good parameters");
        let hold = random.is(40).then(HoldPath::new);
        settings.hold_file = hold.as_ref().map(HoldPath::path);
        let keys: Vec<&str> = if is_dynamic { DYNAMIC_KEYS.to_vec() } else { vec![FIXED_KEY] };
        let keys = keys.iter().chain([&DEAD_LETTERS]).map(|key| key.as_bytes().to_vec());
        let mut world = World::new(Random::new(random.next()), keys.collect(), is_traced);
        world.promise(settings.durability);
        let at_stop = *random.pick(&[AtStop::Drops, AtStop::Requeues]);
        let world = Rc::new(RefCell::new(world));
        world.borrow_mut().cluster.put(WRONG_KEY.as_bytes(), Held::Text(b"other".to_vec()));
        Self {
            world,
            random,
            settings,
            at_stop,
            hold,
            workers: 0,
            seed,
            is_dynamic,
            number: 0,
            calls: 0,
            expected: BTreeMap::new(),
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

    fn record(&mut self) -> Record {
        self.number += 1;
        let key = if self.is_dynamic { *self.random.pick(&DYNAMIC_KEYS) } else { FIXED_KEY };
        let is_broken = self.random.is(4);
        let end = if is_broken { "" } else { "}" };
        let text = format!("{{\"n\":{}{end}", self.number);
        Record { key, text, is_dead: is_broken || key == WRONG_KEY }
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
        let key = if self.is_dynamic { record.key.as_bytes() } else { b"" };
        let texts = Texts { record: record.text.as_bytes(), key, ..Texts::default() };
        let verdict = worker.do_action((place + 1) << 12, &texts);
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
    fn batch(&mut self, worker: &mut Worker<'static, Gate>, batch: &[Record]) -> bool {
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

    fn expect(&mut self, batch: &[Record]) {
        for record in batch {
            let key = if record.is_dead { DEAD_LETTERS } else { record.key };
            self.expected.entry(key).or_default().push(record.text.clone().into_bytes());
        }
    }

    fn check(&self) {
        let world = self.world.borrow();
        for (key, expected) in &self.expected {
            let Some(Held::Stream(stored)) = world.cluster.held(key.as_bytes()) else {
                panic!("{key}: nothing there of {}", expected.len());
            };
            let (mut stored, mut expected) = (stored.clone(), expected.clone());
            // A dead letter may be found out when it is sent, later than one that follows it.
            if *key == DEAD_LETTERS {
                stored.sort();
                expected.sort();
            }
            let show = |texts: &[Vec<u8>]| {
                texts.iter().map(|text| text.escape_ascii().to_string()).collect::<Vec<_>>()
            };
            assert_eq!(show(&stored), show(&expected), "{key}");
        }
    }

    fn run(mut self) -> Counts {
        let mut worker = self.worker();
        for _ in 0..self.random.within(2, 6) {
            let size = self.random.within(1, 8);
            let batch: Vec<Record> = (0..size).map(|_| self.record()).collect();
            self.expect(&batch);
            let mut is_dropped = false;
            while !self.batch(&mut worker, &batch) {
                self.trace(|| "stopped".to_owned());
                worker.close();
                worker = self.worker();
                if self.at_stop == AtStop::Drops {
                    is_dropped = true;
                    break;
                }
            }
            if !is_dropped {
                self.world.borrow().check_copies(&self.expected);
            }
        }
        self.world.borrow_mut().calm_down();
        let last = [self.record()];
        self.expect(&last);
        assert!(self.batch(&mut worker, &last), "a stop without a fault");
        self.world.borrow().check_copies(&self.expected);
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
        "copies lag",
        "failover lost what was on no replica",
        "late EXEC",
        "marker moved",
        "node killed",
        "replica has all",
        "replica lacks the last",
        "restart lost what was not on the disk",
        "slot arrived",
        "slot moved as a whole",
        "slot set out",
        "stream moved",
    ] {
        assert!(seeds < DEFAULT_SEEDS || counts.contains_key(what), "{what} never struck");
    }
}
