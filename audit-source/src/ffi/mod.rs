//! The seam to the server: the module interface declared by hand, and the callbacks. All `unsafe` code is
//! here; each callback catches panics and hands plain values on.

mod api;
mod callbacks;
mod config;
mod entry;
mod guard;
mod host;
mod sight;
pub(crate) mod system;
