//! What a cursor gives up: when it lags, lacks bandwidth, or lost too much.

use super::context::Read;
use super::lane_state::LaneState;
use super::read::LOOKED_AT_ONCE;
use super::state::CursorState;
use crate::feed::gap::{Gap, GapReason};
use crate::feed::position::LaneId;
use crate::feed::record::Record;
use starling_core::channel::Channel;
use starling_core::propagation::Filter;

impl CursorState {
    /// Jumps to the newest keyframe of each lane whose oldest undelivered update is
    /// too old. A resume is not late before it has caught up once.
    pub(super) fn skip_lag(&mut self, read: &mut Read<'_>) {
        if self.resumed && !self.caught_up {
            return;
        }
        let ring = read.ring;
        let horizon = read.now.saturating_sub(self.limits.max_lag);
        // Nothing is older than the oldest; most readers are close behind.
        if ring.next_from(self.next).is_none_or(|(_, oldest)| oldest.at >= horizon) {
            return;
        }
        let mut looks = LOOKED_AT_ONCE;
        for slot in 0..self.cursors.len() {
            let Some(cursor) = self.cursors[slot].as_ref().filter(|cursor| cursor.state.is_open() && cursor.has_runs())
            else {
                continue;
            };
            let lane = read.lanes.at(slot);
            // Without a keyframe to jump to, late is better than never.
            let Some(run) = lane.run.filter(|_| lane.birth == cursor.birth) else { continue };
            let from = self.next;
            // What would not be delivered anyway is not late.
            let comes = |record: &&Record| {
                let flows = !cursor.state.awaits_keyframe() || record.keyframe;
                flows && record.passes(cursor.filter()) && cursor.last < Some(record.position.point())
            };
            let ahead = lane.records_from(from).take_while(|number| *number < run).take(looks);
            // Whatever is not looked at now is with a later read, which has gone by what is before it.
            let ahead = ahead.inspect(|_| looks -= 1);
            let oldest = ahead.filter_map(|number| ring.get(number)).find(comes);
            if oldest.is_some_and(|record| record.at < horizon) {
                self.jump(slot, from, GapReason::Lagging, read);
            }
        }
    }

    /// Gives a lane up from record `number` on to its newest keyframe, or to the next
    /// one when that has passed. For lag the sound of the source goes along, so that
    /// both stay together.
    pub(super) fn jump(&mut self, slot: usize, number: u64, reason: GapReason, read: &mut Read<'_>) {
        let (lane, ring) = (read.lanes.at(slot), read.ring);
        let source = lane.id.0;
        // For want of bandwidth the keyframe at `number` itself is what is given up; otherwise it is
        // where the lane goes on.
        let target = lane.run.filter(|run| *run > number || *run == number && reason != GapReason::Bandwidth);
        let Some(cursor) = self.cursors[slot].as_mut() else { return };
        let found = target.and_then(|run| Some((run, ring.get(run)?)));
        let Some((run, keyframe)) = found else {
            let Some(record) = ring.get(number).filter(|record| record.lane() == slot) else { return };
            let lost = cursor.tally.map(|tally| record.tally_after().since(tally, cursor.filter()));
            cursor.break_run(reason, lost, record.tally_after(), &mut read.out);
            cursor.advance_past(record);
            cursor.request_keyframe(slot, read);
            return;
        };
        let before = keyframe.position.point();
        match cursor.state {
            // The subscriber has an open gap: that one is to end, and no second one to be told.
            LaneState::Broken { .. } => cursor.end_loss(before, keyframe.tally, &mut read.out),
            LaneState::Unwanted | LaneState::Silent | LaneState::Live | LaneState::AwaitingKeyframe { .. } => {
                let count = cursor.tally.map(|tally| keyframe.tally.since(tally, cursor.filter()));
                if count != Some(0) {
                    let (lane, after) = (cursor.lane, cursor.last);
                    read.out.lose(Gap { lane, after, before: Some(before), reason, count });
                }
            }
        }
        // `next` stays: other lanes have records before the keyframe, and those of this one are passed
        // over for being older than `last`.
        cursor.continue_at(keyframe);
        if reason == GapReason::Lagging {
            self.skip_audio((source, Channel::Audio), run, read);
        }
    }

    /// Gives up the sound before record `run`, to which the picture jumps.
    fn skip_audio(&mut self, key: LaneId, run: u64, read: &mut Read<'_>) {
        let Some(slot) = read.lanes.find(key) else { return };
        let lane = read.lanes.at(slot);
        let cursor = self.cursors.get_mut(slot).and_then(Option::as_mut);
        let Some(cursor) = cursor.filter(|cursor| cursor.birth == lane.birth && cursor.state.is_open()) else { return };
        let newest = lane.last_before(run).filter(|newest| *newest >= self.next);
        let Some(record) = newest.and_then(|newest| read.ring.get(newest)) else { return };
        let point = record.position.point();
        if cursor.last >= Some(point) {
            return;
        }
        let count = cursor.tally.map(|tally| record.tally_after().since(tally, cursor.filter()));
        // Up to the last one that is left out, not to the next one that comes: that is not there yet,
        // maybe, and sound needs none to start from.
        let (before, reason) = (Some((point.0, point.1 + 1)), GapReason::Lagging);
        read.out.lose(Gap { lane: cursor.lane, after: cursor.last, before, reason, count });
        cursor.advance_past(record);
    }

    /// Tells what left the ring before it was reached, on lanes that nothing follows on.
    pub(super) fn tell_lost_tails(&mut self, read: &mut Read<'_>) {
        for (slot, cursor) in self.cursors.iter_mut().enumerate() {
            let Some(cursor) = cursor.as_mut().filter(|cursor| cursor.is_wanted()) else { continue };
            let lane = read.lanes.at(slot);
            let (head, tally) = (lane.head, lane.tally);
            // The end of the ring is reached: what the lane has beyond `last` is not in the ring.
            let Some((term, sequence)) = head.filter(|head| lane.birth == cursor.birth && cursor.last < Some(*head))
            else {
                continue;
            };
            let nothing_lost = matches!(cursor.state, LaneState::AwaitingKeyframe { .. });
            // To whoever waits without a loss, deltas are none: only keyframes count.
            let filter = if nothing_lost { Filter::Keyframes } else { cursor.filter() };
            let count = cursor.tally.map(|before| tally.since(before, filter));
            let reason = if lane.lost_its_tail() { GapReason::Upstream } else { cursor.loss_before(lane.origin) };
            match cursor.state {
                // Nothing is missing.
                LaneState::Unwanted | LaneState::Silent => {}
                _ if count == Some(0) => {}
                LaneState::Broken { .. } => {
                    // The open gap covers them already; only the statistics do not know of them.
                    let more = count.unwrap_or(1);
                    if let Some(reason) = cursor.state.on_more_lost(more) {
                        read.out.dropped(cursor.lane, reason, more);
                    }
                    cursor.request_keyframe(slot, read);
                }
                LaneState::AwaitingKeyframe { .. } | LaneState::Live if cursor.has_runs() => {
                    // Here the deltas count too: with their keyframe they would have come.
                    let lost = cursor.tally.map(|before| tally.since(before, cursor.filter()));
                    cursor.break_run(reason, lost, tally, &mut read.out);
                    cursor.request_keyframe(slot, read);
                }
                LaneState::AwaitingKeyframe { .. } | LaneState::Live => {
                    let before = Some((term, sequence + 1));
                    read.out.lose(Gap { lane: cursor.lane, after: cursor.last, before, reason, count });
                }
            }
            (cursor.last, cursor.tally) = (Some((term, sequence)), Some(tally));
        }
    }

    /// Does without a record for want of bandwidth: alone, when nothing depends on
    /// it, else with the rest of its run.
    pub(super) fn drop_for_bandwidth(&mut self, number: u64, record: &Record, read: &mut Read<'_>) {
        let slot = record.lane();
        let Some(cursor) = self.cursors[slot].as_mut() else { return };
        if cursor.has_runs() && !record.is_top() {
            return self.jump(slot, number, GapReason::Bandwidth, read);
        }
        let (term, sequence) = record.position.point();
        let (before, reason) = (Some((term, sequence + 1)), GapReason::Bandwidth);
        read.out.lose(Gap { lane: cursor.lane, after: cursor.last, before, reason, count: Some(1) });
        cursor.advance_past(record);
    }
}
