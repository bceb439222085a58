//! Latencies, and their quantiles.

use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;

/// The longest latency that is told apart from longer ones, in microseconds.
const LONGEST: u64 = 60_000_000;

/// A histogram in microseconds, exact to three digits, that many may fill.
#[derive(Debug)]
pub(crate) struct Latencies(Mutex<Histogram<u64>>);

/// What they come to, in milliseconds.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Histogram::new_with_max(LONGEST, 3).expect("three digits are allowed")))
    }

    pub(crate) fn record(&self, nanos: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(nanos / 1_000);
    }

    pub(crate) fn summary(&self) -> Latency {
        let latencies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let milliseconds = |microseconds: u64| microseconds as f64 / 1_000.0;
        Latency {
            p50: milliseconds(latencies.value_at_quantile(0.5)),
            p99: milliseconds(latencies.value_at_quantile(0.99)),
            max: milliseconds(latencies.max()),
        }
    }
}
