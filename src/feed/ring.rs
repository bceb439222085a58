//! The ring: the newest records of a swarm, bounded by bytes and by age.
//!
//! Records are numbered from 0 in the order in which they were appended; a number
//! never comes again. What a late joiner starts from (the newest run of VISUAL and
//! SCREEN, the newest DATA keyframe, of each source) is kept beyond the ring when
//! the ring moves on, up to half of the bytes.
//!
//! Invariants: `bytes` is the sum over all records, and above the limit only while
//! a single record is; a lane knows the numbers of its records; CHAT holds at most
//! an eighth, or one message.

use std::collections::{BTreeMap, VecDeque};

use super::lane::{Lane, Lanes};
use super::record::Record;
use crate::clock::Micros;
use starling_core::channel::Channel;

/// The newest records of a swarm.
#[derive(Debug)]
pub(super) struct Ring {
    /// `None` where CHAT made room before its turn.
    records: VecDeque<Option<Record>>,
    /// Number of the oldest record of `records`.
    first: u64,
    /// Older ones that are kept.
    kept: BTreeMap<u64, Record>,
    kept_bytes: usize,
    chat: VecDeque<u64>,
    chat_bytes: usize,
    bytes: usize,
    limit: usize,
    max_age: Micros,
    /// One more than the highest number that was let go of.
    lost: u64,
    segment: u64,
    segment_bytes: usize,
}

/// Bytes of records that readers get at once at most; one larger record comes alone.
const SEGMENT: usize = 64 * 1024;

impl Ring {
    pub(super) const fn new(limit: usize, max_age: Micros) -> Self {
        Self {
            records: VecDeque::new(),
            first: 0,
            kept: BTreeMap::new(),
            kept_bytes: 0,
            chat: VecDeque::new(),
            chat_bytes: 0,
            bytes: 0,
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
    pub(super) fn append(&mut self, lanes: &mut Lanes, mut record: Record) {
        let (number, now, length) = (self.end(), record.at, record.length());
        // A record that is larger than a segment has one of its own.
        if self.segment_bytes + length > SEGMENT {
            (self.segment, self.segment_bytes) = (self.segment + 1, 0);
        }
        self.segment_bytes += length;
        record.put_at(number, self.segment);
        let lane = lanes.at_mut(record.lane);
        if record.keyframe && lane.id.1 != Channel::Chat {
            // Late joiners start at the newest keyframe: what was kept for the one before goes.
            self.release(lane);
            (lane.run, lane.run_bytes) = (Some(number), 0);
            lane.requests.keyframe(now);
        } else if lane.has_runs() && !record.continues() {
            // These deltas need a keyframe that never came: starting at the former one would lead
            // nowhere.
            self.release(lane);
        }
        lane.numbers.push_back(number);
        if lane.has_runs() && lane.run.is_some() {
            lane.run_bytes += length;
            if lane.run_bytes > self.limit / 2 {
                // Too long to start from: whoever comes now needs a new keyframe.
                self.release(lane);
                lane.requests.ask();
            }
        }
        if record.position.channel == Channel::Chat {
            self.chat.push_back(number);
            self.chat_bytes += length;
        }
        self.bytes += length;
        self.records.push_back(Some(record));
        // Messages go before their turn: many of them must not push the pictures out.
        while self.chat_bytes > self.limit / 8 && self.chat.len() > 1 {
            self.drop_oldest_chat(lanes);
        }
        // The newest one stays, however large it is: nobody has read it yet.
        while self.bytes > self.limit && self.records.len() > 1 {
            self.evict(lanes);
        }
        self.expire(lanes, now);
    }

    /// Lets go of what has become too old.
    pub(super) fn expire(&mut self, lanes: &mut Lanes, now: Micros) {
        let horizon = now.saturating_sub(self.max_age);
        // A hole of CHAT in front goes along: it has no age, and would hold up all behind it.
        while self.records.front().is_some_and(|oldest| oldest.as_ref().is_none_or(|record| record.at < horizon)) {
            self.evict(lanes);
        }
    }

    /// Lets go of everything but what late joiners start from.
    pub(super) fn shrink(&mut self, lanes: &mut Lanes) {
        while !self.records.is_empty() {
            self.evict(lanes);
        }
        self.records.shrink_to_fit();
    }

    fn evict(&mut self, lanes: &mut Lanes) {
        let Some(oldest) = self.records.pop_front() else { return };
        let number = self.first;
        self.first += 1;
        // A hole was booked when CHAT made room.
        let Some(record) = oldest else { return };
        let length = record.length();
        let lane = lanes.at_mut(record.lane);
        lane.numbers.pop_front();
        if lane.keeps(number) {
            lane.kept.push_back(number);
            lane.kept_bytes += length;
            self.kept.insert(number, record);
            self.kept_bytes += length;
            // Whoever keeps most gives way, and not whoever came last: one source with long runs must
            // not take the start away from all others.
            while self.kept_bytes > self.limit / 2 {
                let largest = lanes.iter().max_by_key(|(_, lane)| lane.kept_bytes).map(|(slot, _)| slot);
                let lane = lanes.at_mut(largest.expect("a kept record has a lane"));
                self.release(lane);
                if lane.has_runs() {
                    lane.requests.ask();
                }
            }
            return;
        }
        self.bytes -= length;
        self.lost = self.lost.max(number + 1);
        if record.position.channel == Channel::Chat {
            // The oldest record of the ring is the oldest one of its channel too.
            self.chat.pop_front();
            self.chat_bytes -= length;
        }
    }

    fn drop_oldest_chat(&mut self, lanes: &mut Lanes) {
        let Some(number) = self.chat.pop_front() else { return };
        // It leaves a hole: the numbers of the records behind it are their places in the ring.
        let Some(record) = self.index(number).and_then(|index| self.records.get_mut(index)?.take()) else { return };
        lanes.at_mut(record.lane).numbers.pop_front();
        self.chat_bytes -= record.length();
        self.bytes -= record.length();
        self.lost = self.lost.max(number + 1);
    }

    /// Nobody starts at the lane's keyframe any more; what was kept for it goes.
    pub(super) fn release(&mut self, lane: &mut Lane) {
        for number in lane.kept.drain(..) {
            if let Some(record) = self.kept.remove(&number) {
                self.bytes -= record.length();
                self.kept_bytes -= record.length();
                self.lost = self.lost.max(number + 1);
            }
        }
        (lane.run, lane.run_bytes, lane.kept_bytes) = (None, 0, 0);
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
            Some(index) => self.records.get(index)?.as_ref(),
            None => self.kept.get(&number),
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
        let live = self.records.iter().skip(self.index(from)?);
        live.zip(from..).find_map(|(record, number)| Some((number, record.as_ref()?)))
    }

    /// Whoever has come to this number has missed nothing.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What one more record of this length adds once the ring has made room for it.
    pub(super) fn growth(&self, length: usize) -> usize {
        (self.bytes + length).min(self.limit.max(length)).saturating_sub(self.bytes)
    }
}
