//! `starling-bench watch`: target lists under churn.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use super::access::Access;
use super::child::{spent, usage};
use super::churn::{CallSpread, Churn, ChurnRuns, Churned};
use super::join_times::JoinTimes;
use super::latencies::Latency;
use super::livestream::{BUDGET, TestLivestream, node};
use super::load::SETUP_TIMEOUT;
use super::rate::Rate;
use super::table::{self, Column, mebibytes};
use super::watchers::{DeltaCounts, Watchers};
use super::{descriptors, progress};
use crate::error::BenchError;
use crate::terminal::output;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::Interest;

/// Without any delta for so long nothing more will come.
const QUIET: Duration = Duration::from_millis(200);
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug, clap::Args)]
#[command(after_help = table::legend(COLUMNS))]
pub(crate) struct Watch {
    /// Relays that stay, each with a connection on which it watches its target list.
    #[arg(long, value_name = "W", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=16_000))]
    watchers: u64,
    /// Viewers that come and go. While they are at most four times the watchers, each join shows in a
    /// delta to a watcher, for fan-out 5.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    viewers: u64,
    /// Joins and leaves per second, together; burst = as fast as they are answered.
    #[arg(long, value_name = "R", default_value = "1000")]
    churn: Rate,
    #[command(flatten)]
    runs: ChurnRuns,
}

/// All runs.
#[derive(Debug, Serialize)]
struct Report {
    watchers: u64,
    viewers: u64,
    /// Joins and leaves per second; null = a burst.
    churn: Rate,
    #[serde(flatten)]
    lanes: CallSpread,
    /// Of each churn, in seconds.
    duration: f64,
    runs: u32,
    outcomes: Vec<Outcome>,
}

/// What came of one run: the same churn without watches, and with them.
#[derive(Debug, Serialize)]
struct Outcome {
    unwatched: Churned,
    watched: Churned,
    deltas: u64,
    deltas_per_second: f64,
    deltas_per_operation: f64,
    /// Targets that deltas added, updated or removed.
    targets: u64,
    /// The server's processor time, in microseconds; of a delta, what the churn costs more with watches.
    server_cpu_us_per_operation_unwatched: Option<f64>,
    server_cpu_us_per_operation: Option<f64>,
    server_cpu_us_per_delta: Option<f64>,
    server_cores: Option<f64>,
    generator_cores: Option<f64>,
    /// Joins that a delta showed, and how many of them before they were answered.
    joins_seen: u64,
    joins_seen_before_reply: u64,
    /// From when a join was sent until a delta showed it.
    since_sent_ms: Latency,
    /// From when it was answered; 0 when the delta was there before.
    since_reply_ms: Latency,
    /// The server's memory with the watches, in bytes.
    rss: Option<u64>,
}

const COLUMNS: &[Column<Outcome>] = &[
    Column::new(
        "deltas/s",
        9,
        0,
        |outcome| Some(outcome.deltas_per_second),
        "changes of target lists that reached watchers, per second",
    ),
    Column::new("per op", 6, 2, |outcome| Some(outcome.deltas_per_operation), "the same per join or leave"),
    Column::new(
        "CPU us/delta",
        12,
        2,
        |outcome| outcome.server_cpu_us_per_delta,
        "processor time of the server per change: what the churn costs more with watchers",
    ),
    Column::new(
        "CPU us/op",
        9,
        2,
        |outcome| outcome.server_cpu_us_per_operation,
        "processor time of the server per join or leave, with watchers, in microseconds",
    ),
    Column::new(
        "unwatched",
        9,
        2,
        |outcome| outcome.server_cpu_us_per_operation_unwatched,
        "the same without watchers",
    ),
    Column::new("cores", 6, 2, |outcome| outcome.server_cores, "cores that the server kept busy"),
    Column::new(
        "sent p50 ms",
        11,
        2,
        |outcome| Some(outcome.since_sent_ms.p50),
        "from the request of a join until a watcher saw it",
    ),
    Column::new("p99 ms", 8, 2, |outcome| Some(outcome.since_sent_ms.p99), "the same, exceeded by one in a hundred"),
    Column::new("max ms", 8, 2, |outcome| Some(outcome.since_sent_ms.max), "the same, the longest"),
    Column::new(
        "reply p50",
        9,
        2,
        |outcome| Some(outcome.since_reply_ms.p50),
        "from the answer of a join until a watcher saw it; 0 when it saw it before",
    ),
    Column::new("p99 ms", 8, 2, |outcome| Some(outcome.since_reply_ms.p99), "the same, exceeded by one in a hundred"),
    Column::new("max ms", 8, 2, |outcome| Some(outcome.since_reply_ms.max), "the same, the longest"),
    Column::new(
        "seen %",
        6,
        1,
        |outcome| Some(percent(outcome.joins_seen, outcome.watched.joins)),
        "joins that a watcher saw",
    ),
    Column::new(
        "ahead %",
        7,
        1,
        |outcome| Some(percent(outcome.joins_seen_before_reply, outcome.joins_seen)),
        "of these, seen before the join was answered",
    ),
    Column::new("RSS MiB", 8, 1, |outcome| mebibytes(outcome.rss), "memory of the server with the watches"),
];

fn percent(part: u64, of: u64) -> f64 {
    part as f64 * 100.0 / of.max(1) as f64
}

impl Watch {
    pub(crate) async fn run(self) -> Result<(), BenchError> {
        descriptors::allow(self.watchers + self.runs.lanes.connections())?;
        let bar = progress::bar(self.runs.runs.into());
        let mut outcomes = Vec::new();
        for _ in 0..self.runs.runs {
            outcomes.push(self.once().await?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let Self { watchers, viewers, churn, runs: ChurnRuns { lanes, duration, runs, json } } = self;
        let report = Report { watchers, viewers, churn, lanes, duration: duration.as_secs_f64(), runs, outcomes };
        if json { table::print_json(&report) } else { report.print() }
    }

    async fn once(&self) -> Result<Outcome, BenchError> {
        let livestream = TestLivestream::open(None, BUDGET, &Access::default()).await?;
        // First: so they are the relays at the top, and the others come below them.
        let sessions = livestream.join(0..self.watchers, |_| Interest::High).await?;
        let others = self.watchers..self.watchers + self.viewers;
        let join_times = Arc::new(JoinTimes::new(node(others.start)..node(others.end)));
        let silent = Churn::new(&livestream, others.clone(), self.runs.lanes, None)?;
        silent.fill().await?;
        let before = livestream.usage();
        let unwatched = silent.turns(self.churn, self.runs.duration).await?;
        let alone = spent(before, livestream.usage());
        // Everybody is in again.
        silent.fill().await?;

        let watches = (0..self.watchers).zip(sessions).map(|(watcher, session_id)| pb::WatchTargetsRequest {
            livestream_id: livestream.livestream,
            of_node_id: node(watcher),
            session_id,
            node_id: node(watcher),
            ..Default::default()
        });
        let open = Watchers::open(livestream.address, watches.collect(), Arc::clone(&join_times));
        let late = |_| BenchError(format!("not every watch had its snapshot within {} s", SETUP_TIMEOUT.as_secs()));
        let mut watchers = timeout(SETUP_TIMEOUT, open).await.map_err(late)??;
        let count = Arc::clone(&watchers.count);
        settled(&count).await;
        let (server, own, began, first) = (livestream.usage(), usage("self"), Instant::now(), count.deltas());
        let marked = Churn::new(&livestream, others, self.runs.lanes, Some(Arc::clone(&join_times)))?;
        let watched = marked.turns(self.churn, self.runs.duration).await?;
        settled(&count).await;
        let (after, seconds) = (livestream.usage(), began.elapsed().as_secs_f64());
        watchers.check()?;
        let (server, own) = (spent(server, after), spent(own, usage("self")));
        let deltas = count.deltas() - first;
        let each = |spent: Option<f64>, of: u64| spent.map(|spent| spent * 1e6 / of.max(1) as f64);
        let (per_unwatched, per_watched) = (each(alone, unwatched.operations()), each(server, watched.operations()));
        let deltas_per_operation = deltas as f64 / watched.operations().max(1) as f64;
        let (joins_seen, joins_seen_before_reply) = join_times.seen();
        Ok(Outcome {
            unwatched,
            watched,
            deltas,
            deltas_per_second: deltas as f64 / watched.seconds,
            deltas_per_operation,
            targets: count.targets(),
            server_cpu_us_per_operation_unwatched: per_unwatched,
            server_cpu_us_per_operation: per_watched,
            server_cpu_us_per_delta: per_watched
                .zip(per_unwatched)
                .map(|(with, without)| (with - without) / deltas_per_operation),
            server_cores: server.map(|spent| spent / seconds),
            generator_cores: own.map(|spent| spent / seconds),
            joins_seen,
            joins_seen_before_reply,
            since_sent_ms: join_times.since_sent.summary(),
            since_reply_ms: join_times.since_reply.summary(),
            rss: after.map(|usage| usage.resident),
        })
    }
}

/// Waits until no delta has come for a while.
async fn settled(count: &DeltaCounts) {
    let (mut before, mut last) = (count.deltas(), Instant::now());
    while last.elapsed() < QUIET {
        sleep(LOOK).await;
        let now = count.deltas();
        if now > before {
            (before, last) = (now, Instant::now());
        }
    }
}

impl Report {
    fn print(&self) -> Result<(), BenchError> {
        let mut out = output();
        let Self { watchers, viewers, churn, lanes, duration, runs, outcomes } = self;
        writeln!(
            out,
            "{watchers} watchers, {viewers} viewers come and go, {lanes}, {churn}, {duration} s; medians of {runs}"
        )?;
        table::print(&mut out, COLUMNS, [("starling", outcomes.iter().collect())])?;
        super::churn::warn(&mut out, outcomes.iter().flat_map(|outcome| [&outcome.unwatched, &outcome.watched]))
    }
}
