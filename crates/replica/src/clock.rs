//! The lease clock: time as the log has it.

/// The most that one entry advances the clock, in milliseconds.
pub const MAX_STEP_MS: u64 = 3_000;

/// Advances with the timestamps of the log, and never far at once: neither a clock that is set, nor an election, nor an
/// outage, nor a scale to zero ends a lease. Milliseconds since the Unix epoch, as far as the log has always gone on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseClock {
    now: u64,
    last_timestamp: u64,
}

impl LeaseClock {
    /// The clock of a log whose first entry has this timestamp.
    pub const fn starting_at(timestamp: u64) -> Self {
        Self { now: timestamp, last_timestamp: timestamp }
    }

    /// The clock that stands at `now` after an entry with this timestamp.
    pub(crate) const fn of_parts(now: u64, last_timestamp: u64) -> Self {
        Self { now, last_timestamp }
    }

    /// What it shows.
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// The timestamp of the last entry.
    pub const fn last_timestamp(&self) -> u64 {
        self.last_timestamp
    }

    /// Goes on by the step from the timestamp before, 0 to [`MAX_STEP_MS`].
    pub(crate) fn advance(&mut self, timestamp: u64) {
        let step = timestamp.saturating_sub(self.last_timestamp).min(MAX_STEP_MS);
        self.now = self.now.saturating_add(step);
        self.last_timestamp = timestamp;
    }

    /// Stands still until the entry after this timestamp.
    pub(crate) const fn resume_at(&mut self, timestamp: u64) {
        self.last_timestamp = timestamp;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_the_clock_are_clamped() {
        let hour = 3_600_000;
        let mut clock = LeaseClock::starting_at(10 * hour);
        for (timestamp, advance) in
            [(10 * hour + 5, 5), (11 * hour, MAX_STEP_MS), (11 * hour + 1, 1), (10 * hour, 0), (10 * hour + 7, 7)]
        {
            let before = clock.now();
            clock.advance(timestamp);
            assert_eq!(clock.now() - before, advance, "at {timestamp}");
        }
    }
}
