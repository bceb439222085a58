//! One (source, channel): who may add to it, where it stands, what is kept of it.

use super::authors::range_bytes;
use super::heap::{allocated, table};
use super::keyframe_requests::KeyframeRequests;
use super::position::{LaneId, TermSeq};
use super::skips::Skips;
pub(super) use super::tally::Tally;
use super::upstream::{Granted, Upstream};
use starling_core::channel::Channel;
use starling_core::counted::{List, Queue, Table};
use starling_core::event::{Gate, Grant};
use starling_core::id::{NO_HOME, PodId};
use starling_core::numbers::Numbers;

/// Lanes beyond this number take the place of one that nobody uses.
const LANES: usize = 1_024;

/// One (source, channel).
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    /// Tells lanes apart that held the same slot one after the other.
    pub(super) birth: u64,
    /// The term in force; 0 = nobody may publish.
    pub(super) term: u64,
    /// The newest one that was ever in force.
    pub(super) newest_term: u64,
    pub(super) gate: Gate,
    /// What is known of its homes, and of updates that other pods accept; `None` in a process that is alone.
    pub(super) upstream: Option<Box<Upstream>>,
    /// Temporal layers that the publisher declared, from 1.
    pub(super) layers: u32,
    /// The newest update.
    pub(super) head: Option<TermSeq>,
    /// The term in which its publisher began anew: runs go on over the terms since.
    pub(super) origin: u64,
    pub(super) tally: Tally,
    /// What became of the numbers that its publisher gave.
    pub(super) publisher: Numbers,
    /// Its records in the ring, oldest first.
    pub(super) numbers: Queue<u64>,
    /// Those kept beyond the ring; older than all of `numbers`.
    pub(super) kept: Queue<u64>,
    pub(super) kept_cost: usize,
    /// The newest keyframe to start from.
    pub(super) run: Option<u64>,
    /// What it and the records since take of memory.
    pub(super) run_cost: usize,
    pub(super) requests: KeyframeRequests,
    /// Who skips its updates.
    pub(super) skips: Skips,
}

impl Lane {
    fn new(id: LaneId, birth: u64) -> Self {
        Self {
            id,
            birth,
            term: 0,
            newest_term: 0,
            gate: Gate::NotActive,
            upstream: None,
            layers: 1,
            head: None,
            origin: 0,
            tally: Tally::default(),
            publisher: Numbers::default(),
            numbers: Queue::new(),
            kept: Queue::new(),
            kept_cost: 0,
            run: None,
            run_cost: 0,
            requests: KeyframeRequests::default(),
            skips: Skips::default(),
        }
    }

    /// True when updates depend on those since their keyframe.
    pub(super) const fn has_runs(&self) -> bool {
        has_runs(self.id.1)
    }

    /// True when late joiners start at its newest keyframe.
    pub(super) const fn starts_at_keyframes(&self) -> bool {
        matches!(self.id.1, Channel::Visual | Channel::Screen | Channel::Data)
    }

    /// The CHAT of several pods has come so far, whatever came here: what did not is lost to those who read.
    pub(super) fn come_to(&mut self, sequence: u64) {
        if sequence > 0 {
            self.head = Some((self.term, sequence));
            self.tally.come_to(sequence);
        }
    }

    /// The point that the next update gets.
    pub(super) const fn next(&self) -> TermSeq {
        match self.head {
            Some((term, sequence)) if term == self.term => (term, sequence + 1),
            _ => (self.term, 1),
        }
    }

    /// Puts a grant in force; term 0 is none.
    fn grant(&mut self, grant: &Grant, granted: Granted, own: PodId) {
        if grant.home != NO_HOME || self.upstream.is_some() {
            self.grant_at_home(grant, granted, own);
        }
        if let Some(session) = grant.session.filter(|_| grant.term != self.term && grant.term != 0) {
            self.layers = 1;
            if self.publisher.session() != Some(session) {
                self.requests.begin();
            }
            self.publisher.begin(session);
        }
        (self.term, self.gate) = (grant.term, grant.gate);
        self.newest_term = self.newest_term.max(grant.term);
    }

    /// True when an update of the term in force goes on with the run of the one before it.
    /// In a new term only the same session may, and only with a number of its own that
    /// leaves none out: nobody knows what another publisher has kept.
    pub(super) fn continues_at(&self, given: Option<u64>) -> bool {
        self.head.is_some_and(|(term, _)| term == self.term)
            || given.is_some_and(|number| self.publisher.continues_at(number))
    }

    /// True when the publisher should begin with a keyframe: somebody waits for one, or
    /// no run of its own goes on.
    pub(super) fn wants_keyframe_first(&self) -> bool {
        self.has_runs() && (self.publisher.accepted() == 0 || self.requests.is_requested() || self.owes())
    }

    /// True when a record is to outlive the ring.
    pub(super) fn keeps(&self, number: u64) -> bool {
        self.run.is_some_and(|run| if self.has_runs() { number >= run } else { number == run })
    }

    /// Its records from `number` on, oldest first. O(log n), and O(1) for each.
    pub(super) fn records_from(&self, number: u64) -> impl Iterator<Item = u64> {
        let from = |numbers: &Queue<u64>| numbers.partition_point(|n| *n < number);
        let (kept, live) = (self.kept.range(from(&self.kept)..), self.numbers.range(from(&self.numbers)..));
        kept.chain(live).copied()
    }

    /// Its oldest record from `number` on. O(log n).
    pub(super) fn first_from(&self, number: u64) -> Option<u64> {
        self.records_from(number).next()
    }

    /// Its oldest record for which `later` is true, as it is for all that follow. O(log n) calls.
    pub(super) fn first_that(&self, later: impl Fn(u64) -> bool) -> Option<u64> {
        let find = |numbers: &Queue<u64>| numbers.get(numbers.partition_point(|n| !later(*n))).copied();
        find(&self.kept).or_else(|| find(&self.numbers))
    }

    /// Its newest record before `number`. O(log n).
    pub(super) fn last_before(&self, number: u64) -> Option<u64> {
        let find = |numbers: &Queue<u64>| {
            numbers.partition_point(|n| *n < number).checked_sub(1).and_then(|at| numbers.get(at).copied())
        };
        find(&self.numbers).or_else(|| find(&self.kept))
    }

    fn is_idle(&self) -> bool {
        self.term == 0 && self.numbers.is_empty() && self.kept.is_empty() && !self.requests.has_waiting()
    }
}

/// True when updates of a channel depend on those since their keyframe.
pub(super) const fn has_runs(channel: Channel) -> bool {
    matches!(channel, Channel::Visual | Channel::Screen)
}

/// The lanes of one feed. A lane keeps its slot while it has records.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    slots: List<Lane>,
    by_key: Table<LaneId, usize>,
    births: u64,
    /// Bytes of the ranges that the numbers of publishers have.
    ranges: usize,
}

impl Lanes {
    /// The slot of a lane, made if need be.
    pub(super) fn slot(&mut self, key: LaneId) -> usize {
        if let Some(slot) = self.by_key.get(&key) {
            return *slot;
        }
        self.births += 1;
        let lane = Lane::new(key, self.births);
        let idle = (self.slots.len() >= LANES).then(|| self.slots.iter().position(Lane::is_idle)).flatten();
        let slot = match idle {
            Some(slot) => {
                self.by_key.remove(&self.slots[slot].id);
                self.ranges -= range_bytes(&self.slots[slot].publisher);
                self.slots[slot] = lane;
                slot
            }
            None => {
                self.slots.push(lane);
                self.slots.len() - 1
            }
        };
        self.by_key.insert(key, slot);
        slot
    }

    pub(super) fn find(&self, key: LaneId) -> Option<usize> {
        self.by_key.get(&key).copied()
    }

    pub(super) fn get(&self, key: LaneId) -> Option<&Lane> {
        self.find(key).map(|slot| &self.slots[slot])
    }

    pub(super) fn get_mut(&mut self, key: LaneId) -> Option<&mut Lane> {
        self.find(key).map(|slot| &mut self.slots[slot])
    }

    pub(super) fn at(&self, slot: usize) -> &Lane {
        &self.slots[slot]
    }

    pub(super) fn at_mut(&mut self, slot: usize) -> &mut Lane {
        &mut self.slots[slot]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Lane)> {
        self.slots.iter().enumerate()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Lane)> {
        self.slots.iter_mut().enumerate()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Puts a grant in force on the lane of a slot.
    pub(super) fn grant(&mut self, slot: usize, grant: &Grant, granted: Granted, own: PodId) {
        self.changing_numbers(slot, |lane| lane.grant(grant, granted, own));
    }

    /// Notes that a fresh number of the publisher was accepted.
    pub(super) fn accept(&mut self, slot: usize, number: u64) {
        self.changing_numbers(slot, |lane| lane.publisher.accept(number));
    }

    /// Notes that a fresh number of the publisher was rejected.
    pub(super) fn reject(&mut self, slot: usize, number: u64) {
        self.changing_numbers(slot, |lane| lane.publisher.reject(number));
    }

    fn changing_numbers(&mut self, slot: usize, change: impl FnOnce(&mut Lane)) {
        let lane = &mut self.slots[slot];
        self.ranges -= range_bytes(&lane.publisher);
        change(lane);
        self.ranges += range_bytes(&lane.publisher);
    }

    /// Bytes of memory that lanes take, the queues of their records apart.
    pub(super) fn bytes(&self) -> usize {
        const ENTRY: usize = size_of::<(LaneId, usize)>();
        let (slots, keys) = (self.slots.capacity() * size_of::<Lane>(), table(self.by_key.capacity(), ENTRY));
        allocated(slots) + allocated(keys) + self.ranges
    }
}
