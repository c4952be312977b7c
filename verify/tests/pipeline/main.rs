//! The whole chain, judged by the command: an audited Valkey 9.1 with the audit source, a real rsyslogd with the
//! plugin and the shipped configuration, a stream in a second Valkey.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and says where; figures are printed"
)]

mod chain;
mod flow;
mod members;
