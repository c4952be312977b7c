//! Where a server listens: as an operator writes it ([`Address`]), and as sentinels and the nodes of a cluster say it
//! ([`word`]). The plugin and omvalkeyaudit-verify both read it by this. Who is asked, and what follows from the answer,
//! is the caller's.
#![forbid(unsafe_code)]

mod address;
pub mod word;

pub use address::{Address, FORM, is_url};
