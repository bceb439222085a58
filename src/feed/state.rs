//! A feed: what is kept of a swarm's updates, and under which locks.

use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use super::authors::Authors;
use super::chunk_cache::ChunkCache;
use super::counts::Counts;
use super::lane::Lanes;
use super::memory::{Memory, Reclaim};
use super::position::Position;
use super::ring::Ring;
use super::schedule::WakeSchedule;
use super::settings::{Limits, Settings};
use super::subscriber::Selection;
use super::subscribers::Subscribers;
use crate::clock::Micros;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use starling_core::channel::Channel;

/// What is kept of a swarm's updates, and who may add to it.
#[derive(Debug)]
pub struct Feed {
    /// To enrol with the memory.
    pub(super) own: Weak<Self>,
    pub(super) shared_chat: bool,
    pub(super) memory: Arc<Memory>,
    pub(super) state: Mutex<State>,
    pub(super) subscribers: Subscribers,
    pub(super) schedule: WakeSchedule,
    pub(super) chunks: ChunkCache,
    /// Notified when publishers may have to be told something.
    pub(super) producers: Arc<Notify>,
    pub(super) closed: AtomicBool,
}

/// What the lock of a feed protects.
#[derive(Debug)]
pub(super) struct State {
    pub(super) limits: Limits,
    pub(super) ring: Ring,
    pub(super) lanes: Lanes,
    pub(super) authors: Authors,
    /// The memory knows of the feed.
    pub(super) enrolled: bool,
    pub(super) counts: Counts,
}

impl Feed {
    /// An empty feed. Nothing is allocated before the first update.
    pub fn new(shape: Settings, memory: Arc<Memory>) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: Weak::clone(own),
            shared_chat: shape.shared_chat,
            memory,
            state: Mutex::new(State {
                limits: shape.limits,
                ring: Ring::new(shape.ring_bytes, shape.limits.max_age),
                lanes: Lanes::default(),
                authors: Authors::default(),
                enrolled: false,
                counts: Counts::default(),
            }),
            subscribers: Subscribers::default(),
            schedule: WakeSchedule::default(),
            chunks: ChunkCache::default(),
            producers: Arc::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Sets what may become otherwise. Subscriptions act on it when they look next.
    pub fn set_limits(&self, limits: Limits) {
        let mut state = self.state.lock();
        state.limits = limits;
        state.ring.set_max_age(limits.max_age);
    }

    /// What may become otherwise, as it is now.
    pub fn limits(&self) -> Limits {
        self.state.lock().limits
    }

    /// True when the channel has one order for the swarm, and many authors.
    pub fn is_shared(&self, channel: Channel) -> bool {
        self.shared_chat && channel == Channel::Chat
    }

    /// Frees what nobody reads, here and in other feeds. False when that has just
    /// been tried. O(feeds).
    pub fn make_room(&self, now: Micros) -> bool {
        self.memory.reclaim(now)
    }

    /// True when nothing will come any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The newest position of each lane that a subscription asked for.
    pub fn heads(&self, selection: &Selection) -> Vec<Position> {
        self.newest_heads(selection, usize::MAX)
    }

    /// The same of at most so many lanes, those with the newest terms.
    pub fn newest_heads(&self, selection: &Selection, most: usize) -> Vec<Position> {
        let state = self.state.lock();
        let lanes = state.lanes.iter().filter(|(_, lane)| selection.contains(lane.id));
        let mut heads: Vec<_> = lanes
            .filter_map(|(_, lane)| {
                let ((term, sequence), (source, channel)) = (lane.head?, lane.id);
                Some(Position { source, channel, term, sequence })
            })
            .collect();
        drop(state);
        if heads.len() > most {
            heads.sort_unstable_by_key(|position| std::cmp::Reverse(position.term));
            heads.truncate(most);
        }
        heads.sort_unstable_by_key(|position| (position.source, position.channel));
        heads
    }

    /// What was taken and what was handed out.
    pub fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    /// Bytes of records held.
    pub fn bytes(&self) -> usize {
        self.state.lock().ring.bytes()
    }
}

impl Reclaim for Feed {
    fn reclaim(&self) {
        if !self.subscribers.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let State { ring, lanes, .. } = &mut *state;
        let before = ring.bytes();
        ring.shrink(lanes);
        self.memory.book(before, ring.bytes());
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.memory.book(self.state.get_mut().ring.bytes(), 0);
    }
}
