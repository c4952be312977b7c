//! A node's numbers against plain sets.

use super::*;
use std::collections::BTreeSet;
use testkit::Random;

fn flat(ranges: impl Iterator<Item = Range>) -> Vec<u64> {
    ranges.flat_map(|(first, last)| first..=last).collect()
}

// Oracle: plain sets of what was stored, dead and claimed as a whole.
#[test]
fn each_number_is_what_plain_sets_say() {
    for seed in 1..800 {
        let mut random = Random::new(seed);
        let mut numbers = Numbers::default();
        let (mut stored, mut dead) = (BTreeSet::new(), BTreeSet::new());
        let mut claimed = BTreeSet::new();
        for _ in 0..random.below(60) {
            let first = 1 + random.below(60);
            let last = first + random.below(5);
            match random.below(6) {
                0 => {
                    numbers.bury(first);
                    dead.insert(first);
                }
                1 => {
                    numbers.claim(Claim::Lost { first, last, count: last - first + 1 });
                    claimed.extend(first..=last);
                }
                2 => {
                    let known = (first..=last).filter(|n| !stored.insert(*n)).count() as u64;
                    assert_eq!(numbers.store_range((first, last)), known, "seed {seed}");
                }
                _ => assert_eq!(numbers.store(first), stored.insert(first), "seed {seed}"),
            }
        }
        let Some(span) = numbers.span() else { continue };
        assert_eq!(span, (*stored.first().unwrap(), *stored.last().unwrap()), "seed {seed}");
        let missing = (span.0..=span.1).filter(|n| !stored.contains(n) && !dead.contains(n));
        let (lost, unexplained): (Vec<u64>, Vec<u64>) = missing.partition(|n| claimed.contains(n));
        assert_eq!(flat(numbers.unexplained(span)), unexplained, "seed {seed}");
        assert_eq!(flat(numbers.lost(span)), lost, "seed {seed}");
        let only_dead: Vec<u64> = dead.difference(&stored).copied().collect();
        assert_eq!(flat(numbers.dead()), only_dead, "seed {seed}");
        let account = numbers.account(span);
        assert_eq!(account.missing, unexplained.len() as u64, "seed {seed}");
        assert_eq!(account.lost, lost.len() as u64, "seed {seed}");
    }
}

// Oracle: worked out by hand: ten numbers are missing, of which the source admits some.
#[test]
fn a_claim_excuses_as_many_as_it_admits() {
    for (admitted, lost, missing) in [(7, 7, 3), (10, 10, 0), (12, 10, 0)] {
        let mut numbers = Numbers::default();
        numbers.store_range((1, 9));
        numbers.store_range((20, 30));
        numbers.claim(Claim::Lost { first: 8, last: 22, count: admitted });
        assert_eq!(numbers.account((1, 30)), Account { missing, lost });
    }
}

// Oracle: what is missing below and above a number is missing in all. Claims that reach over it included.
#[test]
fn what_is_forgotten_is_what_was_below() {
    for seed in 1..800 {
        let mut random = Random::new(seed);
        let mut numbers = Numbers::default();
        for _ in 0..20 {
            let first = 1 + random.below(100);
            let last = first + random.below(20);
            match random.below(4) {
                0 => numbers.bury(first),
                1 => numbers.claim(Claim::Lost {
                    first,
                    last,
                    count: 1 + random.below(last - first + 1),
                }),
                _ => drop(numbers.store_range((first, first + random.below(3)))),
            }
        }
        let Some(span) = numbers.span() else { continue };
        let before = numbers.account(span);
        let floor = numbers.stored().middle().unwrap();
        let gone =
            numbers.missing(span).filter(|(first, _)| *first < floor).map(width).sum::<u64>();
        numbers.forget_below(floor);
        let after = numbers.account(numbers.span().unwrap());
        assert_eq!(numbers.span(), Some((floor, span.1)), "seed {seed}");
        assert!(after.missing <= before.missing && after.lost <= before.lost, "seed {seed}");
        let made_final = before.less(after);
        assert_eq!(made_final.missing + made_final.lost, gone, "seed {seed}");
    }
}
