//! One seed: who takes part, what they hand over, and who is next.

use crate::buffers::Buffers;
use crate::engine::{Engine, Outcome, Version};
use crate::faults::Strikes;
use crate::host::{Host, Rendered};
use crate::line::Shared;
use crate::random::Random;
use crate::stops::{HoldPath, Start, unless_stopped};
use crate::turns::advance;
use crate::world::{DEAD_LETTERS, DYNAMIC_KEYS, FIXED_KEY, MARKER, World};
use omvalkeyaudit::params::{Mode, Retries, Settings, Values};
use omvalkeyaudit::stats::Counter;
use omvalkeyaudit::worker::{AtStop, Log, Severity};
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
    mode: Mode,
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
    /// Left out: equal texts where the core gives up after some attempts, but not at the first one. Whether
    /// it has is not certain then (see `Transaction::resumed`), and a new record that has the text and the
    /// buffer of one that was committed, and nevertheless given up, is taken for its replay.
    fn new(mode: Mode, retries: Retries, random: &mut Random) -> Self {
        let may_be_alike = matches!(retries, Retries::Forever | Retries::Finite(0));
        let is_long = random.is(1);
        Self {
            mode,
            is_dynamic: random.is(40),
            alphabet: (may_be_alike && random.is(50)).then(|| random.within(1, 2)),
            alike_percent: if may_be_alike { *random.pick(&[0, 20, 60]) } else { 0 },
            padding: if is_long { 50_000 } else { *random.pick(&[0, 0, 100, 400]) },
            max_batch: *random.pick(&[1, 3, 5, 8]),
            batches: random.within(2, 6),
            is_often_broken: random.is(30),
        }
    }

    /// The next record.
    fn record(&self, number: &mut usize, random: &mut Random) -> Rendered {
        *number += 1;
        let mut name = match self.alphabet {
            Some(letters) => ["a", "b"][random.below(letters)].to_owned(),
            None if random.is(self.alike_percent) => "same".to_owned(),
            None => format!("n{number}"),
        };
        // A push is refused for its key, and never for one of its elements.
        if random.is(3) && !matches!(self.mode, Mode::Queue { .. }) {
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
    fn last(&self, attempt: usize) -> Rendered {
        let key = DYNAMIC_KEYS[0];
        if self.is_dynamic {
            let text = format!("{{\"k\":\"{key}\",\"t\":\"last{attempt}\"}}");
            (Some(key.as_bytes().to_vec()), text.into_bytes())
        } else {
            (None, format!("{{\"t\":\"last{attempt}\"}}").into_bytes())
        }
    }

    fn batch(&self, number: &mut usize, random: &mut Random) -> Vec<Rendered> {
        let size = random.within(1, self.max_batch);
        (0..size).map(|_| self.record(number, random)).collect()
    }
}

/// `durability.replicas` and `durability.fsync`.
const COPIES: [(&str, &str); 10] = [
    ("0", "none"),
    ("0", "none"),
    ("0", "none"),
    ("0", "none"),
    ("0", "none"),
    ("1", "none"),
    ("2", "none"),
    ("0", "local"),
    ("1", "local"),
    ("2", "replicas"),
];
/// How the records of this seed are stored. Drawn apart from all else, so that it changes nothing else.
fn mode(seed: u64) -> Mode {
    let mut random = Random::new(seed ^ 0x6d6f_6465);
    match random.below(10) {
        0..5 => Mode::Stream,
        5..8 => Mode::Queue { at_tail: random.is(50) },
        8 => Mode::Publish,
        _ => Mode::Set { expiration_secs: random.is(50).then_some(60) },
    }
}

fn settings(style: &Style, random: &mut Random) -> Settings {
    let mut values = Values::default();
    let mut add = |name: &str, value: &str| values.add(name, value.as_bytes());
    add("mode", style.mode.name());
    match style.mode {
        Mode::Queue { at_tail: true } => add("userpush", "on"),
        Mode::Set { expiration_secs: Some(secs) } => add("expiration", &secs.to_string()),
        _ => {}
    }
    add("record.format", "json");
    add("key", FIXED_KEY);
    add("dynakey", if style.is_dynamic { "on" } else { "off" });
    add("deadletter.key", DEAD_LETTERS);
    add("marker.key", MARKER);
    add("layout", "record");
    add("record.maxbytes", "1m");
    let records = *random.pick(&[1, 2, 3, 4, 5, 6, 100, 100, 100]);
    add("batch.maxrecords", &records.to_string());
    if random.is(30) {
        add("batch.maxbytes", "1k");
    }
    let (replicas, fsync) = *random.pick(&COPIES);
    add("durability.replicas", replicas);
    add("durability.fsync", fsync);
    // Always less than a call has left, so that a seed sends the same bytes each time.
    add("durability.timeout", "100");
    Settings::from_values(&values).expect("good parameters")
}

/// Runs one seed to its end; panics where a promise is broken.
pub(crate) fn run(seed: u64, is_traced: bool) -> Strikes {
    let mut random = Random::new(seed);
    let resume_retry_count = *random.pick(&[None, None, None, Some(0), Some(1), Some(3)]);
    let retries = Retries::from_core(resume_retry_count.map_or(-1, i64::from));
    let style = Style::new(mode(seed), retries, &mut random);
    let mut settings = settings(&style, &mut random);
    let (limits, durability) = (settings.batch, settings.durability);
    let world: Shared =
        Rc::new(RefCell::new(World::new(Random::new(random.next()), style.mode, is_traced)));
    let version = *random.pick(&[Version::Old, Version::New, Version::Any]);
    let workers = *random.pick(&[1, 1, 2, 4]);
    // With several workers one of them commits what another one held, and the oracle is each one's own.
    let may_stop = workers == 1 && resume_retry_count.is_none() && random.is(70);
    let at_stop = match version {
        Version::Old => AtStop::Drops,
        Version::New => AtStop::Requeues,
        Version::Any => *random.pick(&[AtStop::Drops, AtStop::Requeues]),
    };
    let hold = may_stop.then(HoldPath::new);
    settings.hold_file = hold.as_ref().map(HoldPath::path);
    world.borrow_mut().may_stop = may_stop;
    world.borrow_mut().promise(settings.durability);
    world.borrow_mut().may_befall();
    let world_of_all = Rc::clone(&world);
    let mut start =
        Start { seed, settings, retries, at_stop, world: world_of_all, hold, processes: 0 };
    let action = start.action();
    world.borrow().trace(|| {
        format!(
            "seed {seed}: {version:?}, {:?}, action.resumeRetryCount {resume_retry_count:?}, {workers} \
             workers, dynamic keys {}, {limits:?}, {durability:?}",
            style.mode, style.is_dynamic
        )
    });
    let mut lives: Vec<(Life, Option<Start>)> = Vec::new();
    for index in 0..workers {
        let process = start.worker(Arc::clone(&action), index);
        let buffers = if may_stop { start.buffers() } else { Buffers::new(true) };
        let host = Host::new(index, Rc::clone(&world), process, buffers);
        let engine = Engine::new(version, resume_retry_count);
        let random = Random::new(random.next());
        let life = Life { host, engine, style: style.clone(), world: Rc::clone(&world), random };
        lives.push((life, None));
    }
    // Where the process may end, the action's last reference is its worker's, so that it ends too.
    let action = (!may_stop).then_some(action);
    if may_stop && let Some((_, stops)) = lives.first_mut() {
        *stops = Some(start);
    }
    let mut lives: Vec<Pin<Box<dyn Future<Output = ()>>>> =
        lives.into_iter().map(|(life, stops)| Box::pin(life.live(stops)) as _).collect();
    while !lives.is_empty() {
        world.borrow_mut().idle();
        let next = random.below(lives.len());
        if advance(&mut lives[next]).is_some() {
            drop(lives.swap_remove(next));
        }
    }
    if let Some(action) = action {
        let [received, committed, dead, abandoned] =
            [Counter::Received, Counter::Committed, Counter::DeadLettered, Counter::Abandoned]
                .map(|counter| action.stats.get(counter));
        assert_eq!(received, committed + dead + abandoned, "{committed} + {dead} + {abandoned}");
    }
    world.borrow().strikes.clone()
}

/// So often a core may give up although nothing breaks any more.
const MAX_LAST_BATCHES: usize = 100;

/// One worker's core, and after a stop that of its successor.
struct Life {
    host: Host,
    engine: Engine,
    style: Style,
    world: Shared,
    random: Random,
}

impl Life {
    /// Batches, then calm, one more batch, and a last look.
    async fn live(mut self, mut stops: Option<Start>) {
        self.engine.chance = Some(Random::new(self.random.next()));
        let mut number = 0;
        let mut requeued = Vec::new();
        for _ in 0..self.style.batches {
            if self.random.is(60) {
                self.engine.wait();
            }
            let mut batch = self.style.batch(&mut number, &mut self.random);
            batch.append(&mut requeued);
            self.host.load(batch, &mut self.random);
            requeued = self.batch(stops.as_mut()).await;
        }
        // A core that gives up may do so once more, because keys are set right only bit by bit. And a
        // reply too many is noticed by the flush after it.
        let mut committed = 0;
        for attempt in 0.. {
            assert!(attempt < MAX_LAST_BATCHES, "nothing is committed although nothing breaks");
            self.world.borrow_mut().calm_down();
            self.engine.wait();
            self.host.load(vec![self.style.last(attempt)], &mut self.random);
            let before = self.world.borrow().connections(self.host.index());
            let outcome = self.engine.batch(&mut self.host, 1).await;
            self.host.ended(&outcome);
            if outcome == Outcome::default() {
                committed += 1;
            }
            if committed > 2 {
                let after = self.world.borrow().connections(self.host.index());
                assert_eq!(before, after, "a new connection although nothing breaks");
                break;
            }
        }
        self.world.borrow_mut().run_all_late();
        self.world.borrow_mut().resolved(self.host.index());
        self.host.check();
        if let Some(stops) = stops {
            assert_eq!(stops.left(), 0, "something is left in the hold file");
        }
    }

    /// The batch that is loaded, over as many stops as it takes. Returns what the queue took back.
    async fn batch(&mut self, mut stops: Option<&mut Start>) -> Vec<Rendered> {
        loop {
            let size = self.host.size();
            let batch = self.engine.batch(&mut self.host, size);
            if let Some(outcome) = unless_stopped(batch, &self.world).await {
                return self.host.ended(&outcome);
            }
            let Some(start) = stops.as_mut() else { return Vec::new() };
            let before = start.left();
            self.host.stop();
            start.note_left(before, self.host.index());
            let action = start.action();
            let process = start.worker(action, self.host.index());
            self.host.start(process, start.buffers());
            self.engine = self.engine.after_restart(Random::new(self.random.next()));
            if start.at_stop == AtStop::Drops {
                return Vec::new();
            }
            // In truth behind what else is in the queue; the oracle wants one order.
            self.host.load_again(&mut self.random);
        }
    }
}
