//! How the records of a seed are stored, what the core hands over of each, and what must have become of
//! all of them.

use super::keys::{Held, MARKER, Source};
use super::world::World;
use crate::random::Random;
use omvalkeyaudit::commands::slot_of;
use omvalkeyaudit::params::{Settings, Values};
use omvalkeyaudit::record::{OriginTexts, Texts};
use std::collections::BTreeMap;

const FIXED_KEY: &str = "audit";
pub(super) const WRONG_KEY: &str = "wrong";
/// Two of them in one slot.
const DYNAMIC_KEYS: [&str; 6] = ["a", "b", "c", "{x}1", "{x}2", WRONG_KEY];
const DEAD_LETTERS: &str = "dead";
/// `durability.replicas` and `durability.fsync`.
const COPIES: [(&str, &str); 5] =
    [("1", "none"), ("2", "none"), ("0", "local"), ("1", "local"), ("1", "replicas")];
/// More than there are records.
const ENTRIES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Stream,
    Queue {
        at_tail: bool,
    },
    Set,
    Publish,
    /// As `Stream`, with the entry that the record was.
    Moved {
        is_source_dynamic: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    kind: Kind,
    is_dynamic: bool,
    /// What is asked for, where copies are.
    copies: Option<(&'static str, &'static str)>,
}

pub(super) struct Record {
    pub(super) key: &'static str,
    source: &'static str,
    index: String,
    pub(super) text: String,
    is_dead: bool,
}

impl Style {
    /// Drawn apart from all else, so that it changes nothing else.
    pub(super) fn of(seed: u64, is_dynamic: bool) -> Self {
        let mut random = Random::new(seed ^ 0x6d6f_6465);
        let kind = match random.below(12) {
            0..4 => Kind::Stream,
            4..7 => Kind::Queue { at_tail: random.is(50) },
            7 => Kind::Set,
            8 => Kind::Publish,
            _ => Kind::Moved { is_source_dynamic: random.is(60) },
        };
        // Messages have no copies, and the model keeps no others of what was heard.
        let copies = (random.is(50) && kind != Kind::Publish).then(|| *random.pick(&COPIES));
        Self { kind, is_dynamic, copies }
    }

    pub(super) fn settings(&self, max_records: usize) -> Settings {
        let mut values = Values::default();
        let mut add = |name: &str, value: &str| values.add(name, value.as_bytes());
        add("topology", "cluster");
        add("key", FIXED_KEY);
        add("dynakey", if self.is_dynamic { "on" } else { "off" });
        add("marker.key", MARKER);
        add("record.format", "json");
        add("layout", "record");
        add("batch.maxrecords", &max_records.to_string());
        if let Some((replicas, fsync)) = self.copies {
            add("durability.replicas", replicas);
            add("durability.fsync", fsync);
        }
        let mut letters = DEAD_LETTERS.to_owned();
        match self.kind {
            Kind::Stream => {}
            Kind::Queue { at_tail } => {
                add("mode", "queue");
                add("userpush", if at_tail { "on" } else { "off" });
            }
            Kind::Set => add("mode", "set"),
            Kind::Publish => add("mode", "publish"),
            Kind::Moved { is_source_dynamic } => {
                for switch in ["stream.ack", "stream.del", "stream.dynaindexack"] {
                    add(switch, "on");
                }
                add("stream.groupack", "readers");
                add("stream.indexack", "index");
                add("stream.keyack", self.sources()[0]);
                add("stream.dynakeyack", if is_source_dynamic { "on" } else { "off" });
                if !is_source_dynamic {
                    letters = self.sources()[0].replace('s', DEAD_LETTERS);
                }
            }
        }
        add("deadletter.key", &letters);
        Settings::from_values(&values).expect("good parameters")
    }

    /// What must be at each key once it is acknowledged, unless it was consumed.
    pub(super) fn promised<'r>(&self, sent: &'r [Record]) -> BTreeMap<&'r str, Vec<&'r [u8]>> {
        let mut promised: BTreeMap<&str, Vec<&[u8]>> = BTreeMap::new();
        for record in sent {
            // Where the dead letters of moved entries are is `check`'s business.
            let key = match (record.is_dead, self.kind) {
                (false, _) => record.key,
                (true, Kind::Moved { .. }) => continue,
                (true, _) => DEAD_LETTERS,
            };
            promised.entry(key).or_default().push(record.text.as_bytes());
        }
        promised
    }

    /// Those of the records; the first of the sources is the fixed one.
    fn targets(&self) -> &'static [&'static str] {
        if self.is_dynamic { &DYNAMIC_KEYS } else { &[FIXED_KEY] }
    }

    fn sources(&self) -> &'static [&'static str] {
        let all: &[&str] =
            if self.is_dynamic { &["{x}s", "{a}s", "{b}s"] } else { &["{audit}s", "{a}s"] };
        match self.kind {
            Kind::Moved { is_source_dynamic: true } => all,
            Kind::Moved { .. } => &all[..1],
            _ => &[],
        }
    }

    /// Whose slots may move.
    pub(super) fn keys(&self) -> Vec<Vec<u8>> {
        let keys = self.targets().iter().chain(self.sources()).chain([&DEAD_LETTERS]);
        keys.map(|key| key.as_bytes().to_vec()).collect()
    }

    /// What is there before the first record.
    pub(super) fn prepare(&self, world: &mut World) {
        world.cluster.put(WRONG_KEY.as_bytes(), Held::Text(b"other".to_vec()));
        world.has_consumer = matches!(self.kind, Kind::Queue { .. });
        for source in self.sources() {
            let entries = (1..=ENTRIES).map(|number| number.to_string().into_bytes());
            let entries: std::collections::BTreeSet<_> = entries.collect();
            let source_of = Source { pending: entries.clone(), entries };
            world.cluster.put(source.as_bytes(), Held::Source(source_of));
        }
    }

    pub(super) fn record(&self, number: usize, random: &mut Random) -> Record {
        let key = *random.pick(self.targets());
        let is_broken = random.is(4);
        let end = if is_broken { "" } else { "}" };
        let text = format!("{{\"n\":{number}{end}");
        let may_be_wrong = !matches!(self.kind, Kind::Set | Kind::Publish);
        let mut is_dead = is_broken || (key == WRONG_KEY && may_be_wrong);
        let (mut source, mut index) = ("", String::new());
        if matches!(self.kind, Kind::Moved { .. }) {
            source = *random.pick(self.sources());
            // Some name no entry.
            if !random.is(5) {
                index = number.to_string();
                is_dead |= slot_of(key.as_bytes()) != slot_of(source.as_bytes());
            }
        }
        Record { key, source, index, text, is_dead }
    }

    pub(super) fn texts<'r>(&self, record: &'r Record) -> Texts<'r> {
        let is_source_dynamic = self.kind == Kind::Moved { is_source_dynamic: true };
        let text = |is_made: bool, text: &'r str| if is_made { text.as_bytes() } else { b"" };
        Texts {
            record: record.text.as_bytes(),
            key: text(self.is_dynamic, record.key),
            origin: OriginTexts {
                key: text(is_source_dynamic, record.source),
                group: b"",
                index: record.index.as_bytes(),
            },
        }
    }

    /// Asserts that what was handed over in this order is where it should be, and nothing else.
    pub(super) fn check(&self, world: &World, sent: &[Record]) {
        let (dead, good): (Vec<&Record>, Vec<&Record>) =
            sent.iter().partition(|record| record.is_dead);
        // A dead letter may be found out when it is sent, later than one that follows it.
        let mut letters = world.cluster.streams(DEAD_LETTERS);
        let mut expected: Vec<Vec<u8>> =
            dead.iter().map(|record| record.text.clone().into_bytes()).collect();
        letters.sort();
        expected.sort();
        assert_eq!(show(&letters), show(&expected), "dead letters");
        if self.kind == Kind::Publish {
            let message = |record: &&Record| format!("{} {}", record.key, record.text).into_bytes();
            let expected: Vec<Vec<u8>> = good.iter().map(message).collect();
            let heard = world.cluster.heard().into_iter();
            let heard: Vec<Vec<u8>> =
                heard.map(|(channel, text)| [channel, text].join(&b' ')).collect();
            assert_eq!(show(&heard), show(&expected), "messages");
            return;
        }
        let mut expected: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
        for record in good {
            expected.entry(record.key).or_default().push(record.text.clone().into_bytes());
        }
        for (key, expected) in expected {
            assert_eq!(show(&self.stored(world, key)), show(&expected), "{key}");
        }
        for source in self.sources() {
            let gone: Vec<&[u8]> = sent
                .iter()
                .filter(|record| record.source == *source)
                .map(|record| record.index.as_bytes())
                .collect();
            let left: std::collections::BTreeSet<Vec<u8>> = (1..=ENTRIES)
                .map(|number| number.to_string().into_bytes())
                .filter(|id| !gone.contains(&id.as_slice()))
                .collect();
            let left = Source { pending: left.clone(), entries: left };
            assert_eq!(
                world.cluster.held(source.as_bytes()),
                Some(&Held::Source(left)),
                "{source}"
            );
        }
    }

    /// What was ever stored at a key, in order.
    fn stored(&self, world: &World, key: &str) -> Vec<Vec<u8>> {
        let at_tail = self.kind == Kind::Queue { at_tail: true };
        let in_order = |elements: &[Vec<u8>]| {
            let mut elements = elements.to_vec();
            if !at_tail {
                elements.reverse();
            }
            elements
        };
        let consumed = world.consumed.iter().filter(|(of, _)| of == key.as_bytes());
        let mut stored: Vec<Vec<u8>> =
            consumed.flat_map(|(_, elements)| in_order(elements)).collect();
        match world.cluster.held(key.as_bytes()) {
            Some(Held::List(elements)) => stored.extend(in_order(elements)),
            Some(Held::Stream(all) | Held::Value(all)) => stored.extend(all.iter().cloned()),
            _ => {}
        }
        stored
    }
}

fn show(texts: &[Vec<u8>]) -> Vec<String> {
    texts.iter().map(|text| text.escape_ascii().to_string()).collect()
}
