//! What a cluster says about where its slots are: its map, and the replies that correct it. Pure: who
//! asks, and over which connection, is decided elsewhere.
#![forbid(unsafe_code)]

mod map;
mod redirect;

pub use map::SlotMap;
pub use redirect::Redirect;

use crate::params::Address;

/// A node's address as `asked` announces it: without a host it is that one's own.
fn announced(host: &str, port: u16, asked: &Address) -> Option<Address> {
    match (host, asked) {
        ("", Address::Tcp { host, .. }) => Address::tcp(host, port).ok(),
        ("", Address::Unix(_)) => None,
        _ => Address::tcp(host, port).ok(),
    }
}
