//! What all runs came to: medians, and ratios between systems.

use std::io::Write;

use serde::Serialize;

use super::stage::{Load, Outcome, System};
use crate::cli::Failure;

/// All runs of one load.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    viewers: u64,
    connections: u64,
    /// Updates per second; absent = a burst.
    rate: Option<u32>,
    /// Of a payload, in bytes.
    size: usize,
    stalled: u64,
    /// Of each run, in seconds.
    duration: f64,
    runs: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ratios: Vec<Ratio>,
    outcomes: Vec<Outcome>,
}

/// Starling by a baseline: the median of the ratios of runs that followed each other.
#[derive(Debug, Serialize)]
struct Ratio {
    baseline: System,
    cpu_per_delivery: Option<f64>,
    deliveries_per_second: Option<f64>,
}

impl Report {
    pub(super) fn new(load: &Load, runs: u32) -> Self {
        Self {
            viewers: load.viewers,
            connections: load.connections,
            rate: load.rate,
            size: load.size,
            stalled: load.stalled,
            duration: load.duration.as_secs_f64(),
            runs,
            ratios: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    pub(super) fn print_json(mut self) -> Result<(), Failure> {
        self.ratios = self.ratios();
        let mut out = std::io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &self)?;
        Ok(writeln!(out)?)
    }

    /// Prints the medians of each system, one below the other, and the ratios.
    pub(super) fn print(self) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let Self { viewers, connections, size, stalled, duration, runs, .. } = self;
        let rate = self.rate.map_or_else(|| "a burst".to_owned(), |rate| format!("{rate} updates/s"));
        let stalled = if stalled > 0 { format!(", {stalled} of them stalled") } else { String::new() };
        writeln!(
            out,
            "{viewers} viewers{stalled}, {connections} connections, {size} B, {rate}, {duration} s; medians of {runs}"
        )?;
        let [system, deliveries, cpu, cores, p50, p99, max, lost, gaps, cut, idle, peak] = [
            "",
            "deliveries/s",
            "CPU us each",
            "cores",
            "p50 ms",
            "p99 ms",
            "max ms",
            "lost",
            "gaps",
            "cut",
            "idle MiB",
            "peak MiB",
        ];
        writeln!(
            out,
            "{system:9} {deliveries:>12} {cpu:>11} {cores:>6} {p50:>9} {p99:>9} {max:>9} {lost:>8} {gaps:>6} {cut:>5} {idle:>8} {peak:>8}"
        )?;
        for system in self.systems() {
            let of = |value: fn(&Outcome) -> Option<f64>| self.median(system, value);
            let cell =
                |value: Option<f64>, digits: usize| value.map_or_else(|| "-".into(), |v| format!("{v:.digits$}"));
            let name = system.name();
            let deliveries = cell(of(|outcome| Some(outcome.deliveries_per_second)), 0);
            let cpu = cell(of(|outcome| outcome.server_cpu_us_per_delivery), 2);
            let cores = cell(of(|outcome| outcome.server_cores), 2);
            let p50 = cell(of(|outcome| Some(outcome.latency_ms.p50)), 2);
            let p99 = cell(of(|outcome| Some(outcome.latency_ms.p99)), 2);
            let max = cell(of(|outcome| Some(outcome.latency_ms.max)), 2);
            let lost = cell(of(|outcome| Some(outcome.lost as f64)), 0);
            let gaps = cell(of(|outcome| Some(outcome.gaps as f64)), 0);
            let cut = cell(of(|outcome| Some(outcome.cut as f64)), 0);
            let mebibytes = |bytes: Option<f64>| cell(bytes.map(|bytes| bytes / f64::from(1 << 20)), 1);
            let idle = mebibytes(of(|outcome| outcome.rss_idle.map(|bytes| bytes as f64)));
            let peak = mebibytes(of(|outcome| outcome.rss_peak.map(|bytes| bytes as f64)));
            writeln!(
                out,
                "{name:9} {deliveries:>12} {cpu:>11} {cores:>6} {p50:>9} {p99:>9} {max:>9} {lost:>8} {gaps:>6} {cut:>5} {idle:>8} {peak:>8}"
            )?;
        }
        for Ratio { baseline, cpu_per_delivery, deliveries_per_second } in self.ratios() {
            let cell = |ratio: Option<f64>| ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"));
            let (cpu, deliveries) = (cell(cpu_per_delivery), cell(deliveries_per_second));
            writeln!(out, "starling/{}: CPU per delivery {cpu}, deliveries/s {deliveries}", baseline.name())?;
        }
        for system in self.systems() {
            self.warn(&mut out, system)?;
        }
        Ok(())
    }

    /// Says where the figures are not what was asked for.
    fn warn(&self, out: &mut impl Write, system: System) -> Result<(), Failure> {
        let name = system.name();
        let of = |value: fn(&Outcome) -> f64| self.of(system).map(value).fold(0.0, f64::max);
        let (late, worst) = (of(|outcome| outcome.schedule.late as f64), of(|outcome| outcome.schedule.worst_ms));
        if late > 0.0 {
            let of_all = of(|outcome| outcome.published as f64);
            writeln!(
                out,
                "{name}: THE SCHEDULE WAS MISSED: in the worst run {late} of {of_all} updates were sent late, by up to {worst:.0} ms"
            )?;
        }
        let gave_up = of(|outcome| outcome.schedule.gave_up as f64);
        if gave_up > 0.0 {
            writeln!(
                out,
                "{name}: in the worst run the burst waited {gave_up} times in vain, for viewers that had lost updates"
            )?;
        }
        Ok(())
    }

    fn systems(&self) -> Vec<System> {
        let mut systems = Vec::new();
        for outcome in &self.outcomes {
            if !systems.contains(&outcome.system) {
                systems.push(outcome.system);
            }
        }
        systems
    }

    fn of(&self, system: System) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(move |outcome| outcome.system == system)
    }

    fn median(&self, system: System, value: fn(&Outcome) -> Option<f64>) -> Option<f64> {
        median(self.of(system).filter_map(value).collect())
    }

    fn ratios(&self) -> Vec<Ratio> {
        let by = |baseline, value: fn(&Outcome) -> Option<f64>| {
            let pairs = self.of(System::Starling).zip(self.of(baseline));
            median(pairs.filter_map(|(own, other)| Some(value(own)? / value(other)?)).collect())
        };
        self.systems()
            .into_iter()
            .filter(|system| *system != System::Starling)
            .map(|baseline| Ratio {
                baseline,
                cpu_per_delivery: by(baseline, |outcome| outcome.server_cpu_us_per_delivery),
                deliveries_per_second: by(baseline, |outcome| Some(outcome.deliveries_per_second)),
            })
            .collect()
    }
}

/// The middle value; of an even number, the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get(values.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
