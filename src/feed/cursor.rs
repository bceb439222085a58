//! A subscriber's place in the ring.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::record::{Position, Record};
use super::{Feed, State};
use crate::swarm::id::NodeId;
use crate::swarm::interest::{Channel, Interest};
use crate::swarm::propagation::Filter;

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the newest keyframe; at the next one when there is none.
    #[default]
    Keyframe,
    /// At the first keyframe that comes.
    Live,
}

/// Why updates are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The reader was so slow that the ring went round.
    Evicted,
    /// Authority passed on before the reader had everything.
    TermChanged,
}

/// Updates that will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last one that came: (term, sequence).
    pub after: (u64, u64),
    /// The next one that comes.
    pub before: Position,
    /// Why.
    pub reason: GapReason,
}

/// What a subscriber gets.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// An encoded update.
    Update(Bytes),
    /// A loss, told before what follows it.
    Gap(Gap),
}

/// What one look into the ring brought.
#[derive(Debug, Default)]
pub struct Batch {
    /// In order; empty when there is nothing new.
    pub deliveries: Vec<Delivery>,
}

/// What is known of a source.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The last update that came or was filtered: (term, sequence).
    last: Option<(u64, u64)>,
    /// Passing over its records until a keyframe comes.
    waiting: bool,
    /// The ring went round since `last`.
    evicted: bool,
}

/// One subscriber's place in the ring, on one channel with keyframes.
#[derive(Debug)]
pub struct Cursor {
    channel: Channel,
    filter: Filter,
    next: u64,
    start: Option<Position>,
    seen: HashMap<NodeId, Seen>,
}

impl Cursor {
    /// A place in the ring for a reader of `source` with this interest.
    pub fn open(feed: &Feed, source: NodeId, channel: Channel, interest: Interest, start: Start) -> Self {
        let state = feed.state.lock();
        let newest = state.ring.keyframe(source, channel).filter(|_| start == Start::Keyframe);
        let next = newest.unwrap_or_else(|| state.ring.end());
        let first = newest.and_then(|number| state.ring.get(number)).map(|record| record.position);
        let start = first.map(|first| Position { sequence: first.sequence - 1, ..first });
        Self { channel, filter: interest.filter(channel), next, start, seen: HashMap::new() }
    }

    /// What passes.
    pub const fn filter(&self) -> Filter {
        self.filter
    }

    /// The position before the first update to come; `None` when a keyframe was
    /// awaited at the opening.
    pub const fn start(&self) -> Option<Position> {
        self.start
    }

    /// Reads what is new: at most `max_bytes`, but at least one update if there is
    /// one. O(what is read) under the feed's lock.
    pub fn read(&mut self, feed: &Feed, max_bytes: usize) -> Batch {
        let mut batch = Batch::default();
        if self.filter == Filter::Nothing {
            return batch;
        }
        let state = feed.state.lock();
        self.catch_up(&state);
        let mut bytes = 0;
        while let Some(record) = state.ring.get(self.next) {
            if bytes > 0 && bytes + record.message().len() > max_bytes {
                break;
            }
            self.next += 1;
            if record.position.channel == self.channel {
                bytes += self.pass(record, &mut batch);
            }
        }
        drop(state);
        let updates = batch.deliveries.iter().filter(|delivery| matches!(delivery, Delivery::Update(_))).count();
        feed.delivered.fetch_add(updates as u64, Ordering::Relaxed);
        feed.delivered_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        batch
    }

    /// When the ring went round, goes on at the newest keyframe.
    fn catch_up(&mut self, state: &State) {
        if self.next >= state.ring.first() {
            return;
        }
        let newest = state.ring.newest_keyframe(self.channel);
        self.next = newest.unwrap_or_else(|| state.ring.first());
        for seen in self.seen.values_mut() {
            (seen.waiting, seen.evicted) = (true, true);
        }
    }

    /// Delivers a record, or passes it over. Returns the bytes delivered.
    fn pass(&mut self, record: &Record, batch: &mut Batch) -> usize {
        let Position { source, term, sequence, .. } = record.position;
        let seen = self.seen.entry(source).or_insert(Seen { last: None, waiting: true, evicted: false });
        // Deltas of a new term depend on a keyframe of that term.
        seen.waiting |= seen.last.is_some_and(|(last, _)| last != term);
        if seen.waiting && !record.keyframe {
            return 0;
        }
        let lost = match seen.last {
            None => None,
            Some((last, at)) if last == term => (at + 1 != sequence).then_some(GapReason::Evicted),
            Some(_) => (seen.evicted || sequence != 1).then_some(GapReason::TermChanged),
        };
        if let (Some(after), Some(reason)) = (seen.last, lost) {
            batch.deliveries.push(Delivery::Gap(Gap { after, before: record.position, reason }));
        }
        *seen = Seen { last: Some((term, sequence)), waiting: false, evicted: false };
        if self.filter == Filter::Keyframes && !record.keyframe {
            return 0;
        }
        batch.deliveries.push(Delivery::Update(record.delivery()));
        record.message().len()
    }
}
