//! Says, when a connection is new, how its server could lose what it has confirmed. Asks once for each
//! connection, and tells only what it has not told.
#![forbid(unsafe_code)]

use super::flush::not_connected;
use super::{Action, Link, Severity, Worker};
use crate::commands::{Keeping, Reserve, ask_keeping, read_keeping};
use crate::error::{Error, printable};
use crate::params::{Durability, Fsync};
use crate::server::{Connect, Connection, Deadline};
use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

/// The longest part of a server's own word that is repeated in a line, in characters.
const MAX_WORD_CHARS: usize = 40;

/// So many nodes are named in a line.
const MAX_NAMED_NODES: usize = 8;

/// What all workers of an action have told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Of the one server that has all keys, whichever that is.
    risks: String,
    /// Of each node of a cluster.
    nodes: BTreeMap<String, String>,
    reserve: Reserve,
}

/// What nodes of a cluster that were met at the same time risk.
#[derive(Default)]
pub(super) struct Found(Vec<(String, String)>);

impl Found {
    /// This node risks that; an empty text where it risks nothing.
    pub(super) fn add(&mut self, node: String, risks: String) {
        self.0.push((node, risks));
    }
}

impl Told {
    /// What is news: one line for all nodes that risk the same, and only a short one where another node does so of
    /// which it was told before.
    pub(super) fn lines(&mut self, found: Found) -> Vec<String> {
        let mut alike: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (node, risks) in found.0 {
            if self.nodes.get(&node) != Some(&risks) {
                alike.entry(risks).or_default().push(node);
            }
        }
        let mut lines = Vec::new();
        for (risks, nodes) in alike {
            let known = self.nodes.iter().find(|(_, told)| **told == risks);
            let how = match known {
                Some((known, _)) => format!(", as server \"{known}\" can"),
                None => format!(": {risks}"),
            };
            if !risks.is_empty() {
                lines.push(format!("{} can lose what it has confirmed{how}", all_of(&nodes)));
            }
            self.nodes.extend(nodes.into_iter().map(|node| (node, risks.clone())));
        }
        lines
    }
}

fn all_of(nodes: &[String]) -> String {
    if let [node] = nodes {
        return format!("server \"{node}\"");
    }
    let named: Vec<String> =
        nodes.iter().take(MAX_NAMED_NODES).map(|node| format!("\"{node}\"")).collect();
    let more = match nodes.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("each of the servers {}{more}", named.join(", "))
}

impl Action {
    /// What its workers have told.
    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a server how it could lose what it has confirmed. Gives what it was not asked; nothing where that is all.
pub(super) fn ask_for_risks(
    action: &Action,
    session: &mut impl Connection,
    deadline: Deadline,
) -> Result<Option<Reserve>, Error> {
    let reserve = action.told().reserve;
    let question = ask_keeping(reserve);
    if question.is_empty() {
        return Ok(None);
    }
    session.send(&[&question], deadline).map(|()| Some(reserve))
}

/// Reads its answer; empty where it could not.
pub(super) fn read_risks(
    action: &Action,
    reserve: Reserve,
    session: &mut impl Connection,
    deadline: Deadline,
) -> Result<String, Error> {
    let keeping = read_keeping(reserve, &mut session.replies(deadline))?;
    action.told().reserve = keeping.reserve;
    Ok(risks(&keeping, &action.settings.durability).join("; "))
}

impl<C: Connect> Worker<'_, C> {
    /// Looks at the server of a new connection.
    pub(super) fn tell_risks(&mut self, deadline: Deadline) -> Result<(), Error> {
        if !std::mem::take(&mut self.is_connection_new) {
            return Ok(());
        }
        let Link::Up(session) = &mut self.link else { return Err(not_connected()) };
        let Some(reserve) = ask_for_risks(&self.action, session, deadline)? else { return Ok(()) };
        let risks = read_risks(&self.action, reserve, session, deadline)?;
        let text =
            format!("server \"{}\" can lose what it has confirmed: {risks}", session.address());
        let is_news = std::mem::replace(&mut self.action.told().risks, risks.clone()) != risks;
        if is_news && !risks.is_empty() {
            self.report.line(Severity::Warning, &text);
        }
        Ok(())
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
