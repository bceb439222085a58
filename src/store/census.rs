//! The set of swarms of one kind in one shard, as an event log.

use std::collections::VecDeque;

use crate::swarm::id::{Epoch, SwarmId};

/// What happened to the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CensusEvent {
    /// A swarm was made, or made anew.
    Created(SwarmId),
    /// Its state, metadata or broadcaster changed.
    Changed(SwarmId),
    /// It was forgotten.
    Removed(SwarmId, Epoch),
}

impl CensusEvent {
    /// Which swarm.
    pub const fn id(self) -> SwarmId {
        match self {
            Self::Created(id) | Self::Changed(id) | Self::Removed(id, _) => id,
        }
    }
}

/// The last changes of the set of swarms of one kind in one shard.
#[derive(Debug)]
pub struct Census {
    events: VecDeque<CensusEvent>,
    head: u64,
    capacity: usize,
}

impl Census {
    pub(super) const fn new(capacity: usize) -> Self {
        Self { events: VecDeque::new(), head: 0, capacity }
    }

    pub(super) fn append(&mut self, event: CensusEvent) {
        if self.events.len() == self.capacity {
            self.events.pop_front();
        }
        self.events.push_back(event);
        self.head += 1;
    }

    /// The newest revision.
    pub const fn head(&self) -> u64 {
        self.head
    }

    /// What came after `revision`, with its numbers; `None` when the log does not
    /// know that.
    pub fn since(&self, revision: u64, limit: usize) -> Option<Vec<(u64, CensusEvent)>> {
        let missing = usize::try_from(self.head.checked_sub(revision)?).ok()?;
        let skip = self.events.len().checked_sub(missing)?;
        Some((revision + 1..).zip(self.events.iter().copied().skip(skip)).take(limit).collect())
    }
}
