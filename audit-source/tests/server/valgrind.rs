//! The module in a server under valgrind: every kind of event, a reader that goes away, unloading and loading.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::Scratch;

use crate::cases;
use crate::delivery::{number, numbers};
use crate::scene::{Scene, assert_gapless, caller_path, module_path};

const VALGRIND: &str = "/usr/bin/valgrind";

/// The server's allocator is jemalloc, in whose place valgrind puts its own; but it does not know this function.
const PLAIN_FREE: &str = "#include <stdlib.h>\n\
    void sdallocx(void *block, size_t size, int flags) { (void)size; (void)flags; free(block); }\n";

/// The server's compressor looks into a table that it has not cleared, on purpose; MIGRATE uses it.
const SUPPRESSIONS: &str = "{\n  compressor\n  Memcheck:Cond\n  fun:lzf_compress\n}\n\
    {\n  compressor\n  Memcheck:Value8\n  fun:lzf_compress\n}\n";

/// Builds the library that has this function.
fn plain_free(scratch: &Scratch) -> PathBuf {
    let source = scratch.write("plain_free.c", PLAIN_FREE);
    let library = scratch.join("plain_free.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&library);
    let built = compiler.arg(source).output().expect("run cc: run `make setup`");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
}

/// The parts of a report that have a stack, without the process id that each line begins with.
fn errors(report: &str) -> Vec<String> {
    let text = |line: &str| line.split_once("== ").map_or("", |(_, text)| text).to_owned();
    let lines: Vec<String> = report.lines().map(text).collect();
    let parts = lines.split(|line| line.is_empty()).map(|part| part.join("\n"));
    parts.filter(|part| part.contains(" at 0x")).collect()
}

// Oracle: valgrind's report, which says that it had the allocations in hand and came to its end. A leak is somebody's, and is ours
// where the module stands in its stack; anything else is memory that was harmed, and may show in another's code.
#[test]
fn valgrind_finds_nothing_in_any_kind_of_event() {
    assert!(Path::new(VALGRIND).exists(), "{VALGRIND} is not there: run `make setup`");
    let scratch = Scratch::new();
    let report = scratch.join("report");
    let preload = format!("LD_PRELOAD={}", plain_free(&scratch).display());
    let suppressions = scratch.write("suppressions", SUPPRESSIONS);
    let suppressions = format!("--suppressions={}", suppressions.display());
    let log = format!("--log-file={}", report.display());
    let wrapper = [
        "env",
        &preload,
        VALGRIND,
        "--soname-synonyms=somalloc=libjemalloc*",
        "--leak-check=full",
        "--show-leak-kinds=definite,indirect",
        "--keep-debuginfo=yes",
        "--num-callers=50",
        &suppressions,
        &log,
    ];
    let lines = format!("loadmodule {}\nauditsource.buffer 1mb", caller_path().display());
    let mut scene = Scene::of(scratch, &lines, |server| server.wrapper(&wrapper));
    cases::play(&scene);
    let mut client = scene.client();

    // A broken connection, and more than the buffer holds in one turn.
    scene.collector.read(false);
    number(&mut client, 0..2000);
    scene.collector.close();
    scene.collector.open();
    scene.collector.read(true);
    number(&mut client, 2000..4000);
    scene.collector.wait_argv("SET", "3999");
    number(&mut client, 4000..8000);
    scene.collector.wait_argv("SET", "7999");

    assert_eq!(client.line("MODULE UNLOAD auditsource"), "+OK");
    let target = scene.scratch.join("target");
    let load = format!(
        "MODULE LOADEX {} CONFIG auditsource.target unix:{}",
        module_path().display(),
        target.display()
    );
    assert_eq!(client.line(&load), "+OK");
    number(&mut client, 8000..8100);
    assert!(scene.server.stop().success(), "{}", scene.server.log());
    let records = scene.collector.wait("the end", |record| record["reason"] == "shutdown");
    assert_gapless(&records);
    assert_eq!(numbers(&records), (0..8100).collect::<Vec<_>>());

    // A suite that an older setup has fetched knows nothing of valgrind.
    let report = fs::read_to_string(&report).expect("valgrind's report: run `make setup`");
    assert!(report.contains("ERROR SUMMARY"), "valgrind did not finish its report:\n{report}");
    let usage = report.split_once("total heap usage: ").expect("the heap's usage").1;
    let count: u64 = usage.split(' ').next().unwrap().replace(',', "").parse().expect("a number");
    assert!(count > 50_000, "valgrind saw only {count} allocations");
    let is_of_concern =
        |error: &String| error.contains("auditsource") || !error.contains("lost in loss record");
    let errors: Vec<String> = errors(&report).into_iter().filter(is_of_concern).collect();
    assert!(errors.is_empty(), "{} errors, the first:\n{}", errors.len(), errors[0]);
}
