//! What a cursor gives up: when it lags, lacks bandwidth, or lost too much.

use super::lane_cursor::LaneState;
use super::{Batch, Channel, CursorState, Filter, Gap, GapReason};
use crate::feed::lane::Lanes;
use crate::feed::record::Record;
use crate::feed::ring::Ring;
use crate::feed::time::Micros;

impl CursorState {
    /// Jumps to the newest keyframe of each lane whose oldest undelivered update is
    /// too old. A resume is not late before it has caught up once.
    pub(super) fn skip_lag(&mut self, ring: &Ring, lanes: &mut Lanes, batch: &mut Batch<'_>, now: Micros) {
        if self.resumed && !self.caught_up {
            return;
        }
        let horizon = now.saturating_sub(self.limits.max_lag);
        // Nothing is older than the oldest; most readers are close behind.
        if ring.next_from(self.next).is_none_or(|(_, oldest)| oldest.at >= horizon) {
            return;
        }
        for slot in 0..self.cursors.len() {
            let Some(cursor) = self.cursors[slot].as_ref().filter(|cursor| cursor.wanted && cursor.has_runs()) else {
                continue;
            };
            let lane = lanes.at(slot);
            let Some(run) = lane.run.filter(|_| lane.birth == cursor.birth) else { continue };
            let from = self.next;
            let comes = |record: &&Record| {
                let flows = !cursor.state.waits() || record.keyframe;
                flows && record.passes(cursor.filter()) && cursor.last < Some(record.position.point())
            };
            let ahead = std::iter::successors(lane.first_from(from), |number| lane.first_from(number + 1));
            let oldest = ahead.take_while(|number| *number < run).filter_map(|number| ring.get(number)).find(comes);
            if oldest.is_some_and(|record| record.at < horizon) {
                self.jump(ring, lanes, slot, from, GapReason::Lagging, batch);
            }
        }
    }

    /// Gives a lane up from record `number` on to its newest keyframe, or to the next
    /// one when that has passed. For lag the sound of the source goes along, so that
    /// both stay together. True when a keyframe is waited for from now on.
    pub(super) fn jump(
        &mut self,
        ring: &Ring,
        lanes: &mut Lanes,
        slot: usize,
        number: u64,
        reason: GapReason,
        batch: &mut Batch<'_>,
    ) -> bool {
        let lane = lanes.at(slot);
        let source = lane.id.0;
        let target = lane.run.filter(|run| *run > number || *run == number && reason != GapReason::Bandwidth);
        let Some(cursor) = self.cursors[slot].as_mut() else { return false };
        let found = target.and_then(|run| Some((run, ring.get(run)?)));
        let Some((run, keyframe)) = found else {
            let Some(record) = ring.get(number).filter(|record| record.lane == slot) else { return false };
            let lost = cursor.tally.map(|tally| record.tally_after().since(tally, cursor.filter()));
            cursor.break_run(reason, lost, record.tally_after(), batch);
            cursor.advance_past(record);
            return cursor.await_keyframe(&mut lanes.at_mut(slot).requests);
        };
        let before = keyframe.position.point();
        if let LaneState::Broken(_) = cursor.state {
            cursor.end_loss(before, keyframe.tally, batch);
        } else {
            let count = cursor.tally.map(|tally| keyframe.tally.since(tally, cursor.filter()));
            if count != Some(0) {
                batch.lose(Gap { lane: cursor.lane, after: cursor.last, before: Some(before), reason, count });
            }
        }
        cursor.continue_at(keyframe);
        if reason == GapReason::Lagging {
            self.skip_audio(ring, lanes, (source, Channel::Audio), run, batch);
        }
        false
    }

    fn skip_audio(&mut self, ring: &Ring, lanes: &Lanes, key: super::LaneId, run: u64, batch: &mut Batch<'_>) {
        let Some(slot) = lanes.find(key) else { return };
        let lane = lanes.at(slot);
        let Some(cursor) =
            self.cursors.get_mut(slot).and_then(Option::as_mut).filter(|cursor| cursor.birth == lane.birth)
        else {
            return;
        };
        let newest = lane.last_before(run).filter(|newest| *newest >= self.next);
        let Some(record) = newest.and_then(|newest| ring.get(newest)) else { return };
        let point = record.position.point();
        if !cursor.wanted || cursor.filter() == Filter::Nothing || cursor.last >= Some(point) {
            return;
        }
        let count = cursor.tally.map(|tally| record.tally_after().since(tally, cursor.filter()));
        let (before, reason) = (Some((point.0, point.1 + 1)), GapReason::Lagging);
        batch.lose(Gap { lane: cursor.lane, after: cursor.last, before, reason, count });
        cursor.advance_past(record);
    }

    /// Tells what left the ring before it was reached, on lanes that nothing follows on.
    /// True when a keyframe is waited for from now on.
    pub(super) fn tell_lost_tails(&mut self, lanes: &mut Lanes, batch: &mut Batch<'_>) -> bool {
        let mut waits = false;
        for (slot, cursor) in self.cursors.iter_mut().enumerate() {
            let Some(cursor) = cursor.as_mut().filter(|cursor| cursor.wanted) else { continue };
            let lane = lanes.at_mut(slot);
            let Some((term, sequence)) =
                lane.head.filter(|head| lane.birth == cursor.birth && cursor.last < Some(*head))
            else {
                continue;
            };
            let filter = if cursor.state == LaneState::AwaitingKeyframe { Filter::Keyframes } else { cursor.filter() };
            let count = cursor.tally.map(|tally| lane.tally.since(tally, filter));
            let reason = cursor.loss_before(lane.origin);
            if count == Some(0) || cursor.filter() == Filter::Nothing {
                // Nothing is missing.
            } else if let LaneState::Broken(loss) = &mut cursor.state {
                let more = count.unwrap_or(1);
                loss.counted += more;
                batch.dropped(cursor.lane, loss.reason, more);
                waits |= cursor.await_keyframe(&mut lane.requests);
            } else if cursor.has_runs() {
                let lost = cursor.tally.map(|tally| lane.tally.since(tally, cursor.filter()));
                cursor.break_run(reason, lost, lane.tally, batch);
                waits |= cursor.await_keyframe(&mut lane.requests);
            } else {
                batch.lose(Gap {
                    lane: cursor.lane,
                    after: cursor.last,
                    before: Some((term, sequence + 1)),
                    reason,
                    count,
                });
            }
            (cursor.last, cursor.tally) = (Some((term, sequence)), Some(lane.tally));
        }
        waits
    }

    /// Does without a record for want of bandwidth: alone, when nothing depends on
    /// it, else with the rest of its run. True when a keyframe is waited for.
    pub(super) fn drop_for_bandwidth(
        &mut self,
        ring: &Ring,
        lanes: &mut Lanes,
        number: u64,
        record: &Record,
        batch: &mut Batch<'_>,
    ) -> bool {
        let slot = record.lane;
        let Some(cursor) = self.cursors[slot].as_mut() else { return false };
        if cursor.has_runs() && !record.top {
            return self.jump(ring, lanes, slot, number, GapReason::Bandwidth, batch);
        }
        let (term, sequence) = record.position.point();
        let before = Some((term, sequence + 1));
        batch.lose(Gap { lane: cursor.lane, after: cursor.last, before, reason: GapReason::Bandwidth, count: Some(1) });
        cursor.advance_past(record);
        false
    }
}
