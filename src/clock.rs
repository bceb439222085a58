//! The one place where time enters.
//!
//! Three times, each for its own purpose: [`Clock::now`] for what is decided (leases,
//! retention, every other deadline of a swarm), [`Clock::wall`] for what is only shown, and
//! [`uptime`] for ages of updates.

use std::fmt;
use std::ops::{Add, AddAssign, Mul};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// Microseconds: a moment by [`uptime`], or how far two of them are apart. Not to be mixed
/// with the milliseconds of commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(u64);

impl Micros {
    /// None.
    pub const ZERO: Self = Self(0);

    /// So many microseconds.
    pub const fn new(micros: u64) -> Self {
        Self(micros)
    }

    /// So many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000)
    }

    /// The number of microseconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The difference; zero when `other` is more.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Micros {
    type Output = Self;

    fn add(self, later: Self) -> Self {
        Self(self.0 + later.0)
    }
}

impl AddAssign for Micros {
    fn add_assign(&mut self, later: Self) {
        *self = *self + later;
    }
}

impl Mul<u64> for Micros {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self(self.0 * times)
    }
}

impl From<Micros> for Duration {
    fn from(micros: Micros) -> Self {
        Self::from_micros(micros.0)
    }
}

/// The time on a clock that never goes back; for ages, not for commands.
pub fn uptime() -> Micros {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    // Not from zero: what is older than the process is never younger than nothing.
    Micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX) + 3_600_000_000)
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
