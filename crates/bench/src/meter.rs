//! What the viewers count, and the gate that holds a burst back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

use super::latencies::{Latencies, Latency};
use super::stamp::{self, Clock};

/// Batches that the fastest viewer may be ahead of the slowest, at most.
const SLOTS: u64 = 1_024;

/// Counters of one run, shared by its viewers and its publisher.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) clock: Clock,
    pub(crate) window: BurstWindow,
    counts: Box<[ViewerCounts]>,
    /// From when an update was due until it was read; of sampled deliveries.
    latencies: Latencies,
}

/// One viewer.
#[derive(Debug)]
struct ViewerCounts {
    updates: AtomicU64,
    gaps: AtomicU64,
    /// Its stream ended.
    cut: AtomicBool,
    /// It gets every update and reads it, so the gate waits for it.
    paces: bool,
}

impl Meter {
    /// A viewer for each of `paces`; the gate opens batch by batch.
    pub(crate) fn new(paces: impl Iterator<Item = bool>, batch: u64) -> Self {
        let count = |paces| ViewerCounts {
            updates: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            cut: AtomicBool::new(false),
            paces,
        };
        let counts: Box<[_]> = paces.map(count).collect();
        let waits_for = counts.iter().filter(|count| count.paces).count() as u64;
        Self { clock: Clock::start(), window: BurstWindow::new(waits_for, batch), counts, latencies: Latencies::new() }
    }

    /// Notes what a viewer got.
    pub(crate) fn count(&self, viewer: usize, updates: u64, gaps: u64) {
        let count = &self.counts[viewer];
        if gaps > 0 {
            count.gaps.fetch_add(gaps, Ordering::Relaxed);
        }
        if updates > 0 {
            let before = count.updates.fetch_add(updates, Ordering::Relaxed);
            if count.paces {
                self.window.passed(before, before + updates);
            }
        }
    }

    /// Notes how late the update with this payload is.
    pub(crate) fn sample(&self, payload: &[u8]) {
        if let Some(due) = stamp::due(payload) {
            self.latencies.record(self.clock.now().saturating_sub(due));
        }
    }

    /// Notes that a viewer's stream ended.
    pub(crate) fn cut(&self, viewer: usize) {
        self.counts[viewer].cut.store(true, Ordering::Relaxed);
    }

    /// Updates that a viewer got.
    pub(crate) fn updates_of(&self, viewer: usize) -> u64 {
        self.counts[viewer].updates.load(Ordering::Relaxed)
    }

    pub(crate) fn updates(&self) -> u64 {
        (0..self.counts.len()).map(|viewer| self.updates_of(viewer)).sum()
    }

    pub(crate) fn gaps(&self) -> u64 {
        self.counts.iter().map(|count| count.gaps.load(Ordering::Relaxed)).sum()
    }

    /// Viewers whose stream ended.
    pub(crate) fn cuts(&self) -> usize {
        self.counts.iter().filter(|count| count.cut.load(Ordering::Relaxed)).count()
    }

    pub(crate) fn latency(&self) -> Latency {
        self.latencies.summary()
    }
}

/// Tells how far every viewer has come, so that a burst outruns none of them by much.
#[derive(Debug)]
pub(crate) struct BurstWindow {
    waits_for: u64,
    batch: u64,
    /// Viewers that have had a batch, by its number modulo the slots.
    passed: Box<[AtomicU64]>,
    /// Batches that every viewer has had.
    open: AtomicU64,
    pub(crate) moved: Notify,
}

impl BurstWindow {
    fn new(waits_for: u64, batch: u64) -> Self {
        let passed = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { waits_for, batch, passed, open: AtomicU64::new(0), moved: Notify::new() }
    }

    fn passed(&self, before: u64, after: u64) {
        for batch in before / self.batch..after / self.batch {
            let slot = usize::try_from(batch % SLOTS).expect("the slots are few");
            if self.passed[slot].fetch_add(1, Ordering::AcqRel) + 1 == self.waits_for {
                self.passed[slot].store(0, Ordering::Release);
                self.open.fetch_max(batch + 1, Ordering::AcqRel);
                self.moved.notify_one();
            }
        }
    }

    /// Updates that every viewer has had, in whole batches; `None` when it waits for nobody.
    pub(crate) fn had(&self) -> Option<u64> {
        (self.waits_for > 0).then(|| self.open.load(Ordering::Acquire) * self.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gate_follows_the_slowest_awaited_viewer() {
        let meter = Meter::new([true, true, false].into_iter(), 4);
        meter.count(0, 9, 0);
        assert_eq!(meter.window.had(), Some(0));
        meter.count(1, 3, 1);
        meter.count(2, 100, 0);
        assert_eq!(meter.window.had(), Some(0));
        meter.count(1, 1, 0);
        assert_eq!(meter.window.had(), Some(4));
        meter.count(1, 5, 0);
        assert_eq!(meter.window.had(), Some(8));
        assert_eq!((meter.updates(), meter.gaps()), (118, 1));
    }

    #[test]
    fn gate_without_viewers_never_blocks() {
        assert_eq!(Meter::new([false].into_iter(), 4).window.had(), None);
    }
}
