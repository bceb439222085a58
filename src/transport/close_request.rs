//! How a connection is asked to end.

use std::time::Duration;

/// How a connection is asked to end; each includes those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseRequest {
    None,
    /// Take no new streams, and end with the last one.
    Graceful,
    /// Its streams are to say goodbye, each at a time of its own within this one.
    SayGoodbye(Duration),
    /// End what cannot say goodbye, with a status.
    EndStreams,
    /// End now.
    Now,
}

impl CloseRequest {
    /// Requests are ordered by it.
    pub(super) const fn rank(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Graceful => 1,
            Self::SayGoodbye(_) => 2,
            Self::EndStreams => 3,
            Self::Now => 4,
        }
    }
}
