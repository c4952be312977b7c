//! The protocol's rules one by one, each with the call sequence of the core that makes it needed.

use super::*;

const LIMITS: Limits = Limits { records: 3, bytes: 1000 };

/// A record: buffer number and text number.
fn id(buffer: usize, text: u64) -> (Address, Fingerprint) {
    (Address(buffer * 64), Fingerprint(text))
}

fn hand_over(t: &mut Transaction<u64>, buffer: usize, text: u64) -> Admission {
    let (address, fingerprint) = id(buffer, text);
    let (admission, _) = t.admit(address, fingerprint);
    if admission == Admission::Fresh {
        t.keep(address, fingerprint, Part::WHOLE, 100, text);
    }
    admission
}

fn settle_all(t: &mut Transaction<u64>) {
    let fates = vec![Fate::Settled; t.kept().len()];
    t.found_out(&fates);
}

#[test]
fn limits_are_reached_by_count_and_by_bytes() {
    let mut t = Transaction::new(LIMITS, Retries::Forever);
    assert!(t.has_room(5000), "an empty batch takes even an oversized record");
    hand_over(&mut t, 1, 1);
    assert!(t.has_room(900) && !t.has_room(901));
    hand_over(&mut t, 2, 2);
    assert!(!t.is_full());
    hand_over(&mut t, 3, 3);
    assert!(t.is_full() && !t.has_room(1));
}

#[test]
fn a_new_batch_in_reused_buffers_is_new_even_with_equal_texts() {
    // B 1 2 E, B 1' 2' E with the same texts in the same buffers.
    let mut t = Transaction::new(LIMITS, Retries::Forever);
    for _ in 0..2 {
        t.begin();
        assert_eq!(hand_over(&mut t, 1, 7), Admission::Fresh);
        assert_eq!(hand_over(&mut t, 2, 7), Admission::Fresh);
        settle_all(&mut t);
        t.end_committed();
    }
}

#[test]
fn a_batch_that_ended_without_end_transaction_does_not_swallow_the_next() {
    // B 1 2 3(OK) with no E, then B 1' with an equal text: it must be written.
    let mut t = Transaction::new(LIMITS, Retries::Forever);
    t.begin();
    for buffer in 1..=3 {
        hand_over(&mut t, buffer, 7);
    }
    settle_all(&mut t);
    t.begin();
    assert_eq!(hand_over(&mut t, 1, 7), Admission::Fresh);
    assert_eq!(hand_over(&mut t, 2, 7), Admission::Fresh);
}

#[test]
fn a_replay_after_suspension_writes_nothing_twice_and_loses_nothing() {
    // B 1 2 3(OK) B 4 5 E(SUSP) R B1E B2E ...: 1-3 were committed, 4 and 5 only kept.
    let mut t = Transaction::new(LIMITS, Retries::Forever);
    t.begin();
    for buffer in 1..=3 {
        hand_over(&mut t, buffer, buffer as u64);
    }
    settle_all(&mut t);
    t.begin();
    hand_over(&mut t, 4, 4);
    hand_over(&mut t, 5, 5);
    t.stall();
    t.end_suspended();
    for buffer in 1..=5 {
        t.begin();
        let expected = if buffer <= 3 { Admission::Settled } else { Admission::Kept };
        assert_eq!(hand_over(&mut t, buffer, buffer as u64), expected);
        if buffer == 4 {
            settle_all(&mut t);
        }
        t.end_committed();
        if buffer == 4 {
            // 5 was flushed together with 4.
            t.begin();
            assert_eq!(hand_over(&mut t, 5, 5), Admission::Settled);
            t.end_committed();
            break;
        }
    }
    assert!(t.kept().is_empty());
    t.begin();
    assert_eq!(hand_over(&mut t, 1, 1), Admission::Fresh, "the replay is over");
}

#[test]
fn a_record_leaves_the_ledger_only_when_its_own_end_transaction_was_ok() {
    // B 1 2 E(SUSP) R B1E(SUSP) R B2E B1E: 1 stays known until its transaction ends well.
    let mut t = Transaction::new(LIMITS, Retries::Forever);
    t.begin();
    hand_over(&mut t, 1, 1);
    hand_over(&mut t, 2, 2);
    t.end_suspended();
    t.begin();
    hand_over(&mut t, 1, 1);
    t.end_suspended();
    settle_all(&mut t);
    t.begin();
    assert_eq!(hand_over(&mut t, 2, 2), Admission::Settled);
    t.end_committed();
    t.begin();
    assert_eq!(hand_over(&mut t, 1, 1), Admission::Settled);
    t.end_committed();
    t.begin();
    assert_eq!(hand_over(&mut t, 2, 2), Admission::Fresh);
}

#[test]
fn a_core_that_gives_a_batch_up_frees_the_next_one() {
    // B 1 2 E(SUSP) R(SUSP), batch given up; then other records in the same buffers.
    let mut t = Transaction::new(LIMITS, Retries::Forever);
    t.begin();
    hand_over(&mut t, 1, 1);
    hand_over(&mut t, 2, 2);
    t.end_suspended();
    t.begin();
    let (address, fingerprint) = id(1, 11);
    assert_eq!(t.admit(address, fingerprint), (Admission::Fresh, 2));
    assert!(t.kept().is_empty());
    t.keep(address, fingerprint, Part::WHOLE, 100, 11);
    assert_eq!(hand_over(&mut t, 2, 2), Admission::Fresh, "the old 2 is forgotten too");
}

#[test]
fn a_flush_in_doubt_is_either_taken_as_it_was_or_sent_again() {
    let mut t = Transaction::new(LIMITS, Retries::Forever);
    t.begin();
    hand_over(&mut t, 1, 1);
    hand_over(&mut t, 2, 2);
    let doubt = InDoubt { part: Part::WHOLE, flush: 1 };
    t.doubt(doubt, 2);
    hand_over(&mut t, 3, 3);
    assert_eq!(t.in_doubt(), [doubt]);
    let left = t.committed(1, &[Fate::Settled, Fate::Unsettled]);
    assert_eq!(left, [0]);
    assert!(t.in_doubt().is_empty());
    let kept: Vec<u64> = t.kept().iter().map(|kept| kept.payload).collect();
    assert_eq!(kept, [2, 3], "what did not succeed keeps its place before younger records");
}

#[test]
fn each_part_of_a_flush_has_its_own_fate() {
    // Of two parts, one is answered and the other in doubt, while a third record joins the latter.
    let (even, odd) = (Part(0), Part(1));
    let mut t = Transaction::new(LIMITS, Retries::Forever);
    t.begin();
    for buffer in 1..=5 {
        let (address, fingerprint) = id(buffer, 7);
        let part = if buffer % 2 == 0 { even } else { odd };
        t.keep(address, fingerprint, part, 100, buffer as u64);
    }
    t.doubt(InDoubt { part: odd, flush: 7 }, 2);
    t.doubt(InDoubt { part: even, flush: 8 }, 2);
    let left = t.committed(8, &[Fate::Unsettled, Fate::Settled]);
    assert_eq!(left, [1], "its place among all that is kept");
    let texts = |kept: &[&Kept<u64>]| kept.iter().map(|kept| kept.payload).collect::<Vec<_>>();
    let sorted = t.sorted();
    assert_eq!(sorted.in_doubt.len(), 1);
    assert_eq!(sorted.in_doubt[0].0.flush, 7);
    assert_eq!((texts(&sorted.in_doubt[0].1), texts(&sorted.rest)), (vec![1, 3], vec![2, 5]));
    // Nothing that joins the part later, as a dead letter does, is mistaken for what was sent of it.
    t.rewrite(|kept| kept[1].reroute(odd));
    assert_eq!(t.kept_in(7).map(|(place, _)| place).collect::<Vec<_>>(), [0, 2]);
    t.not_committed(7);
    assert!(t.in_doubt().is_empty() && t.kept().len() == 4);
}

#[test]
fn what_outgrew_the_limits_while_stalled_goes_out_in_several_flushes_in_order() {
    let mut t = Transaction::new(LIMITS, Retries::Forever);
    t.begin();
    for buffer in 1..=7 {
        hand_over(&mut t, buffer, buffer as u64);
        t.stall();
    }
    let mut flushes = Vec::new();
    while !t.kept().is_empty() {
        let n = t.next_flush();
        flushes.push(t.kept()[..n].iter().map(|kept| kept.payload).collect::<Vec<_>>());
        t.doubt(InDoubt { part: Part::WHOLE, flush: 1 }, n);
        t.committed(1, &vec![Fate::Settled; n]);
    }
    assert_eq!(flushes, [vec![1, 2, 3], vec![4, 5, 6], vec![7]]);
}

#[test]
fn an_oversized_record_is_flushed_alone() {
    let mut t = Transaction::new(LIMITS, Retries::Forever);
    let (address, fingerprint) = id(1, 1);
    t.keep(address, fingerprint, Part::WHOLE, 5000, 1);
    hand_over(&mut t, 2, 2);
    assert_eq!(t.next_flush(), 1);
}

#[test]
fn what_is_left_of_a_batch_that_ended_silently_is_never_taken_for_a_new_record() {
    // B 1 2(OK) B 3(OK), no E. Then a shorter batch, its first record in a new buffer, is replayed:
    // B 9 1' E(SUSP) R B9E B1'E. Then 3 comes again as a new record with an equal text.
    let mut t = Transaction::new(LIMITS, Retries::Forever);
    t.begin();
    hand_over(&mut t, 1, 1);
    hand_over(&mut t, 2, 2);
    settle_all(&mut t);
    t.begin();
    hand_over(&mut t, 3, 3);
    settle_all(&mut t);
    t.begin();
    hand_over(&mut t, 9, 9);
    hand_over(&mut t, 1, 11);
    t.end_suspended();
    settle_all(&mut t);
    for (buffer, text) in [(9, 9), (1, 11)] {
        t.begin();
        assert_eq!(hand_over(&mut t, buffer, text), Admission::Settled);
        t.end_committed();
    }
    t.begin();
    assert_eq!(hand_over(&mut t, 3, 3), Admission::Fresh);
}

/// A batch of two, of which the first record is committed, that ends suspended; then tryResume fails so
/// often.
fn suspended_with(retries: Retries, failures: u64) -> Transaction<u64> {
    let mut t = Transaction::new(LIMITS, retries);
    t.begin();
    hand_over(&mut t, 1, 7);
    settle_all(&mut t);
    hand_over(&mut t, 2, 8);
    t.end_suspended();
    for _ in 0..failures {
        t.resume_failed();
    }
    t
}

/// And then it succeeds.
fn resume_after(retries: Retries, failures: u64) -> (Transaction<u64>, usize) {
    let mut t = suspended_with(retries, failures);
    let dropped = t.resumed();
    (t, dropped)
}

#[test]
fn what_a_core_without_patience_has_given_up_is_dropped_and_not_taken_for_a_new_record() {
    // B 1(OK) 2 E(SUSP) R(SUSP) with a count of 0, R, B 1' 2' with equal texts in the same buffers.
    let (mut t, dropped) = resume_after(Retries::Finite(0), 1);
    assert_eq!((dropped, t.kept().len()), (1, 0));
    t.begin();
    assert_eq!(hand_over(&mut t, 1, 7), Admission::Fresh);
    assert_eq!(hand_over(&mut t, 2, 8), Admission::Fresh);
    assert_eq!(t.kept().len(), 2);
}

#[test]
fn what_a_core_may_have_given_up_is_written_only_where_it_comes_again() {
    // The same with a count of 3: later cores go on nevertheless in some places, and replay.
    let (mut t, dropped) = resume_after(Retries::Finite(3), 4);
    assert_eq!((dropped, t.kept().len()), (1, 0));
    for (buffer, text, admission) in [(1, 7, Admission::Settled), (2, 8, Admission::Fresh)] {
        t.begin();
        assert_eq!(hand_over(&mut t, buffer, text), admission);
        settle_all(&mut t);
        t.end_committed();
    }
    t.begin();
    assert_eq!(hand_over(&mut t, 1, 7), Admission::Fresh, "the replay is over");
}

#[test]
fn at_the_end_only_what_is_given_up_for_certain_is_dropped() {
    for (retries, failures, expected) in [
        (Retries::Finite(0), 0, (0, true)),
        (Retries::Finite(0), 1, (1, false)),
        (Retries::Finite(3), 4, (0, true)),
        (Retries::Forever, 9, (0, true)),
    ] {
        let mut t = suspended_with(retries, failures);
        let dropped = t.ended();
        assert_eq!((dropped, t.is_unfinished()), expected, "{retries:?} {failures}");
    }
}

#[test]
fn a_patient_core_has_given_nothing_up() {
    for (retries, failures) in [(Retries::Forever, 1000), (Retries::Finite(3), 3)] {
        let (mut t, dropped) = resume_after(retries, failures);
        assert_eq!((dropped, t.kept().len()), (0, 1));
        t.begin();
        assert_eq!(hand_over(&mut t, 2, 8), Admission::Kept);
    }
}
