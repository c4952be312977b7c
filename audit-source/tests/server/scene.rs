//! An audited server and its target.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use testkit::{Flavour, Scratch, Server, ServerBuilder};

use crate::client::Client;
use crate::collector::Collector;

/// The module under test. Cargo puts the library that it builds for the tests beside their program; the one
/// in the folder above is that of the last `cargo build`.
pub(crate) fn module_path() -> PathBuf {
    built("deps/libauditsource.so")
}

/// The module that calls commands as modules do.
pub(crate) fn caller_path() -> PathBuf {
    built("examples/libcaller.so")
}

fn built(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("the path of the running program");
    let path = program.ancestors().nth(2).expect("the target folder").join(name);
    assert!(path.exists(), "{} is not there: run `cargo test -p audit-source`", path.display());
    path
}

/// A server with the module, and the target that its records go to.
pub(crate) struct Scene {
    pub(crate) collector: Collector,
    pub(crate) server: Server,
    pub(crate) scratch: Scratch,
}

impl Scene {
    /// `lines` are added to the server's configuration.
    pub(crate) fn new(lines: &str) -> Scene {
        Scene::of(Scratch::new(), lines, |server| server)
    }

    /// The same in this folder, with more to be said about the server.
    pub(crate) fn of(
        scratch: Scratch,
        lines: &str,
        more: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Scene {
        let collector = Collector::listen(&scratch.join("target"));
        let server = more(audited(&scratch, lines)).start(&scratch);
        Scene { collector, server, scratch }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.server.port())
    }

    /// A number of INFO auditsource.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        counter(&mut self.client(), name)
    }
}

/// A number of INFO auditsource, asked over a connection that is there already.
pub(crate) fn counter(client: &mut Client, name: &str) -> u64 {
    let info = client.call(&["INFO", "auditsource"]);
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("auditsource_{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in {info}")).trim().parse().expect("a number")
}

/// A server with the module that sends to `target` in the scratch folder.
pub(crate) fn audited(scratch: &Scratch, lines: &str) -> ServerBuilder {
    let module = module_path();
    let target = scratch.join("target");
    Server::builder(Flavour::Valkey91).tcp().config(&format!(
        "loadmodule {}\nauditsource.target unix:{}\nauditsource.heartbeat 0\nenable-module-command yes\n\
         enable-debug-command yes\n{lines}",
        module.display(),
        target.display()
    ))
}

/// Asserts that the numbers of `records` are 1, 2, 3 and so on, except for what `lost` records explain, and
/// that they are of one node. Records that came twice are counted once.
#[track_caller]
pub(crate) fn assert_gapless(records: &[Value]) {
    let mut by_seq = BTreeMap::new();
    for record in records {
        let seq = record["seq"].as_u64().expect("a number");
        let before = by_seq.insert(seq, record);
        assert!(before.is_none_or(|before| before == record), "two records have the number {seq}");
        assert_eq!(record["node"], records[0]["node"]);
        assert_eq!(record["v"], 1);
    }
    let mut explained: Vec<u64> = by_seq.keys().copied().collect();
    for record in by_seq.values().filter(|record| record["event"] == "lost") {
        let (first, last) = (&record["lost_first"], &record["lost_last"]);
        let range = first.as_u64().unwrap()..=last.as_u64().unwrap();
        assert_eq!(record["lost_count"], range.clone().count());
        explained.extend(range);
    }
    explained.sort_unstable();
    let expected: Vec<u64> = (1..=explained.len() as u64).collect();
    let gap = explained.iter().zip(&expected).find(|(have, want)| have != want);
    assert!(
        gap.is_none(),
        "there are {} numbers, and the first gap is at {gap:?}",
        explained.len()
    );
}
