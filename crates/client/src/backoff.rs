//! How long to wait before the next try.

use std::time::Duration;

use rand::{Rng, RngExt};

/// How a stream that was cut is opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The longest wait before the first try; doubles with each further one. Default 250 ms.
    pub first: Duration,
    /// What the longest wait never exceeds, unless the server asks for more. Default 10 s.
    pub longest: Duration,
    /// How long after a cut to give up. Default 60 s.
    pub patience: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { first: Duration::from_millis(250), longest: Duration::from_secs(10), patience: Duration::from_secs(60) }
    }
}

/// Exponential back-off with full jitter: each wait is drawn evenly from nothing to a
/// bound that doubles, so that clients cut together do not come back together.
///
/// It has no clock and no random source of its own.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    tries: u32,
}

impl Backoff {
    /// Starts at the first try.
    pub const fn new(retry: Retry) -> Self {
        Self { first: retry.first, longest: retry.longest, tries: 0 }
    }

    /// The wait before the next try. `asked` is what the server asked for, in a RetryInfo
    /// or a goodbye: the wait is never shorter, and spreads over as much again. A server
    /// that asks for no wait at all is ready: the first try is made at once.
    pub fn next(&mut self, asked: Option<Duration>, random: &mut impl Rng) -> Duration {
        if asked == Some(Duration::ZERO) && self.tries == 0 {
            self.tries = 1;
            return Duration::ZERO;
        }
        let bound = self.first.saturating_mul(1 << self.tries.min(20)).min(self.longest);
        self.tries = self.tries.saturating_add(1);
        let least = asked.unwrap_or_default();
        let spread = bound.max(least).mul_f64(random.random_range(0.0..=1.0));
        least.saturating_add(spread)
    }

    /// The stream works: the next cut begins with short waits again.
    pub const fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn backoff() -> Backoff {
        Backoff::new(Retry { first: SECOND / 4, longest: 10 * SECOND, patience: 60 * SECOND })
    }

    #[test]
    fn waits_spread_evenly_below_a_bound_that_doubles() {
        let mut random = StdRng::seed_from_u64(7);
        for (tries, bound) in [(0, 250), (1, 500), (3, 2_000), (5, 8_000), (6, 10_000), (1_000, 10_000)] {
            let bound = Duration::from_millis(bound);
            let waits: Vec<_> = (0..1_000)
                .map(|_| {
                    let mut backoff = backoff();
                    backoff.tries = tries;
                    backoff.next(None, &mut random)
                })
                .collect();
            assert!(waits.iter().all(|wait| *wait <= bound));
            let quarters = waits.iter().filter(|wait| **wait < bound / 4).count();
            assert!((200..300).contains(&quarters), "{quarters} of 1000 in the first quarter");
            assert!(waits.iter().max() > Some(&bound.mul_f64(0.95)), "the bound is used");
        }
    }

    #[test]
    fn a_reset_begins_with_short_waits_again() {
        let mut random = StdRng::seed_from_u64(7);
        let mut backoff = backoff();
        for _ in 0..100 {
            backoff.next(None, &mut random);
        }
        backoff.reset();
        assert!(backoff.next(None, &mut random) <= SECOND / 4);
    }

    #[test]
    fn zero_server_delay_applies_to_the_first_retry() {
        let mut random = StdRng::seed_from_u64(7);
        let mut waits = || {
            let mut backoff = backoff();
            [0, 1].map(|_| backoff.next(Some(Duration::ZERO), &mut random))
        };
        let waits: Vec<_> = (0..100).map(|_| waits()).collect();
        assert!(waits.iter().all(|[first, _]| first.is_zero()));
        assert!(waits.iter().any(|[_, second]| *second > SECOND / 4), "it may not be ready after all");
    }

    #[test]
    fn server_delay_is_a_minimum_with_jitter() {
        let mut random = StdRng::seed_from_u64(7);
        let waits: Vec<_> = (0..1_000).map(|_| backoff().next(Some(3 * SECOND), &mut random)).collect();
        assert!(waits.iter().all(|wait| (3 * SECOND..=6 * SECOND).contains(wait)));
        assert!(waits.iter().max() > Some(&(5 * SECOND)), "not all of them at once");
        assert_eq!(backoff().next(Some(Duration::MAX), &mut random).min(SECOND), SECOND, "no overflow");
    }
}
