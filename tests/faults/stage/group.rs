//! What a scenario does to servers that replicate each other, under sentinels or in a cluster.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use testkit::{SentinelGroup, Server};

use super::{Run, Stage, Stuck, numbers};
use crate::store::is_primary;

/// The folder of an append-only file.
const FILES: &str = "appendonlydir";
/// How long a failover that was ordered may take before it is ordered again.
const ATTEMPT: Duration = Duration::from_secs(6);

impl Stage {
    pub(crate) fn group(&self) -> &SentinelGroup {
        self.store.group()
    }

    /// One of the servers.
    pub(crate) fn member(&self, place: usize) -> &Server {
        &self.store.servers()[place]
    }

    /// Of a single server.
    pub(crate) fn replica(&self) -> &Server {
        self.store.replica()
    }

    /// Waits until another server is the primary, which is `order`ed again and again, and for the first entry that comes
    /// there. Gives the place of the former one.
    pub(crate) fn follow(&mut self, since: Instant, order: impl Fn(&Stage, usize)) -> Run<usize> {
        let former = self.store.primary();
        let mut ordered: Option<Instant> = None;
        self.wait("another primary", |stage| {
            if ordered.is_none_or(|ordered| ordered.elapsed() > ATTEMPT) {
                order(stage, former);
                ordered = Some(Instant::now());
            }
            stage.store.follow()
        })?;
        (self.is_dead, self.is_paused) = (false, false);
        self.commands.clear();
        let known = self.length_there();
        self.wait("an entry on the new primary", |stage| stage.length_there() > known)?;
        self.outcome.recoveries.push(Some(since.elapsed()));
        Ok(former)
    }

    /// Has the replica of a cluster's node ask for its slots.
    pub(crate) fn order_handover(&self, place: usize) {
        let replica = self.member(self.store.partner(place));
        // A refusal is not the last word: it is asked again.
        drop(redis::cmd("CLUSTER").arg("FAILOVER").exec(&mut replica.connection()));
    }

    /// Moves the stream's slot on to the next of a cluster's first primaries.
    pub(crate) fn move_slot(&mut self) -> Run<()> {
        let cluster = self.store.cluster();
        let from = self.store.primary();
        let to = (from + 1) % (cluster.servers().len() / 2);
        cluster.move_slot(cluster.slot(&self.streams[0]), self.member(from), self.member(to));
        self.store.forget_places();
        Ok(())
    }

    pub(crate) fn wait_replicated(&self) {
        self.store.wait_replicated();
    }

    pub(crate) fn settle(&self) {
        self.store.settle();
    }

    /// Holds writes up and waits until the replicas have all that was confirmed.
    pub(crate) fn pass_on(&mut self) -> Run<()> {
        self.command(&["CLIENT", "PAUSE", "600000", "WRITE"])?;
        self.wait_replicated();
        Ok(())
    }

    /// Whether what is confirmed must be on replicas too.
    pub(crate) fn has_copies(&self) -> bool {
        self.needs.has_copies
    }

    /// Has the replicas stand still, without a connection, and waits for entries that the primary alone has: what it had
    /// sent them, the kernel would still give them. Gives the places of those that stand still. Nobody writes meanwhile:
    /// who waits for a copy that does not come would not write more.
    pub(crate) fn cut_replicas_off(&mut self) -> Run<Vec<usize>> {
        let primary = self.store.primary();
        let others: Vec<usize> =
            (0..self.store.servers().len()).filter(|place| *place != primary).collect();
        self.pass_on()?;
        others.iter().for_each(|place| self.member(*place).pause());
        self.command(&["CLIENT", "KILL", "TYPE", "replica"])?;
        let (known, before) = (self.length_there(), self.calls());
        self.command(&["CLIENT", "UNPAUSE"])?;
        self.wait("entries without copies", |stage| {
            stage.length_there() > known || stage.calls().suspended() > before.suspended()
        })?;
        Ok(others)
    }

    pub(crate) fn join_replicas(&self, places: Vec<usize>) {
        places.into_iter().for_each(|place| self.member(place).cont());
    }

    /// Puts a copy of a former primary's files aside, before the sentinels make it a replica and what it alone has is thrown
    /// away. Where copies are asked for, nothing may be there alone.
    pub(crate) fn put_aside(&mut self, former: usize) -> Run<()> {
        if self.needs.has_copies {
            return Ok(());
        }
        let copy = self.scratch.join(&format!("aside-{}", self.aside.len()));
        copy_files(&self.member(former).folder().join(FILES), &copy.join(FILES))?;
        self.aside.push(copy);
        Ok(())
    }

    /// As [`put_aside`](Self::put_aside), of a former primary that runs.
    pub(crate) fn put_running_aside(&mut self, former: usize) -> Run<()> {
        self.put_aside(former)?;
        if !self.needs.has_copies && !is_primary(self.member(former)) {
            return Err(Stuck("the former primary was a replica before it was copied".to_owned()));
        }
        Ok(())
    }

    /// The records that former primaries had.
    pub(super) fn left_behind(&self) -> HashSet<u64> {
        let numbers_in = |copy: &PathBuf| {
            let reader = Server::builder(self.server().flavour()).append_only();
            let reader = reader.config(&format!("dir {}", copy.display())).start(&self.scratch);
            self.streams.iter().flat_map(|stream| numbers(&reader, stream)).collect::<Vec<_>>()
        };
        self.aside.iter().flat_map(numbers_in).flatten().collect()
    }

    /// The server's number of the action's connection.
    pub(crate) fn connection_id(&mut self) -> Option<String> {
        let list: String = redis::cmd("CLIENT").arg("LIST").query(self.commands()).ok()?;
        let own = list.lines().find(|line| line.contains(" name=omvalkeyaudit "))?;
        Some(own.split(' ').next()?.to_owned())
    }
}

fn copy_files(from: &Path, to: &Path) -> Run<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}
