//! The project's promises about itself: the layering, the reference, the shipped configurations, the
//! plugin's symbols, and what `rsyslogd -N1` says to wrong values.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on has failed, and says where"
)]

use omvalkeyaudit::commands::Rights;
use omvalkeyaudit::params::{Kind, Settings, TABLE, Values};
use omvalkeyaudit::stats;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{AclRule, Rsyslogd, Scratch, Version, check_config, plugin_path};

const VERSIONS: [Version; 3] = [Version::V8_2302, Version::V8_2504, Version::V8_2610];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
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

/// The top-level module that a file of src/ belongs to.
fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// From the outside in; a module may use only those that come after it.
const LAYERS: [&[&str]; 6] = [
    &["lib"],
    &["ffi"],
    &["worker"],
    &["hold", "server", "transaction"],
    &["commands", "stats"],
    &["record", "params", "error"],
];

/// Within the last two layers the arrows are these; `params` shares the limits with `transaction`.
const ALSO_ALLOWED: [(&str, &str); 3] =
    [("record", "params"), ("params", "error"), ("params", "transaction")];

// Oracle: the `crate::` paths in the sources.
#[test]
fn no_module_uses_one_that_stands_above_it() {
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    let mut arrows = BTreeSet::new();
    for path in sources(&root().join("src")) {
        let module = module_of(&path);
        let text = fs::read_to_string(&path).unwrap();
        for rest in text.split("crate::").skip(1) {
            let used: String =
                rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if used != module {
                arrows.insert((module.clone(), used));
            }
        }
    }
    assert!(arrows.len() > 10, "the search finds no arrows: {arrows:?}");
    for (from, to) in &arrows {
        let (Some(above), Some(below)) = (layer(from), layer(to)) else {
            panic!("{from} -> {to}: a module without a layer");
        };
        let is_allowed = above < below || ALSO_ALLOWED.contains(&(from.as_str(), to.as_str()));
        assert!(is_allowed, "{from} must not use {to}");
    }
}

// Oracle: the sources. The compiler denies unsafe code; this says where the one exception is.
#[test]
fn unsafe_code_is_allowed_in_one_place() {
    let allowed: Vec<PathBuf> = sources(&root().join("src"))
        .into_iter()
        .filter(|path| fs::read_to_string(path).unwrap().contains("allow(unsafe_code"))
        .collect();
    assert_eq!(allowed, [root().join("src/lib.rs")]);
    // The probe's seam is the same one.
    for path in sources(&root().join("probe")) {
        let text = fs::read_to_string(&path).unwrap();
        let may = path.ends_with("probe/src/lib.rs") || path.ends_with("probe/src/ffi.rs");
        assert!(may || !text.contains("unsafe"), "{}", path.display());
    }
    for path in sources(&root().join("src")) {
        let is_seam = module_of(&path) == "ffi" || path.ends_with("src/lib.rs");
        let text = fs::read_to_string(&path).unwrap();
        let is_test = path.ends_with("tests.rs");
        assert!(
            is_seam || is_test || text.contains("#![forbid(unsafe_code)]"),
            "{}",
            path.display()
        );
    }
}

/// The reference of the parameters as README.md must have it.
fn parameters() -> String {
    let mut text = String::from(
        "| parameter | values | default | what it does |\n| --- | --- | --- | --- |\n",
    );
    for parameter in TABLE {
        let default = parameter.default.map_or("-".to_owned(), |value| format!("`{value}`"));
        let values = parameter.kind.allowed();
        writeln!(text, "| `{}` | {values} | {default} | {} |", parameter.name, parameter.about)
            .unwrap();
    }
    text
}

/// The reference of the counters, likewise.
fn counters() -> String {
    let mut text = String::from(
        "| counter | unit | what it counts | look when it |\n| --- | --- | --- | --- |\n",
    );
    for counter in stats::TABLE {
        let stats::Declaration { name, unit, about, alarm, .. } = counter;
        writeln!(text, "| `{name}` | {unit} | {about} | {alarm} |").unwrap();
    }
    text
}

/// Compares what stands between the marks named `name` in README.md with what the code says.
#[track_caller]
fn assert_described(name: &str, source: &str, reference: &str) {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (_, rest) = readme.split_once(&open).expect("the opening mark");
    let (written, _) = rest.split_once(&close).expect("the closing mark");
    if written != reference {
        let fresh = root().join(format!("target/{name}.md"));
        fs::write(&fresh, reference).unwrap();
        panic!("README.md's {name} differ from {source}; put {} there", fresh.display());
    }
}

// Oracle: the tables in the code.
#[test]
fn the_readme_describes_exactly_the_parameters_and_counters_that_exist() {
    assert_described("parameters", "src/params/table.rs", &parameters());
    assert_described("counters", "src/stats/table.rs", &counters());
}

// Oracle: rsyslogd's own check, in every version.
#[test]
fn every_version_accepts_every_shipped_configuration() {
    let scratch = Scratch::new();
    let mut count = 0;
    for entry in fs::read_dir(root().join("rsyslog.d")).unwrap() {
        let path = entry.unwrap().path();
        for version in VERSIONS {
            let check = check_config(version, &path, &scratch);
            assert!(check.status.success(), "{version} {}: {}", path.display(), check.output);
            assert!(
                !check.output.contains("error"),
                "{version} {}: {}",
                path.display(),
                check.output
            );
        }
        count += 1;
    }
    assert!(count >= 4, "only {count} configurations");
}

// Oracle: the complete example in the README is the shipped one, to the letter.
#[test]
fn the_readmes_example_is_the_shipped_configuration() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let example = fs::read_to_string(root().join("rsyslog.d/omvalkeyaudit.conf")).unwrap();
    assert!(
        readme.contains(&example),
        "README.md does not show rsyslog.d/omvalkeyaudit.conf as it is"
    );
}

// Oracle: the functions in the tests' sources, and the parameters that omhiredis has.
#[test]
fn each_row_about_omhiredis_names_tests_that_exist() {
    let text = fs::read_to_string(root().join("docs/omhiredis.md")).unwrap();
    let (_, rest) = text.split_once("<!-- omhiredis -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- end of omhiredis -->").unwrap();
    let tests = sources(&root().join("tests")).into_iter().chain(sources(&root().join("src")));
    let tests: String = tests.map(|path| fs::read_to_string(path).unwrap()).collect();
    for row in table.lines().skip(2) {
        let named = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(tests.contains(&format!("fn {name}(")), "there is no test {name}");
        }
    }
    let table = table.to_lowercase();
    for name in [
        "server",
        "serverport",
        "socketpath",
        "serverpassword",
        "mode",
        "template",
        "key",
        "dynakey",
        "userpush",
        "expiration",
        "stream.outfield",
        "stream.capacitylimit",
        "stream.ack",
        "stream.del",
        "stream.keyack",
        "stream.groupack",
        "stream.indexack",
        "stream.dynakeyack",
        "stream.dynagroupack",
        "stream.dynaindexack",
    ] {
        assert!(table.contains(name), "{name} is not in the table");
        assert!(TABLE.iter().any(|parameter| parameter.name == name), "{name} is no parameter");
    }
}

/// A value that `kind` refuses.
fn wrong_value(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Secret | Kind::List => "",
        Kind::Switch | Kind::Choice(_) => "maybe",
        Kind::Count(..) | Kind::Bytes(..) | Kind::Milliseconds(..) | Kind::Seconds(..) => "-5",
    }
}

// Oracle: rsyslogd's exit status and the sentence with name, value and what is allowed.
#[test]
fn every_version_refuses_a_wrong_value_of_each_parameter_with_a_sentence() {
    let scratch = Scratch::new();
    for version in VERSIONS {
        for parameter in TABLE {
            let value = wrong_value(parameter.kind);
            let action = format!(r#"action(type="omvalkeyaudit" {}="{value}")"#, parameter.name);
            let check = Rsyslogd::builder(version).action(&action).check(&scratch);
            let sentence = format!(
                "omvalkeyaudit: parameter \"{}\" has the value \"{}\", but it must be {}",
                parameter.name,
                if parameter.kind == Kind::Secret { "***" } else { value },
                parameter.kind.allowed(),
            );
            // The server's sentence goes on with the forms of an address.
            assert!(check.output.contains(&sentence), "{version} {action}: {}", check.output);
            assert!(!check.status.success(), "{version} {action}: {}", check.output);
        }
        let check = Rsyslogd::builder(version)
            .action(r#"action(type="omvalkeyaudit" sevrer="x")"#)
            .check(&scratch);
        assert!(check.output.contains("sevrer") && !check.status.success(), "{}", check.output);
    }
}

// Oracle: as above, for values that are fine one by one.
#[test]
fn every_version_refuses_a_contradiction_about_topologies_with_a_sentence() {
    let scratch = Scratch::new();
    let missing = scratch.join("missing").display().to_string();
    let unreadable =
        format!(r#"topology="sentinel" sentinel.master="m" sentinel.passwordfile="{missing}""#);
    for (parameters, words) in [
        (r#"topology="sentinel""#, ["\"sentinel.master\" is missing", "mymaster"]),
        (r#"sentinel.master="m""#, ["\"sentinel.master\" is given", "topology=\"sentinel\" too"]),
        (
            r#"topology="sentinel" sentinel.master="m" sentinel.user="u""#,
            ["\"sentinel.user\" is given", "give \"sentinel.passwordfile\" too"],
        ),
        (r#"topology="cluster" db="1""#, ["\"db\"", "\"cluster\""]),
        (r#"topology="cluster" sentinel.master="m""#, ["\"sentinel.master\" is given", "leave"]),
        (
            r#"topology="cluster" mode="template" template="t""#,
            ["\"mode\"", "only the server knows"],
        ),
        (
            r#"topology="cluster" key="t" stream.del="on" stream.keyack="s" stream.indexack="1""#,
            ["\"key\" and \"stream.keyack\"", "\"{move}:t\" and \"{move}:s\""],
        ),
        (r#"topology="cluster" marker.key="{m}""#, ["\"marker.key\"", "without {"]),
        (r#"shards="2" dynakey="on" key="t""#, ["\"shards\"", "spread by themselves"]),
        (unreadable.as_str(), ["\"sentinel.passwordfile\"", missing.as_str()]),
    ] {
        for version in VERSIONS {
            let action = format!(r#"action(type="omvalkeyaudit" {parameters})"#);
            let check = Rsyslogd::builder(version).action(&action).check(&scratch);
            for word in words {
                assert!(check.output.contains(word), "{version} {action}: {}", check.output);
            }
            assert!(!check.status.success(), "{version} {action}: {}", check.output);
        }
    }
}

// Oracle: as above; a folder that exists cannot be known from its name alone.
#[test]
fn every_version_refuses_a_folder_as_the_hold_file() {
    let scratch = Scratch::new();
    let folder = scratch.join("folder");
    fs::create_dir(&folder).unwrap();
    let folder = folder.display();
    for value in [format!("{folder}"), format!("{folder}/"), format!("{folder}/."), "/x/".into()] {
        for version in VERSIONS {
            let action = format!(r#"action(type="omvalkeyaudit" holdfile="{value}")"#);
            let check = Rsyslogd::builder(version).action(&action).check(&scratch);
            let sentence = format!(
                "parameter \"holdfile\" has the value \"{value}\", but it must be the absolute path of a file"
            );
            assert!(check.output.contains(&sentence), "{version} {action}: {}", check.output);
            assert!(!check.status.success(), "{version} {action}: {}", check.output);
        }
    }
}

// Oracle: nm. rsyslogd loads all modules into one name space.
#[test]
fn the_plugin_exports_mod_init_and_its_own_prefix_only() {
    let output =
        Command::new("nm").args(["-D", "--defined-only"]).arg(plugin_path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<&str> =
        text.lines().filter_map(|line| line.split_whitespace().next_back()).collect();
    assert!(names.contains("modInit"), "{names:?}");
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(name == "modInit" || name.starts_with("omvalkeyaudit_"), "{name}");
    }
}

// Oracle: the commands that the code sends. What they are used on stands in the rule too; the keys that
// records bring are the operator's to name.
#[test]
fn the_documented_acl_rules_have_exactly_the_rights_that_the_code_needs() {
    for rule in AclRule::of("audit") {
        let mut values = Values::default();
        for (name, value) in rule.parameters() {
            values.add(&name, value.as_bytes());
        }
        let settings = Settings::from_values(&values).expect("the rule's parameters");
        let mut written: BTreeSet<String> = rule.rights().into_iter().collect();
        // What the records bring.
        let is_command = rule.purpose.contains("mode=\"template\"");
        let is_dynamic = rule.purpose.contains("dynakey=\"on\"") || is_command;
        assert_eq!(written.remove("%W~app:*"), is_dynamic, "{}", rule.purpose);
        assert!(!is_command || written.remove("+rpush"), "{}", rule.purpose);
        assert_eq!(written, Rights::of(&settings).words(), "{}", rule.purpose);
    }
    for (document, users) in
        [("README.md", &["audit", "audit-asks"][..]), ("docs/verify.md", &["auditor"])]
    {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let shown: Vec<&str> =
            text.lines().filter(|line| line.starts_with("ACL SETUSER")).collect();
        let rules: Vec<String> =
            users.iter().map(|user| AclRule::of(user)[0].words.join(" ")).collect();
        assert_eq!(shown, rules, "{document} shows other rules than docs/acl.md");
    }
}
