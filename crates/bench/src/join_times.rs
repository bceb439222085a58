//! When joins were sent and answered, so that a delta that shows one tells how late it is.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::latencies::Latencies;
use super::stamp::Clock;

/// The join_times of some nodes, and what came of them.
#[derive(Debug)]
pub(crate) struct JoinTimes {
    clock: Clock,
    first: u64,
    nodes: Box<[JoinTime]>,
    /// From when a join was sent, and from when it was answered, until a delta showed it; 0 when the
    /// delta was there before the answer.
    pub(crate) since_sent: Latencies,
    pub(crate) since_reply: Latencies,
    seen: AtomicU64,
    ahead: AtomicU64,
}

/// One node's last join, in nanoseconds of the clock; 0 = none that is to be shown.
#[derive(Debug, Default)]
struct JoinTime {
    sent: AtomicU64,
    replied: AtomicU64,
}

impl JoinTimes {
    /// JoinTimes for nodes with these ids.
    pub(crate) fn new(nodes: Range<u64>) -> Self {
        Self {
            clock: Clock::start(),
            first: nodes.start,
            nodes: nodes.map(|_| JoinTime::default()).collect(),
            since_sent: Latencies::new(),
            since_reply: Latencies::new(),
            seen: AtomicU64::new(0),
            ahead: AtomicU64::new(0),
        }
    }

    fn of(&self, node: u64) -> Option<&JoinTime> {
        self.nodes.get(usize::try_from(node.checked_sub(self.first)?).ok()?)
    }

    /// A node's join is sent.
    pub(crate) fn sent(&self, node: u64) {
        if let Some(time) = self.of(node) {
            time.sent.store(self.clock.now(), Ordering::Release);
        }
    }

    /// It is answered.
    pub(crate) fn replied(&self, node: u64) {
        if let Some(time) = self.of(node) {
            time.replied.store(self.clock.now(), Ordering::Release);
        }
    }

    /// A delta has added a node. Only the first one after its join counts: later ones tell that it was
    /// moved.
    pub(crate) fn added(&self, node: u64) {
        let Some(time) = self.of(node) else { return };
        let now = self.clock.now();
        let sent = time.sent.swap(0, Ordering::AcqRel);
        if sent == 0 {
            return;
        }
        let replied = time.replied.load(Ordering::Acquire);
        let answered = replied >= sent;
        self.seen.fetch_add(1, Ordering::Relaxed);
        self.ahead.fetch_add(u64::from(!answered), Ordering::Relaxed);
        self.since_sent.record(now.saturating_sub(sent));
        self.since_reply.record(if answered { now.saturating_sub(replied) } else { 0 });
    }

    /// Joins that a delta has shown, and how many of them before they were answered.
    pub(crate) fn seen(&self) -> (u64, u64) {
        (self.seen.load(Ordering::Relaxed), self.ahead.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_delta_after_a_join_counts() {
        let join_times = JoinTimes::new(5..7);
        join_times.added(5);
        join_times.added(4);
        join_times.added(7);
        assert_eq!(join_times.seen(), (0, 0), "nobody has joined");
        join_times.sent(5);
        join_times.added(5);
        join_times.replied(5);
        join_times.added(5);
        assert_eq!(join_times.seen(), (1, 1), "ahead of the answer, and once");
        join_times.sent(6);
        join_times.replied(6);
        join_times.added(6);
        assert_eq!(join_times.seen(), (2, 1));
    }
}
