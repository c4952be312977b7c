//! The flow of records and the waits in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testkit::{Sender, poll, poll_every};

use super::{Run, Stage, Stuck};
use crate::subject::STEADY_RECORDS;

/// Nothing was called for so long: nothing more will come. A suspended action is tried once a second.
const QUIET: Duration = Duration::from_secs(4);
/// All is in; so long nothing is called any more.
const CALM: Duration = Duration::from_millis(300);
/// How long the first commit after a fault may take.
const RECOVERY: Duration = Duration::from_secs(20);
const PEER_RECOVERY: Duration = Duration::from_secs(5);
/// How long a sender waits for a fault to begin.
const FLOW: Duration = Duration::from_secs(60);
/// A steady flow: so many records each time.
const CHUNK: u64 = 20;
const PACE: Duration = Duration::from_millis(5);
const LOOK: Duration = Duration::from_millis(1);

impl Stage {
    /// Sends the next slice of the records, and calls `strike` in the middle of it; its last quarter is held back until
    /// the fault has begun, so that there is something for it to meet. All of it is in rsyslog's queue afterwards.
    pub(crate) fn flow<T>(&mut self, strike: impl FnOnce(&mut Stage) -> Run<T>) -> Run<T> {
        let first = self.records * self.round / self.rounds;
        let last = self.records * (self.round + 1) / self.rounds;
        let quarter = (last - first) / 4;
        self.round += 1;
        let progress = Arc::new(AtomicU64::new(first));
        let (counter, text) = (Arc::clone(&progress), self.needs.text);
        self.has_begun = Arc::default();
        let has_begun = Arc::clone(&self.has_begun);
        let mut sender = Sender::connect(self.rsyslogd.input())?;
        let sending = thread::spawn(move || {
            for number in first..last {
                if number == last - quarter {
                    sender.flush()?;
                    poll(FLOW, || has_begun.load(Ordering::SeqCst).then_some(()));
                }
                sender.line(text(number))?;
                counter.store(number + 1, Ordering::Relaxed);
            }
            sender.finish()
        });
        self.sent = last;
        self.wait("records to flow", |_| progress.load(Ordering::Relaxed) >= first + quarter)?;
        let struck = strike(self);
        self.begun();
        let sent = sending.join().map_err(|_| Stuck("the sender panicked".to_owned()))?;
        let struck = struck?;
        sent?;
        Ok(struck)
    }

    /// Sends records at an even pace for as long as `strike` lasts, and until a slice of them is sent.
    pub(crate) fn steady<T>(&mut self, strike: impl FnOnce(&mut Stage) -> Run<T>) -> Run<T> {
        let (first, text) = (self.sent, self.needs.text);
        let enough = first + self.records / self.rounds;
        let is_over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&is_over);
        let mut sender = Sender::connect(self.rsyslogd.input())?;
        let sending = thread::spawn(move || {
            let mut next = first;
            while next < enough || !end.load(Ordering::SeqCst) {
                // Who writes more than the queue takes does not come back where a fault never ends.
                if next < enough.max(first + STEADY_RECORDS) {
                    for number in next..next + CHUNK {
                        sender.line(text(number))?;
                    }
                    sender.flush()?;
                    next += CHUNK;
                }
                poll(PACE, || end.load(Ordering::SeqCst).then_some(()));
            }
            sender.finish().map(|()| next)
        });
        let known = self.length();
        self.is_steady = true;
        let struck = self
            .wait("records to flow", |stage| stage.length() > known)
            .and_then(|()| strike(self));
        self.is_steady = false;
        is_over.store(true, Ordering::SeqCst);
        self.sent = sending.join().map_err(|_| Stuck("the sender panicked".to_owned()))??;
        struck
    }

    /// The fault is in place.
    pub(super) fn begun(&self) {
        self.has_begun.store(true, Ordering::SeqCst);
    }

    /// Takes the time from what ends a fault to the next commit.
    pub(crate) fn recover(&mut self, lift: impl FnOnce(&mut Stage) -> Run<()>) -> Run<()> {
        lift(self)?;
        let begin = Instant::now();
        let known = self.length_there();
        self.begun();
        let (limit, sent) = (if self.is_peer() { PEER_RECOVERY } else { RECOVERY }, self.sent);
        let has_end = !self.is_steady;
        let recovered = poll_every(LOOK, limit, || {
            let is_over = self.length_there() > known || has_end && self.length() >= sent;
            is_over.then(|| begin.elapsed())
        });
        match recovered {
            Some(took) => self.outcome.recoveries.push(Some(took)),
            None if self.is_peer() => self.outcome.recoveries.push(None),
            None => return Err(Stuck(format!("nothing was committed within {limit:?}"))),
        }
        if Instant::now() > self.limit {
            return Err(Stuck("the scenario's time is over".to_owned()));
        }
        Ok(())
    }

    /// Waits until all that was sent is there, or nothing happens any more.
    pub(crate) fn wait_all(&mut self) -> Run<()> {
        let (mut before, mut since) = (self.calls(), Instant::now());
        self.wait("all records", |stage| {
            let now = stage.calls();
            if now != before || now.is_in_call() {
                (before, since) = (now, Instant::now());
            }
            stage.length() >= stage.sent || since.elapsed() > QUIET
        })
    }

    pub(super) fn wait_calm(&mut self) -> Run<()> {
        let (mut before, mut since) = (self.calls(), Instant::now());
        self.wait("the calls to end", |stage| {
            let now = stage.calls();
            if now != before || now.is_in_call() {
                (before, since) = (now, Instant::now());
            }
            since.elapsed() > CALM
        })
    }

    /// Waits within the scenario's limit.
    pub(crate) fn wait(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&mut Stage) -> bool,
    ) -> Run<()> {
        let left = self.limit.saturating_duration_since(Instant::now());
        poll(left, || condition(self).then_some(()))
            .ok_or_else(|| Stuck(format!("waited in vain for {what}")))
    }
}
