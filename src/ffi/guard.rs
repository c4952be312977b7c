//! What stands around every call from the host: no panic gets out, and no cancellation in.

use super::codes::{PTHREAD_CANCEL_DISABLE, pthread_setcancelstate};
use libc::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `call`. A panic is caught and answered with `on_panic`.
///
/// The panic's message goes to the panic hook, which is the process's and writes to standard error;
/// ours never contain a record or a secret.
pub(super) fn guarded<T>(on_panic: impl FnOnce() -> T, call: impl FnOnce() -> T) -> T {
    let _uncancelled = Uncancelled::new();
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        // Dropping the payload could panic again, at worst without end: it is left alone.
        #[expect(
            clippy::mem_forget,
            reason = "a payload whose drop panics must not take the host down"
        )]
        std::mem::forget(panic);
        on_panic()
    })
}

/// Keeps the calling thread from being cancelled while it lives. rsyslogd cancels workers at
/// shutdown, and unwinding by cancellation through Rust code aborts the process.
pub(super) struct Uncancelled {
    /// The state to go back to, if that is for this value to do.
    previous: Option<c_int>,
}

impl Uncancelled {
    /// Turns cancellation off.
    pub(super) fn new() -> Self {
        Self { previous: Some(set_state(disable())) }
    }

    /// Leaves cancellation off, and tells the state that it was in.
    fn leave_off(mut self) -> c_int {
        self.previous.take().unwrap_or_else(disable)
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        if let Some(previous) = self.previous {
            set_state(previous);
        }
    }
}

/// Keeps a worker's thread from being cancelled between its calls, too, as long as records would be lost
/// with it. At a stop a later core cancels a worker that is in a call for longer than it waits for it, which
/// takes effect when the call is over: then it neither puts the batch back into its queue, nor frees the
/// worker, which would hold it. A worker that cannot be cancelled goes on from there, and ends by itself.
#[derive(Default)]
pub(super) struct Postponed {
    /// The state to go back to when the records are settled.
    state: Option<c_int>,
}

impl Postponed {
    /// A call is over. `is_due` tells whether the worker may be cancelled again.
    pub(super) fn end(&mut self, call: Uncancelled, is_due: bool) {
        let before = call.leave_off();
        // Where the core has turned cancellation on since, that is the state to go back to.
        let owed = self.state.take().filter(|_| before == disable()).unwrap_or(before);
        if is_due {
            set_state(owed);
        } else {
            self.state = Some(owed);
        }
    }
}

/// Sets the thread's state of cancellation and returns the one before.
fn set_state(state: c_int) -> c_int {
    let mut previous = 0;
    // SAFETY: `state` is a valid one, ours or from this function, and the pointer that of a local
    // variable; POSIX allows the call on any thread at any time.
    unsafe { pthread_setcancelstate(state, &raw mut previous) };
    previous
}

/// bindgen types C's anonymous enum as unsigned; the function takes an int.
fn disable() -> c_int {
    c_int::try_from(PTHREAD_CANCEL_DISABLE).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> c_int {
        let state = set_state(disable());
        set_state(state);
        state
    }

    #[test]
    fn a_panic_becomes_the_given_answer() {
        let answer = guarded(|| 7, || panic!("on purpose"));
        assert_eq!(answer, 7);
    }

    #[test]
    fn cancellation_stays_off_until_it_is_due_again() {
        let mut postponed = Postponed::default();
        let mut call = |is_due| {
            let uncancelled = Uncancelled::new();
            assert_eq!(state(), disable());
            postponed.end(uncancelled, is_due);
            state()
        };
        let on = state();
        assert_eq!(call(true), on);
        assert_eq!([call(false), call(false), call(true)], [disable(), disable(), on]);
        // The core has turned it on by itself, and off for good.
        call(false);
        set_state(on);
        assert_eq!(call(true), on);
        set_state(disable());
        assert_eq!(call(true), disable());
        set_state(on);
    }

    #[test]
    fn cancellation_is_off_inside_and_as_before_outside() {
        let before = state();
        assert_ne!(before, disable());
        assert_eq!(guarded(|| -1, state), disable());
        assert_eq!(state(), before);
    }
}
