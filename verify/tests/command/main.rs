//! The command against real servers with doctored streams: what it finds, says and returns.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and says where; figures are printed"
)]

mod cluster;
mod complete;
mod dead_letters;
mod faults;
mod hostile;
mod large;
mod refusals;
mod scene;
mod sentinel;
mod servers;
mod takeover;
mod tls;
