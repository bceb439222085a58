//! `starling-bench join`: viewers that come and go.

use std::io::Write;

use serde::Serialize;
use tokio::time::Instant;

use super::access::Access;
use super::child::{spent, usage};
use super::churn::{CallSpread, Churn, ChurnRuns, Churned};
use super::livestream::{BUDGET, TestLivestream};
use super::rate::Rate;
use super::table::{self, Column, mebibytes};
use super::{descriptors, progress};
use crate::error::BenchError;
use crate::terminal::output;

#[derive(Debug, clap::Args)]
#[command(after_help = table::legend(COLUMNS))]
pub(crate) struct Join {
    /// Viewers of the livestream; each in turn leaves and joins again.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) viewers: u64,
    /// Joins and leaves per second, together; burst = as fast as they are answered.
    #[arg(long, value_name = "R", default_value = "burst")]
    pub(crate) rate: Rate,
    #[command(flatten)]
    pub(crate) runs: ChurnRuns,
}

/// All runs.
#[derive(Debug, Serialize)]
struct Report {
    viewers: u64,
    /// Joins and leaves per second; null = a burst.
    rate: Rate,
    #[serde(flatten)]
    lanes: CallSpread,
    /// Of each run, in seconds.
    duration: f64,
    runs: u32,
    outcomes: Vec<Outcome>,
}

/// What came of one run: everybody joins, then the churn.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) fill: Phase,
    pub(crate) churn: Phase,
    /// The server's memory before anybody joined, when everybody had, and the most it had, in bytes.
    rss_empty: Option<u64>,
    rss_full: Option<u64>,
    rss_peak: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Phase {
    #[serde(flatten)]
    churned: Churned,
    joins_per_second: f64,
    operations_per_second: f64,
    pub(crate) server_cpu_us_per_operation: Option<f64>,
    server_cores: Option<f64>,
    generator_cores: Option<f64>,
    rss: Option<u64>,
}

pub(crate) const COLUMNS: &[Column<Phase>] = &[
    Column::new("joins/s", 9, 0, |phase| Some(phase.joins_per_second), "joins per second"),
    Column::new("operations/s", 12, 0, |phase| Some(phase.operations_per_second), "joins and leaves per second"),
    Column::new(
        "CPU us each",
        11,
        2,
        |phase| phase.server_cpu_us_per_operation,
        "processor time of the server per join or leave, in microseconds",
    ),
    Column::new("cores", 6, 2, |phase| phase.server_cores, "cores that the server kept busy"),
    Column::new(
        "join p50 ms",
        11,
        2,
        |phase| Some(phase.churned.join_ms.p50),
        "from the request of a join to its answer",
    ),
    Column::new("p99 ms", 8, 2, |phase| Some(phase.churned.join_ms.p99), "the same, exceeded by one join in a hundred"),
    Column::new("max ms", 8, 2, |phase| Some(phase.churned.join_ms.max), "the same, the longest"),
    Column::new(
        "leave p50",
        9,
        2,
        |phase| (phase.churned.leaves > 0).then_some(phase.churned.leave_ms.p50),
        "from the request of a leave to its answer",
    ),
    Column::new(
        "p99 ms",
        8,
        2,
        |phase| (phase.churned.leaves > 0).then_some(phase.churned.leave_ms.p99),
        "the same, exceeded by one leave in a hundred",
    ),
    Column::new(
        "max ms",
        8,
        2,
        |phase| (phase.churned.leaves > 0).then_some(phase.churned.leave_ms.max),
        "the same, the longest",
    ),
    Column::new("RSS MiB", 8, 1, |phase| mebibytes(phase.rss), "memory of the server after the phase"),
];

impl Join {
    pub(crate) async fn run(self) -> Result<(), BenchError> {
        descriptors::allow(self.runs.lanes.connections())?;
        let bar = progress::bar(self.runs.runs.into());
        let mut outcomes = Vec::new();
        for _ in 0..self.runs.runs {
            outcomes.push(self.once(&Access::default()).await?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let Self { viewers, rate, runs: ChurnRuns { lanes, duration, runs, json }, .. } = self;
        let report = Report { viewers, rate, lanes, duration: duration.as_secs_f64(), runs, outcomes };
        if json { table::print_json(&report) } else { report.print() }
    }

    /// Once, on a server of its own.
    pub(crate) async fn once(&self, access: &Access) -> Result<Outcome, BenchError> {
        let mut livestream = TestLivestream::open(None, BUDGET, access).await?;
        let churn = Churn::new(&livestream, 0..self.viewers, self.runs.lanes, None)?;
        let empty = livestream.usage();
        let fill = Phase::of(&livestream, churn.fill()).await?;
        let full = livestream.usage();
        let churn = Phase::of(&livestream, churn.turns(self.rate, self.runs.duration)).await?;
        livestream.check()?;
        Ok(Outcome {
            fill,
            churn,
            rss_empty: empty.map(|usage| usage.resident),
            rss_full: full.map(|usage| usage.resident),
            rss_peak: livestream.usage().map(|usage| usage.peak),
        })
    }
}

impl Phase {
    async fn of(
        livestream: &TestLivestream,
        work: impl Future<Output = Result<Churned, BenchError>>,
    ) -> Result<Self, BenchError> {
        let (server, own, began) = (livestream.usage(), usage("self"), Instant::now());
        let churned = work.await?;
        let after = livestream.usage();
        let (server, own, seconds) = (spent(server, after), spent(own, usage("self")), began.elapsed().as_secs_f64());
        let operations = churned.operations();
        Ok(Self {
            churned,
            joins_per_second: churned.joins as f64 / churned.seconds,
            operations_per_second: operations as f64 / churned.seconds,
            server_cpu_us_per_operation: server.map(|spent| spent * 1e6 / operations.max(1) as f64),
            server_cores: server.map(|spent| spent / seconds),
            generator_cores: own.map(|spent| spent / seconds),
            rss: after.map(|usage| usage.resident),
        })
    }
}

impl Report {
    fn print(&self) -> Result<(), BenchError> {
        let mut out = output();
        let Self { viewers, rate, lanes, duration, runs, outcomes } = self;
        writeln!(out, "{viewers} viewers come and go, {lanes}, {rate}, {duration} s; medians of {runs}")?;
        let phases = |phase: fn(&Outcome) -> &Phase| outcomes.iter().map(phase).collect();
        let rows = [("all join", phases(|outcome| &outcome.fill)), ("churn", phases(|outcome| &outcome.churn))];
        table::print(&mut out, COLUMNS, rows)?;
        super::churn::warn(&mut out, outcomes.iter().map(|outcome| &outcome.churn.churned))
    }
}
