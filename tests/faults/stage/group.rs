//! What a scenario does to a group of servers under sentinels.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use redis::Value;
use testkit::{SentinelGroup, Server};

use super::{Run, Stage, Stuck, numbers};

/// The folder of an append-only file.
const FILES: &str = "appendonlydir";

impl Stage {
    pub(crate) fn group(&self) -> &SentinelGroup {
        self.store.group()
    }

    /// A server of the group.
    pub(crate) fn member(&self, place: usize) -> &Server {
        &self.group().servers()[place]
    }

    /// Waits until the sentinels name another primary, `urge`d each time they are asked, and for the first entry that comes
    /// there. Gives the place of the former one.
    pub(crate) fn follow(
        &mut self,
        since: Instant,
        urge: impl Fn(&SentinelGroup, &Server),
    ) -> Run<usize> {
        let former = self.store.primary();
        self.wait("another primary", |stage| {
            urge(stage.group(), stage.member(former));
            stage.store.follow()
        })?;
        (self.is_dead, self.is_paused) = (false, false);
        self.commands = self.server().connection();
        let known = self.length();
        self.wait("an entry on the new primary", |stage| stage.length() > known)?;
        self.outcome.recoveries.push(Some(since.elapsed()));
        Ok(former)
    }

    /// Holds writes up and waits until the replicas have all that was confirmed.
    pub(crate) fn pass_on(&mut self) -> Run<()> {
        self.command(&["CLIENT", "PAUSE", "600000", "WRITE"])?;
        self.group().wait_replicated();
        Ok(())
    }

    /// Puts a copy of a former primary's files aside, before the sentinels make it a replica and what it alone has is thrown
    /// away.
    pub(crate) fn put_aside(&mut self, former: usize) -> Run<()> {
        let copy = self.scratch.join(&format!("aside-{}", self.aside.len()));
        copy_files(&self.member(former).folder().join(FILES), &copy.join(FILES))?;
        self.aside.push(copy);
        Ok(())
    }

    /// As [`put_aside`](Self::put_aside), of a former primary that runs.
    pub(crate) fn put_running_aside(&mut self, former: usize) -> Run<()> {
        self.put_aside(former)?;
        let role: Vec<Value> = redis::cmd("ROLE").query(&mut self.member(former).connection())?;
        if role.first() != Some(&Value::BulkString(b"master".into())) {
            return Err(Stuck("the former primary was a replica before it was copied".to_owned()));
        }
        Ok(())
    }

    /// The records that former primaries had.
    pub(super) fn left_behind(&self) -> HashSet<u64> {
        let numbers_in = |copy: &PathBuf| {
            let reader = Server::builder(self.server().flavour()).append_only();
            let reader = reader.config(&format!("dir {}", copy.display())).start(&self.scratch);
            numbers(&reader, "audit")
        };
        self.aside.iter().flat_map(numbers_in).flatten().collect()
    }

    /// Waits until all agree on the primary and the others have what it has.
    pub(crate) fn settle_group(&mut self) {
        self.group().primary();
        self.group().wait_replicated();
    }

    /// The server's number of the action's connection.
    pub(crate) fn connection_id(&mut self) -> Option<String> {
        let list: String = redis::cmd("CLIENT").arg("LIST").query(&mut self.commands).ok()?;
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
