//! Waiting for a condition: the one place of the kit that sleeps, and only between two looks.

use std::thread;
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Looks until `look` finds something; `None` when `deadline` has passed.
pub fn poll<T>(deadline: Duration, look: impl FnMut() -> Option<T>) -> Option<T> {
    poll_with(FIRST_PAUSE, LONGEST_PAUSE, deadline, look)
}

/// As [`poll`], with the same pause between all looks: for what is measured.
pub fn poll_every<T>(
    pause: Duration,
    deadline: Duration,
    look: impl FnMut() -> Option<T>,
) -> Option<T> {
    poll_with(pause, pause, deadline, look)
}

fn poll_with<T>(
    first_pause: Duration,
    longest_pause: Duration,
    deadline: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    let end = Instant::now() + deadline;
    let mut pause = first_pause;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the pause between two looks at a condition"
        )]
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(longest_pause);
    }
}

/// Looks until `look` finds something.
///
/// # Panics
/// When `deadline` passes; the message names `what` was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, look: impl FnMut() -> Option<T>) -> T {
    match poll(deadline, look) {
        Some(found) => found,
        None => panic!("waited {deadline:?} in vain for: {what}"),
    }
}

/// Looks until `condition` holds.
///
/// # Panics
/// When `deadline` passes; the message names `what` was waited for.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, deadline, || condition().then_some(()));
}
