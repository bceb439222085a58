//! A swarm as one of a set.

use super::id::{Epoch, NodeId};
use super::state::{EndReason, State};

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
        state: State,
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
