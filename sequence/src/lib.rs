//! The sequence numbers of audit records: their members' names, and which numbers of a node are there,
//! missing, or lost by the source's own account. The plugin and omvalkeyaudit-verify both count with this,
//! so that they mean the same by a gap. No sockets, no clocks, no dependencies.
#![forbid(unsafe_code)]

mod claims;
mod numbers;
mod ranges;
pub mod schema;
mod trail;
mod trails;
pub mod value;

pub use numbers::{Account, Numbers, Partial};
pub use ranges::{Range, Ranges, width};
pub use trails::{Arrival, Limits, News, Trails};
pub use value::Claim;
