//! What keeps a case from being run; what the server refuses is no error but an ending.

use std::fmt;

/// What went wrong, in words for a terminal.
#[derive(Debug)]
pub(crate) struct AbuseError(pub(crate) String);

impl<E: std::error::Error> From<E> for AbuseError {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for AbuseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
