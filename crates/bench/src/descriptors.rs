//! Enough open files for a connection per viewer.

use crate::error::BenchError;

/// Files that a process has open besides its connections, generously.
const BESIDES: u64 = 64;

/// Raises the limit of open files, for this process and its children, and fails when that does not suffice for so many
/// connections: each takes one descriptor here and one in the server.
pub(crate) fn allow(connections: u64) -> Result<(), BenchError> {
    let limit = rlimit::increase_nofile_limit(connections.saturating_add(BESIDES))?;
    let enough_for = limit.saturating_sub(BESIDES);
    if enough_for >= connections {
        return Ok(());
    }
    let why = "raise the hard limit (`ulimit -Hn`) or ask for fewer with --connections";
    Err(BenchError(format!("there are open files for {enough_for} connections, not for {connections}: {why}")))
}
