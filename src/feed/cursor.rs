//! A subscriber's place in the ring.
//!
//! The cursor goes over the records in ring order and keeps, for each lane, what
//! came last and what passes. Whatever passes and does not come is told by a
//! [`Gap`]; what the declared filter leaves out needs none.

mod lag;
mod open;
mod seen;

use std::sync::Arc;

use bytes::Bytes;

use super::audience::{Seat, Selection};
use super::budget::Bucket;
use super::counts::Counts;
use super::lane::{Key, Lane, Lanes, Point};
use super::record::{Encoded, Record};
use super::ring::Ring;
use super::waiting::Pace;
use super::{Feed, Micros, State};
use crate::swarm::interest::{Channel, Interest};
use crate::swarm::propagation::Filter;
use seen::{Flow, Seen};

pub use open::{Greeting, Opening, Resume, Start};

/// Why updates are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The reader was behind by more than the greatest lag.
    Lagging,
    /// The reader's bandwidth did not suffice.
    Bandwidth,
    /// The reader was so slow that the ring went round.
    Evicted,
    /// Authority passed on before the reader had everything.
    TermChanged,
    /// The reader came from another incarnation of the swarm.
    EpochChanged,
    /// The reader claimed to know what there never was.
    UnknownPosition,
    /// The updates did not reach this pod.
    Upstream,
}

impl GapReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Lagging,
        Self::Bandwidth,
        Self::Evicted,
        Self::TermChanged,
        Self::EpochChanged,
        Self::UnknownPosition,
        Self::Upstream,
    ];
}

/// Updates that will not come: those strictly between two points of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The lane.
    pub lane: Key,
    /// The last one that came; `None` = from the beginning.
    pub after: Option<Point>,
    /// The next one that comes; `None` = not known yet.
    pub before: Option<Point>,
    /// Why.
    pub reason: GapReason,
    /// How many; `None` = not known.
    pub count: Option<u64>,
}

/// What passes on a lane from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterChange {
    /// The lane.
    pub lane: Key,
    /// The interest that is served.
    pub interest: Interest,
    /// Temporal layers of the publisher, from 1.
    pub layers: u32,
}

/// What a subscriber gets.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// An update.
    Update(Encoded),
    /// A loss, told before what follows it.
    Gap(Gap),
    /// Another filter, told before what follows it.
    Filter(FilterChange),
}

impl Delivery {
    /// True when it is an update.
    pub const fn is_update(&self) -> bool {
        matches!(self, Self::Update(_))
    }

    /// The update, if it is one.
    pub fn into_update(self) -> Option<Encoded> {
        match self {
            Self::Update(update) => Some(update),
            Self::Gap(_) | Self::Filter(_) => None,
        }
    }
}

/// What one look into the ring brings.
#[derive(Debug)]
struct Batch<'a> {
    deliveries: Vec<Delivery>,
    /// That of its first update.
    segment: Option<u64>,
    counts: &'a mut Counts,
}

impl Batch<'_> {
    /// Tells a loss; one that follows right on another of its kind is told with it.
    fn lose(&mut self, gap: Gap) {
        self.counts.dropped(gap.reason, gap.count.unwrap_or(1));
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
    reader: Reader,
}

/// What a cursor knows; all it does is done under the feed's lock.
#[derive(Debug)]
struct Reader {
    seat: Arc<Seat>,
    /// Version of the interests that are acted on.
    version: u64,
    pace: Pace,
    /// Number of the next record to look at.
    next: u64,
    /// When it last looked.
    read_at: Micros,
    /// By slot of the lane.
    seen: Vec<Option<Seen>>,
    budget: Option<Bucket>,
    /// It has had everything once; a resume is not late before.
    caught_up: bool,
    /// The last look left nothing over.
    at_end: bool,
    /// Records have left the ring before it came to them.
    lapped: bool,
    resumed: bool,
    max_lag: Micros,
    /// Told before all else.
    opening: Vec<Delivery>,
}

impl Cursor {
    /// What was asked for.
    pub fn selection(&self) -> &Selection {
        &self.reader.seat.selection
    }

    /// Waits for what comes next: the subscription is woken when it is due. False when
    /// there is something that must not wait. O(paces).
    pub fn park(&self) -> bool {
        let reader = &self.reader;
        reader.at_end
            && reader.seat.version() == reader.version
            && self.feed.waiting.park(&reader.seat, reader.pace, reader.next, reader.read_at)
    }

    /// Reads what is new, in order: a segment of the ring at most. O(what is read) under
    /// the feed's lock.
    pub fn read(&mut self, now: Micros) -> Vec<Delivery> {
        let Self { feed, reader } = self;
        // Woken by something else, it may still be parked.
        feed.waiting.unpark(&reader.seat);
        let mut state = feed.state.lock();
        let (deliveries, waits) = reader.read(&mut state, now);
        drop(state);
        if waits {
            feed.producers.notify_waiters();
        }
        deliveries
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

impl Reader {
    /// Reads a segment at most. True when a keyframe is waited for from now on.
    fn read(&mut self, state: &mut State, now: Micros) -> (Vec<Delivery>, bool) {
        let State { ring, lanes, counts, .. } = state;
        self.read_at = now;
        let mut batch = Batch { deliveries: std::mem::take(&mut self.opening), segment: None, counts };
        let asked = self.rewish(ring, lanes, &mut batch);
        self.lapped |= ring.lost() > self.next;
        self.skip_lag(ring, lanes, &mut batch, now);
        let mut waits = asked;
        while let Some((number, record)) = ring.next_from(self.next) {
            if batch.segment.is_some_and(|segment| segment != record.segment) {
                break;
            }
            self.next = number + 1;
            waits |= self.pass(ring, lanes, number, record, &mut batch, now);
        }
        self.at_end = ring.next_from(self.next).is_none();
        if self.at_end {
            (self.next, self.caught_up) = (ring.end(), true);
            waits |= self.lapped && self.tell_lost_tails(lanes, &mut batch);
            self.lapped = false;
        }
        (batch.deliveries, waits)
    }

    /// Delivers a record, or passes it over. True when a keyframe is waited for from
    /// now on.
    fn pass(
        &mut self,
        ring: &Ring,
        lanes: &mut Lanes,
        number: u64,
        record: &Record,
        batch: &mut Batch<'_>,
        now: Micros,
    ) -> bool {
        let slot = record.lane;
        let met = self.meet(lanes.at_mut(slot), slot, batch);
        let Some(seen) = self.seen[slot].as_mut().filter(|seen| seen.wanted) else { return false };
        let point = record.position.point();
        if seen.last >= Some(point) {
            return false;
        }
        if seen.flow == Flow::Waiting {
            // Or did a keyframe slip away before?
            let missed = seen.tally.filter(|tally| !seen.lossy && record.tally.since(*tally, Filter::Keyframes) > 0);
            if let Some(tally) = missed {
                let count = record.keyframe.then(|| record.tally.since(tally, seen.filter()));
                let (after, before) = (seen.last, record.keyframe.then_some(point));
                batch.lose(Gap { lane: seen.key, after, before, reason: GapReason::Evicted, count });
                (seen.lossy, seen.loss) = (true, GapReason::Evicted);
            }
            if !record.keyframe {
                if seen.lossy {
                    batch.counts.dropped(seen.loss, 1);
                }
                seen.went_over(record);
                return met;
            }
            seen.flow = Flow::Flowing;
            lanes.at_mut(slot).want.unwait();
            seen.follow(record);
        }
        if record.keyframe || !seen.is_choosy() {
            seen.raise(batch);
        }
        if seen.filter() == Filter::Nothing {
            seen.went_over(record);
            return false;
        }
        seen.declare(record.layers, batch);
        let missing = seen.missing_before(record);
        if missing != Some(0) {
            let reason = if seen.last.is_none_or(|(term, _)| term == point.0) {
                GapReason::Evicted
            } else {
                GapReason::TermChanged
            };
            if seen.is_choosy() && !record.keyframe {
                return self.jump(ring, lanes, slot, number, reason, batch);
            }
            batch.lose(Gap { lane: seen.key, after: seen.last, before: Some(point), reason, count: missing });
            seen.follow(record);
        } else if seen.is_choosy() && !record.keyframe && !record.continues {
            // Deltas of a new term whose keyframe has not come.
            return self.jump(ring, lanes, slot, number, GapReason::TermChanged, batch);
        }
        if !record.passes(seen.filter()) {
            seen.went_over(record);
            return false;
        }
        if let Some(bucket) = &mut self.budget {
            if bucket.balance(now) <= seen.least_balance(record, bucket.burst()) {
                return self.forgo(ring, lanes, number, record, batch);
            }
            bucket.take(record.length() as u64);
        }
        seen.went_over(record);
        seen.delivered = Some(point);
        batch.segment.get_or_insert(record.segment);
        batch.counts.delivered(record.length());
        if self.caught_up {
            batch.counts.after(now.saturating_sub(record.at));
        }
        batch.deliveries.push(Delivery::Update(record.encoded().clone()));
        false
    }

    /// What is known of a lane, if anything is.
    fn known(&mut self, slot: usize) -> &mut Option<Seen> {
        if self.seen.len() <= slot {
            self.seen.resize_with(slot + 1, || None);
        }
        &mut self.seen[slot]
    }

    /// Makes the acquaintance of a lane that was not there at the opening. True when a
    /// keyframe is waited for.
    fn meet(&mut self, lane: &mut Lane, slot: usize, batch: &mut Batch<'_>) -> bool {
        if self.known(slot).as_ref().is_some_and(|seen| seen.birth == lane.birth) {
            return false;
        }
        let wanted = self.seat.selection.contains(lane.key);
        let interest = self.seat.interests().level(lane.key.0, lane.key.1);
        let mut seen = Seen::new(lane, interest, wanted);
        if wanted {
            // Also when nothing passes: holes need a reason.
            seen.declared = None;
            seen.declare(lane.layers, batch);
        }
        let waits = wanted && interest > Interest::None && seen.is_choosy();
        if waits {
            // It starts at its first keyframe.
            seen.flow = Flow::Waiting;
            lane.want.wait();
        }
        *self.known(slot) = Some(seen);
        waits
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        {
            let mut state = self.feed.state.lock();
            for (slot, seen) in self.reader.seen.iter().enumerate() {
                let Some(seen) = seen.as_ref().filter(|seen| seen.flow == Flow::Waiting) else { continue };
                let lane = state.lanes.at_mut(slot);
                if lane.birth == seen.birth {
                    lane.want.unwait();
                }
            }
        }
        self.feed.waiting.leave(&self.reader.seat);
        self.feed.audience.leave(&self.reader.seat);
        self.feed.producers.notify_waiters();
    }
}
