//! Enough open files for a connection per viewer.

use crate::app::files;
use crate::cli::CliError;

/// Raises the limit of open files, and fails when that does not suffice for so many
/// connections: each takes one descriptor here and one in the server.
pub(super) fn allow(connections: u64) -> Result<(), CliError> {
    files::allow(connections).map_err(|enough_for| {
        let why = "raise the hard limit (`ulimit -Hn`) or ask for fewer with --connections";
        CliError(format!("there are open files for {enough_for} connections, not for {connections}: {why}"))
    })
}
