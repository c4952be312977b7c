//! The one kind of failure: the check could not be made.
#![forbid(unsafe_code)]

use std::fmt;

/// Why the streams could not be checked, as a sentence that a person can act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CannotCheck(pub String);

impl fmt::Display for CannotCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CannotCheck {}
