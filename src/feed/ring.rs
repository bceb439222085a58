//! The ring: the newest records of a swarm, bounded by bytes and by age.
//!
//! Records are numbered from 0 in the order in which they were appended; a number
//! never comes again. What a late joiner starts from (the newest run of VISUAL and
//! SCREEN, the newest DATA keyframe, of each source) is kept beyond the ring when
//! the ring moves on, up to half of the bytes.
//!
//! Bytes are those of memory: records with their boxes, messages and counters, and the room of the
//! queues that hold them. What leaves is let go of a few records at a time: nobody holds the feed's
//! lock for a whole ring.
//!
//! Invariants: `cost` is the sum over all records, and `bytes` above the limit only while
//! a single record is; a lane knows the numbers of its records; CHAT holds at most
//! an eighth, or one message.

use super::heap::in_tree;
use super::lane::{Lane, Lanes};
use super::record::Record;
use crate::clock::Micros;
use starling_core::channel::Channel;
use starling_core::counted::{Map, Queue};

/// The newest records of a swarm.
#[derive(Debug)]
pub(super) struct Ring {
    /// Boxed, so that a queue that grows or shrinks moves little. `None` where CHAT made room before
    /// its turn.
    records: Queue<Option<Box<Record>>>,
    /// Number of the oldest record of `records`.
    first: u64,
    /// Older ones that are kept, and those of `released`.
    kept: Map<u64, Box<Record>>,
    /// Cost of those that are kept.
    kept_cost: usize,
    /// Numbers of those that were kept, and are to go.
    released: Queue<u64>,
    chat: Queue<u64>,
    chat_cost: usize,
    /// Cost of all records, their places apart.
    cost: usize,
    /// Places of the queues that lanes have for their records.
    lane_places: usize,
    limit: usize,
    max_age: Micros,
    /// One more than the highest number that was let go of.
    lost: u64,
    segment: u32,
    segment_bytes: usize,
}

/// Bytes of records that readers get at once at most; one larger record comes alone.
const SEGMENT: usize = 64 * 1024;

/// Bytes of a place in a queue of records or numbers.
const PLACE: usize = 8;

/// What a record takes in `Ring::kept`.
const KEPT: usize = in_tree(2 * PLACE);

/// Records let go of for their age under one lock: some 100 us.
pub(super) const LET_GO_AT_ONCE: usize = 1_024;

/// The same with each append, for what was released: more than can be added.
const RELEASED_PER_APPEND: usize = 16;

impl Ring {
    pub(super) const fn new(limit: usize, max_age: Micros) -> Self {
        Self {
            records: Queue::new(),
            first: 0,
            kept: Map::new(),
            kept_cost: 0,
            released: Queue::new(),
            chat: Queue::new(),
            chat_cost: 0,
            cost: 0,
            lane_places: 0,
            limit,
            max_age,
            lost: 0,
            segment: 0,
            segment_bytes: 0,
        }
    }

    /// Holds records to this age from now on.
    pub(super) const fn set_max_age(&mut self, max_age: Micros) {
        self.max_age = max_age;
    }

    /// Takes the newest record. O(log n) amortised.
    pub(super) fn append(&mut self, lanes: &mut Lanes, mut record: Box<Record>) {
        let (number, now, length, cost) = (self.end(), record.at, record.length(), record.cost());
        // A record that is larger than a segment has one of its own.
        if self.segment_bytes + length > SEGMENT {
            (self.segment, self.segment_bytes) = (self.segment.wrapping_add(1), 0);
        }
        self.segment_bytes += length;
        record.put_at(number, self.segment);
        let lane = lanes.at_mut(record.lane());
        if record.keyframe && lane.starts_at_keyframes() {
            // Late joiners start at the newest keyframe: what was kept for the one before goes.
            self.release(lane);
            (lane.run, lane.run_cost) = (Some(number), 0);
            lane.requests.keyframe(now);
        } else if lane.has_runs() && !record.continues() {
            // These deltas need a keyframe that never came: starting at the former one would lead
            // nowhere.
            self.release(lane);
        }
        push(&mut lane.numbers, number, &mut self.lane_places);
        if lane.has_runs() && lane.run.is_some() {
            lane.run_cost += cost;
            if lane.run_cost > self.limit / 2 {
                // Too long to start from: whoever comes now needs a new keyframe.
                self.release(lane);
                lane.requests.ask();
            }
        }
        if record.position.channel == Channel::Chat {
            self.chat.push_back(number);
            self.chat_cost += cost;
        }
        self.cost += cost;
        self.records.push_back(Some(record));
        // Messages go before their turn: many of them must not push the pictures out.
        while self.chat_cost > self.limit / 8 && self.chat.len() > 1 {
            self.drop_oldest_chat(lanes);
        }
        self.let_released_go(RELEASED_PER_APPEND);
        // The newest one stays, however large it is: nobody has read it yet.
        while self.bytes() > self.limit && self.records.len() > 1 {
            if self.let_released_go(1) == 0 {
                self.evict(lanes);
            }
        }
        self.expire(lanes, now);
    }

    /// Lets go of what has become too old, and of what was released: [`LET_GO_AT_ONCE`] at most.
    /// Answers how many went.
    pub(super) fn expire(&mut self, lanes: &mut Lanes, now: Micros) -> usize {
        let horizon = now.saturating_sub(self.max_age);
        let mut gone = self.let_released_go(LET_GO_AT_ONCE);
        // A hole of CHAT in front goes along: it has no age, and would hold up all behind it.
        while gone < LET_GO_AT_ONCE
            && self.records.front().is_some_and(|oldest| oldest.as_ref().is_none_or(|record| record.at < horizon))
        {
            self.evict(lanes);
            gone += 1;
        }
        gone
    }

    /// Lets go of everything but what late joiners start from, [`LET_GO_AT_ONCE`] at most. Answers how
    /// many went.
    pub(super) fn shrink(&mut self, lanes: &mut Lanes) -> usize {
        let mut gone = self.let_released_go(LET_GO_AT_ONCE);
        while gone < LET_GO_AT_ONCE && !self.records.is_empty() {
            self.evict(lanes);
            gone += 1;
        }
        gone
    }

    /// Lets go of what is more than `share` bytes, what late joiners start from at last,
    /// [`LET_GO_AT_ONCE`] records at most. Answers how many went.
    pub(super) fn shrink_to(&mut self, share: usize, lanes: &mut Lanes) -> usize {
        let mut gone = self.let_released_go(LET_GO_AT_ONCE);
        while gone < LET_GO_AT_ONCE && self.bytes() > share {
            // The newest one stays: nobody has read it yet.
            if self.records.len() > 1 {
                self.evict(lanes);
                gone += 1;
            } else if self.kept_cost > 0 {
                self.release_largest(lanes);
                gone += self.let_released_go(LET_GO_AT_ONCE - gone);
            } else {
                break;
            }
        }
        gone
    }

    /// True when there is no record, not even one that is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.kept.is_empty()
    }

    /// True when there is none but what late joiners start from.
    pub(super) fn is_settled(&self) -> bool {
        self.records.is_empty()
    }

    fn evict(&mut self, lanes: &mut Lanes) {
        let Some(oldest) = self.records.pop_front() else { return };
        give_back(&mut self.records);
        let number = self.first;
        self.first += 1;
        // A hole was booked when CHAT made room.
        let Some(record) = oldest else { return };
        let cost = record.cost();
        let lane = lanes.at_mut(record.lane());
        lane.numbers.pop_front();
        give_back_of(&mut lane.numbers, &mut self.lane_places);
        if lane.keeps(number) {
            let cost = cost + KEPT;
            push(&mut lane.kept, number, &mut self.lane_places);
            lane.kept_cost += cost;
            self.kept.insert(number, record);
            self.kept_cost += cost;
            self.cost += KEPT;
            // Whoever keeps most gives way, and not whoever came last: one source with long runs must
            // not take the start away from all others.
            while self.kept_cost > self.limit / 2 {
                self.release_largest(lanes);
            }
            return;
        }
        self.cost -= cost;
        self.lost = self.lost.max(number + 1);
        if record.position.channel == Channel::Chat {
            // The oldest record of the ring is the oldest one of its channel too.
            self.chat.pop_front();
            give_back(&mut self.chat);
            self.chat_cost -= cost;
        }
    }

    fn drop_oldest_chat(&mut self, lanes: &mut Lanes) {
        let Some(number) = self.chat.pop_front() else { return };
        // It leaves a hole: the numbers of the records behind it are their places in the ring.
        let Some(record) = self.index(number).and_then(|index| self.records.get_mut(index)?.take()) else { return };
        let lane = lanes.at_mut(record.lane());
        lane.numbers.pop_front();
        give_back_of(&mut lane.numbers, &mut self.lane_places);
        self.chat_cost -= record.cost();
        self.cost -= record.cost();
        self.lost = self.lost.max(number + 1);
    }

    /// Nobody starts at the lane's keyframe any more; what was kept for it is to go.
    pub(super) fn release(&mut self, lane: &mut Lane) {
        self.kept_cost -= lane.kept_cost;
        self.released.append(&mut lane.kept);
        give_back_of(&mut lane.kept, &mut self.lane_places);
        (lane.run, lane.run_cost, lane.kept_cost) = (None, 0, 0);
    }

    /// Releases the lane of which most is kept: its publisher is asked for a new start. O(lanes).
    fn release_largest(&mut self, lanes: &mut Lanes) {
        let largest = lanes.iter().max_by_key(|(_, lane)| lane.kept_cost).map(|(slot, _)| slot);
        let lane = lanes.at_mut(largest.expect("a kept record has a lane"));
        self.release(lane);
        if lane.has_runs() {
            lane.requests.ask();
        }
    }

    /// Lets go of so many records that were released. Answers how many went.
    fn let_released_go(&mut self, most: usize) -> usize {
        let mut gone = 0;
        while gone < most
            && let Some(number) = self.released.pop_front()
        {
            gone += 1;
            give_back(&mut self.released);
            if let Some(record) = self.kept.remove(&number) {
                self.cost -= record.cost() + KEPT;
                self.lost = self.lost.max(number + 1);
            }
        }
        gone
    }

    /// Number of the record to come.
    pub(super) fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Record> {
        match self.index(number) {
            Some(index) => self.records.get(index)?.as_deref(),
            None => self.kept.get(&number).map(Box::as_ref),
        }
    }

    /// The oldest record from `number` on, and its own number. O(log n).
    pub(super) fn next_from(&self, number: u64) -> Option<(u64, &Record)> {
        // What is kept is older than the ring: lanes that start there come first.
        if number < self.first
            && let Some((number, record)) = self.kept.range(number..).next()
        {
            return Some((*number, record));
        }
        let from = number.max(self.first);
        let live = self.records.range(self.index(from)?.min(self.records.len())..);
        live.zip(from..).find_map(|(record, number)| Some((number, record.as_deref()?)))
    }

    /// What lanes had is lost without a record that would tell of it: whoever comes to the end looks for it.
    pub(super) fn note_lost_tail(&mut self) {
        self.lost = self.lost.max(self.end() + 1);
    }

    /// Whoever has come to this number has missed nothing.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// Bytes of memory that are held: records, and the queues of them.
    pub(super) fn bytes(&self) -> usize {
        let places = self.records.capacity() + self.chat.capacity() + self.released.capacity() + self.lane_places;
        self.cost + places * PLACE
    }

    /// What one more record of this cost adds at most, once the ring has made room for it.
    pub(super) fn growth(&self, cost: usize, lane: &Lane) -> usize {
        // A queue that is full doubles.
        let full = |places: usize, taken: usize| if places == taken { places.max(4) } else { 0 };
        let places = full(self.records.capacity(), self.records.len())
            + full(self.chat.capacity(), self.chat.len())
            + full(lane.numbers.capacity(), lane.numbers.len());
        let (bytes, added) = (self.bytes(), cost + places * PLACE);
        (bytes + added).min(self.limit.max(added)).saturating_sub(bytes)
    }
}

/// Adds a number to a queue of a lane, of which `places` counts the room.
fn push(queue: &mut Queue<u64>, number: u64, places: &mut usize) {
    let before = queue.capacity();
    queue.push_back(number);
    *places += queue.capacity() - before;
}

/// Gives back room of a queue of a lane, of which `places` counts the room.
fn give_back_of(queue: &mut Queue<u64>, places: &mut usize) {
    let before = queue.capacity();
    give_back(queue);
    *places -= before - queue.capacity();
}

/// Gives back room that is mostly empty. O(1) amortised: as many must have gone as are moved.
fn give_back<T>(queue: &mut Queue<T>) {
    /// What is so small is left as it is, until it is empty.
    const SMALL: usize = 32;
    if queue.is_empty() {
        *queue = Queue::new();
    } else if queue.capacity() > SMALL && queue.len() <= queue.capacity() / 4 {
        queue.shrink_to(queue.len() * 2);
    }
}
