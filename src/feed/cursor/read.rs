//! What a cursor does with each record that it comes to.

use super::context::{Batch, Read};
use super::lane_cursor::LaneCursor;
use super::lane_state::LaneState;
use super::state::CursorState;
use crate::clock::Micros;
use crate::feed::delivery::Delivery;
use crate::feed::gap::{Gap, GapReason};
use crate::feed::lane::Lanes;
use crate::feed::position::LaneId;
use crate::feed::record::{Flags, Record};
use crate::feed::state::State;
use starling_core::propagation::Filter;
use starling_core::token_bucket::TokenBucket;

/// Records that are looked at under one lock: some 100 us, and more than a segment can have.
pub(super) const LOOKED_AT_ONCE: usize = 4_096;

/// What a read brought.
#[derive(Debug)]
pub(super) struct ReadOutcome {
    pub(super) deliveries: Vec<Delivery>,
    /// Publishers are to look, once the feed is unlocked.
    pub(super) notify_publishers: bool,
}

impl CursorState {
    /// Reads a segment at most, and looks at [`LOOKED_AT_ONCE`] records at most.
    pub(super) fn read(&mut self, state: &mut State, now: Micros) -> ReadOutcome {
        let State { ring, lanes, counts, limits, .. } = state;
        if self.limits != *limits {
            self.set_limits(*limits, now);
        }
        self.read_at = now;
        let out = Batch::new(std::mem::take(&mut self.opening), counts);
        let mut read = Read::new(ring, lanes, now, out);
        // Interests before all else: whoever has lowered one gets no record more than that. Lag before
        // the records: what is jumped over need not be looked at.
        self.apply_interests(&mut read);
        self.lapped |= ring.lost() > self.next;
        self.skip_lag(&mut read);
        for _ in 0..LOOKED_AT_ONCE {
            let Some((number, record)) = read.ring.next_from(self.next) else { break };
            // Readers who stop at the same places share chunks, however far apart they began.
            if read.out.segment.is_some_and(|segment| segment != record.segment) {
                break;
            }
            self.next = number + 1;
            self.take_record(number, record, &mut read);
        }
        self.at_end = read.ring.next_from(self.next).is_none();
        if self.at_end {
            (self.next, self.caught_up) = (read.ring.end(), true);
            // Only here: until then a later record of the lane may tell of the loss, with its reason.
            if self.lapped {
                self.tell_lost_tails(&mut read);
            }
            self.lapped = false;
        }
        let Read { lanes, out: Batch { deliveries, skipped, .. }, mut notify_publishers, .. } = read;
        for (key, reason, updates) in skipped {
            notify_publishers |= self.note_skipped(lanes, key, reason, updates);
        }
        ReadOutcome { deliveries, notify_publishers }
    }

    /// True when the publisher is to hear of it.
    fn note_skipped(&mut self, lanes: &mut Lanes, key: LaneId, reason: GapReason, updates: u64) -> bool {
        let Some(slot) = lanes.find(key) else { return false };
        let Some(cursor) = self.cursors.get_mut(slot).and_then(Option::as_mut) else { return false };
        lanes.at_mut(slot).skips.note(&mut cursor.skips, reason, updates)
    }

    /// Delivers a record, or passes it over.
    fn take_record(&mut self, number: u64, record: &Record, read: &mut Read<'_>) {
        let slot = record.lane();
        let requested = self.track_lane(slot, number, read);
        let Some(cursor) = self.cursors[slot].as_mut() else { return };
        let point = record.position.point();
        match cursor.state {
            LaneState::Unwanted => return,
            // It has had this one: the cursor went back in the ring for the sake of another lane.
            _ if cursor.last >= Some(point) => return,
            LaneState::Silent => {
                // Left out by the filter that was told: a later interest does not find it missing.
                cursor.advance_past(record);
                return;
            }
            LaneState::AwaitingKeyframe { .. } | LaneState::Broken { .. } => {
                if !end_wait(cursor, &mut self.budget, record, read) {
                    read.notify_publishers |= requested;
                    return;
                }
            }
            LaneState::Live => {}
        }
        // A higher interest acts where nothing before is missing to it: deltas of the layers that were
        // left out so far would be of no use. Where there are no runs, that is anywhere.
        if record.keyframe || !cursor.has_runs() {
            cursor.raise(&mut read.out);
        }
        cursor.declare(record.layers(), &mut read.out);
        let missing = cursor.missing_before(record);
        if missing != Some(0) {
            let reason = cursor.loss_at(record);
            if cursor.has_runs() && !record.keyframe {
                // This one depends on what is missing: the whole run goes.
                return self.jump(slot, number, reason, read);
            }
            read.out.lose(Gap { lane: cursor.lane, after: cursor.last, before: Some(point), reason, count: missing });
            cursor.continue_at(record);
        } else if cursor.needs_runs() && !record.keyframe && !record.continues() {
            // Deltas of another publisher whose keyframe has not come.
            return self.jump(slot, number, GapReason::TermChanged, read);
        }
        if !record.passes(cursor.filter()) {
            cursor.advance_past(record);
            return;
        }
        // Last of all: only what would be delivered is paid for.
        if let Some(bucket) = &mut self.budget {
            if !cursor.can_afford(record, bucket, read.now) {
                return self.drop_for_bandwidth(number, record, read);
            }
            bucket.take(record.length() as u64);
        }
        cursor.advance_past(record);
        cursor.delivered = Some(point);
        read.out.segment.get_or_insert(record.segment);
        read.out.counts.delivered(record.length());
        // What a late joiner or a resume catches up with was not delayed by the server.
        if self.caught_up {
            read.out.counts.after(read.now.saturating_sub(record.at));
        }
        read.out.deliveries.push(Delivery::Update(record.encoded().clone()));
    }

    /// Starts tracking a lane that was made after the cursor was opened, at its record `number`.
    /// True when a keyframe was requested: publishers are notified only if that record is none.
    fn track_lane(&mut self, slot: usize, number: u64, read: &mut Read<'_>) -> bool {
        let lane = read.lanes.at(slot);
        if self.lane_cursor(slot).as_ref().is_some_and(|cursor| cursor.birth == lane.birth) {
            return false;
        }
        let wanted = self.subscriber.selection.contains(lane.id);
        let interest = self.subscriber.wanted().interests.level(lane.id.0, lane.id.1);
        let mut cursor = LaneCursor::new(lane, interest, wanted);
        if wanted {
            // Also when nothing passes: holes need a reason.
            cursor.declared = None;
            cursor.declare(lane.layers, &mut read.out);
        }
        let mut requested = false;
        if cursor.state.is_open() && cursor.has_runs() {
            // It starts at its first keyframe, which may be on its way.
            cursor.state.on_no_keyframe();
            if lane.run.is_none_or(|run| run < number) {
                requested = cursor.state.request_keyframe(&mut read.lanes.at_mut(slot).requests);
            }
        }
        *self.lane_cursor(slot) = Some(cursor);
        requested
    }

    /// Tells where the losses end of which the subscriber does not know it yet: nothing will come
    /// any more.
    pub(super) fn finish(&mut self, state: &mut State) -> Vec<Delivery> {
        let State { lanes, counts, .. } = state;
        let mut batch = Batch::new(Vec::new(), counts);
        for (slot, cursor) in self.cursors.iter_mut().enumerate() {
            let Some(cursor) = cursor else { continue };
            let lane = lanes.at(slot);
            if let Some((term, sequence)) = lane.head.filter(|_| lane.birth == cursor.birth) {
                cursor.end_loss((term, sequence + 1), lane.tally, &mut batch);
            }
        }
        batch.deliveries
    }
}

/// Takes a record of a lane that waits for a keyframe. True when it is that keyframe, which goes on to
/// be delivered; all others are passed over.
fn end_wait(cursor: &mut LaneCursor, budget: &mut Option<TokenBucket>, record: &Record, read: &mut Read<'_>) -> bool {
    let slot = record.lane();
    let point = record.position.point();
    let nothing_lost = matches!(cursor.state, LaneState::AwaitingKeyframe { .. });
    // A keyframe may have left the ring before the cursor came to it: then something was lost after
    // all. A loss that was told already covers that one too.
    let missed = cursor.tally.filter(|tally| record.tally.since(*tally, Filter::Keyframes) > 0);
    if let Some(tally) = missed.filter(|_| nothing_lost) {
        let reason = if record.flags().has(Flags::AFTER_LOSS) { GapReason::Upstream } else { GapReason::Evicted };
        let lost = Some(record.tally.since(tally, cursor.filter()));
        if record.keyframe {
            read.out.lose(Gap { lane: cursor.lane, after: cursor.last, before: Some(point), reason, count: lost });
        } else {
            cursor.break_run(reason, lost, record.tally, &mut read.out);
        }
    }
    let affordable = budget.as_mut().is_none_or(|bucket| cursor.can_afford(record, bucket, read.now));
    if record.keyframe && affordable {
        cursor.end_loss(point, record.tally, &mut read.out);
        cursor.state.on_keyframe(&mut read.lanes.at_mut(slot).requests);
        cursor.continue_at(record);
        return true;
    }
    if record.keyframe && matches!(cursor.state, LaneState::AwaitingKeyframe { .. }) {
        // What came before the first keyframe is no loss.
        cursor.continue_at(record);
        cursor.break_run(GapReason::Bandwidth, Some(0), record.tally, &mut read.out);
    }
    cursor.count_lost(record, &mut read.out);
    cursor.advance_past(record);
    // The one that was requested has been used up by going by: the next one has to be requested.
    if record.keyframe || missed.is_some() {
        cursor.request_keyframe(slot, read);
    }
    false
}
