//! What a feed is made for, and what it is limited to.

use crate::clock::Micros;

/// What a feed is for.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of records that the ring holds.
    pub ring_bytes: usize,
    /// CHAT is one order for the swarm, open to all members.
    pub shared_chat: bool,
    /// What may become otherwise.
    pub limits: Limits,
}

/// What of a feed may become otherwise while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The age to which the ring holds records.
    pub max_age: Micros,
    /// A publisher is asked for a keyframe after this time; `None` = only when
    /// somebody wants one.
    pub keyframe_interval: Option<Micros>,
    /// How old a VISUAL or SCREEN update may be when a newer keyframe is there.
    pub max_lag: Micros,
    /// Bytes per second to one subscription; `None` = any.
    pub bandwidth: Option<u64>,
}
