//! omvalkeyaudit: an rsyslog output plugin that commits audit records to Valkey or Redis.
//!
//! The C shim in `c-shim/` makes it an rsyslog module and calls into [`ffi`], the only place with
//! `unsafe` code. Everything else is safe Rust, and what decides something has no I/O.
//!
//! ```text
//! ffi -> worker -> { hold, server, transaction } -> { commands, stats } -> record -> params -> error
//! ```

pub mod commands;
pub mod error;
#[allow(unsafe_code, reason = "the seam to the host, and the only place that needs it")]
pub mod ffi;
pub mod hold;
pub mod params;
pub mod record;
pub mod server;
pub mod stats;
pub mod transaction;
pub mod worker;
