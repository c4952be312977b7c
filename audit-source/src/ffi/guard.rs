//! What stands around every call from the server: no panic gets out, and only one thread gets in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use super::api::api;
use crate::counters::COUNTERS;
use crate::source::Source;

/// The source's state, from load to unload. The server calls from its main thread, or from a thread that
/// holds its global lock meanwhile, so nobody ever waits here; the writer thread has no part in it.
static SOURCE: Mutex<Option<Source>> = Mutex::new(None);

/// Runs `call`. A panic is caught, counted, and answered with `on_panic`.
pub(super) fn guarded<T>(on_panic: T, call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        // Dropping the payload could panic again: it is left alone.
        #[expect(clippy::mem_forget, reason = "a payload whose drop panics must not take the host down")]
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
    SOURCE.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(call)
}

/// Puts a source in, or takes it away.
pub(super) fn replace_source(source: Option<Source>) -> Option<Source> {
    std::mem::replace(&mut *SOURCE.lock().unwrap_or_else(PoisonError::into_inner), source)
}
