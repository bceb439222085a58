//! The one place where time enters.
//!
//! Three times, each for its own purpose: [`Clock::now`] for what is decided (leases,
//! retention, every other deadline of a swarm), [`Clock::wall`] for what is only shown, and
//! [`uptime`] for ages of updates.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Tells the time of commands, and that of the wall. Cloning it is shallow.
#[derive(Clone)]
pub struct Clock {
    shared: Arc<Shared>,
}

struct Shared {
    began: Instant,
    /// What the wall clock said then.
    began_at: u64,
    wall: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Clock {
    /// The clock of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self::over(system_time)
    }

    /// A clock over a wall clock of the caller's own, in milliseconds since the Unix epoch.
    pub fn over(wall: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { shared: Arc::new(Shared { began: Instant::now(), began_at: wall(), wall: Box::new(wall) }) }
    }

    /// The time of commands, in milliseconds since the Unix epoch. It begins with the wall
    /// clock and then goes on evenly: when that is set, forwards or back, nothing falls due
    /// sooner or later for it.
    #[must_use]
    pub fn now(&self) -> u64 {
        let since = u64::try_from(self.shared.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.began_at.saturating_add(since)
    }

    /// What the wall clock says, in milliseconds since the Unix epoch: for others, who
    /// compare it with clocks of theirs. It may jump.
    #[must_use]
    pub fn wall(&self) -> u64 {
        (self.shared.wall)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("now", &self.now()).finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where wall-clock time enters")]
fn system_time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Microseconds on a clock that never goes back; for ages, not for commands.
pub fn uptime() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    // Not from zero: what is older than the process is never younger than nothing.
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX) + 3_600_000_000
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn wall_clock_jumps_do_not_move_the_clock() {
        let wall = Arc::new(AtomicU64::new(100 * HOUR));
        let shown = Arc::clone(&wall);
        let clock = Clock::over(move || shown.load(Ordering::Relaxed));
        let mut last = clock.now();
        for hours in [101, 99, 0, u64::MAX / HOUR] {
            wall.store(hours * HOUR, Ordering::Relaxed);
            let now = clock.now();
            assert!((last..last + HOUR).contains(&now), "{now} after {last}");
            assert_eq!(clock.wall(), hours * HOUR, "what is shown is what the wall says");
            last = now;
        }
    }

    #[test]
    fn the_clock_begins_with_the_wall_clock() {
        let clock = Clock::over(|| 100 * HOUR);
        assert!((100 * HOUR..101 * HOUR).contains(&clock.now()));
        assert!(Clock::over(|| u64::MAX).now() == u64::MAX, "and does not overflow");
    }
}
