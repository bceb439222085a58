//! The one place where time enters.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "this is where wall-clock time enters")]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Microseconds on a clock that never goes back; for ages, not for commands.
#[expect(clippy::disallowed_methods, reason = "ages of updates are told by the same clock everywhere")]
pub fn uptime() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    // Not from zero: what is older than the process is never younger than nothing.
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX) + 3_600_000_000
}
