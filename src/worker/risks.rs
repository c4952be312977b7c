//! Says, when a connection is new, how its server could lose what it has confirmed. Asks once for each
//! connection, and tells only what it has not told.
#![forbid(unsafe_code)]

use super::flush::not_connected;
use super::{Link, Severity, Worker};
use crate::commands::{Keeping, Reserve, ask_keeping, read_keeping};
use crate::error::{Error, printable};
use crate::params::{Durability, Fsync};
use crate::server::{Connect, Connection, Deadline};
use std::sync::{MutexGuard, PoisonError};

/// The longest part of a server's own word that is repeated in a line, in characters.
const MAX_WORD_CHARS: usize = 40;

/// What all workers of an action have told.
#[derive(Debug, Default)]
pub(super) struct Told {
    risks: String,
    reserve: Reserve,
}

impl<C: Connect> Worker<'_, C> {
    /// Looks at the server of a new connection.
    pub(super) fn tell_risks(&mut self, deadline: Deadline) -> Result<(), Error> {
        if !std::mem::take(&mut self.is_connection_new) {
            return Ok(());
        }
        let reserve = self.told().reserve;
        let question = ask_keeping(reserve);
        if question.is_empty() {
            return Ok(());
        }
        let Link::Up(session) = &mut self.link else { return Err(not_connected()) };
        session.send(&[&question], deadline)?;
        let keeping = read_keeping(reserve, &mut session.replies(deadline))?;
        let risks = risks(&keeping, &self.action.settings.durability).join("; ");
        let text =
            format!("server \"{}\" can lose what it has confirmed: {risks}", session.address());
        let mut told = self.told();
        told.reserve = keeping.reserve;
        let is_news = std::mem::replace(&mut told.risks, risks.clone()) != risks;
        drop(told);
        if is_news && !risks.is_empty() {
            self.report.line(Severity::Warning, &text);
        }
        Ok(())
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.action.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How it could, each with the remedy.
fn risks(keeping: &Keeping, durability: &Durability) -> Vec<String> {
    let mut risks = Vec::new();
    let fsync = keeping.fsync.as_deref();
    match (keeping.has_log, keeping.has_snapshots) {
        (Some(false), Some(false)) => risks.push(
            "it keeps nothing on disk, so a restart loses everything, on its replicas too (set \
             appendonly yes)"
                .to_owned(),
        ),
        (Some(false), _) => risks.push(
            "appendonly is no, so a restart loses what came after the last snapshot (set appendonly \
             yes)"
                .to_owned(),
        ),
        (Some(true), _) if durability.fsync == Fsync::None => match fsync {
            Some("everysec") => risks.push(
                "appendfsync is everysec, so a power cut loses up to two seconds (set appendfsync \
                 always)"
                    .to_owned(),
            ),
            Some("no") => risks.push(
                "appendfsync is no, so a power cut loses what is not written back, half a minute \
                 perhaps (set appendfsync always)"
                    .to_owned(),
            ),
            _ => {}
        },
        _ => {}
    }
    if let (Some(true), Some(eviction)) = (keeping.has_limit, keeping.eviction.as_deref())
        && eviction != "noeviction"
    {
        let shown = printable(eviction, MAX_WORD_CHARS);
        // The streams never expire; the markers do.
        let follows = if eviction.starts_with("volatile") {
            "a full server deletes markers, and a commit in doubt may be written twice"
        } else {
            "a full server deletes streams"
        };
        risks.push(format!(
            "maxmemory-policy is {shown}, so {follows} (set maxmemory-policy noeviction)"
        ));
    }
    risks
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NONE: Durability =
        Durability { replicas: 0, fsync: Fsync::None, timeout: Duration::from_secs(1) };

    fn said(keeping: &Keeping, durability: &Durability) -> String {
        risks(keeping, durability).join("; ")
    }

    // Oracle: the sentence names what to set, and a server that keeps everything, or says nothing, gets none.
    #[test]
    fn each_way_to_lose_what_was_confirmed_has_its_sentence_and_its_remedy() {
        let safe = Keeping {
            has_log: Some(true),
            fsync: Some("always".to_owned()),
            has_snapshots: Some(false),
            has_limit: Some(true),
            eviction: Some("noeviction".to_owned()),
            reserve: Reserve::default(),
        };
        assert_eq!(said(&safe, &NONE), "");
        assert_eq!(said(&Keeping::default(), &NONE), "");
        let bare = Keeping { has_log: Some(false), ..safe.clone() };
        assert!(said(&bare, &NONE).contains("loses everything"));
        for has_snapshots in [Some(true), None] {
            let snapshots = Keeping { has_snapshots, ..bare.clone() };
            assert!(
                said(&snapshots, &NONE).contains("after the last snapshot (set appendonly yes)")
            );
        }
        for (fsync, word) in [("everysec", "two seconds"), ("no", "half a minute")] {
            let late = Keeping { fsync: Some(fsync.to_owned()), ..safe.clone() };
            assert!(said(&late, &NONE).contains(word));
            assert!(said(&late, &NONE).contains("(set appendfsync always)"));
            // What is acknowledged is on the disk then.
            assert_eq!(said(&late, &Durability { fsync: Fsync::Local, ..NONE }), "");
        }
        for (policy, word) in [("allkeys-lru", "streams"), ("volatile-ttl", "markers")] {
            let evicting = Keeping { eviction: Some(policy.to_owned()), ..safe.clone() };
            let text = said(&evicting, &NONE);
            assert!(text.contains(word) && text.contains("noeviction"), "{text}");
            assert_eq!(said(&Keeping { has_limit: Some(false), ..evicting }, &NONE), "");
        }
    }
}
