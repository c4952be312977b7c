//! The model of rsyslog's action engine, on which the simulation stands, held to real rsyslogds by
//! sampled scripts: the probe takes the plugin's place in them and answers by script, and the model
//! must make the same calls of it. (tests/simulation/traces.rs does so for the recorded cases.)
//!
//! `ENGINE_SCRIPTS=n` sets the number of scripts per version, `ENGINE_FIRST=n` the first one's seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed, and says where"
)]

#[path = "../simulation/engine.rs"]
#[allow(dead_code, reason = "the simulation uses the rest")]
mod engine;
#[path = "../simulation/random.rs"]
#[allow(dead_code, reason = "the simulation uses the rest")]
mod random;
#[path = "../simulation/turns.rs"]
#[allow(dead_code, reason = "the simulation uses the rest")]
mod turns;

mod compare;
mod probe;
mod script;
mod stops;
