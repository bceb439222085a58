//! A swarm as one of a set.

use super::event::EndReason;
use super::id::{Epoch, NodeId};
use super::{Swarm, livestream};

/// What is shown of a swarm among others, and remembered of it for a while when it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The incarnation.
    pub epoch: Epoch,
    /// Number of the last visible change.
    pub revision: u64,
    /// Opaque.
    pub metadata: Box<[u8]>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at: u64,
    /// When and why it ended, if it has.
    pub ended: Option<(u64, EndReason)>,
    /// What only one kind of swarm has.
    pub detail: Detail,
}

/// What only one kind of swarm has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Of a livestream.
    Livestream {
        /// Its state.
        state: livestream::State,
        /// Its broadcaster.
        broadcaster: NodeId,
    },
    /// Of a group.
    Group,
}

impl Summary {
    /// How many bytes it holds, roughly.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.metadata.len()
    }
}

impl Swarm {
    /// The swarm as one of a set.
    pub fn summary(&self) -> Summary {
        match self {
            Self::Livestream(livestream) => Summary {
                epoch: livestream.epoch(),
                revision: livestream.revision(),
                metadata: livestream.metadata().into(),
                created_at: livestream.created_at(),
                ended: livestream.ended(),
                detail: Detail::Livestream { state: livestream.state(), broadcaster: livestream.broadcaster() },
            },
            Self::Group(group) => Summary {
                epoch: group.epoch(),
                revision: group.revision(),
                metadata: group.metadata().into(),
                created_at: group.created_at(),
                ended: group.ended(),
                detail: Detail::Group,
            },
        }
    }
}
