//! What one look into the ring has at hand, and what it brings.

use crate::clock::Micros;
use crate::feed::counts::Counts;
use crate::feed::delivery::Delivery;
use crate::feed::gap::{Gap, GapReason};
use crate::feed::lane::Lanes;
use crate::feed::position::LaneId;
use crate::feed::ring::Ring;
use crate::feed::skips;

/// What one look into the ring has at hand: parts of the feed, which is locked meanwhile.
#[derive(Debug)]
pub(super) struct Read<'a> {
    pub(super) ring: &'a Ring,
    pub(super) lanes: &'a mut Lanes,
    pub(super) now: Micros,
    pub(super) out: Batch<'a>,
    /// Publishers are to look: a keyframe is awaited from now on, or updates were skipped. They
    /// are notified once, when the feed is unlocked.
    pub(super) notify_publishers: bool,
}

impl<'a> Read<'a> {
    pub(super) const fn new(ring: &'a Ring, lanes: &'a mut Lanes, now: Micros, out: Batch<'a>) -> Self {
        Self { ring, lanes, now, out, notify_publishers: false }
    }
}

/// What one look into the ring brings.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub(super) deliveries: Vec<Delivery>,
    /// That of its first update.
    pub(super) segment: Option<u32>,
    pub(super) counts: &'a mut Counts,
    /// What was skipped that its publisher should hear of.
    pub(super) skipped: Vec<(LaneId, GapReason, u64)>,
}

impl<'a> Batch<'a> {
    /// One that begins with `deliveries`.
    pub(super) fn new(deliveries: Vec<Delivery>, counts: &'a mut Counts) -> Self {
        for delivery in &deliveries {
            if let Delivery::Gap(gap) = delivery {
                counts.gap(gap.reason);
            }
        }
        Self { deliveries, segment: None, counts, skipped: Vec::new() }
    }

    /// Counts what is lost.
    pub(super) fn dropped(&mut self, lane: LaneId, reason: GapReason, updates: u64) {
        self.counts.dropped(reason, updates);
        // Noted on the lane when the look is over: its cursor is borrowed where this is called.
        if skips::REASONS.contains(&reason) {
            self.skipped.push((lane, reason, updates));
        }
    }

    /// Tells a loss that is counted elsewhere.
    pub(super) fn tell(&mut self, gap: Gap) {
        if gap.before.is_none() {
            self.counts.gap(gap.reason);
        }
        self.deliveries.push(Delivery::Gap(gap));
    }

    /// Tells a loss and counts it; one that follows right on another of its kind is told with it.
    pub(super) fn lose(&mut self, gap: Gap) {
        self.dropped(gap.lane, gap.reason, gap.count.unwrap_or(1));
        // A reader short of bandwidth gives up one update after another: told one by one, gaps would
        // be as many as the updates.
        if let Some(Delivery::Gap(last)) = self.deliveries.last_mut()
            && (last.lane, last.reason) == (gap.lane, gap.reason)
            && let (Some(end), Some(after), Some(count), Some(more)) = (last.before, gap.after, last.count, gap.count)
            && end.0 == after.0
            && end.1 == after.1 + 1
        {
            (last.before, last.count) = (gap.before, Some(count + more));
            return;
        }
        self.counts.gap(gap.reason);
        self.deliveries.push(Delivery::Gap(gap));
    }
}
