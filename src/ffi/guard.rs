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
struct Uncancelled {
    previous: c_int,
}

impl Uncancelled {
    fn new() -> Self {
        let mut previous = 0;
        // SAFETY: the argument is a valid state and the pointer that of a local variable; POSIX
        // allows the call on any thread at any time.
        unsafe { pthread_setcancelstate(disable(), &raw mut previous) };
        Self { previous }
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        let mut ignored = 0;
        // SAFETY: `previous` came from the same function; otherwise as above.
        unsafe { pthread_setcancelstate(self.previous, &raw mut ignored) };
    }
}

/// bindgen types C's anonymous enum as unsigned; the function takes an int.
fn disable() -> c_int {
    c_int::try_from(PTHREAD_CANCEL_DISABLE).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_the_given_answer() {
        let answer = guarded(|| 7, || panic!("on purpose"));
        assert_eq!(answer, 7);
    }

    #[test]
    fn cancellation_is_off_inside_and_as_before_outside() {
        let state = || {
            let mut state = 0;
            // SAFETY: as above; the state is put back at once.
            unsafe { pthread_setcancelstate(disable(), &raw mut state) };
            let mut ignored = 0;
            // SAFETY: as above.
            unsafe { pthread_setcancelstate(state, &raw mut ignored) };
            state
        };
        let before = state();
        assert_ne!(before, disable());
        assert_eq!(guarded(|| -1, state), disable());
        assert_eq!(state(), before);
    }
}
