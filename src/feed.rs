//! Updates: one ring of encoded records per swarm, read through cursors.
//!
//! Publishing checks the grant, numbers the update, encodes it once and appends
//! it, once for all subscribers; those that wait are woken by the feed's wake task, once
//! per delivery window. A subscriber holds a cursor and not a queue: a slow one costs
//! nothing, and learns by a gap what it missed.
//!
//! The way of an update: `publish` takes it, `wire` encodes it, `ring` keeps it as a `record`,
//! `schedule` wakes for it, `cursor` reads it for one subscriber, `chunk_cache` joins it with others
//! for all who read the same. `state` is the feed itself, `lane` one (source, channel) of it.
//! `subscribers` are all who read, `demand` counts what they want of whom; `memory` is what all
//! feeds hold, in bytes that `heap` knows.
//!
//! Where there are several pods, a lane is published at one of them, its home. Others `follow` it there and `ingest` what
//! they get; `upstream` is what a lane knows of that, `wants` what is asked for, `followers` what others want.
//!
//! Lock order: a swarm's shard, then its feed, then its subscribers or its wake schedule.
//! Nobody is woken under the locks of the feed; under its shard only the wake task is.

mod authors;
mod chat;
mod chunk_cache;
mod counts;
mod cursor;
mod delivery;
mod demand;
mod draft;
mod follow;
mod followers;
mod gap;
mod heap;
mod ingest;
mod keyframe_requests;
mod lane;
mod lane_home;
mod memory;
mod position;
mod publish;
mod record;
mod ring;
mod schedule;
mod settings;
mod skips;
mod state;
mod subscriber;
mod subscribers;
mod tally;
mod totals;
mod upstream;
mod wants;
mod wire;

use std::sync::Arc;

use tokio::sync::Notify;

use starling_core::channel::{Channel, ChannelSet};
use starling_core::event::Gate;
use starling_core::id::NodeId;
use starling_core::interest::Interests;

use lane::has_runs;

pub use crate::clock::Micros;
pub use chat::OtherContent;
pub use counts::{BUCKETS, Counts, bucket_bound};
pub use cursor::{Cursor, Greeting, Opening, Resume, Start};
pub use delivery::{Delivery, FilterChange};
pub use demand::Demand;
pub use draft::{Draft, Proof, SIGNATURE_BYTES, Timestamp, Verified};
pub use follow::{LaneBatch, LaneReader};
pub use followers::{MAX_FOLLOWED_LANES, MAX_FOLLOWERS};
pub use gap::{Gap, GapReason};
pub use ingest::{Ingested, LaneUpdate, LeftOut};
pub use memory::Memory;
pub use position::{LaneId, Position, TermSeq};
pub use publish::{Accepted, AppendError, Message, PublisherState, Rejected};
pub use record::Record;
pub use schedule::NextStep;
pub use settings::{Limits, Settings};
pub use skips::SkipReport;
pub use starling_core::numbers::MAX_GIVEN;
pub use state::Feed;
pub use subscriber::{ParkedSubscriber, Selection};
pub use subscribers::MAX_NAMED;
pub use totals::FeedTotals;
pub use upstream::{Granted, Seal};
pub use wants::WantedLane;
pub use wire::{Encoded, frame};

/// The side of the readers: who wants what, and who is to be woken.
impl Feed {
    /// Sets the interests of a member. When this returns, its subscriptions deliver no more
    /// than that; they are to be woken.
    pub fn set_interests(&self, node: NodeId, interests: &Interests) -> Vec<ParkedSubscriber> {
        self.subscribers.set_interests(node, interests).into_iter().map(ParkedSubscriber).collect()
    }

    /// The nodes that subscribe, in order, after this one; at most `most`.
    pub fn subscribed_nodes(&self, last: Option<NodeId>, most: usize) -> Vec<NodeId> {
        self.subscribers.nodes_after(last, most)
    }

    /// Makes every subscription read.
    pub fn wake_all(&self) {
        self.schedule.wake_all();
    }

    /// Starts the wake task on tokio unless it runs. It ends after the last subscription.
    pub fn start_wake_task(self: &Arc<Self>) {
        if self.needs_wake_task() {
            let feed = Arc::clone(self);
            schedule::spawn(self.schedule_changed(), move |now| feed.next_step(now));
        }
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
            NextStep::Stop => self.chunks.trim(0, &self.memory),
            // Whoever is late reads alone.
            NextStep::AwaitChange => self.chunks.trim(2, &self.memory),
            NextStep::Wake(_) | NextStep::SleepUntil(_) => {}
        }
        step
    }

    /// Notified when the wake task has to ask again. It is remembered while nobody waits.
    pub fn schedule_changed(&self) -> Arc<Notify> {
        self.schedule.changed()
    }

    /// What is wanted of `channels` of a source, in their order, here and by those who follow. O(log sources) for each,
    /// and for each follower.
    pub fn demand(&self, source: NodeId, channels: ChannelSet) -> Vec<(Channel, Demand)> {
        let mut demand = self.subscribers.demand(source, channels);
        self.add_followers(&mut demand, source);
        demand
    }

    /// Rises when a subscription comes, goes or wants something else.
    pub fn subscribers_version(&self) -> u64 {
        self.subscribers.version()
    }
}

/// What publishers are told: requests for keyframes, and what was skipped.
impl Feed {
    /// Asks the publisher of a VISUAL or SCREEN lane for a keyframe.
    pub fn request_keyframe(&self, source: NodeId, channel: Channel) {
        let mut state = self.state.lock();
        let slot = state.lanes.slot((Some(source), channel));
        state.lanes.at_mut(slot).requests.ask();
        drop(state);
        self.producers.notify_waiters();
    }

    /// Notified when publishers may have to be told something.
    pub fn producers(&self) -> Arc<Notify> {
        Arc::clone(&self.producers)
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
        let state = &mut *state;
        let interval = state.limits.keyframe_interval;
        let (mut ask, mut next) = (Vec::new(), None::<Micros>);
        for channel in channels.iter().filter(|channel| has_runs(*channel)) {
            let Some(lane) = state.lanes.get_mut((Some(source), channel)) else { continue };
            if lane.term != term || lane.gate != Gate::Open {
                continue;
            }
            if lane.requests.due(interval, now).is_some_and(|due| due <= now) {
                lane.requests.asked(now);
                state.counts.keyframe_requests += 1;
                ask.push(channel);
            }
            next = [next, lane.requests.due(interval, now)].into_iter().flatten().min();
        }
        self.sum_up_if_alone(state);
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
}

#[cfg(test)]
mod tests;
