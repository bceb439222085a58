//! Enough open files for a connection per viewer.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::Failure;

/// Files that a process has open besides its connections, generously.
const BESIDES: u64 = 64;

/// Raises the limit of open files, for this process and its children, as far as it goes, and
/// fails when that does not suffice for so many connections: each takes one descriptor here
/// and one in the server.
pub(super) fn allow(connections: u64) -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    let needed = connections + BESIDES;
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(most) = limit.maximum.filter(|most| *most < needed) {
        let why = "raise the hard limit (`ulimit -Hn`) or ask for fewer with --connections";
        return Err(Failure(format!("{connections} connections need {needed} open files, {most} are allowed: {why}")));
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}
