//! What the user must be allowed to do at the server, in the words of an ACL rule, and which of these
//! words its rule lacks.
#![forbid(unsafe_code)]

use super::Replies;
use super::origin::prefix_beside;
use crate::error::{Error, Refusal};
use crate::params::{Durability, Fsync, Key, Mode, Origin, Retention, Settings, Store, Topology};
use std::collections::BTreeSet;

/// What every flush needs, whatever it stores: the marker, the transaction and the guard.
const FLUSH: [&str; 6] = ["multi", "set", "get", "expire", "exec", "watch"];

/// The rights of an action at the server that it writes to.
#[derive(Debug)]
pub struct Rights {
    user: String,
    probes: Vec<Probe>,
    /// All probes' commands.
    wire: Vec<u8>,
    /// The keys of the markers.
    markers: String,
    /// Commands that are not probed, because each connection begins with them.
    greeting: Vec<&'static str>,
    /// What stores records and cannot be asked about without an effect, a push or a message: it is missed with the
    /// first flush.
    unasked: Option<&'static str>,
    /// The pattern of what records are stored in; empty where they bring that.
    store: String,
}

/// A command that changes nothing: where the right is missing it is refused for that, and otherwise
/// whatever else is said about it does not matter.
#[derive(Debug)]
struct Probe {
    /// What the right is about: the command and its keys.
    command: &'static str,
    /// Empty where the command has none.
    keys: String,
    /// Every flush needs the command.
    is_command_needed_now: bool,
    /// Every flush needs the key. Otherwise only a dead letter or a commit in doubt does.
    is_key_needed_now: bool,
}

impl Rights {
    /// Those that these settings ask for.
    pub fn of(settings: &Settings) -> Self {
        let store = &settings.store;
        let mut rights = Self {
            user: settings.login.user_name().to_owned(),
            probes: Vec::new(),
            wire: Vec::new(),
            markers: pattern("~", format!("{}:", store.marker_key).as_bytes()) + "*",
            greeting: vec!["client|setname", "client|no-evict", "time"],
            unasked: match store.mode {
                Mode::Queue { at_tail: false } => Some("lpush"),
                Mode::Queue { at_tail: true } => Some("rpush"),
                Mode::Publish => Some("publish"),
                Mode::Stream | Mode::Set { .. } | Mode::Template => None,
            },
            store: match &store.key {
                Key::Fixed(key) if store.mode == Mode::Publish => pattern("&", key.as_bytes()),
                Key::Fixed(_) if store.mode != Mode::Template => {
                    pattern("%W~", store.shard_key(0).as_bytes())
                }
                _ => String::new(),
            },
        };
        if settings.login.db > 0 {
            rights.greeting.push("select");
        }
        if matches!(settings.topology, Topology::Sentinel { .. }) {
            rights.greeting.push("role");
        }
        if settings.topology == Topology::Cluster {
            rights.greeting.push("cluster|slots");
            rights.probe_without_key("asking", &[], false);
            rights.probe_flush(&store.marker_key);
        }
        rights.probe_records(store);
        rights.probe_origin(store);
        // No section has that name.
        rights.probe_without_key("info", &["none"], false);
        let Durability { replicas, fsync, .. } = settings.durability;
        if replicas > 0 && fsync != Fsync::Replicas {
            rights.probe_without_key("wait", &["0", "1"], true);
        }
        if fsync != Fsync::None {
            rights.probe_without_key("waitaof", &["0", "0", "1"], true);
        }
        rights
    }

    /// What every flush needs. One server is fenced with these very commands when it is connected to; a node of a
    /// cluster only for the slot of a commit in doubt, and without MULTI a flush would be executed, unprotected.
    fn probe_flush(&mut self, marker_key: &str) {
        // No worker has that marker. What is watched is let go by EXEC.
        let nobodys = format!("{marker_key}:-");
        let asked: [(&'static str, &[&str]); 6] = [
            ("watch", &[&nobodys]),
            ("set", &[&nobodys, "", "NX", "XX"]),
            ("get", &[&nobodys]),
            ("expire", &[&nobodys, "1"]),
            ("multi", &[]),
            ("exec", &[]),
        ];
        for (command, arguments) in asked {
            redis::cmd(command).arg(arguments).write_packed_command(&mut self.wire);
            let keys = if arguments.is_empty() { String::new() } else { self.markers.clone() };
            self.probes.push(Probe {
                command,
                keys,
                is_command_needed_now: true,
                is_key_needed_now: true,
            });
        }
    }

    /// The commands that store records, but for the unasked ones.
    fn probe_records(&mut self, store: &Store) {
        let dead_letter = store.dead_letter_key.as_bytes();
        // Which keys the records will bring is not known: the dead letter's stands for them.
        let fixed = match &store.key {
            // The first shard stands for all.
            Key::Fixed(_) => Some(store.shard_key(0)),
            Key::Dynamic { .. } => None,
        };
        let fixed = fixed.as_deref().map(str::as_bytes);
        // There is no such id, and without a key there is nothing to make.
        let nowhere = ["NOMKSTREAM", "0-0", "a", "b"];
        match (store.mode, fixed) {
            (Mode::Stream, Some(key)) => {
                self.probe("xadd", key, &nowhere, (true, true));
                self.probe("type", key, &[], (false, false));
            }
            // The push that needs the key is not asked about.
            (Mode::Queue { .. }, Some(key)) => self.probe("type", key, &[], (false, true)),
            (Mode::Set { .. }, Some(key)) => {
                // Both at once are an error of syntax.
                self.probe("set", key, &["", "NX", "XX"], (true, true));
                self.probe("type", key, &[], (false, false));
            }
            _ => {}
        }
        self.probe("xadd", dead_letter, &nowhere, (store.mode == Mode::Stream, false));
        self.probe("type", dead_letter, &[], (false, false));
        if let Some(Origin { key: Key::Dynamic { .. }, is_in_cluster: true, .. }) = &store.origin {
            let beside = prefix_beside(store);
            let keys = pattern("%W~", format!("{beside}:").as_bytes()) + "{*}";
            self.probe("xadd", format!("{beside}:{{0}}").as_bytes(), &nowhere, (true, false));
            if let Some(probe) = self.probes.last_mut() {
                probe.keys = keys;
            }
        }
        if matches!(store.trim.retention, Retention::Age(_)) {
            // Nothing is older.
            self.probe("xtrim", fixed.unwrap_or(dead_letter), &["MINID", "0"], (true, true));
        }
        if let (Key::Fixed(key), Some(first)) = (&store.key, fixed.filter(|_| store.shards > 1)) {
            let (first, all) = (pattern("%W~", first), pattern("%W~", key.as_bytes()) + ":{*}");
            let of_shards = self.probes.iter_mut().filter(|probe| probe.keys == first);
            of_shards.for_each(|probe| probe.keys.clone_from(&all));
        }
    }

    /// The commands for the entries that records come from.
    fn probe_origin(&mut self, store: &Store) {
        let Some(Origin { key: Key::Fixed(key), group, is_deleted, .. }) = &store.origin else {
            return;
        };
        // There is no such entry.
        if let Some(Key::Fixed(group)) = group {
            self.probe("xack", key.as_bytes(), &[group, "0-0"], (true, true));
        }
        if *is_deleted {
            self.probe("xdel", key.as_bytes(), &["0-0"], (true, true));
        }
    }

    /// `is_needed_now` is for the command and for its key.
    fn probe(
        &mut self,
        command: &'static str,
        key: &[u8],
        arguments: &[&str],
        is_needed_now: (bool, bool),
    ) {
        redis::cmd(command).arg(key).arg(arguments).write_packed_command(&mut self.wire);
        let (is_command_needed_now, is_key_needed_now) = is_needed_now;
        let keys = pattern("%W~", key);
        self.probes.push(Probe { command, keys, is_command_needed_now, is_key_needed_now });
    }

    fn probe_without_key(
        &mut self,
        command: &'static str,
        arguments: &[&str],
        is_command_needed_now: bool,
    ) {
        redis::cmd(command).arg(arguments).write_packed_command(&mut self.wire);
        let (keys, is_key_needed_now) = (String::new(), false);
        self.probes.push(Probe { command, keys, is_command_needed_now, is_key_needed_now });
    }

    /// Commands that show what is missing, to be sent outside of a transaction; [`Self::read`] reads the
    /// replies.
    pub fn probes(&self) -> &[u8] {
        &self.wire
    }

    /// Reads the replies to [`Self::probes`] into `missing`. Gives the first refusal that every flush would
    /// meet.
    ///
    /// # Errors
    /// The connection's.
    pub fn read(
        &self,
        replies: &mut dyn Replies,
        missing: &mut Missing,
    ) -> Result<Option<Refusal>, Error> {
        let mut first = None;
        for probe in &self.probes {
            let reply = replies.next()?;
            let Some(refusal) = super::refusal(&reply).filter(Refusal::is_about_rights) else {
                continue;
            };
            missing.note(&refusal, &probe.keys);
            let is_needed_now = match refusal.forbidden_command() {
                Some(_) => probe.is_command_needed_now,
                None => probe.is_key_needed_now,
            };
            if is_needed_now {
                first = first.or(Some(refusal));
            }
        }
        Ok(first)
    }

    /// The pattern of what records are stored in; empty where they bring that.
    pub fn store(&self) -> &str {
        &self.store
    }

    /// The pattern of the markers' keys.
    pub fn markers(&self) -> &str {
        &self.markers
    }

    /// The command that grants what is missing; `None` where nothing is.
    pub fn grant(&self, missing: &Missing) -> Option<String> {
        grant(&self.user, missing)
    }

    /// `error`, with the command that mends it where rights are missing.
    pub fn explain(&self, error: Error, missing: &Missing) -> Error {
        with_grant(error, &self.user, missing)
    }

    /// `error`, with the command that mends it where `refusal` is about rights. `keys` is the pattern of the keys that
    /// it may be about.
    pub fn explain_refusal(&self, error: Error, refusal: &Refusal, keys: &str) -> Error {
        let mut missing = Missing::default();
        missing.note(refusal, keys);
        self.explain(error, &missing)
    }

    /// Every word that the user's rule must have; the keys that records bring are not among them.
    pub fn words(&self) -> BTreeSet<String> {
        let commands = FLUSH.iter().chain(&self.greeting).copied();
        let commands =
            commands.chain(self.probes.iter().map(|probe| probe.command)).chain(self.unasked);
        let keys = self.probes.iter().map(|probe| probe.keys.clone());
        // The probes know of several shards.
        let store = self.unasked.map(|_| self.store.clone());
        let keys = keys.chain([self.markers.clone()]).chain(store);
        let keys = keys.filter(|key| !key.is_empty());
        commands.map(|command| format!("+{command}")).chain(keys).collect()
    }
}

/// `error`, with the command that mends it where `user` misses rights.
pub fn with_grant(error: Error, user: &str, missing: &Missing) -> Error {
    match grant(user, missing) {
        Some(grant) => Error { what: format!("{error}; grant what is missing: {grant}"), ..error },
        None => error,
    }
}

/// The command that grants `user` what is missing; `None` where nothing is.
fn grant(user: &str, missing: &Missing) -> Option<String> {
    let words: Vec<String> =
        [user].into_iter().chain(missing.0.iter().map(String::as_str)).map(quoted).collect();
    (!missing.0.is_empty()).then(|| format!("ACL SETUSER {}", words.join(" ")))
}

/// The words that a user's rule lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing(BTreeSet<String>);

impl Missing {
    /// Takes in what a refusal says about rights. `keys` is the pattern of the keys that the refused
    /// command was to be used on, which a server does not repeat.
    pub fn note(&mut self, refusal: &Refusal, keys: &str) {
        if !refusal.is_about_rights() {
            return;
        }
        match refusal.forbidden_command() {
            Some(command) => self.0.insert(format!("+{command}")),
            None if keys.is_empty() => false,
            None => self.0.insert(keys.to_owned()),
        };
    }
}

/// A pattern that fits this key alone.
fn pattern(kind: &str, key: &[u8]) -> String {
    let mut pattern = kind.to_owned();
    for c in String::from_utf8_lossy(key).chars() {
        if "*?[]\\".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// A word as valkey-cli takes it.
fn quoted(word: &str) -> String {
    if word.contains([' ', '"', '\'', '\\']) {
        format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Oracle: the words of each server's own refusal, measured.
    #[test]
    fn refusals_become_one_command_that_grants_what_is_missing() {
        let mut missing = Missing::default();
        assert_eq!(grant("audit", &missing), None);
        for text in [
            "this user has no permissions to run the 'type' command",
            "User audit has no permissions to run the 'client|setname' command",
            "No permissions to access a key",
            "this user has no permissions to access one of the keys used as arguments",
        ] {
            missing.note(&Refusal::new("NOPERM", Some(text)), "%W~audit");
        }
        missing.note(&Refusal::new("ERR", Some("run the 'get' command")), "~other");
        let granted = grant("audit", &missing).unwrap();
        assert_eq!(granted, "ACL SETUSER audit %W~audit +client|setname +type");
    }

    // Oracle: what valkey-cli hands over, and what the pattern fits, are the names as they are.
    #[test]
    fn unusual_names_are_escaped() {
        assert_eq!(pattern("~", b"audit[1]*"), "~audit\\[1\\]\\*");
        let mut missing = Missing::default();
        missing.note(&Refusal::new("NOPERM", Some("No permissions to access a key")), "~a b\\*");
        assert_eq!(
            grant("the \"user\"", &missing).unwrap(),
            "ACL SETUSER \"the \\\"user\\\"\" \"~a b\\\\*\""
        );
    }
}
