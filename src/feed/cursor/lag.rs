//! What a cursor gives up: when it lags, lacks bandwidth, or lost too much.

use super::seen::Flow;
use super::{Batch, Channel, Filter, Gap, GapReason, Reader};
use crate::feed::Micros;
use crate::feed::lane::Lanes;
use crate::feed::record::Record;
use crate::feed::ring::Ring;

impl Reader {
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
        for slot in 0..self.seen.len() {
            let Some(seen) = self.seen[slot].as_ref().filter(|seen| seen.wanted && seen.is_choosy()) else { continue };
            let lane = lanes.at(slot);
            let Some(run) = lane.run.filter(|_| lane.birth == seen.birth) else { continue };
            let from = self.next;
            let comes = |record: &&Record| {
                let flows = !seen.flow.waits() || record.keyframe;
                flows && record.passes(seen.filter()) && seen.last < Some(record.position.point())
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
        let source = lane.key.0;
        let target = lane.run.filter(|run| *run > number || *run == number && reason != GapReason::Bandwidth);
        let Some(seen) = self.seen[slot].as_mut() else { return false };
        let found = target.and_then(|run| Some((run, ring.get(run)?)));
        let Some((run, keyframe)) = found else {
            let Some(record) = ring.get(number).filter(|record| record.lane == slot) else { return false };
            let lost = seen.tally.map(|tally| record.tally_after().since(tally, seen.filter()));
            seen.break_off(reason, lost, record.tally_after(), batch);
            seen.went_over(record);
            return seen.await_keyframe(&mut lanes.at_mut(slot).want);
        };
        let before = keyframe.position.point();
        if let Flow::Broken(_) = seen.flow {
            seen.end_loss(before, keyframe.tally, batch);
        } else {
            let count = seen.tally.map(|tally| keyframe.tally.since(tally, seen.filter()));
            if count != Some(0) {
                batch.lose(Gap { lane: seen.key, after: seen.last, before: Some(before), reason, count });
            }
        }
        seen.follow(keyframe);
        if reason == GapReason::Lagging {
            self.take_sound_along(ring, lanes, (source, Channel::Audio), run, batch);
        }
        false
    }

    fn take_sound_along(&mut self, ring: &Ring, lanes: &Lanes, key: super::Key, run: u64, batch: &mut Batch<'_>) {
        let Some(slot) = lanes.find(key) else { return };
        let lane = lanes.at(slot);
        let Some(seen) = self.seen.get_mut(slot).and_then(Option::as_mut).filter(|seen| seen.birth == lane.birth)
        else {
            return;
        };
        let newest = lane.last_before(run).filter(|newest| *newest >= self.next);
        let Some(record) = newest.and_then(|newest| ring.get(newest)) else { return };
        let point = record.position.point();
        if !seen.wanted || seen.filter() == Filter::Nothing || seen.last >= Some(point) {
            return;
        }
        let count = seen.tally.map(|tally| record.tally_after().since(tally, seen.filter()));
        let (before, reason) = (Some((point.0, point.1 + 1)), GapReason::Lagging);
        batch.lose(Gap { lane: seen.key, after: seen.last, before, reason, count });
        seen.went_over(record);
    }

    /// Tells what left the ring before it was reached, on lanes that nothing follows on.
    /// True when a keyframe is waited for from now on.
    pub(super) fn tell_lost_tails(&mut self, lanes: &mut Lanes, batch: &mut Batch<'_>) -> bool {
        let mut waits = false;
        for (slot, seen) in self.seen.iter_mut().enumerate() {
            let Some(seen) = seen.as_mut().filter(|seen| seen.wanted) else { continue };
            let lane = lanes.at_mut(slot);
            let Some((term, sequence)) = lane.head.filter(|head| lane.birth == seen.birth && seen.last < Some(*head))
            else {
                continue;
            };
            let filter = if seen.flow == Flow::Waiting { Filter::Keyframes } else { seen.filter() };
            let count = seen.tally.map(|tally| lane.tally.since(tally, filter));
            let reason = seen.loss_before(lane.origin);
            if count == Some(0) || seen.filter() == Filter::Nothing {
                // Nothing is missing.
            } else if let Flow::Broken(loss) = &mut seen.flow {
                let more = count.unwrap_or(1);
                loss.counted += more;
                batch.dropped(seen.key, loss.reason, more);
                waits |= seen.await_keyframe(&mut lane.want);
            } else if seen.is_choosy() {
                let lost = seen.tally.map(|tally| lane.tally.since(tally, seen.filter()));
                seen.break_off(reason, lost, lane.tally, batch);
                waits |= seen.await_keyframe(&mut lane.want);
            } else {
                batch.lose(Gap { lane: seen.key, after: seen.last, before: Some((term, sequence + 1)), reason, count });
            }
            (seen.last, seen.tally) = (Some((term, sequence)), Some(lane.tally));
        }
        waits
    }

    /// Does without a record for want of bandwidth: alone, when nothing depends on
    /// it, else with the rest of its run. True when a keyframe is waited for.
    pub(super) fn forgo(
        &mut self,
        ring: &Ring,
        lanes: &mut Lanes,
        number: u64,
        record: &Record,
        batch: &mut Batch<'_>,
    ) -> bool {
        let slot = record.lane;
        let Some(seen) = self.seen[slot].as_mut() else { return false };
        if seen.is_choosy() && !record.top {
            return self.jump(ring, lanes, slot, number, GapReason::Bandwidth, batch);
        }
        let (term, sequence) = record.position.point();
        let before = Some((term, sequence + 1));
        batch.lose(Gap { lane: seen.key, after: seen.last, before, reason: GapReason::Bandwidth, count: Some(1) });
        seen.went_over(record);
        false
    }
}
