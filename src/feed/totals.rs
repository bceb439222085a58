//! What all feeds of the process have counted together, those that are gone included.
//!
//! A delivery is counted in its feed alone, under the lock that it holds anyway. What a feed has counted since
//! it was last asked is added here when the sums are wanted ([`Memory::sum_up`](super::Memory::sum_up)), with
//! each look at the age of its records, and when it goes: so a delivery touches nothing that feeds share, and the
//! sums never go down.

use std::sync::atomic::{AtomicU64, Ordering};

use super::counts::{Counts, FIGURES};

/// The names of the reasons for which updates are not taken, in figures.
const REFUSALS: [&str; 9] = [
    "stale_term",
    "closed",
    "muted",
    "rate_limited",
    "feed_memory",
    "out_of_order",
    "outcome_unknown",
    "unsigned",
    "bad_signature",
];

/// What all feeds have counted together.
#[derive(Debug)]
pub struct FeedTotals {
    figures: [AtomicU64; FIGURES],
    rejected: [AtomicU64; REFUSALS.len()],
    readers_refused: AtomicU64,
}

impl Default for FeedTotals {
    fn default() -> Self {
        let zero = |_| AtomicU64::new(0);
        Self {
            figures: std::array::from_fn(zero),
            rejected: std::array::from_fn(zero),
            readers_refused: AtomicU64::new(0),
        }
    }
}

impl FeedTotals {
    /// Adds what a feed has counted beyond what it had before.
    pub(super) fn add(&self, now: &Counts, before: &Counts) {
        for (sum, (now, before)) in self.figures.iter().zip(now.figures().into_iter().zip(before.figures())) {
            if now != before {
                sum.fetch_add(now - before, Ordering::Relaxed);
            }
        }
    }

    /// Counts an update that was not taken, by the place of the reason among [`REFUSALS`].
    pub(super) fn reject(&self, refusal: usize) {
        self.rejected[refusal].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a subscription for which there was no memory.
    pub(super) fn refuse_reader(&self) {
        self.readers_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The sums of what feeds count, as of when each was asked last.
    pub fn counts(&self) -> Counts {
        Counts::from_figures(&std::array::from_fn(|at| self.figures[at].load(Ordering::Relaxed)))
    }

    /// Updates that were not taken, by the names of the reasons.
    pub fn rejected(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REFUSALS.into_iter().zip(&self.rejected).map(|(kind, count)| (kind, count.load(Ordering::Relaxed)))
    }

    /// Subscriptions for which there was no memory.
    pub fn readers_refused(&self) -> u64 {
        self.readers_refused.load(Ordering::Relaxed)
    }
}
