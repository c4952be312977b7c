//! What a scenario does to servers that replicate each other, under sentinels or in a cluster.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use testkit::{Calls, SentinelGroup, Server};

use super::{Run, Stage, Stuck, numbers};
use crate::store::is_primary;
use crate::subject::BATCH;

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

    /// A replica of the primary.
    pub(crate) fn replica(&self) -> &Server {
        self.store.replica()
    }

    /// The places of all of them.
    pub(crate) fn replicas(&self) -> Vec<usize> {
        self.store.replicas()
    }

    /// Waits until another server is the primary, which is `order`ed again and again, and for the first entry that comes
    /// there. Gives the place of the former one.
    pub(crate) fn follow(&mut self, since: Instant, order: impl Fn(&Stage, usize)) -> Run<usize> {
        let former = self.store.primary();
        loop {
            let mut ordered: Option<Instant> = None;
            self.wait("another primary", |stage| {
                if ordered.is_none_or(|ordered| ordered.elapsed() > ATTEMPT) {
                    order(stage, former);
                    ordered = Some(Instant::now());
                }
                stage.store.follow()
            })?;
            self.commands.clear();
            if self.wait_entry()? {
                break;
            }
            // Redis 7.0 was seen to take itself for elected by the votes of the election before, for 50 ms.
            self.store.forget_places();
        }
        self.is_dead = false;
        self.outcome.recoveries.push(Some(since.elapsed()));
        Ok(former)
    }

    /// Waits for the first entry on a new primary; whether it has stayed one.
    fn wait_entry(&mut self) -> Run<bool> {
        let (known, mut told, mut is_deposed) = (self.length_there(), Instant::now(), false);
        self.wait("an entry on the new primary", |stage| {
            if told.elapsed() > ATTEMPT {
                is_deposed = !is_primary(stage.server());
                if !is_deposed {
                    stage.tell_replicas();
                }
                told = Instant::now();
            }
            is_deposed || stage.length_there() > known
        })?;
        Ok(!is_deposed)
    }

    /// Does what an operator has to, where a takeover has left replicas behind another replica.
    fn tell_replicas(&mut self) {
        let told = self.store.unchain();
        if told > 0 {
            self.remark(format!("{told} replica of a replica told whom to follow"));
        }
    }

    /// Has a replica of the stream's node ask for its slots; `how` goes behind `CLUSTER FAILOVER`.
    pub(crate) fn order_handover(&self, how: &[&str]) {
        let mut order = redis::cmd("CLUSTER");
        order.arg("FAILOVER").arg(how);
        // A refusal is not the last word: it is asked again.
        drop(order.exec(&mut self.replica().connection()));
    }

    /// Moves the stream's slot on to the next of a cluster's first primaries.
    pub(crate) fn move_slot(&mut self) -> Run<()> {
        let cluster = self.store.cluster();
        let from = self.store.primary();
        let to = (from + 1) % cluster.primaries();
        cluster.move_slot(cluster.slot(&self.streams[0]), self.member(from), self.member(to));
        self.store.forget_places();
        Ok(())
    }

    pub(crate) fn wait_replicated(&self) {
        self.store.wait_replicated();
    }

    pub(crate) fn settle(&mut self) {
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

    /// Parts all replicas from the primary, until it has said that it alone has something: what it had sent them, the kernel
    /// would still give them. Gives their places. Nobody writes while they are parted, so that they have the same.
    pub(crate) fn cut_replicas_off(&mut self) -> Run<Vec<usize>> {
        let replicas = self.replicas();
        self.pass_on()?;
        for place in &replicas {
            self.part_replica(*place)?;
        }
        let (known, before) = (self.length_there(), self.calls());
        self.command(&["CLIENT", "UNPAUSE"])?;
        self.wait_short(known, &before)?;
        Ok(replicas)
    }

    /// Waits until the primary, which had `known` entries, has answered that there are too few copies of more: the action
    /// is suspended then. One that does not ask or does not listen goes on with the next batch.
    fn wait_short(&mut self, known: u64, before: &Calls) -> Run<()> {
        self.wait("entries without copies", |stage| {
            stage.calls().suspended() > before.suspended() || stage.length_there() > known + BATCH
        })
    }

    /// Parts a replica from its primary, until that has said that the replica lacks something.
    pub(crate) fn leave_behind(&mut self, place: usize) -> Run<()> {
        self.part_replica(place)?;
        let (known, before) = (self.length_there(), self.calls());
        self.wait_short(known, &before)
    }

    /// Takes a replica's connection away, by giving it a login that no primary knows. It goes on otherwise: a node of a
    /// cluster that stood still would be taken for dead, and what is remembered of that decides who takes over.
    pub(crate) fn part_replica(&self, place: usize) -> Run<()> {
        let mut replica = self.member(place).connection();
        let login = ["CONFIG", "SET", "masteruser", "nobody", "masterauth", "nothing"];
        redis::Cmd::new().arg(&login).exec(&mut replica)?;
        Ok(redis::Cmd::new().arg(&["CLIENT", "KILL", "TYPE", "master"]).exec(&mut replica)?)
    }

    /// Gives replicas their login back.
    pub(crate) fn join_replicas(&self, places: &[usize]) -> Run<()> {
        let login = ["CONFIG", "SET", "masteruser", "", "masterauth", ""];
        for place in places {
            redis::Cmd::new().arg(&login).exec(&mut self.member(*place).connection())?;
        }
        Ok(())
    }

    /// Waits until there are so many more entries on the primary that the action must have been told of copies.
    pub(crate) fn wait_confirmed(&mut self) -> Run<()> {
        // Nothing behind a batch is sent before all of it is done with.
        let enough = self.length_there() + BATCH;
        self.wait("a batch more", |stage| stage.length_there() > enough)
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
