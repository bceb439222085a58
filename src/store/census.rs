//! The set of swarms of one kind in one shard, as an event log.

use std::sync::{Arc, OnceLock};

use starling_core::Swarm;
use starling_core::counted::Queue;
use starling_core::id::{Epoch, SwarmId};
use starling_core::summary::Summary;

/// The most bytes that one log holds, of what it says of swarms that are gone.
const BYTES: usize = 128 * 1024;

/// One incarnation of a swarm, for as long as an event of the log is about it.
#[derive(Debug)]
pub struct Incarnation {
    id: SwarmId,
    epoch: Epoch,
    /// How it was when it was forgotten or replaced.
    last: OnceLock<Summary>,
}

impl Incarnation {
    pub(super) fn new(id: SwarmId, epoch: Epoch) -> Arc<Self> {
        Arc::new(Self { id, epoch, last: OnceLock::new() })
    }

    /// Keeps how it was last.
    pub(super) fn end(&self, swarm: &Swarm) {
        self.last.set(swarm.summary()).expect("an incarnation ends once");
    }

    /// Which swarm.
    pub const fn id(&self) -> SwarmId {
        self.id
    }

    /// Which of those that have had the id.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How it was when it was forgotten or replaced; `None` while it is there.
    pub fn last(&self) -> Option<&Summary> {
        self.last.get()
    }
}

/// What happened to the set.
#[derive(Clone, Debug)]
pub enum CensusEvent {
    /// A swarm was made.
    Created(Arc<Incarnation>),
    /// Its state, metadata or broadcaster changed.
    Changed(Arc<Incarnation>),
    /// It was forgotten, or replaced by another one of the same id.
    Removed(Arc<Incarnation>),
}

impl CensusEvent {
    /// What it is about.
    pub const fn incarnation(&self) -> &Arc<Incarnation> {
        match self {
            Self::Created(incarnation) | Self::Changed(incarnation) | Self::Removed(incarnation) => incarnation,
        }
    }

    /// What the log holds because of it. Nothing is said of a swarm after its removal, so
    /// that the summary goes with this event.
    fn bytes(&self) -> usize {
        match self {
            Self::Removed(incarnation) => incarnation.last().map_or(0, Summary::bytes),
            Self::Created(_) | Self::Changed(_) => 0,
        }
    }
}

/// The last changes of the set of swarms of one kind in one shard. Each has a revision of
/// its own, also where one command makes several: a watcher may stop between them.
#[derive(Debug)]
pub struct Census {
    events: Queue<CensusEvent>,
    head: u64,
    bytes: usize,
    capacity: usize,
}

impl Census {
    pub(super) const fn new(capacity: usize) -> Self {
        Self { events: Queue::new(), head: 0, bytes: 0, capacity }
    }

    pub(super) fn append(&mut self, event: CensusEvent) {
        self.bytes += event.bytes();
        self.events.push_back(event);
        self.head += 1;
        while self.events.len() > self.capacity || (self.bytes > BYTES && self.events.len() > 1) {
            self.bytes -= self.events.pop_front().as_ref().map_or(0, CensusEvent::bytes);
        }
    }

    /// Goes on at another revision: what was before is not known any more. Returns it, to be freed elsewhere.
    pub(super) fn resume_at(&mut self, revision: u64) -> Queue<CensusEvent> {
        (self.head, self.bytes) = (revision, 0);
        std::mem::take(&mut self.events)
    }

    /// The newest revision.
    pub const fn head(&self) -> u64 {
        self.head
    }

    /// What came after `revision`, with its numbers; `None` when the log does not know
    /// that.
    pub fn since(&self, revision: u64) -> Option<impl Iterator<Item = (u64, &CensusEvent)>> {
        let missing = usize::try_from(self.head.checked_sub(revision)?).ok()?;
        let skip = self.events.len().checked_sub(missing)?;
        Some((revision + 1..).zip(self.events.range(skip..)))
    }
}
