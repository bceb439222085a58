//! What a feed counts, on this pod.

use super::gap::GapReason;
use crate::clock::Micros;

/// Number of latency buckets: up to 64 us, 128 us, .., 34 s, and all above.
pub const BUCKETS: usize = 21;

/// Upper bound of the first bucket, in microseconds; each next one is twice as wide.
const FIRST: u64 = 64;

/// Upper bound of a latency bucket, inclusive; `None` = all above.
pub const fn bucket_bound(bucket: usize) -> Option<Micros> {
    if bucket + 1 < BUCKETS { Some(Micros::new(FIRST << bucket)) } else { None }
}

fn bucket(latency: Micros) -> usize {
    let doublings = latency.get().div_ceil(FIRST).max(1).next_power_of_two().trailing_zeros();
    (doublings as usize).min(BUCKETS - 1)
}

/// What a feed counts, on this pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Updates taken.
    pub published: u64,
    /// Their payloads, in bytes.
    pub published_bytes: u64,
    /// Updates handed to subscribers.
    pub delivered: u64,
    /// Their records, in bytes.
    pub delivered_bytes: u64,
    /// Updates lost, by [`GapReason::ALL`].
    pub dropped: [u64; GapReason::ALL.len()],
    /// Deliveries to subscribers that were up to date, by time since acceptance; see
    /// [`bucket_bound`].
    pub latency: [u64; BUCKETS],
    /// The sum of the times that `latency` sorts.
    pub latency_sum: Micros,
    /// Subscribers cut off because they did not read.
    pub slow_readers: u64,
    /// Gaps told, by [`GapReason::ALL`]; one whose end is told later counts once.
    pub gaps: [u64; GapReason::ALL.len()],
    /// Keyframes that publishers were asked for.
    pub keyframe_requests: u64,
}

/// Numbers in [`Counts`].
pub(super) const FIGURES: usize = 7 + 2 * GapReason::ALL.len() + BUCKETS;

impl Counts {
    pub(super) const fn delivered(&mut self, bytes: usize) {
        self.delivered += 1;
        self.delivered_bytes += bytes as u64;
    }

    pub(super) fn after(&mut self, latency: Micros) {
        self.latency[bucket(latency)] += 1;
        self.latency_sum += latency;
    }

    pub(super) const fn dropped(&mut self, reason: GapReason, updates: u64) {
        self.dropped[reason as usize] += updates;
    }

    pub(super) const fn gap(&mut self, reason: GapReason) {
        self.gaps[reason as usize] += 1;
    }

    /// Everything in a fixed order.
    pub(super) fn figures(&self) -> [u64; FIGURES] {
        let Self {
            published,
            published_bytes,
            delivered,
            delivered_bytes,
            dropped,
            latency,
            latency_sum,
            slow_readers,
            gaps,
            keyframe_requests,
        } = *self;
        let single = [
            published,
            published_bytes,
            delivered,
            delivered_bytes,
            latency_sum.get(),
            slow_readers,
            keyframe_requests,
        ];
        let mut figures = single.into_iter().chain(dropped).chain(gaps).chain(latency);
        std::array::from_fn(|_| figures.next().expect("there are as many as are counted"))
    }

    /// Everything in a fixed order, for another process.
    pub fn to_figures(&self) -> Vec<u64> {
        self.figures().to_vec()
    }

    /// Adds what another process has counted.
    pub fn add(&mut self, other: &Self) {
        let (mut sum, more) = (self.figures(), other.figures());
        sum.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        *self = Self::from_figures(&sum);
    }

    /// The counts of another process; `None` when it counts other things.
    pub fn of_figures(figures: &[u64]) -> Option<Self> {
        Some(Self::from_figures(figures.try_into().ok()?))
    }

    /// The counts of these figures, in the order of [`Self::figures`].
    pub(super) fn from_figures(figures: &[u64; FIGURES]) -> Self {
        let mut figures = figures.iter().copied();
        let mut next = || figures.next().expect("there are as many as are counted");
        Self {
            published: next(),
            published_bytes: next(),
            delivered: next(),
            delivered_bytes: next(),
            latency_sum: Micros::new(next()),
            slow_readers: next(),
            keyframe_requests: next(),
            dropped: std::array::from_fn(|_| next()),
            gaps: std::array::from_fn(|_| next()),
            latency: std::array::from_fn(|_| next()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_counts_are_the_same() {
        let figures = std::array::from_fn(|at| at as u64 + 1);
        let counts = Counts::from_figures(&figures);
        assert_eq!(counts.figures(), figures);
        assert_eq!((counts.published, counts.latency[BUCKETS - 1]), (1, FIGURES as u64));
    }

    #[test]
    fn latency_falls_into_its_narrowest_bucket() {
        for latency in [0, 1, 64, 65, 128, 129, 1_000_000, 33_554_432, 33_554_433, u64::MAX / 4] {
            let latency = Micros::new(latency);
            let found = bucket(latency);
            assert!(bucket_bound(found).is_none_or(|bound| latency <= bound), "{latency:?}");
            assert!(found == 0 || bucket_bound(found - 1).is_some_and(|bound| latency > bound), "{latency:?}");
        }
    }
}
