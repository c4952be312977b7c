//! What stands around every call from the server: no panic gets out, and only one thread gets in.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::api::api;
use crate::counters::COUNTERS;
use crate::source::Source;

/// The source's state, from load to unload. The server calls from its main thread, or from a thread that
/// holds its global lock meanwhile; the writer thread has no part in it.
static SOURCE: Guarded =
    Guarded { is_taken: AtomicBool::new(false), source: UnsafeCell::new(None) };

/// A lock that is tried and never waited for: the server's own lock keeps others out, so whoever finds it
/// taken came from inside, and waiting would be for ever.
struct Guarded {
    is_taken: AtomicBool,
    source: UnsafeCell<Option<Source>>,
}

// SAFETY: the cell is reached through `taken` only, which lets one caller in at a time.
unsafe impl Sync for Guarded {}

/// Gives the place back, also when a panic passes.
struct Release;

impl Drop for Release {
    fn drop(&mut self) {
        SOURCE.is_taken.store(false, Ordering::Release);
    }
}

/// Calls with the source's place; not at all when somebody is there already.
fn taken<T>(call: impl FnOnce(&mut Option<Source>) -> T) -> Option<T> {
    if SOURCE.is_taken.swap(true, Ordering::Acquire) {
        return None;
    }
    let _release = Release;
    // SAFETY: `is_taken` was false and is true until this function returns: nobody else has a reference.
    Some(call(unsafe { &mut *SOURCE.source.get() }))
}

/// Runs `call`. A panic is caught, counted, and answered with `on_panic`.
pub(super) fn guarded<T>(on_panic: T, call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        // Dropping the payload could panic again: it is left alone.
        #[expect(
            clippy::mem_forget,
            reason = "a payload whose drop panics must not take the host down"
        )]
        std::mem::forget(panic);
        COUNTERS.panics.add(1);
        if COUNTERS.panics.get() == 1
            && let Some(api) = api()
        {
            let line = "auditsource: internal error, an event may be missing; please report it";
            api.log_line(ptr::null_mut(), c"warning", line);
        }
        on_panic
    })
}

/// Does something with the source, if it is there.
pub(super) fn with_source<T>(call: impl FnOnce(&mut Source) -> T) -> Option<T> {
    // A panic in the middle leaves values that are each valid: at worst one record is missing, and counted.
    taken(|source| source.as_mut().map(call)).flatten()
}

/// Puts a source in, or takes it away.
pub(super) fn replace_source(source: Option<Source>) -> Option<Source> {
    taken(|place| std::mem::replace(place, source)).flatten()
}
