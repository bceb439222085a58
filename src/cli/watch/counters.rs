//! What came, in numbers.

use std::time::{Duration, SystemTime};

use indicatif::HumanBytes;

use crate::pb::swarm::v1::Update;

/// Counts updates, bytes, gaps and latencies.
#[derive(Debug)]
pub(super) struct Counters {
    began: SystemTime,
    updates: u64,
    bytes: u64,
    gaps: u64,
    accepted: Latency,
    end_to_end: Latency,
}

/// The latencies of one kind: all, and those since the last look.
#[derive(Clone, Copy, Debug, Default)]
struct Latency {
    all: Sum,
    recent: Sum,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u32,
    total: Duration,
    most: Duration,
}

impl Sum {
    fn add(&mut self, time: Duration) {
        self.count = self.count.saturating_add(1);
        self.total = self.total.saturating_add(time);
        self.most = self.most.max(time);
    }

    /// The mean, in milliseconds.
    fn mean(&self) -> Option<String> {
        Some(format!("{:.1} ms", self.total.checked_div(self.count)?.as_secs_f64() * 1_000.0))
    }

    /// The mean and the most.
    fn told(&self) -> Option<String> {
        Some(format!("{}, at most {:.1} ms", self.mean()?, self.most.as_secs_f64() * 1_000.0))
    }
}

impl Latency {
    /// A time that lies ahead counts as now: clocks differ.
    fn add(&mut self, since: SystemTime, now: SystemTime) {
        let time = now.duration_since(since).unwrap_or_default();
        self.all.add(time);
        self.recent.add(time);
    }
}

impl Counters {
    /// Counts from `now` on.
    pub(super) const fn new(now: SystemTime) -> Self {
        const NONE: Sum = Sum { count: 0, total: Duration::ZERO, most: Duration::ZERO };
        const UNKNOWN: Latency = Latency { all: NONE, recent: NONE };
        Self { began: now, updates: 0, bytes: 0, gaps: 0, accepted: UNKNOWN, end_to_end: UNKNOWN }
    }

    pub(super) fn update(&mut self, update: &Update, now: SystemTime) {
        self.updates += 1;
        self.bytes += update.payload.len() as u64;
        let Some(accepted_at) = update.accepted_at.and_then(|at| SystemTime::try_from(at).ok()) else { return };
        // What was accepted before comes from the cache, and its age is no latency.
        if accepted_at < self.began {
            return;
        }
        self.accepted.add(accepted_at, now);
        if let Some(timestamp) = update.timestamp.and_then(|at| SystemTime::try_from(at).ok()) {
            self.end_to_end.add(timestamp, now);
        }
    }

    pub(super) const fn gap(&mut self) {
        self.gaps += 1;
    }

    /// The state of now, for a line that is refreshed; short, since a terminal cuts it off. Latencies are
    /// the means since the last one.
    pub(super) fn line(&mut self) -> String {
        let Self { updates, gaps, .. } = *self;
        let mut line = format!("{updates} updates, {}, {gaps} gaps", HumanBytes(self.bytes));
        for (name, latency) in [("latency", &mut self.accepted), ("end to end", &mut self.end_to_end)] {
            if let Some(mean) = std::mem::take(&mut latency.recent).mean() {
                line += &format!(", {name} {mean}");
            }
        }
        line
    }

    /// The mean and the longest latency; `None` when there was nothing to measure.
    pub(super) fn latency(&self) -> Option<String> {
        let mut told = format!("latency since acceptance: {}", self.accepted.all.told()?);
        if let Some(end_to_end) = self.end_to_end.all.told() {
            told += &format!("; end to end: {end_to_end}");
        }
        Some(told)
    }

    /// What came, at the end. Programs read it.
    pub(super) fn summary(&self) -> String {
        format!("received {} updates, {} bytes, {} gaps", self.updates, self.bytes, self.gaps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000 + millis)
    }

    fn update(timestamp: u64, accepted_at: u64) -> Update {
        Update {
            payload: vec![0; 10].into(),
            timestamp: Some(after(timestamp).into()),
            accepted_at: Some(after(accepted_at).into()),
            ..Default::default()
        }
    }

    #[test]
    fn latencies_are_told_since_the_last_look_and_over_all() {
        let mut counters = Counters::new(after(100));
        assert_eq!(counters.line(), "0 updates, 0 B, 0 gaps");
        counters.update(&update(90, 100), after(102));
        counters.update(&update(190, 200), after(204));
        counters.gap();
        assert_eq!(counters.line(), "2 updates, 20 B, 1 gaps, latency 3.0 ms, end to end 13.0 ms");
        assert_eq!(counters.line(), "2 updates, 20 B, 1 gaps");
        let latencies = "latency since acceptance: 3.0 ms, at most 4.0 ms; end to end: 13.0 ms, at most 14.0 ms";
        assert_eq!(counters.latency().as_deref(), Some(latencies));
        assert_eq!(counters.summary(), "received 2 updates, 20 bytes, 1 gaps");
    }

    #[test]
    fn the_age_of_what_was_cached_is_no_latency_and_clocks_may_differ() {
        let mut counters = Counters::new(after(100));
        counters.update(&update(10, 20), after(102));
        assert_eq!((counters.updates, counters.latency()), (1, None));
        counters.update(&update(300, 300), after(250));
        let latencies = "latency since acceptance: 0.0 ms, at most 0.0 ms; end to end: 0.0 ms, at most 0.0 ms";
        assert_eq!(counters.latency().as_deref(), Some(latencies));
    }
}
