//! The module in a real Valkey 9.1, with a socket of the test's own, or real rsyslogd, as the target.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on has failed, and says where"
)]

mod cases;
mod client;
mod collector;
mod delivery;
mod dump;
mod filters;
mod loading;
mod redaction;
mod rsyslogd;
mod scene;
mod valgrind;
