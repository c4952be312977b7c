//! What a scenario does to the proxy, the server and rsyslogd.

use std::time::Duration;

use redis::{Connection, RedisResult};
use testkit::{Calls, Fault, Proxy, poll};

use super::{Run, Stage};

/// How long a fault is held when a peer takes no notice of it.
const PEER_HOLD: Duration = Duration::from_secs(3);

impl Stage {
    /// Counts faults that struck.
    pub(crate) fn struck(&mut self, times: u64) {
        self.outcome.faults += times;
    }

    /// Waits until the faults that were ordered have struck.
    pub(crate) fn wait_struck(&mut self) -> Run<()> {
        let ordered = self.proxy().waiting() as u64;
        self.wait_strike(|stage| stage.proxy().waiting() == 0)?;
        let left = self.proxy().waiting() as u64;
        self.proxy().pass();
        self.struck(ordered.max(1) - left);
        Ok(())
    }

    /// Has the fault strike once at whichever server the action turns to first.
    pub(crate) fn strike_anywhere(&mut self, fault: Fault) -> Run<()> {
        self.store.proxies().for_each(|proxy| proxy.once(fault));
        self.wait_strike(|stage| stage.store.proxies().any(|proxy| proxy.waiting() == 0))?;
        self.store.proxies().for_each(Proxy::pass);
        self.struck(1);
        self.recover(|_| Ok(()))
    }

    fn wait_strike(&mut self, has_struck: impl Fn(&Stage) -> bool) -> Run<()> {
        self.begun();
        if self.is_peer() {
            poll(PEER_HOLD, || has_struck(self).then_some(()));
            return Ok(());
        }
        self.wait("the fault to strike", |stage| has_struck(stage))
    }

    /// Waits until a call has returned SUSPENDED; for a peer that does not notice, some seconds.
    pub(crate) fn hold_until_suspended(&mut self, before: &Calls) -> Run<()> {
        self.struck(1);
        self.begun();
        let is_suspended = |stage: &Stage| stage.calls().suspended() > before.suspended();
        if self.is_peer() {
            poll(PEER_HOLD, || is_suspended(self).then_some(()));
            return Ok(());
        }
        self.wait("the action to be suspended", |stage| is_suspended(stage))
    }

    /// Lets a fault last.
    pub(crate) fn hold_for(&mut self, duration: Duration) {
        self.struck(1);
        self.begun();
        // Nothing is looked for: the time itself is the fault.
        poll(duration, || None::<()>);
    }

    pub(crate) fn pause_server(&mut self) -> Run<()> {
        self.server().pause();
        Ok(())
    }

    pub(crate) fn continue_server(&mut self) -> Run<()> {
        self.server().cont();
        Ok(())
    }

    pub(crate) fn kill_server(&mut self) -> Run<()> {
        self.is_dead = true;
        self.server().kill();
        Ok(())
    }

    pub(crate) fn start_server(&mut self) -> Run<()> {
        self.server().start();
        self.commands.clear();
        self.is_dead = false;
        Ok(())
    }

    /// Stops rsyslogd, and gives the time it took.
    pub(crate) fn stop_rsyslogd(&mut self) -> Run<Duration> {
        match self.rsyslogd.stop_within(self.subject.stop_limit()) {
            Some(stopped) => {
                if !stopped.status.success() {
                    self.fail(format!("rsyslogd ended with {:?}", stopped.status));
                }
                Ok(stopped.took)
            }
            None => {
                self.fail("rsyslogd did not stop".to_owned());
                Ok(self.subject.stop_limit())
            }
        }
    }

    /// Sends a command to the server, past the proxy.
    pub(crate) fn command(&mut self, words: &[&str]) -> Run<()> {
        Ok(redis::Cmd::new().arg(words).exec(self.commands())?)
    }

    /// Sends a command to the server that has a key.
    pub(crate) fn command_where(&mut self, key: &str, words: &[&str]) -> Run<()> {
        Ok(redis::Cmd::new().arg(words).exec(self.commands_where(key))?)
    }

    /// Sends a command to all servers.
    pub(crate) fn command_all(&mut self, words: &[&str]) -> Run<()> {
        for place in 0..self.store.servers().len() {
            redis::Cmd::new().arg(words).exec(self.commands_at(place))?;
        }
        Ok(())
    }

    /// To the server, past the proxy.
    pub(super) fn commands(&mut self) -> &mut Connection {
        let place = self.store.primary();
        self.commands_at(place)
    }

    /// To the server that has a key.
    pub(super) fn commands_where(&mut self, key: &str) -> &mut Connection {
        let place = self.store.place_of(key);
        self.commands_at(place)
    }

    fn commands_at(&mut self, place: usize) -> &mut Connection {
        let server = &self.store.servers()[place];
        self.commands.entry(place).or_insert_with(|| server.connection())
    }

    /// Whether a section of INFO has this line.
    pub(crate) fn info(&mut self, section: &str, line: &str) -> bool {
        let text: RedisResult<String> = redis::cmd("INFO").arg(section).query(self.commands());
        text.is_ok_and(|text| text.contains(line))
    }

    /// The stream gets another name, and a text stands in its place, in one step.
    pub(crate) fn put_stream_aside(&mut self) -> Run<()> {
        self.wait("a stream", |stage| stage.length_of("audit") > 0)?;
        // In the same slot.
        let aside = format!("{{audit}}:aside:{}", self.former_streams.len());
        redis::pipe()
            .atomic()
            .cmd("RENAME")
            .arg("audit")
            .arg(&aside)
            .ignore()
            .cmd("SET")
            .arg("audit")
            .arg("a text")
            .ignore()
            .exec(self.commands())?;
        self.former_streams.push(aside);
        Ok(())
    }

    pub(crate) fn write_password(&mut self, password: &str) -> Run<()> {
        Ok(std::fs::write(&self.password_file, password)?)
    }
}
