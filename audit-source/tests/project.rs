//! The module's promises about itself: the reference, where unsafe code is, the exported symbols.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and says where"
)]

use auditsource::settings::TABLE;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

// Oracle: the parameter table in the code.
#[test]
fn the_readme_describes_exactly_the_parameters_that_exist() {
    let mut reference = String::from(
        "| parameter | values | default | what it does |\n| --- | --- | --- | --- |\n",
    );
    for parameter in TABLE {
        let default = match parameter.default {
            "" => "-".to_owned(),
            value => format!("`{value}`"),
        };
        let (name, about) = (parameter.name, parameter.about);
        let values = parameter.kind.allowed();
        writeln!(reference, "| `auditsource.{name}` | {values} | {default} | {about} |").unwrap();
    }
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("<!-- parameters -->\n").expect("the opening mark");
    let (written, _) = rest.split_once("<!-- end of parameters -->").expect("the closing mark");
    if written != reference {
        let fresh = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/source-parameters.md");
        std::fs::write(fresh, reference).unwrap();
        panic!("README.md's parameters differ from src/settings/table.rs; put {fresh} there");
    }
}

/// All Rust files below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

// Oracle: the sources. The compiler denies unsafe code; this says where the one exception is, and that
// nothing but the parts that ask the operating system knows the seam.
#[test]
fn unsafe_code_is_in_one_folder_and_nobody_uses_it_but_for_the_operating_system() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut users = Vec::new();
    for path in sources(&root) {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        if name.starts_with("ffi/") || name == "lib.rs" {
            continue;
        }
        assert!(text.contains("#![forbid(unsafe_code)]"), "{name}");
        if text.contains("crate::ffi") {
            assert!(text.contains("use crate::ffi::system;"), "{name}");
            users.push(name);
        }
    }
    users.sort();
    assert_eq!(users, ["outlet.rs", "writer.rs"]);
}

// Oracle: nm. The server loads all modules into one process.
#[test]
fn the_library_exports_what_the_server_looks_for_and_nothing_else() {
    let program = std::env::current_exe().unwrap();
    let library = program.with_file_name("libauditsource.so");
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(library).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<&str> =
        text.lines().filter_map(|line| line.split_whitespace().next_back()).collect();
    names.sort_unstable();
    assert_eq!(names, ["ValkeyModule_OnLoad", "ValkeyModule_OnUnload"]);
}
