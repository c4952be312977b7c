//! rsyslogd is stopped while an action is suspended, and started again: what comes back of the batch that
//! was at hand, and of the records behind it. The queue is on disk, or written there at the stop.
//!
//! Oracle: the law that follows, for every sampled script. Through 8.2504 the batch at hand is gone. From
//! 8.2606 on it comes back behind the records that waited, and *whole*: also those of its records that
//! doAction or endTransaction has reported as committed, because the queue knows of batches only.

use crate::compare::SOON;
use crate::engine::{Answer, Version as Model};
use crate::probe::{Call, Line, Queue, Stage, show};
use crate::script::Script;
use std::ops::Range;
use testkit::{Version, poll, wait_until};

const SCRIPTS: u64 = 10;

/// The records that come back, in order.
fn come_back(version: Model, script: &Script, in_flight: Range<usize>) -> Vec<usize> {
    let waiting = in_flight.end..script.records;
    match version {
        Model::Old => waiting.collect(),
        Model::New | Model::Any => waiting.chain(in_flight).collect(),
    }
}

/// The calls of a core that is told that all is well.
fn calls(records: &[usize], batch: usize) -> String {
    let call = |call| Line { call, answer: None, address: 0 };
    let mut lines = Vec::new();
    for records in records.chunks(batch) {
        lines.push(call(Call::Begin));
        lines.extend(records.iter().map(|record| call(Call::Act(*record))));
        lines.push(call(Call::End));
    }
    show(&lines)
}

fn hold_the_law_to(version: Version, model: Model) {
    let scripts: Vec<(Script, Range<usize>)> = (0..SCRIPTS).map(Script::sample_with_stop).collect();
    let queues = [Queue::Disk, Queue::DiskAssisted].into_iter().cycle();
    let actions: Vec<(Script, Queue)> =
        scripts.iter().map(|(script, _)| script.clone()).zip(queues).collect();
    let stage = Stage::play(version, &actions);
    let hangs = |script: &Script| {
        let trace = stage.trace(script);
        let mut last = trace.iter().rev().take(2);
        last.all(|line| line.call == Call::Resume && line.answer == Some(Answer::Suspended))
            && trace.len() > 2
    };
    wait_until("all actions to be suspended", SOON, || {
        scripts.iter().all(|(script, _)| hangs(script))
    });
    stage.rsyslogd.stop();
    let before: Vec<usize> = scripts.iter().map(|(script, _)| stage.trace(script).len()).collect();
    for (script, _) in &scripts {
        stage.heal(script);
    }
    stage.rsyslogd.start();
    let wrong = || {
        let differs = |((script, in_flight), before): (&(Script, Range<usize>), &usize)| {
            let mut after = stage.trace(script).split_off(*before);
            after.retain(|line| !matches!(line.call, Call::New | Call::Free));
            let expected = calls(&come_back(model, script, in_flight.clone()), script.batch);
            (show(&after) != expected)
                .then(|| format!("{script:?}\n  rsyslogd {}\n  the law  {expected}", show(&after)))
        };
        scripts.iter().zip(&before).filter_map(differs).collect::<Vec<_>>()
    };
    poll(SOON, || wrong().is_empty().then_some(()));
    // Nothing more comes.
    stage.rsyslogd.stop();
    assert!(wrong().is_empty(), "{version}\n{}\n", wrong().join("\n"));
}

#[test]
fn rsyslogd_8_2302_loses_the_batch_at_hand_when_it_is_stopped() {
    hold_the_law_to(Version::V8_2302, Model::Old);
}

#[test]
fn rsyslogd_8_2504_loses_the_batch_at_hand_when_it_is_stopped() {
    hold_the_law_to(Version::V8_2504, Model::Old);
}

#[test]
fn rsyslogd_8_2610_brings_the_whole_batch_at_hand_back() {
    hold_the_law_to(Version::V8_2610, Model::New);
}
