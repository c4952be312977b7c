//! What a scenario does to a group of servers under sentinels.

use std::fs;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use redis::Value;
use testkit::{SentinelGroup, Server};

use super::{Run, Stage, Stuck, numbers};

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

    /// Notes what a former primary has that has not been made a replica yet, and what it had at the time `until`: what it
    /// alone has will be thrown away.
    pub(crate) fn note_left_behind(&mut self, former: usize, until: SystemTime) -> Run<()> {
        let until = until.duration_since(UNIX_EPOCH).expect("a time after 1970").as_millis();
        let mut left = Vec::new();
        let mut connection = self.member(former).connection();
        testkit::for_each_entry(&mut connection, "audit", |entry| {
            let added = entry.id.split('-').next().and_then(|ms| ms.parse().ok());
            left.extend(entry.number().filter(|_| added.is_some_and(|added: u128| added <= until)));
        });
        let role: Vec<Value> = redis::cmd("ROLE").query(&mut connection)?;
        if role.first() != Some(&Value::BulkString(b"master".into())) {
            return Err(Stuck("the former primary was a replica before it was read".to_owned()));
        }
        self.left_behind.extend(left);
        Ok(())
    }

    /// Notes what a killed primary had. A copy of its files is read: the server itself would be made a replica.
    pub(crate) fn note_left_on_disk(&mut self, former: usize) -> Run<()> {
        const FILES: &str = "appendonlydir";
        let copy = self.scratch.join(&format!("left-{}", self.outcome.faults));
        copy_files(&self.member(former).folder().join(FILES), &copy.join(FILES))?;
        let reader = Server::builder(self.member(former).flavour()).append_only();
        let reader = reader.config(&format!("dir {}", copy.display())).start(&self.scratch);
        self.left_behind.extend(numbers(&reader, "audit").into_iter().flatten());
        Ok(())
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
