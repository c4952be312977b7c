//! Compiles the plugin's C shim, for the probe to stand behind.

#[path = "../c-shim/compile.rs"]
mod compile;

fn main() {
    if let Err(why) = build() {
        println!("cargo::error={why}");
    }
}

fn build() -> Result<(), String> {
    let root = compile::variable("CARGO_MANIFEST_DIR")?.join("..");
    let headers = compile::Headers::find(&root)?;
    compile::shim(&root.join("c-shim"), &headers)
}
