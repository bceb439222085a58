//! What all runs came to: medians, and ratios between systems.

use std::io::Write;

use serde::Serialize;

use super::load::{Load, Outcome};
use super::system::System;
use super::table::{self, Column, mebibytes, median};
use super::viewer::Behaviour;
use crate::error::BenchError;
use crate::terminal::output;

pub(crate) const COLUMNS: &[Column<Outcome>] = &[
    Column::new(
        "deliveries/s",
        12,
        0,
        |outcome| Some(outcome.deliveries_per_second),
        "updates that reached viewers, per second",
    ),
    Column::new(
        "CPU us each",
        11,
        2,
        |outcome| outcome.server_cpu_us_per_delivery,
        "processor time of the server per delivery, user and system, in microseconds",
    ),
    Column::new("cores", 5, 2, |outcome| outcome.server_cores, "cores that the server kept busy"),
    Column::new(
        "p50 ms",
        7,
        2,
        |outcome| Some(outcome.latency_ms.p50),
        "from when an update was due, or sent in a burst, until a viewer had it",
    ),
    Column::new(
        "p99 ms",
        7,
        2,
        |outcome| Some(outcome.latency_ms.p99),
        "the same, exceeded by one delivery in a hundred",
    ),
    Column::new("max ms", 7, 2, |outcome| Some(outcome.latency_ms.max), "the same, the longest"),
    Column::new(
        "lost",
        6,
        0,
        |outcome| Some(outcome.lost as f64),
        "deliveries that viewers who read should have had, and had not",
    ),
    Column::new(
        "gaps",
        5,
        0,
        |outcome| Some(outcome.gaps as f64),
        "Gaps told to viewers: each stands for updates that were left out",
    ),
    Column::new("cut", 4, 0, |outcome| Some(outcome.cut as f64), "streams that ended before the run did"),
    Column::new(
        "idle MiB",
        8,
        1,
        |outcome| mebibytes(outcome.rss_idle),
        "memory of the server with all viewers in, before the load",
    ),
    Column::new("peak MiB", 8, 1, |outcome| mebibytes(outcome.rss_peak), "the most memory that the server had"),
];

/// All runs of one load.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    viewers: u64,
    connections: u64,
    /// Updates per second; absent = a burst.
    rate: Option<u32>,
    /// Of a payload, in bytes.
    size: usize,
    /// The same of a keyframe.
    keyframe_size: usize,
    /// Of a viewer, in bytes per second.
    budget: u64,
    stalled: u64,
    client: Behaviour,
    /// Starling's publisher signs.
    signed: bool,
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
    pub(crate) fn new(load: &Load, runs: u32) -> Self {
        Self {
            viewers: load.viewers,
            connections: load.connections,
            rate: load.rate,
            size: load.size,
            keyframe_size: load.keyframe_size,
            budget: load.budget,
            stalled: load.stalled,
            client: load.behaviour,
            signed: load.access.features.signed,
            duration: load.duration.as_secs_f64(),
            runs,
            ratios: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    pub(crate) fn print_json(mut self) -> Result<(), BenchError> {
        self.ratios = self.ratios();
        table::print_json(&self)
    }

    /// Prints the medians of each system, one below the other, and the ratios.
    pub(crate) fn print(self) -> Result<(), BenchError> {
        let mut out = output();
        let Self { viewers, connections, size, keyframe_size, stalled, duration, runs, .. } = self;
        let rate = self.rate.map_or_else(|| "a burst".to_owned(), |rate| format!("{rate} updates/s"));
        let keyframes = if keyframe_size == size { String::new() } else { format!(" (keyframes {keyframe_size} B)") };
        let client = if self.client == Behaviour::GrpcGo { " like grpc-go" } else { "" };
        let stalled = if stalled > 0 { format!(", {stalled} of them stalled") } else { String::new() };
        writeln!(
            out,
            "{viewers} viewers{client}{stalled}, {connections} connections, {size} B{keyframes}, {rate}, {duration} s; medians of {runs}"
        )?;
        let rows = self.systems().into_iter().map(|system| (system.name(), self.of(system).collect()));
        table::print(&mut out, COLUMNS, rows)?;
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
    fn warn(&self, out: &mut impl Write, system: System) -> Result<(), BenchError> {
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
