//! What goes wrong in a measurement.

use std::fmt;

/// What went wrong, in words for a terminal.
#[derive(Debug)]
pub(crate) struct BenchError(pub(crate) String);

impl<E: std::error::Error> From<E> for BenchError {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a status says, without its metadata.
pub(crate) fn told(status: &tonic::Status) -> BenchError {
    BenchError(format!("the server says {:?}: {}", status.code(), status.message()))
}
