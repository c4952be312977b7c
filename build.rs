//! Compiles the C shim against rsyslog's headers and generates the Rust view of the seam and of
//! rsyslog's return codes.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the set-up script leaves rsyslog's sources. One library serves all later cores.
const FETCHED_SOURCE: &str = "target/host/rsyslog-8.2302";

/// The Debian packages whose headers rsyslog's headers include, by their pkg-config names.
const LIBRARIES: [&str; 2] = ["libestr", "libfastjson"];

fn main() {
    if let Err(why) = build() {
        println!("cargo::error={why}");
    }
}

fn build() -> Result<(), String> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let shim = root.join("c-shim");
    let rsyslog = rsyslog_source(&root)?;
    let includes: Vec<PathBuf> =
        [rsyslog.clone(), rsyslog.join("runtime"), rsyslog.join("grammar")].into();
    let flags = pkg_config_flags()?;
    compile_shim(&shim, &includes, &flags)?;
    generate_seam(&shim, &out)?;
    generate_codes(&shim, &includes, &flags, &out)
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set; build with cargo"))
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

fn compile_shim(shim: &Path, includes: &[PathBuf], flags: &[String]) -> Result<(), String> {
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
    for include in includes {
        compiler.flag("-isystem").flag(include);
    }
    for flag in flags {
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

fn generate_seam(shim: &Path, out: &Path) -> Result<(), String> {
    bindgen::Builder::default()
        .header(shim.join("omvalkeyaudit.h").to_string_lossy())
        .allowlist_item("omvalkeyaudit_.*|OMVALKEYAUDIT_.*")
        // Opaque to C; src/ffi says what they are.
        .blocklist_type("omvalkeyaudit_(values|action|worker)")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .layout_tests(false)
        .generate()
        .map_err(|error| error.to_string())?
        .write_to_file(out.join("seam.rs"))
        .map_err(|error| error.to_string())
}

/// The return codes, and the switch for the cancellation of threads.
fn generate_codes(
    shim: &Path,
    includes: &[PathBuf],
    flags: &[String],
    out: &Path,
) -> Result<(), String> {
    let mut builder = bindgen::Builder::default()
        .header_contents("codes.h", "#include \"config.h\"\n#include \"rsyslog.h\"\n")
        .clang_arg(format!("-I{}", shim.display()))
        .clang_args(flags)
        .allowlist_type("rsRetVal_")
        .allowlist_item("pthread_setcancelstate|PTHREAD_CANCEL_.*")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .layout_tests(false);
    for include in includes {
        builder = builder.clang_arg(format!("-I{}", include.display()));
    }
    builder
        .generate()
        .map_err(|error| error.to_string())?
        .write_to_file(out.join("codes.rs"))
        .map_err(|error| error.to_string())
}
