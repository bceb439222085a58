//! Why a command failed.

use std::fmt;

/// What went wrong, in words for a terminal.
#[derive(Debug)]
pub(super) struct CliError(pub(super) String);

impl<E: std::error::Error> From<E> for CliError {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a status says, without its metadata. One that the server did not send has a cause, whose own cause is what there
/// is to know: that of a connection that TLS has refused, for one.
pub(super) fn told(status: &tonic::Status) -> CliError {
    let first = std::error::Error::source(status);
    if let Some(cause) = std::iter::successors(first, |cause| cause.source()).last() {
        return CliError(format!("the call failed: {cause}"));
    }
    CliError(format!("the server says {:?}: {}", status.code(), status.message()))
}
