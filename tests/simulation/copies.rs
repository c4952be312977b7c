//! Copies of what was written: replicas that lag, and a disk that does. The model holds what a server was
//! seen to do: WAIT and WAITAOF answer for what the *connection* has written, and tell one that has written
//! nothing that all is well.
//!
//! Where copies are asked for, the oracle is exact: no disaster takes away what they were confirmed of, and
//! all that a disaster does take away must be written again.

use crate::faults::Fault;
use crate::resp::error;
use crate::server::{Reply, Server};
use crate::world::{FIXED_KEY, World};
use omvalkeyaudit::params::{Durability, Fsync, Mode};
use redis::Value;

/// How much of the server's history, in commits, is where.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Copies {
    on_replicas: usize,
    on_disk: usize,
    /// What is written meanwhile does not get there.
    pub(crate) replicas_lag: bool,
    pub(crate) disk_lags: bool,
}

/// What a replica says to such a question.
pub(crate) const NO_PRIMARY: &str = "ERR WAIT cannot be used with replica instances.";

impl Copies {
    /// So many commits are everywhere.
    pub(crate) fn have(&mut self, commits: usize) {
        (self.on_replicas, self.on_disk) = (commits, commits);
    }

    /// The answer to WAIT or WAITAOF on a connection after whose last write there were so many commits.
    pub(crate) fn answer(&mut self, words: &[Vec<u8>], written: usize) -> Value {
        let number = |place: usize| -> i64 {
            let word = words.get(place).map(Vec::as_slice).unwrap_or_default();
            std::str::from_utf8(word).ok().and_then(|text| text.parse().ok()).expect("a number")
        };
        assert!(number(words.len() - 1) > 0, "a server takes 0 for ever");
        if !self.replicas_lag {
            self.on_replicas = self.on_replicas.max(written);
        }
        let replicas = |asked: i64| if self.on_replicas >= written { asked } else { asked - 1 };
        if words[0] == b"WAIT" {
            return Value::Int(replicas(number(1)));
        }
        if !self.disk_lags {
            self.on_disk = self.on_disk.max(written);
        }
        let is_on_disk = Value::Int(i64::from(self.on_disk >= written));
        Value::Array(vec![is_on_disk, Value::Int(replicas(number(2)))])
    }

    /// So many commits are there at the least after a failover, or after a crash, of which these copies were asked for.
    pub(crate) fn floors(&self, asked: &Durability) -> (Option<usize>, Option<usize>) {
        (
            (asked.replicas > 0).then_some(self.on_replicas),
            (asked.fsync != Fsync::None).then_some(self.on_disk),
        )
    }
}

impl Server {
    /// The answer to WAIT or WAITAOF.
    pub(crate) fn count_copies(&mut self, id: usize, words: &[Vec<u8>]) -> Reply {
        if self.is_replica_to(id) {
            return Reply::One(error(NO_PRIMARY));
        }
        Reply::One(self.copies.answer(words, self.clients[id].written))
    }

    /// So many commits the replica that takes over has at least.
    pub(crate) fn floor_of_failover(&self) -> usize {
        self.copies.on_replicas
    }

    /// So many are there after a crash at least.
    pub(crate) fn floor_of_crash(&self) -> usize {
        self.copies.on_disk
    }
}

impl World {
    /// Whether the worker asks for copies.
    pub(crate) fn asks_for_copies(&self) -> bool {
        self.durability.is_some()
    }

    /// What an action with these settings is promised.
    pub(crate) fn promise(&mut self, durability: Durability) {
        self.durability = durability.is_asked().then_some(durability);
        // Left out: a list whose wrong key is deleted before the look-up, which then takes it for consumed. When
        // the worker has looked cannot be told from here where it asks for copies too.
        if self.asks_for_copies() && matches!(self.mode, Mode::Queue { .. }) {
            self.server.remove(FIXED_KEY.as_bytes());
        }
    }

    /// The disasters that may come: where copies are asked for, those that the copies are a remedy for.
    pub(crate) fn disasters(&self) -> Vec<Fault> {
        let Some(Durability { replicas, fsync, .. }) = self.durability else {
            return vec![
                Fault::Crash,
                Fault::CrashLostTail,
                Fault::FailoverLostTail,
                Fault::FlushAll,
            ];
        };
        let mut disasters = vec![Fault::Crash];
        if fsync != Fsync::None {
            disasters.push(Fault::CrashLostTail);
        }
        if replicas > 0 {
            disasters.push(Fault::FailoverLostTail);
        }
        disasters
    }

    /// Whether an answer, the last one or the one before it, says that there are copies enough.
    pub(crate) fn is_enough(&self, answer: &Value, is_last: bool) -> bool {
        let Some(Durability { replicas, fsync, .. }) = self.durability else { return false };
        let replicas = i64::try_from(replicas).expect("few");
        // With `local` the disk is asked about first, the replicas then.
        let is_about_disk =
            fsync != Fsync::None && !(fsync == Fsync::Local && replicas > 0 && is_last);
        match answer {
            Value::Int(have) if !is_about_disk => *have >= replicas,
            Value::Array(counts) if is_about_disk => match counts.as_slice() {
                [Value::Int(disk), Value::Int(have)] => {
                    *disk > 0 && (fsync == Fsync::Local || *have >= replicas)
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Begins or ends a time in which replicas or the disk lag.
    pub(crate) fn change_lag(&mut self) {
        if !self.asks_for_copies() {
            return;
        }
        self.lag_left = self.lag_left.saturating_sub(1);
        let copies = &mut self.server.copies;
        if self.lag_left == 0 {
            (copies.replicas_lag, copies.disk_lags) = (false, false);
            if self.strikes(2) {
                self.lag_left = u32::try_from(self.random.within(1, 40)).expect("small");
                let (replicas_lag, disk_lags) =
                    *self.random.pick(&[(true, false), (false, true), (true, true)]);
                let copies = &mut self.server.copies;
                (copies.replicas_lag, copies.disk_lags) = (replicas_lag, disk_lags);
                self.strikes.note(Fault::CopiesLag);
                self.trace(|| format!("    copies lag: replicas {replicas_lag}, disk {disk_lags}"));
            }
        }
    }
}

/// How many questions for copies a packet has.
pub(crate) fn questions(bytes: &[u8]) -> usize {
    let count = |text: &[u8]| bytes.windows(text.len()).filter(|window| *window == text).count();
    count(b"\r\n$4\r\nWAIT\r\n") + count(b"\r\n$7\r\nWAITAOF\r\n")
}
