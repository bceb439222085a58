//! How many files may be open: each connection is one.

/// Files that a process has open besides its connections, generously.
const BESIDES: u64 = 64;

/// Raises the limit of open files, for this process and its children, as far as it
/// takes for so many connections.
///
/// # Errors
/// For how many it suffices, when that is fewer.
pub fn allow(connections: u64) -> Result<(), u64> {
    let needed = connections.saturating_add(BESIDES);
    let allowed = match rlimit::increase_nofile_limit(needed) {
        Ok(allowed) => allowed,
        // Not allowed to raise it: what there is must do.
        Err(_) => rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(0, |(current, _)| current),
    };
    if allowed >= needed { Ok(()) } else { Err(allowed.saturating_sub(BESIDES)) }
}
