//! Which swarm, and how to get in.

use crate::pb::{group::v1 as group, livestream::v1 as livestream};

/// A livestream or a group, by its id; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SwarmRef {
    /// A livestream.
    Livestream(u64),
    /// A group.
    Group(u64),
}

/// How a node joins, and joins again when its lease has expired.
#[derive(Clone, Debug, PartialEq)]
pub enum Join {
    /// A livestream.
    Livestream(livestream::JoinLivestreamRequest),
    /// A group.
    Group(group::JoinGroupRequest),
}
