//! Compiles the C shim and links it into the package whose build script this is part of. Says where
//! rsyslog's headers are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the set-up script leaves rsyslog's sources. One library serves all later cores.
const FETCHED_SOURCE: &str = "target/host/rsyslog-8.2302";

/// The Debian packages whose headers rsyslog's headers include, by their pkg-config names.
const LIBRARIES: [&str; 2] = ["libestr", "libfastjson"];

/// What it takes to compile against rsyslog.
pub(crate) struct Headers {
    pub(crate) includes: Vec<PathBuf>,
    pub(crate) flags: Vec<String>,
}

impl Headers {
    /// The headers for a repository at `root`.
    pub(crate) fn find(root: &Path) -> Result<Self, String> {
        let source = rsyslog_source(root)?;
        let includes = [source.clone(), source.join("runtime"), source.join("grammar")].into();
        Ok(Self { includes, flags: pkg_config_flags()? })
    }
}

/// A path that cargo gives to build scripts.
pub(crate) fn variable(name: &str) -> Result<PathBuf, String> {
    env::var(name).map(PathBuf::from).map_err(|_| format!("{name} is not set; build with cargo"))
}

fn rsyslog_source(root: &Path) -> Result<PathBuf, String> {
    println!("cargo::rerun-if-env-changed=RSYSLOG_SOURCE_DIR");
    let given = env::var_os("RSYSLOG_SOURCE_DIR").map(PathBuf::from);
    let source = given.unwrap_or_else(|| root.join(FETCHED_SOURCE));
    let header = source.join("runtime/module-template.h");
    println!("cargo::rerun-if-changed={}", header.display());
    if header.is_file() {
        return Ok(source);
    }
    Err(format!(
        "no rsyslog source tree at {}: run tests/setup.sh build, which fetches it, or set \
         RSYSLOG_SOURCE_DIR",
        source.display()
    ))
}

fn pkg_config_flags() -> Result<Vec<String>, String> {
    let output = Command::new("pkg-config").arg("--cflags").args(LIBRARIES).output();
    match output {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .map(str::to_owned)
            .collect()),
        _ => Err("pkg-config does not find libestr and libfastjson: run tests/setup.sh build, \
                  which installs them"
            .to_owned()),
    }
}

/// Compiles the shim and has it linked into the cdylib.
pub(crate) fn shim(shim: &Path, headers: &Headers) -> Result<(), String> {
    const SOURCES: [&str; 2] = ["omvalkeyaudit.c", "statistics.c"];
    for file in SOURCES.iter().chain(&["omvalkeyaudit.h", "statistics.h", "config.h"]) {
        println!("cargo::rerun-if-changed={}", shim.join(file).display());
    }
    let mut compiler = cc::Build::new();
    compiler
        .files(SOURCES.map(|file| shim.join(file)))
        .std("gnu99")
        .include(shim)
        .flag("-fvisibility=hidden")
        .warnings_into_errors(true)
        .flag("-Wall")
        .flag("-Wextra");
    // rsyslog's headers are not ours to warn about.
    for include in &headers.includes {
        compiler.flag("-isystem").flag(include);
    }
    for flag in &headers.flags {
        compiler.flag(flag.replacen("-I", "-isystem", 1));
    }
    let objects = compiler.try_compile_intermediates().map_err(|error| error.to_string())?;
    // Only the plugin itself is linked with the shim: its other symbols are found in rsyslogd, which
    // is not there when the Rust side is tested.
    for object in objects {
        println!("cargo::rustc-link-arg-cdylib={}", object.display());
    }
    println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete");
    Ok(())
}
