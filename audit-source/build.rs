//! Keeps the library mapped after MODULE UNLOAD: a writer thread that is still about to end, and the
//! sequence number, outlive it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete");
}
