//! Compiles the C shim against rsyslog's headers and generates the Rust view of the seam and of
//! rsyslog's return codes.

#[path = "c-shim/compile.rs"]
mod compile;

use compile::{Headers, variable};
use std::path::Path;

fn main() {
    if let Err(why) = build() {
        println!("cargo::error={why}");
    }
}

fn build() -> Result<(), String> {
    let root = variable("CARGO_MANIFEST_DIR")?;
    let out = variable("OUT_DIR")?;
    let shim = root.join("c-shim");
    let headers = Headers::find(&root)?;
    compile::shim(&shim, &headers)?;
    generate_seam(&shim, &out)?;
    generate_codes(&shim, &headers, &out)
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
fn generate_codes(shim: &Path, headers: &Headers, out: &Path) -> Result<(), String> {
    let mut builder = bindgen::Builder::default()
        .header_contents("codes.h", "#include \"config.h\"\n#include \"rsyslog.h\"\n")
        .clang_arg(format!("-I{}", shim.display()))
        .clang_args(&headers.flags)
        .allowlist_type("rsRetVal_")
        .allowlist_item("pthread_setcancelstate|PTHREAD_CANCEL_.*")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .layout_tests(false);
    for include in &headers.includes {
        builder = builder.clang_arg(format!("-I{}", include.display()));
    }
    builder
        .generate()
        .map_err(|error| error.to_string())?
        .write_to_file(out.join("codes.rs"))
        .map_err(|error| error.to_string())
}
