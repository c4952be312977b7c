//! The counters that INFO, AUDITSOURCE STATUS and the heartbeat show. Any thread may read them at any time;
//! each is written by one thread only.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

/// One number.
#[derive(Debug)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Self {
        Counter(AtomicU64::new(0))
    }

    /// Adds, without a locked instruction: there is one writer.
    pub(crate) fn add(&self, number: u64) {
        self.set(self.get().wrapping_add(number));
    }

    pub(crate) fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($name:ident: $about:literal,)*) => {
        /// All counters; the names are those of the INFO fields.
        #[derive(Debug)]
        pub(crate) struct Counters { $(#[doc = $about] pub(crate) $name: Counter,)* }

        impl Counters {
            const fn new() -> Self {
                Counters { $($name: Counter::new(),)* }
            }

            /// Name and value of each, in order.
            pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.get()),)*].into_iter()
            }

            /// Name and meaning of each, for the test that compares them with the README.
            #[cfg(test)]
            fn meanings() -> impl Iterator<Item = (&'static str, &'static str)> {
                [$((stringify!($name), $about),)*].into_iter()
            }
        }
    };
}

counters! {
    seq: "Number of the newest record.",
    events_success: "Commands that succeeded and were recorded.",
    events_failure: "Commands that failed and were recorded.",
    events_rejected: "Commands that were rejected and were recorded.",
    events_acl_denied: "Commands that the ACL denied and that were recorded.",
    filtered: "Events that the filters left out.",
    lost: "Records that found the buffer full.",
    sent: "Records written to the target, those written again included.",
    confirmed: "Records that the target has taken from the socket.",
    resent: "Records written again after a broken connection.",
    buffer_used: "Bytes of the buffer in use, as of the last tick (ten a second).",
    buffer_size: "Bytes of the buffer.",
    connected: "1 while there is a connection to the target.",
    reconnects: "Connections after the first one.",
    panics: "Defects of the module that were caught.",
}

/// The process's counters. They outlive MODULE UNLOAD, so that the sequence number goes on afterwards.
pub(crate) static COUNTERS: Counters = Counters::new();

#[cfg(test)]
mod tests {
    use super::*;

    // Oracle: the names and meanings in the code.
    #[test]
    fn the_readme_describes_exactly_the_counters_that_exist() {
        let readme = include_str!("../README.md");
        for (name, about) in Counters::meanings() {
            let row = format!("| `auditsource_{name}` | {about} |");
            assert!(readme.contains(&row), "README.md lacks the line {row}");
        }
        let rows = readme.lines().filter(|line| line.starts_with("| `auditsource_"));
        assert_eq!(rows.count(), COUNTERS.all().count());
    }
}
