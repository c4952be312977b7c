//! A server's append-only file after a SIGKILL, and what its operator does about it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::programs::Flavour;

/// Cuts off a transaction whose end is missing. Servers before Valkey 9.1 drop it when they load the file, but leave
/// most of it there, before what they write from then on: with the next start it is executed after all.
///
/// # Panics
/// When the file cannot be mended.
pub(crate) fn mend(flavour: Flavour, folder: &Path) {
    let manifest = folder.join("appendonlydir/appendonly.aof.manifest");
    if flavour == Flavour::Valkey91 || !manifest.exists() {
        return;
    }
    let mut check = Command::new(flavour.check_aof())
        .arg("--fix")
        .arg(&manifest)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("check the append-only file of {flavour}: {e}"));
    // Where nothing is to be mended it does not ask.
    let _ = check.stdin.take().expect("a pipe").write_all(b"y\n");
    let output = check.wait_with_output().expect("the end of the check");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "the append-only file of {flavour}: {text}");
}
