//! Checks audit streams: which records are missing, doubled or out of order. The check itself
//! ([`checker`]) takes records and gives a report; reading the streams and writing the report are apart.
#![forbid(unsafe_code)]

pub mod as_json;
pub mod checker;
pub mod error;
pub mod help;
pub mod json;
pub mod options;
pub mod outcome;
pub mod progress;
pub mod record;
pub mod reply;
pub mod run;
pub mod sentinel;
pub mod server;
pub mod servers;
mod socket;
pub mod stream;
pub mod text;
pub mod tls;

pub use omvalkeyaudit_sequence::schema;
