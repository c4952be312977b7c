//! One seed: who takes part, what they hand over, and who is next.

use crate::buffers::Buffers;
use crate::engine::{Engine, Outcome, Version};
use crate::faults::Strikes;
use crate::host::Host;
use crate::line::{Gate, Shared};
use crate::random::Random;
use crate::turns::advance;
use crate::world::{DEAD_LETTERS, DYNAMIC_KEYS, FIXED_KEY, World};
use omvalkeyaudit::params::{Retries, Settings, Values};
use omvalkeyaudit::stats::Counter;
use omvalkeyaudit::worker::{Action, Log, Severity, Worker};
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

/// Nobody reads the log here.
pub(crate) struct Quiet;

impl Log for Quiet {
    fn line(&self, _: Severity, _: &str) {}
}

/// What kind of records a scenario has.
#[derive(Clone)]
struct Style {
    is_dynamic: bool,
    /// So many different texts; `None` where each has a number of its own.
    alphabet: Option<usize>,
    /// Of 100 records, so many are alike where not all are.
    alike_percent: u64,
    /// So many bytes are added to some texts.
    padding: usize,
    max_batch: usize,
    batches: usize,
    is_often_broken: bool,
}

impl Style {
    /// Where the core may give a batch up, no two texts are alike: a new record with the text and in
    /// the buffer of one that was given up cannot be told from its replay.
    fn new(may_give_up: bool, random: &mut Random) -> Self {
        let is_long = random.is(1);
        Self {
            is_dynamic: random.is(40),
            alphabet: (!may_give_up && random.is(50)).then(|| random.within(1, 2)),
            alike_percent: if may_give_up { 0 } else { *random.pick(&[0, 20, 60]) },
            padding: if is_long { 50_000 } else { *random.pick(&[0, 0, 100, 400]) },
            max_batch: *random.pick(&[1, 3, 5, 8]),
            batches: random.within(2, 6),
            is_often_broken: random.is(30),
        }
    }

    /// The next record: its dynamic key and its text.
    fn record(&self, number: &mut usize, random: &mut Random) -> (Option<Vec<u8>>, Vec<u8>) {
        *number += 1;
        let mut name = match self.alphabet {
            Some(letters) => ["a", "b"][random.below(letters)].to_owned(),
            None if random.is(self.alike_percent) => "same".to_owned(),
            None => format!("n{number}"),
        };
        if random.is(3) {
            name = format!("{}-{name}", random.pick(&["refuse", "fail"]));
        }
        if self.padding > 0 && random.is(if self.padding > 1000 { 80 } else { 30 }) {
            name.push_str(&"x".repeat(random.within(1, self.padding)));
        }
        let mut text = format!("\"t\":\"{name}\"}}");
        let mut key = None;
        if self.is_dynamic {
            let home = *random.pick(&DYNAMIC_KEYS);
            text = format!("{{\"k\":\"{home}\",{text}");
            key = Some(if random.is(2) { Vec::new() } else { home.as_bytes().to_vec() });
        } else {
            text.insert(0, '{');
        }
        if random.is(if self.is_often_broken { 25 } else { 2 }) {
            text.pop();
        }
        (key, text.into_bytes())
    }

    /// A good record for a good key.
    fn last(&self, attempt: usize) -> (Option<Vec<u8>>, Vec<u8>) {
        let key = DYNAMIC_KEYS[0];
        if self.is_dynamic {
            let text = format!("{{\"k\":\"{key}\",\"t\":\"last{attempt}\"}}");
            (Some(key.as_bytes().to_vec()), text.into_bytes())
        } else {
            (None, format!("{{\"t\":\"last{attempt}\"}}").into_bytes())
        }
    }

    fn batch(&self, number: &mut usize, random: &mut Random) -> Vec<(Option<Vec<u8>>, Vec<u8>)> {
        let size = random.within(1, self.max_batch);
        (0..size).map(|_| self.record(number, random)).collect()
    }
}

/// Left out: partial commits where the core may give records up. It then replays a batch from its
/// middle, and its first records, which came in an earlier transaction, may be written twice: what is
/// older than a replay is forgotten with it, because elsewhere it is left of an earlier batch.
fn settings(style: &Style, may_give_up: bool, random: &mut Random) -> Settings {
    let mut values = Values::default();
    let mut add = |name: &str, value: &str| values.add(name, value.as_bytes());
    add("key", FIXED_KEY);
    add("dynakey", if style.is_dynamic { "on" } else { "off" });
    add("deadletter.key", DEAD_LETTERS);
    add("marker.key", "marker");
    add("layout", "record");
    add("record.maxbytes", "1m");
    let records = *random.pick(&[1, 2, 3, 4, 5, 6, 100, 100, 100]);
    add("batch.maxrecords", &(if may_give_up { 100 } else { records }).to_string());
    if random.is(30) && !may_give_up {
        add("batch.maxbytes", "1k");
    }
    Settings::from_values(&values).expect("good parameters")
}

/// Runs one seed to its end; panics where a promise is broken.
pub(crate) fn run(seed: u64, is_traced: bool) -> Strikes {
    let mut random = Random::new(seed);
    let resume_retry_count = *random.pick(&[None, None, None, Some(0), Some(3)]);
    let style = Style::new(resume_retry_count.is_some(), &mut random);
    let settings = settings(&style, resume_retry_count.is_some(), &mut random);
    let limits = settings.batch;
    let retries = Retries::from_core(resume_retry_count.map_or(-1, i64::from));
    let action = Action::new("simulated".to_owned(), settings, retries);
    let action = Arc::new(action.expect("an action"));
    let world: Shared = Rc::new(RefCell::new(World::new(Random::new(random.next()), is_traced)));
    let version = *random.pick(&[Version::Old, Version::New, Version::Any]);
    let workers = *random.pick(&[1, 1, 2, 4]);
    world.borrow().trace(|| {
        format!(
            "seed {seed}: {version:?}, action.resumeRetryCount {resume_retry_count:?}, {workers} \
             workers, dynamic keys {}, {limits:?}",
            style.is_dynamic
        )
    });
    let mut lives: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
    for index in 0..workers {
        let gate = Gate { world: Rc::clone(&world), worker: index };
        let id = (u128::from(seed) << 8) + index as u128;
        world.borrow_mut().markers.push(format!("marker:{id:032x}").into_bytes());
        let worker = Worker::with_servers(Arc::clone(&action), &Quiet, gate, id);
        let buffers = Buffers::new(true);
        let host = Host::new(index, Rc::clone(&world), worker, Arc::clone(&action), buffers);
        let engine = Engine::new(version, resume_retry_count);
        let random = Random::new(random.next());
        lives.push(Box::pin(live(host, engine, style.clone(), Rc::clone(&world), random)));
    }
    while !lives.is_empty() {
        world.borrow_mut().idle();
        let next = random.below(lives.len());
        if advance(&mut lives[next]).is_some() {
            drop(lives.swap_remove(next));
        }
    }
    let [received, committed, dead, abandoned] =
        [Counter::Received, Counter::Committed, Counter::DeadLettered, Counter::Abandoned]
            .map(|counter| action.stats.get(counter));
    assert_eq!(received, committed + dead + abandoned, "{committed} + {dead} + {abandoned}");
    world.borrow().strikes.clone()
}

/// So often a core may give up although nothing breaks any more.
const MAX_LAST_BATCHES: usize = 100;

/// One worker's life: batches, then calm, one more batch, and a last look.
async fn live(mut host: Host, mut engine: Engine, style: Style, world: Shared, mut random: Random) {
    engine.chance = Some(Random::new(random.next()));
    let mut number = 0;
    for _ in 0..style.batches {
        if random.is(60) {
            engine.wait();
        }
        host.load(style.batch(&mut number, &mut random), &mut random);
        let size = host.size();
        let outcome = engine.batch(&mut host, size).await;
        host.ended(&outcome);
    }
    // A core that gives up may do so once more, because keys are set right only bit by bit. And a
    // reply too many is noticed by the flush after it.
    let mut committed = 0;
    for attempt in 0.. {
        assert!(attempt < MAX_LAST_BATCHES, "nothing is committed although nothing breaks");
        world.borrow_mut().calm_down();
        engine.wait();
        host.load(vec![style.last(attempt)], &mut random);
        let before = world.borrow().connections(host.index());
        let outcome = engine.batch(&mut host, 1).await;
        host.ended(&outcome);
        if outcome == Outcome::default() {
            committed += 1;
        }
        if committed > 2 {
            let after = world.borrow().connections(host.index());
            assert_eq!(before, after, "a new connection although nothing breaks");
            break;
        }
    }
    world.borrow_mut().run_all_late();
    world.borrow_mut().resolved(host.index());
    host.check();
}
