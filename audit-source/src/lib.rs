//! The audit source: a Valkey module that emits every command event as a JSON line.
//!
//! The server calls into `ffi`, the only place with `unsafe` code. What decides something (filters,
//! redaction, the record's text, the ring) knows neither the server nor a socket.
//!
//! ```text
//! ffi -> source -> { clients, commands } -> { frame, filter, redact }
//!               -> writer -> { outbox, outlet }; outbox -> record -> frame
//! frame -> { ring, redact, json } -> event
//! ```
//!
//! What the source puts into the `ring` is a `frame`; the writer thread makes the `record` of it. Records of the source
//! itself, such as heartbeats, are made before.
//!
//! All of them read `settings` and `counters`. `ffi::system`, what is asked of the operating system, knows
//! nothing of the server and stands below `outlet` and `writer`.

mod clients;
mod clock;
mod commands;
mod counters;
mod event;
#[allow(unsafe_code, reason = "the seam to the server, and the only place that needs it")]
mod ffi;
mod filter;
mod frame;
mod json;
mod outbox;
mod outlet;
mod record;
mod redact;
mod ring;
pub mod settings;
mod source;
mod writer;
