//! The reference in README.md is that of the code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and says where"
)]

use auditsource::settings::TABLE;
use std::fmt::Write as _;

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
