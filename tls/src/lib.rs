//! TLS to a server: the certificates and keys that an operator names, the connection, and a sentence for each
//! way in which it does not come about. The plugin and omvalkeyaudit-verify both speak it by this. Sockets,
//! their time limits and what to do about a failure are the caller's.
#![forbid(unsafe_code)]

mod config;
mod failure;
pub mod file;
mod files;
mod stream;

pub use config::{Config, Identity, Terms, is_name};
pub use failure::{Failure, Fault};
pub use stream::{TlsStream, answers_plainly};
