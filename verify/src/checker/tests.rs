//! The check against a model that keeps every number and looks each one up.
#![forbid(unsafe_code)]

use super::*;
use crate::record::Claim;
use crate::schema::Event;
use std::collections::BTreeSet;
use testkit::Random;

fn record(node: &str, seq: u64) -> Record {
    let event = Event::Success;
    Record { node: node.into(), seq, ts: Some(seq), event, lost: None, has_other_version: false }
}

fn lost(node: &str, seq: u64, first: u64, last: u64, count: u64) -> Record {
    let lost = Some(Claim::Lost { first, last, count });
    Record { event: Event::Lost, lost, ..record(node, seq) }
}

fn check(records: impl IntoIterator<Item = Record>) -> Report {
    let mut checker = Checker::default();
    for record in records {
        checker.add("1-0", Ok(record)).unwrap();
    }
    checker.finish()
}

fn gaps(node: &NodeReport, why: Why) -> Vec<(u64, u64)> {
    let of_kind = node.gaps.iter().filter(|gap| gap.why == why);
    of_kind.map(|gap| (gap.first, gap.last)).collect()
}

/// Keeps everything.
#[derive(Default)]
struct Model {
    arrived: Vec<u64>,
    dead: BTreeSet<u64>,
    whole_claims: Vec<(u64, u64)>,
}

impl Model {
    fn compare(&self, node: &NodeReport, is_from_start: bool, seed: u64) {
        let seen: BTreeSet<u64> = self.arrived.iter().copied().collect();
        let known: BTreeSet<u64> = seen.union(&self.dead).copied().collect();
        let (first, last) = (*seen.first().unwrap(), *seen.last().unwrap());
        let first = if is_from_start { 1 } else { first };
        let is_lost = |n: &u64| self.whole_claims.iter().any(|(a, b)| (a..=b).contains(&n));
        let missing: Vec<u64> = (first..=last).filter(|n| !known.contains(n)).collect();
        let (lost, unexplained): (Vec<u64>, Vec<u64>) = missing.into_iter().partition(is_lost);
        let flat = |why| {
            let ranges = gaps(node, why);
            ranges.into_iter().flat_map(|(a, b)| a..=b).collect::<Vec<u64>>()
        };
        assert_eq!(flat(Why::Unexplained), unexplained, "seed {seed}");
        assert_eq!(flat(Why::Lost), lost, "seed {seed}");
        let dead: Vec<u64> = self.dead.difference(&seen).copied().collect();
        assert_eq!(flat(Why::DeadLetter), dead, "seed {seed}");
        assert_eq!(node.unexplained, unexplained.len() as u64, "seed {seed}");
        assert_eq!(node.lost, lost.len() as u64, "seed {seed}");
        assert_eq!(node.dead, dead.len() as u64, "seed {seed}");
        assert_eq!(node.records, self.arrived.len() as u64, "seed {seed}");
        assert_eq!(node.doubles, (self.arrived.len() - seen.len()) as u64, "seed {seed}");
        assert_eq!(node.first, seen.first().copied(), "seed {seed}");
        assert_eq!(node.last, seen.last().copied(), "seed {seed}");
        let (mut known, mut highest, mut late) = (BTreeSet::new(), 0, 0);
        for number in &self.arrived {
            if known.insert(*number) {
                late += u64::from(*number < highest);
                highest = highest.max(*number);
            }
        }
        assert_eq!(node.out_of_order, late, "seed {seed}");
        let spoken: u64 = node.events.iter().sum();
        assert_eq!(spoken, seen.len() as u64, "seed {seed}");
        assert_eq!(node.missing() + node.doubles == 0, node.failures().is_empty(), "seed {seed}");
    }
}

// Oracle: the model. Permutations, doubles, gaps, lost records, dead letters, two nodes at once.
#[test]
fn it_finds_what_a_model_finds_that_keeps_everything() {
    for seed in 1..1500 {
        let mut random = Random::new(seed);
        let is_from_start = random.below(2) == 0;
        let scope = Scope { is_from_start, ..Scope::default() };
        let mut checker = Checker::new(scope, Limits::default());
        let mut models = [Model::default(), Model::default()];
        let mut arrivals = Vec::new();
        for (place, (node, model)) in ["a", "b"].into_iter().zip(&mut models).enumerate() {
            let start = 1 + random.below(30);
            for seq in start..=start + random.below(120) {
                match random.below(12) {
                    0 => {}
                    1 => {
                        checker.add_dead("no reason", Ok(record(node, seq))).unwrap();
                        model.dead.insert(seq);
                        if random.below(3) == 0 {
                            arrivals.push((place, record(node, seq)));
                        }
                    }
                    2 => arrivals.extend([(place, record(node, seq)), (place, record(node, seq))]),
                    3 => {
                        let first = 1 + random.below(seq);
                        let last = first + random.below(5);
                        let count = last - first + 1;
                        arrivals.push((place, lost(node, seq, first, last, count)));
                    }
                    _ => arrivals.push((place, record(node, seq))),
                }
            }
            arrivals.push((place, record(node, start)));
        }
        if random.below(3) > 0 {
            random.shuffle(&mut arrivals);
        }
        for (place, record) in arrivals {
            let model = &mut models[place];
            // A number that comes again says nothing new.
            if let Some(Claim::Lost { first, last, .. }) = record.lost
                && !model.arrived.contains(&record.seq)
            {
                model.whole_claims.push((first, last));
            }
            model.arrived.push(record.seq);
            checker.add("1-0", Ok(record)).unwrap();
        }
        let report = checker.finish();
        assert_eq!(report.nodes.len(), 2);
        for (node, model) in report.nodes.iter().zip(&models) {
            model.compare(node, is_from_start, seed);
        }
    }
}

// Oracle: exact counts worked out by hand.
#[test]
fn a_lost_record_excuses_as_many_records_as_it_counts_and_no_more() {
    let with_claim = |count| {
        check((1..=9).chain(20..=30).map(|seq| match seq {
            20 => lost("n", seq, 8, 22, count),
            _ => record("n", seq),
        }))
    };
    // 10 to 19 are missing.
    let report = with_claim(10);
    assert_eq!((report.nodes[0].lost, report.nodes[0].missing()), (10, 0));
    assert_eq!(report.verdict(), Verdict::CompleteWithWarnings);
    let report = with_claim(7);
    assert_eq!((report.nodes[0].lost, report.nodes[0].missing()), (7, 3));
    assert_eq!(report.nodes[0].first_beyond_claim, Some((8, 22)));
    assert_eq!(gaps(&report.nodes[0], Why::PartlyLost), [(10, 19)]);
    assert_eq!(report.verdict(), Verdict::Incomplete);
}

// Oracle: the part of the gap that the claim leaves out.
#[test]
fn a_gap_that_is_partly_explained_is_split() {
    let records = (1..=9).chain(20..=30);
    let report = check(records.map(|seq| match seq {
        20 => lost("n", seq, 12, 15, 4),
        _ => record("n", seq),
    }));
    assert_eq!(gaps(&report.nodes[0], Why::Lost), [(12, 15)]);
    assert_eq!(gaps(&report.nodes[0], Why::Unexplained), [(10, 11), (16, 19)]);
    assert_eq!((report.nodes[0].lost, report.nodes[0].missing()), (4, 6));
}

// Oracle: no gap, and no panic, although nothing of the claim lies where records are.
#[test]
fn a_claim_beyond_what_is_there_explains_nothing() {
    let report = check([record("n", 49), lost("n", 50, 5, 20, 3), lost("n", 51, 90, 99, 3)]);
    assert_eq!((report.nodes[0].lost, report.nodes[0].missing()), (0, 0));
    assert_eq!(report.nodes[0].gaps, []);
}

// Oracle: the dead letters are told, and are no reason to miss what lies between them and the stream.
#[test]
fn dead_letters_from_before_and_after_the_stream_make_no_gaps() {
    let mut checker = Checker::default();
    for seq in 100..=110 {
        checker.add("1-0", Ok(record("n", seq))).unwrap();
    }
    checker.add_dead("x", Ok(record("n", 5))).unwrap();
    checker.add_dead("x", Ok(record("n", 500))).unwrap();
    checker.add_dead("x", Ok(record("m", 3))).unwrap();
    let report = checker.finish();
    assert_eq!(report.nodes.iter().map(NodeReport::missing).collect::<Vec<_>>(), [0, 0]);
    assert_eq!(report.nodes.iter().map(|node| node.dead).collect::<Vec<_>>(), [1, 2]);
}

// Oracle: a doubled lost record is counted once, as a record and as a claim.
#[test]
fn a_lost_record_that_arrives_twice_excuses_once() {
    let claim = lost("n", 20, 8, 22, 7);
    let report = check((1..=9).map(|seq| record("n", seq)).chain([claim.clone(), claim]));
    assert_eq!((report.nodes[0].lost, report.nodes[0].missing()), (7, 3));
    assert_eq!(report.nodes[0].doubled, [20]);
}

// Oracle: out of order within a stream, not from one stream to the next.
#[test]
fn each_stream_has_an_order_of_its_own() {
    let mut checker = Checker::default();
    for seq in [2, 4, 6] {
        checker.add("1-0", Ok(record("n", seq))).unwrap();
    }
    checker.begin_stream();
    for seq in [1, 3, 5] {
        checker.add("1-0", Ok(record("n", seq))).unwrap();
    }
    let report = checker.finish();
    assert_eq!(report.verdict(), Verdict::Complete);
    assert_eq!(report.nodes[0].out_of_order, 0);
}

// Oracle: the limits, and that what came before them was taken.
#[test]
fn a_hostile_stream_meets_a_limit() {
    let limits = Limits { nodes: 2, ranges: 3, ..Limits::default() };
    let mut checker = Checker::new(Scope::default(), limits);
    checker.add("1-0", Ok(record("a", 1))).unwrap();
    checker.add("1-0", Ok(record("b", 1))).unwrap();
    assert_eq!(checker.add("1-0", Ok(record("c", 1))), Err(Full::Nodes(2)));
    checker.add("1-0", Ok(record("a", 3))).unwrap();
    assert_eq!(checker.add("1-0", Ok(record("a", 5))), Err(Full::Ranges(3)));
    // What joins ranges needs none.
    let mut checker = Checker::new(Scope::default(), limits);
    for seq in [1, 3, 5, 4, 2, 7, 6] {
        checker.add("1-0", Ok(record("a", seq))).unwrap();
    }
    assert_eq!(checker.finish().verdict(), Verdict::CompleteWithWarnings);
}

// Oracle: at most as many gaps as allowed, the unexplained ones first; the counts stay exact.
#[test]
fn a_report_lists_as_many_gaps_as_it_may() {
    let limits = Limits { gaps: 5, gaps_per_node: 3, ..Limits::default() };
    let mut checker = Checker::new(Scope::default(), limits);
    for node in ["a", "b", "c"] {
        checker.add("1-0", Ok(lost(node, 1, 2, 9, 8))).unwrap();
        for seq in (1..=20).map(|n| n * 2) {
            checker.add("1-0", Ok(record(node, seq))).unwrap();
        }
    }
    let report = checker.finish();
    let listed: Vec<usize> = report.nodes.iter().map(|node| node.gaps.len()).collect();
    assert_eq!(listed, [3, 2, 0]);
    assert!(report.nodes.iter().all(|node| node.missing() == 15 && node.lost == 4));
    assert!(report.nodes[0].gaps.iter().all(|gap| gap.why == Why::Unexplained));
}

// Oracle: which entries were counted as what.
#[test]
fn other_nodes_foreign_and_broken_entries_are_counted_apart() {
    let scope = Scope { nodes: vec!["ab".into()], ..Scope::default() };
    let mut checker = Checker::new(scope, Limits::default());
    checker.add("1-0", Ok(record("abc", 1))).unwrap();
    checker.add("2-0", Ok(record("b", 7))).unwrap();
    checker.add("3-0", Err(Flaw::Foreign)).unwrap();
    checker.add("4-0", Err(Flaw::Foreign)).unwrap();
    checker.add("5-0", Err(Flaw::Broken("it has no seq"))).unwrap();
    checker.add_dead("too long", Ok(record("abc", 2))).unwrap();
    checker.add_dead("too long", Ok(record("b", 2))).unwrap();
    checker.add_dead("broken", Err(Flaw::Foreign)).unwrap();
    let report = checker.finish();
    assert_eq!((report.entries, report.of_other_nodes, report.nodes.len()), (5, 1, 1));
    assert_eq!(report.foreign.count, 2);
    assert_eq!(report.foreign.first.as_ref().map(|(id, _)| id.as_str()), Some("3-0"));
    assert_eq!(report.broken.first, Some(("5-0".to_owned(), "it has no seq")));
    let dead = report.dead_letters.as_ref().unwrap();
    assert_eq!((dead.entries, dead.unnumbered), (2, 1));
    assert_eq!(dead.by_reason.get("too long"), Some(&1));
    assert_eq!(report.verdict(), Verdict::CompleteWithWarnings);
}
