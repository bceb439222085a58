//! The pod's own clock: milliseconds that only go forward, the same for all its partitions.

use std::time::Duration;

use tokio::time::Instant;

/// The farthest that anything is waited for at once.
const FARTHEST_MS: u64 = 3_600_000;

/// Tells a pod's replicas the time, in milliseconds since the pod began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodClock {
    began: Instant,
}

impl PodClock {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now() }
    }

    pub(crate) fn now(self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The moment at which it will be `at`, or one before it when that is far.
    pub(crate) fn moment(self, at: u64) -> Instant {
        self.began + Duration::from_millis(at.min(self.now() + FARTHEST_MS))
    }

    /// When so much time will have passed.
    pub(crate) fn after(self, time: Duration) -> u64 {
        self.now().saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }
}
