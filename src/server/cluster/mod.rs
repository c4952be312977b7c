//! What a cluster says about where its slots are: its map, and the replies that correct it. Pure: who
//! asks, and over which connection, is decided elsewhere.
#![forbid(unsafe_code)]

mod map;
mod redirect;

pub use map::SlotMap;
pub use redirect::Redirect;
