//! A rate, as a token bucket (GCRA).

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Micros;

/// What comes in so many seconds piles up.
const BURST_SECONDS: u32 = 2;

/// A token bucket: so many tokens come in a second, and those of two seconds pile up.
#[derive(Debug)]
pub(crate) struct RateLimit {
    bucket: RateLimiter<NotKeyed, InMemoryState, HandedTime, NoOpMiddleware<Nanos>>,
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

/// The time that whoever asks has handed in. Two who ask at once may take each other's, which is the same.
#[derive(Debug)]
struct HandedTime(AtomicU64);

impl Clock for HandedTime {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.load(Ordering::Relaxed))
    }
}

fn nanos(now: Micros) -> u64 {
    now.get().saturating_mul(1_000)
}

/// How many tokens a bucket has room for at a rate of so many in a second: at least so many.
const fn burst(per_second: u32, least: u32) -> u32 {
    let burst = per_second.saturating_mul(BURST_SECONDS);
    if burst < least { least } else { burst }
}

impl RateLimit {
    /// A full bucket, which has room for `least` tokens at least. `None` = no limit, where none come in a second.
    pub(crate) fn new(per_second: u32, least: u32, now: Micros) -> Option<Self> {
        let per_second = NonZeroU32::new(per_second)?;
        let burst = NonZeroU32::new(burst(per_second.get(), least))?;
        let quota = Quota::per_second(per_second).allow_burst(burst);
        let bucket = RateLimiter::direct_with_clock(quota, HandedTime(AtomicU64::new(nanos(now))));
        Some(Self { bucket, per_second, burst })
    }

    /// Takes tokens, as many as there is room for at the most. O(1), without a lock.
    ///
    /// # Errors
    ///
    /// When there are not so many, and when there will be. Nothing is taken then.
    pub(crate) fn take(&self, tokens: u32, now: Micros) -> Result<(), Duration> {
        let Some(tokens) = NonZeroU32::new(tokens.min(self.burst.get())) else { return Ok(()) };
        self.bucket.clock().0.store(nanos(now), Ordering::Relaxed);
        match self.bucket.check_n(tokens) {
            Ok(Err(refused)) => Err(refused.wait_time_from(Nanos::from(nanos(now)))),
            // There is always room for so many.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    /// How long it takes until an empty bucket is full again; zero where there is no limit.
    pub(crate) fn refill(per_second: u32, least: u32) -> Duration {
        if per_second == 0 {
            return Duration::ZERO;
        }
        Duration::from_secs(burst(per_second, least).div_ceil(per_second).into())
    }

    /// Tokens that come in a second.
    pub(crate) const fn per_second(&self) -> u32 {
        self.per_second.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn at(micros: u64) -> Micros {
        Micros::new(3_600 * SECOND + micros)
    }

    #[test]
    fn two_seconds_pile_up_and_no_more() {
        let rate = RateLimit::new(10, 0, at(0)).unwrap();
        assert!((0..20).all(|_| rate.take(1, at(0)).is_ok()));
        assert_eq!(rate.take(1, at(0)), Err(Duration::from_millis(100)));
        assert_eq!(rate.take(1, at(40_000)), Err(Duration::from_millis(60)));
        assert_eq!(rate.take(1, at(100_000)), Ok(()));
        assert!(rate.take(1, at(100_000)).is_err());
        let later = at(60 * SECOND);
        assert_eq!((0..100).filter(|_| rate.take(1, later).is_ok()).count(), 20);
    }

    #[test]
    fn refused_tokens_are_not_taken() {
        let rate = RateLimit::new(10, 0, at(0)).unwrap();
        rate.take(15, at(0)).unwrap();
        assert_eq!(rate.take(10, at(0)), Err(Duration::from_millis(500)));
        assert_eq!(rate.take(5, at(0)), Ok(()));
    }

    #[test]
    fn largest_amount_has_room_at_any_rate() {
        let rate = RateLimit::new(1, 16, at(0)).unwrap();
        rate.take(16, at(0)).unwrap();
        assert_eq!(rate.take(16, at(0)), Err(Duration::from_secs(16)));
        // What is larger waits for a full bucket.
        assert_eq!(rate.take(1_000, at(16 * SECOND)), Ok(()));
        assert_eq!(rate.take(0, at(16 * SECOND)), Ok(()));
        assert_eq!(RateLimit::refill(1, 16), Duration::from_secs(16));
        assert_eq!((RateLimit::refill(1_000, 16), RateLimit::refill(0, 16)), (Duration::from_secs(2), Duration::ZERO));
    }

    #[test]
    fn no_rate_is_no_limit() {
        assert!(RateLimit::new(0, 16, at(0)).is_none());
        let most = RateLimit::new(u32::MAX, 0, at(0)).unwrap();
        assert_eq!(most.take(u32::MAX, at(0)), Ok(()));
    }
}
