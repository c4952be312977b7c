//! The worker against real servers, without rsyslogd: the test calls what the core would call, with
//! a proxy of ours in front of the server where something has to break.
//!
//! Oracle throughout: what the server holds, read back over a connection of its own and counted by
//! the numbers that the records carry.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on has failed, and says where"
)]

mod commit;
mod core;
mod doubt;
mod refusal;
