//! A subscriber's place in the ring.
//!
//! The cursor goes over the records in ring order and keeps, for each lane, what
//! came last and what passes. Whatever passes and does not come is told by a
//! [`Gap`](super::Gap); what the declared filter leaves out needs none.
//!
//! What happens on one lane is the state machine of `lane_state`. Which gap tells what:
//!
//! | reason | what was lost | both ends are told at once |
//! | --- | --- | --- |
//! | Lagging | what is before the newest keyframe, when the oldest of it is older than `max_lag`; the sound of the same source with it | yes |
//! | Bandwidth | one update on which none depends; else the rest of its run | yes; no, unless a newer keyframe is in the ring |
//! | Evicted | what left the ring before it was read | yes; no, if a run was broken and no newer keyframe is in the ring |
//! | TermChanged | as Evicted, of a publisher before the present one; or deltas whose keyframe was never here | as Evicted |
//! | EpochChanged | all that an earlier subscription had of another incarnation of the swarm | if it is known where the lane goes on |
//! | UnknownPosition | the same, for a position that there never was | if it is known where the lane goes on |
//! | Upstream | what did not reach this server from the one that accepted it | as Evicted |
//!
//! Files: `state` is what a cursor knows, `context` what one look has at hand; `open`, `read`,
//! `interests` and `skip` are what it does; `lane_cursor` and `lane_state` are about one lane.

mod context;
mod interests;
mod lane_cursor;
mod lane_state;
mod open;
mod read;
mod skip;
mod state;

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;

use super::delivery::Delivery;
use super::state::{Feed, State};
use super::subscriber::Selection;
use super::wire::Encoded;
use crate::clock::Micros;
use read::ReadOutcome;
use starling_core::channel::Channel;
use starling_core::interest::Interests;
use state::CursorState;

pub use open::{Greeting, Opening, Resume, Start};

/// One subscriber's place in the ring.
#[derive(Debug)]
pub struct Cursor {
    feed: Arc<Feed>,
    reader: CursorState,
}

impl Cursor {
    /// A subscription that counts from now on, and has no place in the ring before it
    /// [begins](Self::begin). O(overrides + sources named); takes no lock but that of the
    /// subscriptions, so that it may be done under the swarm's shard. `None` when the subscriptions of
    /// the node would name more than [`MAX_NAMED`](super::MAX_NAMED) sources.
    pub fn enter(
        feed: &Arc<Feed>,
        selection: Selection,
        interests: Interests,
        waker: Waker,
        now: Micros,
    ) -> Option<Self> {
        // Before anything is looked at: from here on the ring is not shrunk when memory runs out.
        let subscriber = feed.subscribers.add(selection, interests, waker)?;
        feed.schedule.enter();
        Some(Self { feed: Arc::clone(feed), reader: CursorState::new(subscriber, now) })
    }

    /// Finds the place in the ring. O(lanes * log records).
    pub fn begin(&mut self, opening: Opening, now: Micros) -> Greeting {
        let Self { feed, reader } = self;
        let Opening { expected, start, mut resume } = opening;
        resume.iter_mut().for_each(Resume::sort);
        reader.resumed = resume.is_some();
        let mut state = feed.state.lock();
        let State { ring, lanes, limits, .. } = &mut *state;
        reader.set_limits(*limits, now);
        // Otherwise done with each append only, and the last one may be long ago.
        ring.expire(lanes, now);
        // Lanes on which nothing was published yet: the greeting names them, and the wait for their
        // keyframe has a place.
        for source in expected {
            for channel in Channel::ALL {
                lanes.slot((Some(source).filter(|_| !feed.is_shared(channel)), channel));
            }
        }
        // The version before the interests, as always.
        (reader.version, reader.class) = (reader.subscriber.version(), reader.subscriber.class());
        let wanted = reader.subscriber.wanted();
        let greeting = reader.open(&mut state, &wanted.interests, start, resume.as_ref());
        reader.book(&mut state);
        feed.book(&mut state);
        drop(state);
        feed.producers.notify_waiters();
        greeting
    }

    /// What was asked for.
    pub fn selection(&self) -> &Selection {
        &self.reader.subscriber.selection
    }

    /// Waits for what comes next: the subscription is woken when it is due. False when
    /// there is something that must not wait. O(classes).
    pub fn park(&self) -> bool {
        let reader = &self.reader;
        // Rather read once too often than park with something unread: what is left over, or other
        // interests, would be found by nobody.
        reader.at_end
            && reader.subscriber.version() == reader.version
            && self.feed.schedule.park(&reader.subscriber, reader.class, reader.next, reader.read_at)
    }

    /// Reads what is new, in order: a segment of the ring at most. O(what is read), bounded, under
    /// the feed's lock. When it brings nothing and the cursor [is behind](Self::is_behind), there
    /// was more to pass over than goes under one lock: it is to be called again.
    pub fn read(&mut self, now: Micros) -> Vec<Delivery> {
        let Self { feed, reader } = self;
        // Woken by something else, it may still be parked.
        feed.schedule.unpark(&reader.subscriber);
        let mut state = feed.state.lock();
        let ReadOutcome { deliveries, notify_publishers } = reader.read(&mut state, now);
        if reader.book(&mut state) {
            feed.book(&mut state);
        }
        feed.sum_up_if_alone(&mut state);
        drop(state);
        if notify_publishers {
            feed.producers.notify_waiters();
        }
        deliveries
    }

    /// True when the last read has left something over.
    pub const fn is_behind(&self) -> bool {
        !self.reader.at_end
    }

    /// Tells where the losses end of which nobody knows it yet, when nothing will come any
    /// more. Empty when there are none, and when asked again. O(lanes).
    pub fn finish(&mut self) -> Vec<Delivery> {
        let mut state = self.feed.state.lock();
        let told = self.reader.finish(&mut state);
        self.feed.sum_up_if_alone(&mut state);
        told
    }

    /// Counts that the subscriber is cut off because it does not read.
    pub fn note_slow(&self) {
        let mut state = self.feed.state.lock();
        state.counts.slow_readers += 1;
        self.feed.sum_up_if_alone(&mut state);
    }

    /// These updates as one gRPC message, shared with others who get the same.
    pub fn join(&self, updates: &[Encoded]) -> Bytes {
        self.feed.chunks.join(updates, &self.feed.memory)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        {
            let mut state = self.feed.state.lock();
            for (slot, cursor) in self.reader.cursors.iter_mut().enumerate() {
                let Some(cursor) = cursor.as_mut() else { continue };
                let lane = state.lanes.at_mut(slot);
                // The publisher of another lane in the slot was never asked.
                if lane.birth == cursor.birth {
                    cursor.state.withdraw_request(&mut lane.requests);
                }
            }
            state.cursors -= self.reader.booked;
            self.feed.book(&mut state);
        }
        self.feed.schedule.leave(&self.reader.subscriber);
        self.feed.subscribers.remove(&self.reader.subscriber);
        // Publishers are told of the demand, which has changed.
        self.feed.producers.notify_waiters();
    }
}
