//! What a cursor knows; the rest of the folder is what it does.

use std::sync::Arc;

use super::lane_cursor::LaneCursor;
use crate::clock::Micros;
use crate::feed::delivery::Delivery;
use crate::feed::heap::allocated;
use crate::feed::settings::Limits;
use crate::feed::state::State;
use crate::feed::subscriber::{DeliveryClass, Subscriber};
use starling_core::counted::List;
use starling_core::id::NodeId;
use starling_core::token_bucket::TokenBucket;

/// What a cursor knows; all it does is done under the feed's lock.
#[derive(Debug)]
pub(super) struct CursorState {
    pub(super) subscriber: Arc<Subscriber>,
    /// Version of the interests that are acted on.
    pub(super) version: u64,
    pub(super) class: DeliveryClass,
    /// Number of the next record to look at.
    pub(super) next: u64,
    /// When it last looked.
    pub(super) read_at: Micros,
    /// By slot of the lane.
    pub(super) cursors: List<Option<LaneCursor>>,
    pub(super) budget: Option<TokenBucket>,
    /// It has had everything once; a resume is not late before.
    pub(super) caught_up: bool,
    /// The last look left nothing over.
    pub(super) at_end: bool,
    /// Records have left the ring before it came to them.
    pub(super) lapped: bool,
    pub(super) resumed: bool,
    /// Those that are acted on.
    pub(super) limits: Limits,
    /// Told before all else.
    pub(super) opening: Vec<Delivery>,
    /// Bytes that the feed has booked for it.
    pub(super) booked: usize,
}

/// What a cursor is limited to before it has looked at the feed.
const UNKNOWN: Limits =
    Limits { max_age: Micros::ZERO, keyframe_interval: None, max_lag: Micros::ZERO, bandwidth: None };

impl CursorState {
    /// One that has not looked at any lane yet.
    pub(super) fn new(subscriber: Arc<Subscriber>, now: Micros) -> Self {
        Self {
            version: subscriber.version(),
            class: subscriber.class(),
            next: u64::MAX,
            read_at: now,
            cursors: List::new(),
            budget: None,
            caught_up: false,
            at_end: false,
            lapped: false,
            resumed: false,
            limits: UNKNOWN,
            opening: Vec::new(),
            booked: 0,
            subscriber,
        }
    }

    /// Bytes of memory that it holds.
    pub(super) fn bytes(&self) -> usize {
        let sources = self.subscriber.selection.sources.as_ref().map_or(0, Vec::capacity);
        size_of::<Self>()
            + allocated(size_of::<Subscriber>())
            + allocated(sources * size_of::<NodeId>())
            + allocated(self.cursors.capacity() * size_of::<Option<LaneCursor>>())
    }

    /// Notes with the feed what it holds. True when that has changed.
    pub(super) fn book(&mut self, state: &mut State) -> bool {
        let held = self.bytes();
        let before = std::mem::replace(&mut self.booked, held);
        state.cursors = state.cursors - before + held;
        before != held
    }

    /// Acts on these limits from now on, with a second's worth of bytes to begin with.
    pub(super) fn set_limits(&mut self, limits: Limits, now: Micros) {
        self.limits = limits;
        self.budget = self.limits.bandwidth.map(|bytes| TokenBucket::full(bytes, bytes, now.get()));
    }

    /// What is known of a lane, if anything is.
    pub(super) fn lane_cursor(&mut self, slot: usize) -> &mut Option<LaneCursor> {
        if self.cursors.len() <= slot {
            // Most swarms have a lane or two, and every subscriber has this list.
            if slot < 8 {
                self.cursors.reserve_exact(slot + 1 - self.cursors.len());
            }
            self.cursors.resize_with(slot + 1, || None);
        }
        &mut self.cursors[slot]
    }
}
