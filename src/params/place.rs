//! Where the records go: the servers and the topology they form.
#![forbid(unsafe_code)]

use super::{Address, Key, Login, MAX_VALUE_CHARS, Mode, Reader, Store, Topology, slot_of};
use crate::error::printable;
use std::num::NonZeroU64;
use std::path::PathBuf;

/// Where sentinels listen unless they are told otherwise.
const SENTINEL_PORT: u16 = 26379;

/// The parameters that only sentinels have a use for.
const SENTINEL_ONLY: [&str; 3] = ["sentinel.master", "sentinel.user", "sentinel.passwordfile"];

pub(super) fn servers(reader: &mut Reader<'_>, topology: &Topology) -> Vec<Address> {
    let port = match topology {
        Topology::Sentinel { .. } if !reader.values.is_given("serverport") => SENTINEL_PORT,
        _ => u16::try_from(reader.number("serverport")).unwrap_or(u16::MAX),
    };
    if let Some(path) = reader.text("socketpath") {
        if reader.values.is_given("server") {
            reader.complaints.push(
                "parameters \"server\" and \"socketpath\" are both given, but only one of them can \
                 say where the server is"
                    .to_owned(),
            );
        }
        return match Address::unix(&path) {
            Ok(address) => vec![address],
            Err(why) => {
                reader.complain("socketpath", &path, &format!("an absolute path: {why}"));
                Vec::new()
            }
        };
    }
    let mut servers = Vec::new();
    for text in reader.texts("server") {
        match Address::parse(&text, port) {
            Ok(address) => servers.push(address),
            Err(why) => {
                let allowed = format!("{}: {why}", omvalkeyaudit_address::FORM);
                reader.complain("server", &text, &allowed);
            }
        }
    }
    servers
}

/// How long the connection to another server than the first lasts, in flushes.
pub(super) fn rebind(reader: &mut Reader<'_>, topology: &Topology) -> Option<NonZeroU64> {
    let interval = NonZeroU64::new(reader.number("rebindinterval"));
    let is_list = reader.values.count("server") > 1 && *topology == Topology::Standalone;
    if interval.is_some() && !is_list {
        reader.complaints.push(
            "parameter \"rebindinterval\" is given, but there is no first server to go back to: give an \
             array of servers with topology=\"standalone\", or leave it out"
                .to_owned(),
        );
    }
    interval
}

pub(super) fn topology(reader: &mut Reader<'_>) -> Topology {
    let master = reader.text("sentinel.master");
    let login = Login {
        user: reader.text("sentinel.user"),
        password_file: reader.text("sentinel.passwordfile").map(PathBuf::from),
        ..Login::default()
    };
    let named = reader.choice("topology");
    if named != "sentinel" {
        for name in SENTINEL_ONLY {
            if reader.values.is_given(name) {
                reader.complaints.push(format!(
                    "parameter \"{name}\" is given, but \"topology\" is not \"sentinel\": give \
                     topology=\"sentinel\" too, or leave \"{name}\" out"
                ));
            }
        }
        return if named == "cluster" { Topology::Cluster } else { Topology::Standalone };
    }
    if !reader.values.is_given("sentinel.master") {
        reader.complaints.push(
            "parameter \"topology\" is \"sentinel\", but \"sentinel.master\" is missing: it must be \
             the name under which the sentinels watch the group of servers, \"mymaster\" for instance"
                .to_owned(),
        );
    }
    if login.user.is_some() && login.password_file.is_none() {
        reader.complaints.push(
            "parameter \"sentinel.user\" is given, but the password is missing: give \
             \"sentinel.passwordfile\" too"
                .to_owned(),
        );
    }
    Topology::Sentinel { master: master.unwrap_or_default(), login }
}

/// Refuses what one transaction, which is in one slot, cannot do.
pub(super) fn within_cluster(reader: &mut Reader<'_>, topology: &Topology, store: &Store) {
    if *topology != Topology::Cluster {
        return;
    }
    if store.mode == Mode::Template {
        let allowed = "another mode where topology is \"cluster\": which words of a command are keys, and with \
                       that which node it is for, only the server knows; \"queue\", \"set\", \"publish\" and \
                       \"stream\" with dynakey=\"on\" let each record choose its key";
        reader.complain("mode", store.mode.name(), allowed);
    }
    let Some(origin) = &store.origin else { return };
    if store.shards > 1 {
        let allowed = "1 where stream.ack or stream.del is \"on\" and topology is \"cluster\": a record goes to the \
                       slot of the entry that it was, and not to its worker's shard; dynakey=\"on\" with a \
                       template that repeats what stream.keyack has in braces spreads them";
        reader.complain("shards", &store.shards.to_string(), allowed);
        return;
    }
    let Key::Fixed(source) = &origin.key else { return };
    let own = match &store.key {
        Key::Fixed(key) => Some(("key", key)),
        Key::Dynamic { .. } => None,
    };
    for (name, key) in own.into_iter().chain([("deadletter.key", &store.dead_letter_key)]) {
        let [slot, of_source] = [key, source].map(|key| slot_of(key.as_bytes()));
        if slot != of_source {
            let [key, source] = [key, source].map(|key| printable(key, MAX_VALUE_CHARS));
            reader.complaints.push(format!(
                "parameters \"{name}\" and \"stream.keyack\" are \"{key}\" and \"{source}\", which a \
                 cluster has in the slots {slot} and {of_source}, but the transaction that stores a record also \
                 acknowledges or deletes its entry, and is in one slot: give both names the same text in braces, \
                 \"{{move}}:{key}\" and \"{{move}}:{source}\" for instance"
            ));
        }
    }
}
