//! How many files may be open: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that a process has open besides its connections, generously.
const BESIDES: u64 = 64;

/// Raises the limit of open files, for this process and its children, as far as it
/// takes for so many connections.
///
/// # Errors
/// For how many it suffices, when that is fewer.
pub fn allow(connections: u64) -> Result<(), u64> {
    let limit = getrlimit(Resource::Nofile);
    let needed = connections.saturating_add(BESIDES);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let most = limit.maximum.map_or(needed, |most| most.min(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    let allowed = if raised.is_ok() { most } else { limit.current.unwrap_or(needed) };
    if allowed >= needed { Ok(()) } else { Err(allowed.saturating_sub(BESIDES)) }
}
