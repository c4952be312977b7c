//! Where the records go: the servers and the topology they form.
#![forbid(unsafe_code)]

use super::{Address, Login, Mode, Reader, Stream, Topology};
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
                let allowed = format!("{}: {why}", super::address::FORM);
                reader.complain("server", &text, &allowed);
            }
        }
    }
    servers
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

/// Refuses what is not there in a cluster yet.
pub(super) fn within_cluster(reader: &mut Reader<'_>, topology: &Topology, stream: &Stream) {
    if *topology != Topology::Cluster {
        return;
    }
    let mut refuse = |name, value: &str, allowed: &str| {
        reader.complain(name, value, &format!("{allowed} where topology is \"cluster\""));
    };
    if stream.mode != Mode::Stream {
        refuse("mode", stream.mode.name(), "\"stream\"");
    }
    if let Some(origin) = &stream.origin {
        // The entry may be on another node than the record.
        if origin.group.is_some() {
            refuse("stream.ack", "on", "\"off\"");
        }
        if origin.is_deleted {
            refuse("stream.del", "on", "\"off\"");
        }
    }
}
