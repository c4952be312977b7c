//! Breaks the protocol on purpose, one rule at a time, in a copy of the sources, and runs the simulation
//! on each: it must notice. `make mutations`; docs/simulation.md has the results.
//!
//! `SEEDS=n` sets the number of seeds for each, a name as argument runs that one alone.

mod table;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use table::{MUTATIONS, Mutation};

const DEFAULT_SEEDS: &str = "100000";

fn main() -> ExitCode {
    let root = root();
    let only = std::env::args().nth(1);
    let copy = root.join("target/mutations/tree");
    copy_tree(&root, &copy);
    let mut survivors = 0;
    for mutation in
        MUTATIONS.iter().filter(|one| only.as_deref().is_none_or(|name| name == one.name))
    {
        let path = copy.join(mutation.file);
        let source = read(&path);
        fs::write(&path, mutation.apply(&source)).expect("write the broken source");
        let caught = try_out(&root, &copy);
        fs::write(&path, source).expect("write the source back");
        survivors += u32::from(caught.is_none());
        println!(
            "| {} | {} | {} |",
            mutation.name,
            mutation.breaks,
            caught.as_deref().unwrap_or("**survives**")
        );
    }
    println!("{survivors} of the mutations survive");
    ExitCode::SUCCESS
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()))
}

/// Copies what git knows of, as it is in the working tree.
fn copy_tree(root: &Path, copy: &Path) {
    let list = Command::new("git").arg("-C").arg(root).arg("ls-files").output().expect("run git");
    let list = String::from_utf8(list.stdout).expect("file names");
    remove_others(copy, &list.lines().map(|name| copy.join(name)).collect());
    for name in list.lines() {
        let to = copy.join(name);
        fs::create_dir_all(to.parent().expect("a folder")).expect("make a folder");
        // A file that is the same keeps its time, so that it is not compiled again.
        let content = fs::read(root.join(name)).unwrap_or_default();
        if fs::read(&to).ok().as_ref() != Some(&content) {
            fs::write(&to, content).expect("copy a file");
        }
    }
}

/// Removes what an earlier run has copied and git no longer knows.
fn remove_others(folder: &Path, known: &BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("read a folder").path();
        if path.is_dir() {
            remove_others(&path, known);
        } else if !known.contains(&path) {
            fs::remove_file(&path).expect("remove a file");
        }
    }
}

/// What noticed that something is broken, if anything did.
fn try_out(root: &Path, copy: &Path) -> Option<String> {
    let simulated =
        cargo(root, copy, &["--test", "simulation", "every_record", "--", "--nocapture"]);
    let text = text(&simulated);
    if simulated.status.success() {
        let units = cargo(root, copy, &["--lib"]);
        let text = self::text(&units);
        let failed =
            text.lines().find(|line| line.starts_with("test ") && line.ends_with("... FAILED"));
        return failed
            .map(|line| format!("unit test {}", line.split(' ').nth(1).unwrap_or_default()));
    }
    let seed = text.split("SEED=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let what = seed.map(|seed| format!("seed {seed}"));
    Some(what.unwrap_or_else(|| panic!("the simulation did not run:\n{text}")))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Compiles with some optimisation: more takes longer to compile than it saves.
fn cargo(root: &Path, copy: &Path, arguments: &[&str]) -> Output {
    let source = std::env::var_os("RSYSLOG_SOURCE_DIR")
        .map_or_else(|| root.join("target/host/rsyslog-8.2302"), PathBuf::from);
    Command::new("cargo")
        .args(["test", "--locked", "-p", "omvalkeyaudit"])
        .args(arguments)
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", root.join("target/mutations/build"))
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("RSYSLOG_SOURCE_DIR", source)
        .env("SEEDS", std::env::var("SEEDS").unwrap_or_else(|_| DEFAULT_SEEDS.to_owned()))
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("run cargo")
}

impl Mutation {
    /// The source with the one place changed.
    fn apply(&self, source: &str) -> String {
        assert_eq!(
            source.matches(self.from).count(),
            1,
            "mutation {}: {} must have this once: {:?}",
            self.name,
            self.file,
            self.from
        );
        source.replacen(self.from, self.to, 1)
    }
}

// Oracle: the sources. A mutation that matches nothing, or two places, breaks nothing that is meant.
#[test]
fn every_mutation_has_its_one_place_in_the_sources() {
    let mut names = BTreeSet::new();
    for mutation in MUTATIONS {
        let source = read(&root().join(mutation.file));
        assert_ne!(mutation.apply(&source), source);
        assert!(names.insert(mutation.name), "{} is there twice", mutation.name);
    }
    assert!(names.len() >= 25);
}
