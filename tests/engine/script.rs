//! Scripts for the probe, by seed: what the plugin might answer. `SUSPENDED` comes from endTransaction
//! and tryResume only, as the plugin promises.

use crate::engine::Answer;
use crate::random::Random;
use std::fmt;
use std::ops::Range;

/// What one action is given, and what its probe answers.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) records: usize,
    /// `queue.dequeueBatchSize`.
    pub(crate) batch: usize,
    /// `action.resumeRetryCount`, `None` for -1.
    pub(crate) retries: Option<u32>,
    pub(crate) act: Vec<Answer>,
    pub(crate) end: Vec<Answer>,
    pub(crate) resume: Vec<Answer>,
    /// Whether the last answer of `end` and `resume` is repeated for ever.
    pub(crate) is_endless: bool,
}

impl Script {
    /// A script whose suspensions end.
    pub(crate) fn sample(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let batch = random.within(1, 5);
        let records = random.within(1, 13);
        let act = match random.below(3) {
            // What the limits of a plugin's flushes lead to.
            0 => Vec::new(),
            1 => sequence(&mut random, 16, &[(70, Answer::Defer), (100, Answer::Ok)]),
            _ => sequence(
                &mut random,
                16,
                &[(60, Answer::Defer), (80, Answer::Ok), (100, Answer::Previous)],
            ),
        };
        let often = *random.pick(&[20, 50, 80]);
        let suspended = [(often, Answer::Suspended), (100, Answer::Ok)];
        // After ten suspensions in a row the core takes a tryResume's yes for a no.
        let longest = *random.pick(&[8, 8, 8, 30]);
        let length = random.within(0, longest);
        let end = sequence(&mut random, length, &suspended);
        let length = random.within(0, 6);
        let resume = sequence(&mut random, length, &suspended);
        let retries = *random.pick(&[None, Some(0), Some(1), Some(3)]);
        Self { seed, records, batch, retries, act, end, resume, is_endless: false }
    }

    /// A script that ends in a suspension that only a restart ends, and the batch that it meets.
    pub(crate) fn sample_with_stop(seed: u64) -> (Self, Range<usize>) {
        let mut random = Random::new(seed);
        let batch = random.within(1, 5);
        let records = random.within(1, 13);
        let hangs = random.below(records.div_ceil(batch));
        let in_flight = hangs * batch..records.min((hangs + 1) * batch);
        let mut act = Vec::new();
        if batch > 2 && records > 2 && random.is(50) {
            act.extend([Answer::Defer, Answer::Ok]);
        }
        let mut end = vec![Answer::Ok; hangs];
        if in_flight.len() > 1 && random.is(50) {
            // Some of the batch are committed one by one before it hangs.
            end.push(Answer::Suspended);
            end.extend(vec![Answer::Ok; random.within(1, in_flight.len() - 1)]);
        }
        end.push(Answer::Suspended);
        let mut resume = vec![Answer::Ok; random.within(1, 3)];
        resume.push(Answer::Suspended);
        let script =
            Self { seed, records, batch, retries: None, act, end, resume, is_endless: true };
        (script, in_flight)
    }

    /// `action.resumeRetryCount` as rsyslog.conf has it.
    pub(crate) fn resume_retry_count(&self) -> String {
        self.retries.map_or("-1".to_owned(), |count| count.to_string())
    }
}

fn sequence(random: &mut Random, length: usize, weights: &[(usize, Answer)]) -> Vec<Answer> {
    let mut pick = || {
        let at = random.below(100);
        weights.iter().find(|(below, _)| at < *below).map_or(Answer::Ok, |(_, answer)| *answer)
    };
    (0..length).map(|_| pick()).collect()
}

/// The letter that the probe knows an answer by.
pub(crate) fn letter(answer: Answer) -> char {
    match answer {
        Answer::Ok => 'O',
        Answer::Defer => 'D',
        Answer::Previous => 'P',
        Answer::Suspended => 'S',
        Answer::DataFail => panic!("the plugin never says so"),
    }
}

/// As the probe reads it.
impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = |answers: &[Answer]| answers.iter().map(|answer| letter(*answer)).collect();
        let [act, end, resume]: [String; 3] =
            [letters(&self.act), letters(&self.end), letters(&self.resume)];
        let star = if self.is_endless { "*" } else { "" };
        write!(f, "act={act}\nend={end}{star}\nresume={resume}{star}\n")
    }
}
