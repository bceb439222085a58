//! The last revisions of one swarm, each with its events.
//!
//! A command appends once, whatever the number of watchers; each watcher reads
//! with a cursor of its own. Events are encoded at most once, by the first who
//! needs the bytes.
//!
//! A log is bounded in revisions and in bytes, and all logs together in bytes ([`LogMemory`]).
//! What a revision costs is fixed when it is appended, its encoded forms included, whether they
//! are ever made or not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use starling_core::Event;
use starling_core::counted::Queue;
use starling_core::id::NodeId;
use starling_core::member::View;
use starling_core::steps::count;

/// What a log keeps of a swarm that is gone, for those who have not read its end, in bytes.
const FINAL_BYTES: usize = 16 * 1024;

/// The most bytes of revisions that one look brings.
const LOOK_BYTES: usize = 16 * 1024;

/// The most bytes that one view of an event takes when it is encoded, beside what the event holds on
/// the heap: its numbers, and the handle of its bytes.
const ENCODED: usize = 192;

/// Where a change comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// When its command was applied, in milliseconds since the Unix epoch.
    pub at: u64,
    /// Who gave it; `None` = the server, because a time had come.
    pub actor: Option<NodeId>,
}

/// What all event logs hold together.
#[derive(Debug)]
pub struct LogMemory {
    limit: usize,
    used: AtomicUsize,
    /// Revisions that were given up for others.
    evicted: AtomicUsize,
}

impl LogMemory {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), evicted: AtomicUsize::new(0) })
    }

    /// Bytes that may be held.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that are held.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Revisions that were given up because all logs held more than they may.
    pub fn evicted(&self) -> usize {
        self.evicted.load(Ordering::Relaxed)
    }

    /// True when more is held than may be.
    pub(super) fn is_over(&self) -> bool {
        self.used() > self.limit
    }

    pub(super) fn count_evicted(&self, revisions: usize) {
        self.evicted.fetch_add(revisions, Ordering::Relaxed);
    }
}

/// All events of one revision.
#[derive(Debug)]
pub struct Revision {
    /// Its number.
    pub number: u64,
    /// Where it comes from.
    pub origin: Origin,
    /// What happened, in order.
    pub events: Box<[Event]>,
    /// By [`View`].
    encoded: [OnceLock<Box<[Bytes]>>; 2],
}

impl Revision {
    /// What it costs in memory, with both encoded forms. O(events).
    pub fn cost(&self) -> usize {
        // The counts of the `Arc`, and the place in the log, which grows by doubling.
        let own = size_of::<Self>() + 4 * size_of::<usize>();
        count(self.events.len());
        let event = |event: &Event| size_of::<Event>() + 3 * event.heap_bytes() + 2 * ENCODED;
        own + self.events.iter().map(event).sum::<usize>()
    }

    /// The events as bytes, in order; `encode` runs for the first caller of a view only.
    pub fn encoded(&self, view: View, encode: impl Fn(&Event) -> Bytes) -> &[Bytes] {
        self.encoded[view as usize].get_or_init(|| self.events.iter().map(encode).collect())
    }
}

/// What a look into the log finds.
#[derive(Debug)]
pub enum Since {
    /// What came after, oldest first; empty when nothing did.
    Events(Vec<Arc<Revision>>),
    /// The log no longer reaches back that far.
    Lapped,
    /// The log has not come that far.
    Unknown,
}

/// The last revisions of one swarm.
#[derive(Debug)]
pub struct EventLog {
    /// With what each costs.
    revisions: Queue<(Arc<Revision>, usize)>,
    head: u64,
    /// Which history of the swarm it is of: positions of others say nothing.
    history: u32,
    bytes: usize,
    capacity: usize,
    max_bytes: usize,
    memory: Arc<LogMemory>,
}

impl EventLog {
    pub(super) const fn new(capacity: usize, max_bytes: usize, memory: Arc<LogMemory>) -> Self {
        Self { revisions: Queue::new(), head: 0, history: 0, bytes: 0, capacity, max_bytes, memory }
    }

    /// Appends a revision; the oldest make room, but the newest is always kept. Amortised O(events).
    pub(super) fn append(&mut self, number: u64, origin: Origin, events: Vec<Event>) {
        debug_assert_eq!(number, self.head + 1, "revisions go up by one");
        self.head = number;
        let revision = Revision { number, origin, events: events.into_boxed_slice(), encoded: Default::default() };
        let cost = revision.cost();
        self.revisions.push_back((Arc::new(revision), cost));
        self.bytes += cost;
        self.memory.used.fetch_add(cost, Ordering::Relaxed);
        while self.revisions.len() > 1 && (self.revisions.len() > self.capacity || self.bytes > self.max_bytes) {
            self.pop();
        }
        self.give_room_back();
    }

    /// Gives up the oldest revisions until no more than `bytes` are held, at most `limit` of them, and
    /// returns them, so that they can be freed elsewhere. O(what is given up).
    pub(super) fn trim(&mut self, bytes: usize, limit: usize) -> Vec<Arc<Revision>> {
        let mut given_up = Vec::new();
        while self.bytes > bytes && given_up.len() < limit {
            given_up.extend(self.pop());
        }
        self.give_room_back();
        given_up
    }

    /// Begins another history, of which nothing is known up to this revision. Returns the one before, to be freed
    /// elsewhere. O(1).
    pub(super) fn resume_at(&mut self, revision: u64) -> Self {
        let (history, memory) = (self.history.wrapping_add(1), Arc::clone(&self.memory));
        let before = std::mem::replace(self, Self::new(self.capacity, self.max_bytes, memory));
        (self.head, self.history) = (revision, history);
        before
    }

    /// Which history of the swarm it is of.
    pub const fn history(&self) -> u32 {
        self.history
    }

    /// Keeps the end alone, for a swarm that is gone, and returns the rest.
    pub(super) fn close(&mut self) -> Vec<Arc<Revision>> {
        self.trim(FINAL_BYTES, usize::MAX)
    }

    fn pop(&mut self) -> Option<Arc<Revision>> {
        let (revision, cost) = self.revisions.pop_front()?;
        self.bytes -= cost;
        self.memory.used.fetch_sub(cost, Ordering::Relaxed);
        Some(revision)
    }

    /// Amortised O(1): it halves at the least.
    fn give_room_back(&mut self) {
        if self.revisions.capacity() > 16 && self.revisions.len() < self.revisions.capacity() / 4 {
            self.revisions.shrink_to(self.revisions.len() * 2);
        }
    }

    /// Bytes that it holds.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much it holds, in powers of two: logs of one class differ by less than a factor of two. 0 =
    /// nothing.
    pub(super) const fn class(&self) -> u32 {
        usize::BITS - self.bytes.leading_zeros()
    }

    /// The newest revision.
    pub const fn head(&self) -> u64 {
        self.head
    }

    /// What came after `revision`; at most `limit` revisions of it, and 16 KiB unless one alone has
    /// more.
    pub fn since(&self, revision: u64, limit: usize) -> Since {
        if revision > self.head {
            return Since::Unknown;
        }
        let missing = usize::try_from(self.head - revision).unwrap_or(usize::MAX);
        match self.revisions.len().checked_sub(missing) {
            None => Since::Lapped,
            Some(skip) => {
                let mut bytes = 0;
                let fits = |(_, cost): &&(Arc<Revision>, usize)| {
                    bytes += cost;
                    bytes <= LOOK_BYTES || bytes == *cost
                };
                let found = self.revisions.range(skip..).take(limit).take_while(fits);
                Since::Events(found.map(|(revision, _)| Arc::clone(revision)).collect())
            }
        }
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use starling_core::{GroupEvent, SharedEvent};

    use super::*;

    const ORIGIN: Origin = Origin { at: 0, actor: None };

    fn node(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    /// So many events, each with so many bytes of metadata.
    fn events(count: usize, metadata: usize) -> Vec<Event> {
        let updated = |_| {
            let config = Box::default();
            Event::Group(GroupEvent::Updated { metadata: vec![0; metadata].into_boxed_slice(), config })
        };
        (0..count).map(updated).collect()
    }

    /// What a log says that it holds, and what it does.
    fn assert_booked(log: &EventLog) {
        let held: usize = log.revisions.iter().map(|(revision, _)| revision.cost()).sum();
        assert_eq!((log.bytes(), log.memory.used()), (held, held));
        assert!(log.revisions.capacity() <= 16.max(4 * log.revisions.len()), "room is given back");
    }

    #[test]
    fn log_books_what_its_revisions_cost() {
        let memory = LogMemory::new(usize::MAX);
        let mut log = EventLog::new(64, 40_000, Arc::clone(&memory));
        // A fixed order of sizes that meets both bounds, and a revision that is larger than the log.
        let mut number = 0;
        for round in 0..2_000 {
            number += 1;
            let size = if round % 501 == 500 { 60_000 } else { round * 7_919 % 3_000 };
            log.append(number, ORIGIN, events(1 + round % 3, size));
            assert_booked(&log);
            let one = log.revisions.len() == 1;
            assert!(log.revisions.len() <= 64 && (log.bytes() <= 40_000 || one) && !log.revisions.is_empty());
            if round % 97 == 0 {
                let before = log.bytes();
                let given_up = log.trim(before / 2, 8);
                assert!(given_up.len() == 8 || log.bytes() <= before / 2);
                assert_booked(&log);
            }
        }
        drop(log);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn encoded_events_are_within_their_cost() {
        let left = SharedEvent::AuthorityGranted { node: node(u64::MAX), channels: std::iter::empty().collect() };
        for events in [events(3, 1_024), vec![left.into()]] {
            let mut log = EventLog::new(1, usize::MAX, LogMemory::new(usize::MAX));
            log.append(1, ORIGIN, events);
            let revision = Arc::clone(&log.revisions.front().unwrap().0);
            // As much as an event holds, and what its numbers take at the most.
            let encode = |event: &Event| Bytes::from(vec![0; event.heap_bytes() + 128]);
            let handles: usize = [View::Basic, View::Full]
                .into_iter()
                .map(|view| {
                    revision.encoded(view, encode).iter().map(|one| one.len() + size_of::<Bytes>()).sum::<usize>()
                })
                .sum();
            let plain: usize = revision.events.iter().map(|event| size_of::<Event>() + event.heap_bytes()).sum();
            assert!(size_of::<Revision>() + plain + handles <= log.bytes());
        }
    }

    #[test]
    fn look_brings_few_bytes_but_one_revision() {
        let mut log = EventLog::new(100, usize::MAX, LogMemory::new(usize::MAX));
        for number in 1..=100 {
            log.append(number, ORIGIN, events(1, if number == 50 { 2 * LOOK_BYTES } else { 256 }));
        }
        let mut cursor = 0;
        while cursor < 100 {
            let Since::Events(found) = log.since(cursor, 64) else { panic!("it is all there") };
            let bytes: usize = found.iter().map(|revision| revision.cost()).sum();
            assert!(bytes <= LOOK_BYTES || found.len() == 1, "{bytes} bytes of {}", found.len());
            for revision in found {
                cursor += 1;
                assert_eq!(revision.number, cursor, "neither hole nor duplicate");
            }
        }
    }
}
