//! Reading lanes as they lie in the ring: for another pod, which serves them to subscribers of its own.
//!
//! A reader of lanes has no filter, no bandwidth and no lag. What it is not handed left the ring before it came to it,
//! and the next update of the lane tells how many that were.

use std::sync::Arc;
use std::task::Waker;

use super::demand::Demand;
use super::followers::MAX_FOLLOWED_LANES;
use super::ingest::{LaneUpdate, LeftOut};
use super::lane::{Lane, Lanes, Tally};
use super::position::{LaneId, TermSeq};
use super::record::{Flags, Record};
use super::ring::Ring;
use super::state::{Feed, State};
use super::subscriber::{DeliveryClass, NodeInterests, Selection, Subscriber, Wanted};
use super::upstream::Seal;
use crate::clock::Micros;
use starling_core::channel::{Channel, ChannelSet};
use starling_core::counted::Map;
use starling_core::id::{NodeId, PodId};
use starling_core::interest::{Interest, InterestChange, Interests};

/// Records that are looked at under one lock.
const LOOKED_AT_ONCE: usize = 1_024;

/// Bytes of messages that are handed out at once; one larger message comes alone.
const BYTES_AT_ONCE: usize = 64 * 1024;

/// What a reader of lanes brings.
#[derive(Debug, Default)]
pub struct LaneBatch {
    /// Updates, in the order of the ring.
    pub updates: Vec<LaneUpdate>,
    /// Ends of terms, after all updates of them.
    pub seals: Vec<(LaneId, Seal)>,
    /// There is more to read at once.
    pub has_more: bool,
}

impl LaneBatch {
    /// True when it brings nothing.
    pub fn is_empty(&self) -> bool {
        self.updates.is_empty() && self.seals.is_empty()
    }
}

/// One lane of a reader.
#[derive(Debug)]
struct FollowedLane {
    birth: Option<u64>,
    /// The last update that was handed out, or that the reader has.
    last: Option<TermSeq>,
    /// What the lane had carried with that one; `None` = not known.
    tally: Option<Tally>,
    /// The reader has been at the end of the ring since it asked for the lane.
    complete: bool,
    /// The newest term whose end was told.
    sealed: u64,
    /// Its place in the ring is found.
    placed: bool,
}

/// Reads lanes for another pod. It counts as a follower while it lives.
#[derive(Debug)]
pub struct LaneReader {
    feed: Arc<Feed>,
    /// This pod.
    own: PodId,
    follower: u64,
    subscriber: Arc<Subscriber>,
    class: DeliveryClass,
    lanes: Map<LaneId, FollowedLane>,
    next: u64,
    read_at: Micros,
    at_end: bool,
}

impl LaneReader {
    /// A reader of no lanes yet, at pod `own`. `waker` is woken when there is something to read after [`Self::park`].
    /// `None` when the feed has [as many](super::MAX_FOLLOWERS) as it may.
    pub fn enter(feed: &Arc<Feed>, own: PodId, waker: Waker) -> Option<Self> {
        let follower = feed.followers.enter()?;
        let mut all = Interests::default();
        let critical = |channel| InterestChange { channel, source: None, level: Interest::Critical, ttl_ms: None };
        all.set(&Channel::ALL.map(critical), 0);
        let interests = Arc::new(NodeInterests::new(Wanted::new(all)));
        // Not among the subscribers: what its own want is told apart.
        let nobody = NodeId::new(u64::MAX).expect("it is not 0");
        let channels: ChannelSet = Channel::ALL.into_iter().collect();
        let subscriber = Arc::new(Subscriber::new(Selection::new(nobody, channels, Vec::new()), interests, waker));
        feed.schedule.enter();
        let class = subscriber.class();
        let (lanes, feed) = (Map::new(), Arc::clone(feed));
        Some(Self {
            feed,
            own,
            follower,
            subscriber,
            class,
            lanes,
            next: u64::MAX,
            read_at: Micros::ZERO,
            at_end: false,
        })
    }

    /// Reads a lane too: what comes after a point, or all that is there. False when that are too many lanes.
    pub fn follow(&mut self, source: NodeId, channel: Channel, after: Option<TermSeq>) -> bool {
        let key = (Some(source), channel);
        if self.lanes.len() >= MAX_FOLLOWED_LANES && !self.lanes.contains_key(&key) {
            return false;
        }
        let lane = FollowedLane { birth: None, last: after, tally: None, complete: false, sealed: 0, placed: false };
        self.lanes.insert(key, lane);
        self.at_end = false;
        true
    }

    /// Reads a lane no more.
    pub fn unfollow(&mut self, source: NodeId, channel: Channel) {
        self.lanes.remove(&(Some(source), channel));
        self.want(source, channel, Demand::default());
    }

    /// What the subscribers of the other pod want of a lane.
    pub fn want(&self, source: NodeId, channel: Channel, demand: Demand) {
        self.feed.followers.set(self.follower, (Some(source), channel), demand);
        self.feed.subscribers.note_change();
        self.feed.producers.notify_waiters();
    }

    /// The feed that is read.
    pub const fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// True when all that was there when lanes were asked for has been handed out.
    pub const fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// Reads what is new, in order. O(what is looked at), bounded, under the feed's lock.
    pub fn read(&mut self, now: Micros) -> LaneBatch {
        let Self { feed, own, lanes: followed, next, .. } = self;
        feed.schedule.unpark(&self.subscriber);
        let mut batch = LaneBatch::default();
        let state = feed.state.lock();
        let State { ring, lanes, .. } = &*state;
        if *next == u64::MAX {
            *next = ring.end();
        }
        place(followed, ring, lanes, next);
        let (mut bytes, mut looks) = (0, 0);
        self.at_end = loop {
            let Some((number, record)) = ring.next_from(*next) else { break true };
            if looks == LOOKED_AT_ONCE || bytes > 0 && bytes + record.length() > BYTES_AT_ONCE {
                break false;
            }
            (*next, looks) = (number + 1, looks + 1);
            let lane = lanes.at(record.lane());
            let wanted = key_of(lane.id).and_then(|_| followed.get_mut(&lane.id));
            if let Some(update) = wanted.and_then(|wanted| wanted.hand_out(lane, record, *own, now)) {
                bytes += record.length();
                batch.updates.push(update);
            }
        };
        if self.at_end {
            *next = ring.end();
            let keys: Vec<LaneId> = followed.iter().map(|(key, _)| *key).collect();
            for key in keys {
                let (Some(wanted), Some(lane)) = (followed.get_mut(&key), lanes.get(key)) else { continue };
                wanted.complete = true;
                if let Some(seal) = lane.seal().filter(|seal| seal.home == *own && seal.term > wanted.sealed) {
                    wanted.sealed = seal.term;
                    batch.seals.push((key, *seal));
                }
            }
        }
        drop(state);
        (batch.has_more, self.read_at) = (!self.at_end, now);
        batch
    }

    /// Waits for what comes next: the reader is woken. False when there is something already.
    pub fn park(&self) -> bool {
        self.at_end && self.feed.schedule.park(&self.subscriber, self.class, self.next, self.read_at)
    }
}

impl Drop for LaneReader {
    fn drop(&mut self) {
        self.feed.schedule.leave(&self.subscriber);
        self.feed.followers.leave(self.follower);
        self.feed.subscribers.note_change();
        self.feed.producers.notify_waiters();
    }
}

/// Only lanes of one source have a home.
const fn key_of(lane: LaneId) -> Option<LaneId> {
    match lane {
        (Some(_), _) => Some(lane),
        (None, _) => None,
    }
}

/// Finds where lanes begin that are new to a reader, which goes back in the ring for them.
fn place(followed: &mut Map<LaneId, FollowedLane>, ring: &Ring, lanes: &Lanes, next: &mut u64) {
    let new: Vec<LaneId> = followed.iter().filter(|(_, lane)| !lane.placed).map(|(key, _)| *key).collect();
    for key in new {
        let (Some(wanted), Some(lane)) = (followed.get_mut(&key), lanes.get(key)) else { continue };
        (wanted.placed, wanted.birth) = (true, Some(lane.birth));
        let Some(after) = wanted.last else {
            *next = (*next).min(lane.first_from(0).unwrap_or(u64::MAX));
            continue;
        };
        let first = lane.first_that(|number| ring.get(number).is_some_and(|record| record.position.point() >= after));
        match first.and_then(|number| Some((number, ring.get(number)?))) {
            Some((number, record)) if record.position.point() == after => {
                wanted.tally = Some(record.tally_after());
                *next = (*next).min(number + 1);
            }
            Some((number, record)) => {
                wanted.tally = (record.previous() == Some(after)).then_some(record.tally);
                *next = (*next).min(number);
            }
            None => wanted.tally = (lane.head == Some(after)).then_some(lane.tally),
        }
    }
}

impl FollowedLane {
    /// A record as the other pod is to have it; `None` when it has it, or is to have it from elsewhere.
    fn hand_out(&mut self, lane: &Lane, record: &Record, own: PodId, now: Micros) -> Option<LaneUpdate> {
        let point = record.position.point();
        if self.last >= Some(point) {
            return None;
        }
        let flags = record.flags();
        if flags.has(Flags::INGESTED) && lane.home() != own {
            return None;
        }
        if self.birth != Some(lane.birth) {
            (self.birth, self.tally) = (Some(lane.birth), None);
        }
        let left_out = self.tally.map(|tally| {
            let Tally { updates, keyframes, tops } = record.tally.minus(tally);
            LeftOut { updates, keyframes, tops }
        });
        (self.last, self.tally) = (Some(point), Some(record.tally_after()));
        Some(LaneUpdate {
            position: record.position,
            session: lane.session_of(point.0),
            publisher_sequence: record.publisher_sequence,
            counted: flags.has(Flags::COUNTED),
            previous: record.previous(),
            granted_at: record.granted_at(),
            layers: record.layers(),
            begins_anew: record.origin == point.0,
            keyframe: record.keyframe,
            top: record.is_top(),
            urgent: record.is_urgent(),
            left_out,
            history: !self.complete,
            age: now.saturating_sub(record.at),
            message: record.encoded().message().clone(),
        })
    }
}
