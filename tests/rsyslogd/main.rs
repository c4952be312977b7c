//! The plugin in real rsyslogds, before real servers: 8.2302, 8.2504 and 8.2610 each, with the
//! server of their time.
//!
//! Records carry numbers, and each test ends with counting them, so that a loss, a double or a
//! change of order shows. Each test says first by what it judges (its oracle). Programs that are
//! missing are a panic that says what to run.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed, and says where"
)]

/// Makes of each named function one test for every version of rsyslogd, so that a failure names the
/// behaviour and the version.
macro_rules! on_each_version {
    ($($behaviour:ident),+ $(,)?) => {
        $(mod $behaviour {
            use testkit::Version;

            #[test]
            fn v8_2302() {
                super::$behaviour(Version::V8_2302);
            }

            #[test]
            fn v8_2504() {
                super::$behaviour(Version::V8_2504);
            }

            #[test]
            fn v8_2610() {
                super::$behaviour(Version::V8_2610);
            }
        })+
    };
}

mod calls;
mod cluster;
mod debug_log;
mod delivery;
mod disk_full;
mod durability;
mod failover;
mod hold;
mod hostile;
mod imhiredis;
mod kept;
mod layouts;
mod memory;
mod modes;
mod moving;
mod omhiredis;
mod outage;
mod panics;
mod recipes;
mod scene;
mod secrets;
mod shipped;
mod statistics;
mod stop;
mod tls;
mod valgrind;
