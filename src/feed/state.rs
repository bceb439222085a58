//! A feed: what is kept of a swarm's updates, and under which locks.

use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use super::authors::Authors;
use super::chunk_cache::ChunkCache;
use super::counts::Counts;
use super::followers::Followers;
use super::lane::Lanes;
use super::memory::{LetGo, Memory, Reclaim};
use super::position::Position;
use super::record::Record;
use super::ring::Ring;
use super::schedule::WakeSchedule;
use super::settings::{Limits, Settings};
use super::subscriber::Selection;
use super::subscribers::Subscribers;
use crate::clock::Micros;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use starling_core::channel::Channel;
use starling_core::id::{NO_HOME, PodId};
use starling_core::key::BroadcasterKey;

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
    /// It is closed, and where its lanes ended at other pods is still to come.
    pub(super) unsettled: AtomicBool,
    /// What followers want, who serve subscribers of their own.
    pub(super) followers: Followers,
}

/// What the lock of a feed protects.
#[derive(Debug)]
pub(super) struct State {
    pub(super) limits: Limits,
    pub(super) ring: Ring,
    pub(super) lanes: Lanes,
    pub(super) authors: Authors,
    /// This pod, once updates of others may be taken; [`NO_HOME`] = none are.
    pub(super) own: PodId,
    /// The newest revision whose grants are in force.
    pub(super) revision: u64,
    /// By which whoever may publish signs; `None` = nothing is signed.
    pub(super) key: Option<Box<BroadcasterKey>>,
    /// The memory knows of the feed.
    pub(super) enrolled: bool,
    /// Bytes that cursors hold, of each lane some.
    pub(super) cursors: usize,
    /// Bytes that are booked with the memory.
    booked: usize,
    pub(super) counts: Counts,
    /// What of them is in the sums of all feeds; `None` = nothing.
    pub(super) summed: Option<Box<Counts>>,
}

impl Feed {
    /// An empty feed. Nothing is allocated before the first update.
    pub fn new(shape: Settings, memory: Arc<Memory>) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: Weak::clone(own),
            shared_chat: shape.shared_chat,
            state: Mutex::new(State {
                limits: shape.limits,
                ring: Ring::new(shape.ring_bytes, shape.limits.max_age),
                lanes: Lanes::default(),
                authors: Authors::default(),
                own: NO_HOME,
                revision: 0,
                key: None,
                enrolled: false,
                cursors: 0,
                booked: 0,
                counts: Counts::default(),
                summed: None,
            }),
            subscribers: Subscribers::new(shape.shared_chat, Arc::clone(&memory)),
            schedule: WakeSchedule::default(),
            chunks: ChunkCache::default(),
            producers: Arc::default(),
            closed: AtomicBool::new(false),
            unsettled: AtomicBool::new(false),
            followers: Followers::default(),
            memory,
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

    /// Frees what nobody reads in other feeds, or what is here beyond the feed's share, for an update
    /// with a payload of so many bytes, its signature included.
    pub fn make_room(&self, payload: usize, now: Micros) {
        let bytes = Record::cost_at_most(payload);
        if self.memory.reclaim(bytes, now) {
            return;
        }
        let mut state = self.state.lock();
        let State { ring, lanes, .. } = &mut *state;
        ring.shrink_to(self.memory.share().saturating_sub(bytes), lanes);
        self.book(&mut state);
    }

    /// True when there is room for one more reader, maybe after others have let go of something.
    pub fn has_room_for_readers(&self, now: Micros) -> bool {
        let has_room = self.memory.has_room_for(1) || self.memory.reclaim(1, now);
        if !has_room {
            self.memory.totals().refuse_reader();
        }
        has_room
    }

    /// Books what the feed holds now: to be called when that may have changed.
    pub(super) fn book(&self, state: &mut State) {
        let held = state.held();
        if held != state.booked {
            self.memory.book(std::mem::replace(&mut state.booked, held), held);
        }
    }

    /// Adds to the sums of all feeds what it has counted since it was done last. O(1).
    fn sum_up(&self, state: &mut State) {
        let State { counts, summed, .. } = state;
        if summed.as_deref().map_or_else(|| *counts != Counts::default(), |summed| summed != counts) {
            let summed = summed.get_or_insert_default();
            self.memory.totals().add(counts, summed);
            **summed = *counts;
        }
    }

    /// The same where nobody else will do it: the memory asks only feeds that hold records.
    pub(super) fn sum_up_if_alone(&self, state: &mut State) {
        if !state.enrolled {
            self.sum_up(state);
            self.book(state);
        }
    }

    /// True when nothing is taken any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// True when nothing will come any more: it is closed, and where its lanes ended at other pods is known.
    pub fn is_over(&self) -> bool {
        self.is_closed() && !self.unsettled.load(Ordering::Acquire)
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

    /// Bytes of memory that the ring holds.
    #[cfg(test)]
    pub(super) fn ring_bytes(&self) -> usize {
        self.state.lock().ring.bytes()
    }

    /// Bytes of memory that are held: records, lanes, authors, cursors, joined updates.
    pub fn bytes(&self) -> usize {
        self.state.lock().held() + self.chunks.bytes() + self.subscribers.bytes()
    }
}

impl State {
    /// Bytes of memory that are held. O(1).
    fn held(&self) -> usize {
        let summed = self.summed.as_ref().map_or(0, |_| size_of::<Counts>());
        self.ring.bytes() + self.lanes.bytes() + self.authors.bytes() + self.cursors + summed
    }

    /// What became of a feed that has let `gone` records go.
    fn after(&mut self, gone: usize) -> LetGo {
        if gone == 0 && self.ring.is_empty() {
            // Under the lock: the next append finds it so, and enrols.
            self.enrolled = false;
            return LetGo::All;
        }
        LetGo::Some(gone)
    }
}

impl Reclaim for Feed {
    fn reclaim(&self, share: usize) -> LetGo {
        let is_read = self.schedule.has_readers();
        let mut state = self.state.lock();
        let State { ring, lanes, .. } = &mut *state;
        let mut gone = if is_read { 0 } else { ring.shrink(lanes) };
        if gone == 0 {
            gone = ring.shrink_to(share, lanes);
        }
        self.sum_up(&mut state);
        self.book(&mut state);
        state.after(gone)
    }

    fn age(&self, now: Micros) -> LetGo {
        let mut state = self.state.lock();
        let State { ring, lanes, .. } = &mut *state;
        let gone = ring.expire(lanes, now);
        self.sum_up(&mut state);
        self.book(&mut state);
        let answer = state.after(gone);
        let settled = state.ring.is_settled();
        drop(state);
        if settled {
            // What was joined has gone from the ring.
            self.chunks.trim(0, &self.memory);
        }
        answer
    }

    fn count(&self) {
        let mut state = self.state.lock();
        self.sum_up(&mut state);
        self.book(&mut state);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let State { counts, summed, booked, .. } = self.state.get_mut();
        self.memory.totals().add(counts, &summed.take().map_or_else(Counts::default, |summed| *summed));
        self.memory.book(*booked + self.chunks.bytes(), 0);
    }
}
