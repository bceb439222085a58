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
//! | Upstream | nothing: this version never tells it | |
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

use bytes::Bytes;

use super::delivery::Delivery;
use super::state::{Feed, State};
use super::subscriber::Selection;
use super::wire::Encoded;
use crate::clock::Micros;
use read::ReadOutcome;
use starling_core::channel::Channel;
use state::CursorState;

pub use open::{Greeting, Opening, Resume, Start};

/// One subscriber's place in the ring.
#[derive(Debug)]
pub struct Cursor {
    feed: Arc<Feed>,
    reader: CursorState,
}

impl Cursor {
    /// A place in the ring for a new subscription. O(lanes).
    pub fn open(feed: &Arc<Feed>, opening: Opening, now: Micros) -> (Self, Greeting) {
        let Opening { selection, interests, expected, start, resume, waker } = opening;
        // Before anything is looked at: from here on the ring is not shrunk when memory runs out.
        let subscriber = feed.subscribers.add(selection, interests.clone(), waker);
        feed.schedule.enter();
        let mut reader = CursorState::new(subscriber, feed.limits(), resume.is_some(), now);
        let mut state = feed.state.lock();
        let State { ring, lanes, .. } = &mut *state;
        // Otherwise done with each append only, and the last one may be long ago.
        ring.expire(lanes, now);
        // Lanes on which nothing was published yet: the greeting names them, and the wait for their
        // keyframe has a place.
        for source in expected {
            for channel in Channel::ALL {
                lanes.slot((Some(source).filter(|_| !feed.is_shared(channel)), channel));
            }
        }
        let greeting = reader.open(&mut state, &interests, start, resume.as_ref());
        drop(state);
        feed.producers.notify_waiters();
        (Self { feed: Arc::clone(feed), reader }, greeting)
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

    /// Reads what is new, in order: a segment of the ring at most. O(what is read) under
    /// the feed's lock.
    pub fn read(&mut self, now: Micros) -> Vec<Delivery> {
        let Self { feed, reader } = self;
        // Woken by something else, it may still be parked.
        feed.schedule.unpark(&reader.subscriber);
        let mut state = feed.state.lock();
        let ReadOutcome { deliveries, notify_publishers } = reader.read(&mut state, now);
        drop(state);
        if notify_publishers {
            feed.producers.notify_waiters();
        }
        deliveries
    }

    /// Tells where the losses end of which nobody knows it yet, when nothing will come any
    /// more. Empty when there are none, and when asked again. O(lanes).
    pub fn finish(&mut self) -> Vec<Delivery> {
        self.reader.finish(&mut self.feed.state.lock())
    }

    /// Counts that the subscriber is cut off because it does not read.
    pub fn note_slow(&self) {
        self.feed.state.lock().counts.slow_readers += 1;
    }

    /// These updates as one gRPC message, shared with others who get the same.
    pub fn join(&self, updates: &[Encoded]) -> Bytes {
        self.feed.chunks.join(updates)
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
        }
        self.feed.schedule.leave(&self.reader.subscriber);
        self.feed.subscribers.remove(&self.reader.subscriber);
        // Publishers are told of the demand, which has changed.
        self.feed.producers.notify_waiters();
    }
}
