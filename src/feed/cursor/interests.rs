//! What a change of interests makes of each lane.

use super::context::Read;
use super::state::CursorState;
use crate::feed::lane::has_runs;
use starling_core::channel::Channel;
use starling_core::interest::Interest;
use starling_core::propagation::Filter;

impl CursorState {
    /// Applies changed interests: a lower one at once, a higher one at the next keyframe, one from
    /// NONE at the cached keyframe. O(lanes) after a change, else O(1).
    pub(super) fn apply_interests(&mut self, read: &mut Read<'_>) {
        let version = self.subscriber.version();
        if version == self.version {
            return;
        }
        // The version is read before the interests: what changes in between is applied again.
        (self.version, self.class) = (version, self.subscriber.class());
        let wanted = self.subscriber.wanted();
        let interests = &wanted.interests;
        for (slot, cursor) in self.cursors.iter_mut().enumerate() {
            let Some(cursor) = cursor.as_mut().filter(|cursor| cursor.is_wanted()) else { continue };
            let lane = read.lanes.at_mut(slot);
            // Another lane has the slot now: it is tracked, with these interests, at its first record.
            if lane.birth != cursor.birth {
                continue;
            }
            let (channel, level) = (cursor.lane.1, interests.level(cursor.lane.0, cursor.lane.1));
            // A raise that waits for its keyframe is overtaken, also by a return to what is in force.
            cursor.raised = None;
            if level == cursor.interest {
                continue;
            }
            let (before, after) = (cursor.filter(), level.filter(channel));
            let asleep = before == Filter::Nothing;
            if cursor.has_runs() && !asleep && after > before {
                // What was left out so far is missing to what would pass from here on.
                cursor.raised = Some(level);
                continue;
            }
            if level == Interest::None {
                cursor.state.on_interest_none(&mut lane.requests);
            }
            cursor.interest = level;
            cursor.declare(lane.layers, &mut read.out);
            if !asleep {
                continue;
            }
            cursor.state.on_interest();
            // AUDIO and CHAT go on with what comes next: what passed while asleep was no loss.
            if !(has_runs(channel) || channel == Channel::Data) {
                continue;
            }
            // From nothing: the cached keyframe, unless that came before.
            let cached = lane.run.and_then(|run| Some((run, read.ring.get(run)?)));
            match cached.filter(|(_, record)| cursor.delivered < Some(record.position.point())) {
                Some((run, record)) => {
                    cursor.continue_at(record);
                    self.next = self.next.min(run);
                }
                None if cursor.has_runs() => {
                    cursor.state.on_no_keyframe();
                    cursor.request_keyframe(slot, read);
                }
                None => {}
            }
        }
    }
}
