//! Where a livestream is in its life, and why swarms and sessions end.

use std::fmt;

/// The life of a livestream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Made, not started.
    Initializing,
    /// On air.
    Active,
    /// Held.
    Paused,
    /// Over.
    Ended,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initializing => "INITIALIZING",
            Self::Active => "ACTIVE",
            Self::Paused => "PAUSED",
            Self::Ended => "ENDED",
        })
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LeaveReason {
    /// The node left.
    Left,
    /// The node joined again.
    Replaced,
    /// Somebody with authority removed it.
    Removed,
    /// It had no stream and no heartbeat for its lease.
    Timeout,
    /// The swarm ended.
    Ended,
}

impl LeaveReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Left, Self::Replaced, Self::Removed, Self::Timeout, Self::Ended];
}

/// Why a swarm ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Somebody with authority ended it.
    Requested,
    /// The broadcaster was away for too long.
    BroadcasterTimeout,
    /// The group was empty for too long.
    Empty,
}
