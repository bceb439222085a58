//! Updates: one ring of encoded records per swarm, read through cursors.
//!
//! Publishing checks the grant, numbers the update, encodes it once and appends
//! it, once for all subscribers; those that wait are woken by the feed's wake task, once
//! per delivery window. A subscriber holds a cursor and not a queue: a slow one costs
//! nothing, and learns by a gap what it missed.
//!
//! Lock order: a swarm's shard, then its feed, then its subscribers or its wake schedule.
//! Nobody but the wake task is woken under a lock.

mod authors;
mod chunk_cache;
mod counts;
mod cursor;
mod keyframe_requests;
mod lane;
mod memory;
mod numbers;
mod publish;
mod record;
mod ring;
mod skips;
mod subscriber;
mod subscribers;
mod token_bucket;
mod wake_schedule;
mod wake_task;

use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use starling_core::event::Gate;
use starling_core::id::NodeId;
use starling_core::interest::{Channel, ChannelSet, Interests};

use authors::Authors;
use chunk_cache::ChunkCache;
use lane::{Lanes, has_runs};
use ring::Ring;
use subscribers::Subscribers;
use wake_schedule::WakeSchedule;

pub use counts::{BUCKETS, Counts, bucket_bound};
pub use cursor::{Cursor, Delivery, FilterChange, Gap, GapReason, Greeting, Opening, Resume, Start};
pub use lane::{LaneId, TermSeq};
pub use memory::Memory;
pub use numbers::MAX_GIVEN;
pub use publish::{Accepted, AppendError, Message, PublisherState, Rejected};
pub use record::{Draft, Encoded, Position, Record, Timestamp, frame};
pub use skips::SkipReport;
pub use subscriber::{ParkedSubscriber, Selection};
pub use subscribers::Demand;
pub use wake_schedule::NextStep;

/// Microseconds on a clock of the process that never goes back.
pub type Micros = u64;

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

/// What is kept of a swarm's updates, and who may add to it.
#[derive(Debug)]
pub struct Feed {
    /// To enrol with the memory.
    own: Weak<Self>,
    shared_chat: bool,
    memory: Arc<Memory>,
    state: Mutex<State>,
    subscribers: Subscribers,
    schedule: WakeSchedule,
    chunks: ChunkCache,
    producers: Arc<Notify>,
    closed: AtomicBool,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    ring: Ring,
    lanes: Lanes,
    authors: Authors,
    enrolled: bool,
    counts: Counts,
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

    /// Sets the interests of a member. When this returns, its subscriptions deliver no more
    /// than that; they are to be woken.
    pub fn set_interests(&self, node: NodeId, interests: &Interests) -> Vec<ParkedSubscriber> {
        self.subscribers.set_interests(node, interests).into_iter().map(ParkedSubscriber).collect()
    }

    /// Makes every subscription read.
    pub fn wake_all(&self) {
        self.schedule.wake_all();
    }

    /// True for the caller that is to run the wake task: until [`NextStep::Stop`] it does what
    /// [`Self::next_step`] says, and waits for [`Self::schedule_changed`] in between.
    /// [`Self::start_wake_task`] does so on tokio.
    pub fn needs_wake_task(&self) -> bool {
        self.schedule.needs_wake_task()
    }

    /// What the wake task is to do now. O(subscriptions that are to be woken).
    pub fn next_step(&self, now: Micros) -> NextStep {
        let step = self.schedule.next_step(now);
        match step {
            NextStep::Stop => self.chunks.trim(0),
            // Whoever is late reads alone.
            NextStep::AwaitChange => self.chunks.trim(2),
            NextStep::Wake(_) | NextStep::SleepUntil(_) => {}
        }
        step
    }

    /// Notified when the wake task has to ask again. It is remembered while nobody waits.
    pub fn schedule_changed(&self) -> Arc<Notify> {
        self.schedule.changed()
    }

    /// Frees what nobody reads, here and in other feeds. False when that has just
    /// been tried. O(feeds).
    pub fn make_room(&self, now: Micros) -> bool {
        self.memory.reclaim(now)
    }

    fn shrink(&self) {
        if !self.subscribers.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let State { ring, lanes, .. } = &mut *state;
        let before = ring.bytes();
        ring.shrink(lanes);
        self.memory.book(before, ring.bytes());
    }

    /// Asks the publisher of a VISUAL or SCREEN lane for a keyframe.
    pub fn request_keyframe(&self, source: NodeId, channel: Channel) {
        let mut state = self.state.lock();
        let slot = state.lanes.slot((Some(source), channel));
        state.lanes.at_mut(slot).requests.ask();
        drop(state);
        self.producers.notify_waiters();
    }

    /// Those of `channels` for which the publisher of `term` is to be asked for a
    /// keyframe now, and when to look again. The caller must send the requests that are returned.
    pub fn keyframes_due(
        &self,
        source: NodeId,
        term: u64,
        channels: ChannelSet,
        now: Micros,
    ) -> (Vec<Channel>, Option<Micros>) {
        let mut state = self.state.lock();
        let interval = state.limits.keyframe_interval;
        let (mut ask, mut next) = (Vec::new(), None::<Micros>);
        for channel in channels.iter().filter(|channel| has_runs(*channel)) {
            let Some(lane) = state.lanes.get_mut((Some(source), channel)) else { continue };
            if lane.term != term || lane.gate != Gate::Open {
                continue;
            }
            if lane.requests.due(interval, now).is_some_and(|due| due <= now) {
                lane.requests.asked(now);
                ask.push(channel);
            }
            next = [next, lane.requests.due(interval, now)].into_iter().flatten().min();
        }
        (ask, next)
    }

    /// True when subscribers have skipped updates of a source since the last
    /// [`Self::take_skips`].
    pub fn has_skips(&self, source: NodeId, channels: ChannelSet) -> bool {
        let state = self.state.lock();
        channels.iter().any(|channel| {
            let lane = state.lanes.get((Some(source), channel));
            lane.is_some_and(|lane| !lane.skips.is_empty())
        })
    }

    /// Who has skipped what of a source since the last call.
    pub fn take_skips(&self, source: NodeId, channels: ChannelSet) -> Vec<(Channel, SkipReport)> {
        let mut state = self.state.lock();
        let mut reports = Vec::new();
        for channel in channels.iter() {
            if let Some(lane) = state.lanes.get_mut((Some(source), channel)) {
                reports.extend(lane.skips.take().map(|report| (channel, report)));
            }
        }
        reports
    }

    /// What is wanted of `channels` of a source, in their order. O(subscriptions).
    pub fn demand(&self, source: NodeId, channels: ChannelSet) -> Vec<(Channel, Demand)> {
        self.subscribers.demand(source, channels, self.shared_chat)
    }

    /// Rises when a subscription comes, goes or wants something else.
    pub fn subscribers_version(&self) -> u64 {
        self.subscribers.version()
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

impl Drop for Feed {
    fn drop(&mut self) {
        self.memory.book(self.state.get_mut().ring.bytes(), 0);
    }
}

#[cfg(test)]
mod tests;
