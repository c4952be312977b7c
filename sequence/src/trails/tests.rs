//! All nodes against a model that keeps every number, and what is told when.

use super::*;
use crate::numbers::Account;
use std::collections::BTreeSet;
use testkit::Random;

fn stored(node: &str, number: u64) -> Arrival<'_> {
    Arrival { node: node.as_bytes(), number, is_dead: false, claim: None }
}

fn dead(node: &str, number: u64) -> Arrival<'_> {
    Arrival { is_dead: true, ..stored(node, number) }
}

fn lost(node: &str, number: u64, first: u64, last: u64) -> Arrival<'_> {
    let claim = Some(Claim::Lost { first, last, count: last - first + 1 });
    Arrival { claim, ..stored(node, number) }
}

fn numbers(node: &str, range: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = Arrival<'_>> {
    range.map(move |number| stored(node, number))
}

/// Keeps everything.
#[derive(Default)]
struct Model {
    stored: BTreeSet<u64>,
    dead: BTreeSet<u64>,
    claimed: BTreeSet<u64>,
    repeated: u64,
}

impl Model {
    fn take(&mut self, arrival: &Arrival<'_>) {
        if arrival.is_dead {
            self.dead.insert(arrival.number);
        } else if !self.stored.insert(arrival.number) {
            self.repeated += 1;
        } else if let Some((range, _)) = arrival.claim.and_then(Claim::said) {
            self.claimed.extend(range.0..=range.1);
        }
    }

    fn account(&self) -> Account {
        let (Some(first), Some(last)) = (self.stored.first(), self.stored.last()) else {
            return Account::default();
        };
        let missing =
            (*first..=*last).filter(|n| !self.stored.contains(n) && !self.dead.contains(n));
        let (lost, missing): (Vec<u64>, Vec<u64>) = missing.partition(|n| self.claimed.contains(n));
        Account { missing: missing.len() as u64, lost: lost.len() as u64 }
    }
}

/// Records of two nodes: gaps, doubles, dead letters, lost records.
fn trail_of_two(random: &mut Random) -> Vec<Arrival<'static>> {
    let mut arrivals = Vec::new();
    for node in ["a", "b"] {
        let start = 1 + random.below(30);
        for number in start..=start + random.below(120) {
            match random.below(14) {
                0 => {}
                1 => arrivals.push(dead(node, number)),
                2 => arrivals.extend([dead(node, number), stored(node, number)]),
                3 => arrivals.extend([stored(node, number), stored(node, number)]),
                4 => {
                    let first = 1 + random.below(number);
                    arrivals.push(lost(node, number, first, first + random.below(5)));
                }
                _ => arrivals.push(stored(node, number)),
            }
        }
    }
    arrivals
}

// Oracle: the model, after every flush.
#[test]
fn it_counts_what_a_model_counts_that_keeps_everything() {
    let now = Instant::now();
    for seed in 1..1500 {
        let mut random = Random::new(seed);
        let mut trails = Trails::new(Limits::default());
        let mut models = [Model::default(), Model::default()];
        let mut arrivals = trail_of_two(&mut random);
        if random.below(3) > 0 {
            random.shuffle(&mut arrivals);
        }
        let mut rest = arrivals.as_slice();
        while !rest.is_empty() {
            let size = rest.len().min(1 + usize::try_from(random.below(20)).unwrap());
            let (flush, after) = rest.split_at(size);
            rest = after;
            trails.take(flush.iter().copied(), now);
            for arrival in flush {
                models[usize::from(arrival.node == b"b")].take(arrival);
            }
            let [a, b] = &models;
            assert_eq!(trails.account(), a.account().plus(b.account()), "seed {seed}");
            assert_eq!(trails.repeated(), a.repeated + b.repeated, "seed {seed}");
        }
    }
}

// Oracle: the model, in spite of limits that are reached all the time: records that come in order close
// no gap that has become final. And the limits.
#[test]
fn what_becomes_final_stays_counted() {
    let now = Instant::now();
    for seed in 1..150 {
        let mut random = Random::new(seed);
        let limits = Limits { nodes: 4, ranges: 6 + usize::try_from(random.below(10)).unwrap() };
        let mut trails = Trails::new(limits);
        let mut model = Model::default();
        let mut number = 1;
        for _ in 0..200 {
            let skipped = random.below(3);
            number += 1 + skipped;
            let gap = (number - skipped, number - 1);
            let is_dead = random.below(8) == 0;
            if is_dead {
                number += 1;
            }
            let arrival = match random.below(3) {
                0 if skipped > 0 => lost("a", number, gap.0, gap.1),
                _ => stored("a", number),
            };
            let both = is_dead.then(|| dead("a", number - 1)).into_iter().chain([arrival]);
            trails.take(both.clone(), now);
            both.for_each(|arrival| model.take(&arrival));
            assert_eq!(trails.account(), model.account(), "seed {seed}");
            assert!(trails.size().1 <= limits.ranges, "seed {seed}");
        }
    }
}

// Oracle: the limits, whatever comes; and no panic.
#[test]
fn hostile_numbers_meet_the_limits() {
    let limits = Limits { nodes: 5, ranges: 50 };
    for seed in 1..100 {
        let mut random = Random::new(seed);
        let mut trails = Trails::new(limits);
        let mut now = Instant::now();
        for _ in 0..2000 {
            let node = random.below(9).to_string();
            let number = match random.below(4) {
                0 => u64::MAX - random.below(3),
                1 => 1 + random.below(1000),
                _ => 1 + random.below(1 << 52),
            };
            let last = number.saturating_add(random.below(1 << 40));
            let count = 1 + random.below((last - number).saturating_add(1));
            let claim = Some(Claim::Lost { first: number, last, count });
            let claim = claim.filter(|_| random.below(3) == 0);
            let is_dead = random.below(3) == 0;
            now += Duration::from_secs(random.below(3));
            let arrival = Arrival { node: node.as_bytes(), number, is_dead, claim };
            trails.take([arrival].into_iter(), now);
            let (nodes, ranges) = trails.size();
            assert!(nodes <= limits.nodes && ranges <= limits.ranges, "seed {seed}");
        }
    }
}

// Oracle: the first number is the start, whatever it is.
#[test]
fn a_new_node_has_no_gap_before_its_first_number() {
    let mut trails = Trails::default();
    let arrivals = numbers("a", 5000..=5010).chain(numbers("b", 7..=7));
    assert_eq!(trails.take(arrivals, Instant::now()), []);
    assert_eq!((trails.account(), trails.repeated()), (Account::default(), 0));
}

// Oracle: a gap that is over before anybody can look is not told; one that stays is, once; and its end is.
#[test]
fn a_gap_is_told_when_it_stays_and_when_it_closes() {
    let mut trails = Trails::default();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let one = |number| [stored("a", number)].into_iter();
    trails.take(numbers("a", 1..=10), start);
    assert_eq!(trails.take(numbers("a", 15..=20), start), []);
    assert_eq!(trails.account().missing, 4);
    assert_eq!(trails.take(numbers("a", 11..=14), at(1)), []);
    assert_eq!(trails.account().missing, 0);
    // The one above does not count for this one.
    assert_eq!(trails.take(one(25), at(2)), []);
    assert_eq!(trails.take(one(26), at(3)), []);
    let missing = |gap, count| News::Missing { node: "a".to_owned(), gap, count };
    assert_eq!(trails.take(one(27), at(4)), [missing((21, 24), 4)]);
    assert_eq!(trails.take(one(28), at(60)), []);
    // Another node's gap is told as well, though no record of that node comes any more.
    trails.take([stored("b", 1), stored("b", 3)].into_iter(), at(61));
    let of_b = News::Missing { node: "b".to_owned(), gap: (2, 2), count: 1 };
    assert_eq!(trails.take(one(29), at(63)), [of_b]);
    // Part of it comes, then a second gap opens; the last one is named.
    assert_eq!(trails.take(one(21), at(64)), []);
    trails.take(one(31), at(65));
    assert_eq!(trails.take(one(32), at(67)), []); // too soon after the one of b
    assert_eq!(trails.take(one(33), at(73)), [missing((30, 30), 4)]);
    let complete = |lost| News::Complete { node: "a".to_owned(), lost };
    assert_eq!(trails.take(numbers("a", 22..=24), at(74)), []);
    assert_eq!(trails.take([lost("a", 34, 30, 30)].into_iter(), at(75)), [complete(1)]);
    assert_eq!(trails.account(), Account { missing: 1, lost: 1 });
}

// Oracle: what is told, and that it is told once.
#[test]
fn a_limit_is_told_once() {
    let mut trails = Trails::new(Limits { nodes: 2, ranges: 4 });
    let now = Instant::now();
    let every_other = (1..=40).map(|number| stored("a", 2 * number));
    assert_eq!(trails.take(every_other, now), [News::Final { node: "a".to_owned() }]);
    assert_eq!(trails.account().missing, 39);
    // It is below what is kept: no gap closes, and nothing is repeated.
    trails.take([stored("a", 3), stored("a", 4)].into_iter(), now);
    assert_eq!((trails.account().missing, trails.repeated()), (39, 0));
    let nodes = ["b", "c", "d"].map(|node| stored(node, 1));
    assert_eq!(trails.take(nodes.into_iter(), now), [News::Forgotten { limit: 2 }]);
    // What is missing of a node that is forgotten is still missing.
    assert_eq!((trails.account().missing, trails.size().0), (39, 2));
}

// Oracle: gaps that the source has explained become final without a word.
#[test]
fn explained_gaps_need_no_word_to_become_final() {
    let mut trails = Trails::new(Limits { nodes: 2, ranges: 10 });
    let mut all = vec![stored("a", 1)];
    all.extend((1..50).map(|n| lost("a", 3 * n + 1, 3 * n - 1, 3 * n)));
    assert_eq!(trails.take(all.into_iter(), Instant::now()), []);
    assert_eq!(trails.account(), Account { missing: 0, lost: 98 });
}
