//! Panics on purpose, so that a test can show in a real rsyslogd what becomes of one. Only in builds
//! with debug assertions; a release has no such switch.
#![forbid(unsafe_code)]

/// Where a panic can be asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// `doAction`, before anything is done about the record.
    DoAction,
    /// A flush, when all of it is sent and no reply is read.
    Flush,
    /// `tryResume`, before it connects.
    TryResume,
}

/// Panics if this is the place, and the time, that `OMVALKEYAUDIT_PANIC` names: `Flush 3` for the third
/// flush of the process.
#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "that is what it is for")]
pub(super) fn panic_if_asked(place: Place) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ASKED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let asked = ASKED.get_or_init(|| {
        let text = std::env::var("OMVALKEYAUDIT_PANIC").ok()?;
        let (place, time) = text.split_once(' ')?;
        Some((place.to_owned(), time.parse().ok()?))
    });
    if let Some((asked, time)) = asked
        && *asked == format!("{place:?}")
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *time
    {
        panic!("asked for by OMVALKEYAUDIT_PANIC");
    }
}

#[cfg(not(debug_assertions))]
pub(super) fn panic_if_asked(_place: Place) {}
