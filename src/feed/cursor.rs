//! A subscriber's place in the ring.
//!
//! The cursor goes over the records in ring order and keeps, for each lane, what
//! came last and what passes. Whatever passes and does not come is told by a
//! [`Gap`]; what the declared filter leaves out needs none.

mod lane_cursor;
mod open;
mod skip;

use std::sync::Arc;

use bytes::Bytes;

use super::counts::Counts;
use super::delivery::{Delivery, FilterChange};
use super::gap::{Gap, GapReason};
use super::lane::{Lane, Lanes};
use super::position::LaneId;
use super::record::Record;
use super::ring::Ring;
use super::settings::Limits;
use super::skips;
use super::state::{Feed, State};
use super::subscriber::{DeliveryClass, Selection, Subscriber};
use super::time::Micros;
use super::token_bucket::TokenBucket;
use super::wire::Encoded;
use lane_cursor::{LaneCursor, LaneState};
use starling_core::interest::{Channel, Interest};
use starling_core::propagation::Filter;

pub use open::{Greeting, Opening, Resume, Start};

/// What one look into the ring brings.
#[derive(Debug)]
struct Batch<'a> {
    deliveries: Vec<Delivery>,
    /// That of its first update.
    segment: Option<u64>,
    counts: &'a mut Counts,
    /// What was skipped that its publisher should hear of.
    skipped: Vec<(LaneId, GapReason, u64)>,
}

impl<'a> Batch<'a> {
    const fn new(deliveries: Vec<Delivery>, counts: &'a mut Counts) -> Self {
        Self { deliveries, segment: None, counts, skipped: Vec::new() }
    }

    /// Counts what is lost.
    fn dropped(&mut self, lane: LaneId, reason: GapReason, updates: u64) {
        self.counts.dropped(reason, updates);
        if skips::REASONS.contains(&reason) {
            self.skipped.push((lane, reason, updates));
        }
    }

    /// Tells a loss that is counted elsewhere.
    fn tell(&mut self, gap: Gap) {
        self.deliveries.push(Delivery::Gap(gap));
    }

    /// Tells a loss and counts it; one that follows right on another of its kind is told with it.
    fn lose(&mut self, gap: Gap) {
        self.dropped(gap.lane, gap.reason, gap.count.unwrap_or(1));
        if let Some(Delivery::Gap(last)) = self.deliveries.last_mut()
            && (last.lane, last.reason) == (gap.lane, gap.reason)
            && let (Some(end), Some(after), Some(count), Some(more)) = (last.before, gap.after, last.count, gap.count)
            && end.0 == after.0
            && end.1 == after.1 + 1
        {
            (last.before, last.count) = (gap.before, Some(count + more));
            return;
        }
        self.deliveries.push(Delivery::Gap(gap));
    }
}

/// One subscriber's place in the ring.
#[derive(Debug)]
pub struct Cursor {
    feed: Arc<Feed>,
    reader: CursorState,
}

/// What a cursor knows; all it does is done under the feed's lock.
#[derive(Debug)]
struct CursorState {
    subscriber: Arc<Subscriber>,
    /// Version of the interests that are acted on.
    version: u64,
    class: DeliveryClass,
    /// Number of the next record to look at.
    next: u64,
    /// When it last looked.
    read_at: Micros,
    /// By slot of the lane.
    cursors: Vec<Option<LaneCursor>>,
    budget: Option<TokenBucket>,
    /// It has had everything once; a resume is not late before.
    caught_up: bool,
    /// The last look left nothing over.
    at_end: bool,
    /// Records have left the ring before it came to them.
    lapped: bool,
    resumed: bool,
    /// Those that are acted on.
    limits: Limits,
    /// Told before all else.
    opening: Vec<Delivery>,
}

impl Cursor {
    /// What was asked for.
    pub fn selection(&self) -> &Selection {
        &self.reader.subscriber.selection
    }

    /// Waits for what comes next: the subscription is woken when it is due. False when
    /// there is something that must not wait. O(classes).
    pub fn park(&self) -> bool {
        let reader = &self.reader;
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
        let (deliveries, waits) = reader.read(&mut state, now);
        drop(state);
        if waits {
            feed.producers.notify_waiters();
        }
        deliveries
    }

    /// Tells where the losses end of which nobody knows it yet, when nothing will come any
    /// more. Empty when there are none, and when asked again. O(lanes).
    pub fn finish(&mut self) -> Vec<Delivery> {
        let mut state = self.feed.state.lock();
        let State { lanes, counts, .. } = &mut *state;
        let mut batch = Batch::new(Vec::new(), counts);
        for (slot, cursor) in self.reader.cursors.iter_mut().enumerate() {
            let Some(cursor) = cursor.as_mut().filter(|cursor| matches!(cursor.state, LaneState::Broken(_))) else {
                continue;
            };
            let lane = lanes.at(slot);
            if let Some((term, sequence)) = lane.head.filter(|_| lane.birth == cursor.birth) {
                cursor.end_loss((term, sequence + 1), lane.tally, &mut batch);
            }
        }
        batch.deliveries
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

impl CursorState {
    /// Reads a segment at most. True when publishers should look: a keyframe is waited for
    /// from now on, or updates were skipped.
    fn read(&mut self, state: &mut State, now: Micros) -> (Vec<Delivery>, bool) {
        let State { ring, lanes, counts, limits, .. } = state;
        if self.limits != *limits {
            self.limits = *limits;
            self.fill_budget(now);
        }
        self.read_at = now;
        let mut batch = Batch::new(std::mem::take(&mut self.opening), counts);
        let asked = self.apply_interests(ring, lanes, &mut batch);
        self.lapped |= ring.lost() > self.next;
        self.skip_lag(ring, lanes, &mut batch, now);
        let mut waits = asked;
        while let Some((number, record)) = ring.next_from(self.next) {
            if batch.segment.is_some_and(|segment| segment != record.segment) {
                break;
            }
            self.next = number + 1;
            waits |= self.deliver_or_skip(ring, lanes, number, record, &mut batch, now);
        }
        self.at_end = ring.next_from(self.next).is_none();
        if self.at_end {
            (self.next, self.caught_up) = (ring.end(), true);
            waits |= self.lapped && self.tell_lost_tails(lanes, &mut batch);
            self.lapped = false;
        }
        let Batch { deliveries, skipped, .. } = batch;
        for (key, reason, updates) in skipped {
            waits |= self.note_skipped(lanes, key, reason, updates);
        }
        (deliveries, waits)
    }

    /// A second's worth to begin with.
    fn fill_budget(&mut self, now: Micros) {
        self.budget = self.limits.bandwidth.map(|bytes| TokenBucket::full(bytes, bytes, now));
    }

    /// True when the publisher is to hear of it.
    fn note_skipped(&mut self, lanes: &mut Lanes, key: LaneId, reason: GapReason, updates: u64) -> bool {
        let Some(slot) = lanes.find(key) else { return false };
        let Some(cursor) = self.cursors.get_mut(slot).and_then(Option::as_mut) else { return false };
        lanes.at_mut(slot).skips.note(&mut cursor.skips, reason, updates)
    }

    /// Delivers a record, or passes it over. True when a keyframe is waited for from
    /// now on.
    fn deliver_or_skip(
        &mut self,
        ring: &Ring,
        lanes: &mut Lanes,
        number: u64,
        record: &Record,
        batch: &mut Batch<'_>,
        now: Micros,
    ) -> bool {
        let slot = record.lane;
        let met = self.track_lane(lanes.at_mut(slot), slot, number, batch);
        let Some(cursor) = self.cursors[slot].as_mut().filter(|cursor| cursor.wanted) else { return false };
        let point = record.position.point();
        if cursor.last >= Some(point) {
            return false;
        }
        if cursor.state.waits() {
            // Did a keyframe slip away before?
            let missed = cursor.tally.filter(|tally| record.tally.since(*tally, Filter::Keyframes) > 0);
            if let Some(tally) = missed.filter(|_| cursor.state == LaneState::AwaitingKeyframe) {
                let (reason, lost) = (GapReason::Evicted, Some(record.tally.since(tally, cursor.filter())));
                if record.keyframe {
                    batch.lose(Gap { lane: cursor.lane, after: cursor.last, before: Some(point), reason, count: lost });
                } else {
                    cursor.break_run(reason, lost, record.tally, batch);
                }
            }
            let requests = &mut lanes.at_mut(slot).requests;
            let affordable = self.budget.as_mut().is_none_or(|bucket| cursor.can_afford(record, bucket, now));
            if !record.keyframe || !affordable {
                if record.keyframe && cursor.state == LaneState::AwaitingKeyframe {
                    // What came before the first keyframe is no loss.
                    cursor.continue_at(record);
                    cursor.break_run(GapReason::Bandwidth, Some(0), record.tally, batch);
                }
                cursor.count_lost(record, batch);
                cursor.advance_past(record);
                // The one that it waited for may have gone before it came to it.
                let gone = record.keyframe || missed.is_some();
                return met || gone && cursor.await_keyframe(requests);
            }
            cursor.end_loss(point, record.tally, batch);
            cursor.state = LaneState::Live;
            cursor.stop_waiting(requests);
            cursor.continue_at(record);
        }
        if record.keyframe || !cursor.has_runs() {
            cursor.raise(batch);
        }
        if cursor.filter() == Filter::Nothing {
            cursor.advance_past(record);
            return false;
        }
        cursor.declare(record.layers, batch);
        let missing = cursor.missing_before(record);
        if missing != Some(0) {
            let reason = cursor.loss_before(record.origin);
            if cursor.has_runs() && !record.keyframe {
                return self.jump(ring, lanes, slot, number, reason, batch);
            }
            batch.lose(Gap { lane: cursor.lane, after: cursor.last, before: Some(point), reason, count: missing });
            cursor.continue_at(record);
        } else if cursor.needs_runs() && !record.keyframe && !record.continues() {
            // Deltas of another publisher whose keyframe has not come.
            return self.jump(ring, lanes, slot, number, GapReason::TermChanged, batch);
        }
        if !record.passes(cursor.filter()) {
            cursor.advance_past(record);
            return false;
        }
        if let Some(bucket) = &mut self.budget {
            if !cursor.can_afford(record, bucket, now) {
                return self.drop_for_bandwidth(ring, lanes, number, record, batch);
            }
            bucket.take(record.length() as u64);
        }
        cursor.advance_past(record);
        cursor.delivered = Some(point);
        batch.segment.get_or_insert(record.segment);
        batch.counts.delivered(record.length());
        if self.caught_up {
            batch.counts.after(now.saturating_sub(record.at));
        }
        batch.deliveries.push(Delivery::Update(record.encoded().clone()));
        false
    }

    /// What is known of a lane, if anything is.
    fn lane_cursor(&mut self, slot: usize) -> &mut Option<LaneCursor> {
        if self.cursors.len() <= slot {
            // Most swarms have a lane or two, and every subscriber has this list.
            if slot < 8 {
                self.cursors.reserve_exact(slot + 1 - self.cursors.len());
            }
            self.cursors.resize_with(slot + 1, || None);
        }
        &mut self.cursors[slot]
    }

    /// Starts tracking a lane that was made after the cursor was opened, at its record `number`.
    /// True when a keyframe is waited for from now on.
    fn track_lane(&mut self, lane: &mut Lane, slot: usize, number: u64, batch: &mut Batch<'_>) -> bool {
        if self.lane_cursor(slot).as_ref().is_some_and(|cursor| cursor.birth == lane.birth) {
            return false;
        }
        let wanted = self.subscriber.selection.contains(lane.id);
        let interest = self.subscriber.interests().level(lane.id.0, lane.id.1);
        let mut cursor = LaneCursor::new(lane, interest, wanted);
        if wanted {
            // Also when nothing passes: holes need a reason.
            cursor.declared = None;
            cursor.declare(lane.layers, batch);
        }
        let mut waits = false;
        if wanted && interest > Interest::None && cursor.has_runs() {
            // It starts at its first keyframe, which may be on its way.
            cursor.state = LaneState::AwaitingKeyframe;
            waits = lane.run.is_none_or(|run| run < number) && cursor.await_keyframe(&mut lane.requests);
        }
        *self.lane_cursor(slot) = Some(cursor);
        waits
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        {
            let mut state = self.feed.state.lock();
            for (slot, cursor) in self.reader.cursors.iter_mut().enumerate() {
                let Some(cursor) = cursor.as_mut() else { continue };
                let lane = state.lanes.at_mut(slot);
                if lane.birth == cursor.birth {
                    cursor.stop_waiting(&mut lane.requests);
                }
            }
        }
        self.feed.schedule.leave(&self.reader.subscriber);
        self.feed.subscribers.remove(&self.reader.subscriber);
        self.feed.producers.notify_waiters();
    }
}
