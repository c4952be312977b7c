//! The worker in a world of its own: a model of rsyslog's action engine calls it, a model of the
//! server answers it, and everything that can go wrong between the two goes wrong, by the seed. No
//! sockets, no sleeping.
//!
//! `SEEDS=n` sets the number of seeds, `FIRST=n` the first one; `SEED=n` replays one alone and prints
//! what happens.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on has failed, and says where"
)]

mod buffers;
mod cluster;
mod copies;
mod disaster;
mod engine;
mod faults;
mod host;
mod known;
mod line;
mod mangle;
mod mood;
mod oracle;
mod packets;
mod random;
mod resp;
mod scenario;
mod seeds;
mod server;
mod stops;
mod traces;
mod turns;
mod world;
