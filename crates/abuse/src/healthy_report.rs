//! What healthy clients saw: latencies, and what went wrong.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency that is told apart from longer ones, in microseconds.
const LONGEST: u64 = 60_000_000;
/// Errors that are kept in words.
const WORDS: usize = 4;

/// Latencies in microseconds, and what went wrong.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) deliveries: Histogram<u64>,
    pub(crate) old: Histogram<u64>,
    pub(crate) new: Histogram<u64>,
    pub(crate) gaps: u64,
    pub(crate) lost: u64,
    pub(crate) refusals: u64,
    pub(crate) cuts: u64,
    errors: Vec<String>,
}

/// Quantiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// What the healthy clients saw for a while.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct HealthyReport {
    /// From when an update was due until it was read.
    pub(crate) deliveries: Latency,
    /// From when a call was due until it was answered, on a connection that stays open.
    pub(crate) old_connection: Latency,
    /// The same on a connection of its own each time.
    pub(crate) new_connection: Latency,
    /// Updates that were left out for lag, as gaps that were told.
    pub(crate) gaps: u64,
    /// Updates that did not come, and no gap in their place.
    pub(crate) lost: u64,
    /// Calls without their answer.
    pub(crate) refusals: u64,
    /// Streams that ended.
    pub(crate) cuts: u64,
    /// The first errors in words.
    pub(crate) errors: Vec<String>,
}

impl Counts {
    pub(crate) fn new() -> Self {
        let histogram = || Histogram::new_with_max(LONGEST, 3).expect("three digits are allowed");
        Self {
            deliveries: histogram(),
            old: histogram(),
            new: histogram(),
            gaps: 0,
            lost: 0,
            refusals: 0,
            cuts: 0,
            errors: Vec::new(),
        }
    }

    pub(crate) fn error(&mut self, text: &str) {
        if self.errors.len() < WORDS && !self.errors.iter().any(|error| error == text) {
            self.errors.push(text.to_owned());
        }
    }

    pub(crate) fn report(self) -> HealthyReport {
        HealthyReport {
            deliveries: latency(&self.deliveries),
            old_connection: latency(&self.old),
            new_connection: latency(&self.new),
            gaps: self.gaps,
            lost: self.lost,
            refusals: self.refusals,
            cuts: self.cuts,
            errors: self.errors,
        }
    }
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    let milliseconds = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    Latency { count: histogram.len(), p50: milliseconds(0.5), p99: milliseconds(0.99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_has_quantiles_in_milliseconds() {
        let mut counts = Counts::new();
        (1..=100).for_each(|ms| counts.old.saturating_record(ms * 1_000));
        let report = counts.report();
        assert_eq!(report.old_connection.count, 100);
        assert!((49.0..=51.0).contains(&report.old_connection.p50), "{report:?}");
        assert!((98.0..=100.0).contains(&report.old_connection.p99), "{report:?}");
        assert_eq!(report.new_connection.count, 0);
    }

    #[test]
    fn few_different_errors_are_kept() {
        let mut counts = Counts::new();
        for number in [1, 1, 2, 3, 4, 5] {
            counts.error(&number.to_string());
        }
        assert_eq!(counts.errors, ["1", "2", "3", "4"]);
    }
}
