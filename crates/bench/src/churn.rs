//! Viewers that come and go, over few connections with many calls on each.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderValue, Uri};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::access::Access;
use super::join_times::JoinTimes;
use super::latencies::{Latencies, Latency};
use super::link::Link;
use super::livestream::{LEASE, TestLivestream, node};
use super::rate::Rate;
use crate::error::BenchError;
use starling_client::pb::livestream::v1 as pb;

const JOIN: &str = "/starling.livestream.v1.LivestreamService/JoinLivestream";
const LEAVE: &str = "/starling.livestream.v1.LivestreamService/LeaveLivestream";
/// Answers are small.
const WINDOW: u32 = 1 << 20;
/// An operation that is sent later than this has missed the schedule.
const TOLERANCE: Duration = Duration::from_millis(10);

/// How the calls are spread.
#[derive(Clone, Copy, Debug, clap::Args, serde::Serialize)]
pub(crate) struct CallSpread {
    /// Connections that carry the joins and leaves.
    #[arg(long, value_name = "C", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    connections: u64,
    /// Calls that may be under way on each of these connections.
    #[arg(long, value_name = "K", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    in_flight: u64,
}

/// How the churn of a measurement runs, and how it is told.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct ChurnRuns {
    #[command(flatten)]
    pub(crate) lanes: CallSpread,
    /// How long the churn of each run lasts, without the joins at its beginning.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// Runs; the medians are told.
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) runs: u32,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who comes and goes.
#[derive(Clone, Debug)]
pub(crate) struct Churn {
    address: SocketAddr,
    livestream: u64,
    /// By their numbers; each lane has its own.
    viewers: Range<u64>,
    lanes: u64,
    connections: u64,
    join_times: Option<Arc<JoinTimes>>,
    access: Access,
    /// What each viewer shows, in order; nothing where tokens are off.
    authorizations: Arc<[HeaderValue]>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Churned {
    pub(crate) joins: u64,
    pub(crate) leaves: u64,
    pub(crate) seconds: f64,
    /// From when a call was due, in a burst from when it was sent, until its answer.
    pub(crate) join_ms: Latency,
    pub(crate) leave_ms: Latency,
    /// Calls sent more than 10 ms after they were due.
    pub(crate) late: u64,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    /// Everybody joins.
    Fill,
    /// Each viewer in turn leaves and joins again.
    Turns { rate: Rate, duration: Duration },
}

/// Shared by the lanes.
#[derive(Debug)]
struct ChurnRun {
    churn: Churn,
    work: Work,
    began: Instant,
    joins: AtomicU64,
    leaves: AtomicU64,
    join_latencies: Latencies,
    leave_latencies: Latencies,
    late: AtomicU64,
}

/// The methods that are called.
#[derive(Debug)]
struct Methods {
    join: Uri,
    leave: Uri,
}

impl CallSpread {
    pub(crate) const fn new(connections: u64, in_flight: u64) -> Self {
        Self { connections, in_flight }
    }

    pub(crate) const fn connections(&self) -> u64 {
        self.connections
    }
}

impl fmt::Display for CallSpread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, in_flight } = self;
        write!(f, "{connections} connections with up to {in_flight} calls under way")
    }
}

/// Says where the figures are not what was asked for.
pub(crate) fn warn<'a>(out: &mut impl Write, all: impl Iterator<Item = &'a Churned>) -> Result<(), BenchError> {
    if let Some(worst) = all.max_by_key(|churned| churned.late).filter(|worst| worst.late > 0) {
        let (late, of) = (worst.late, worst.operations());
        writeln!(out, "THE SCHEDULE WAS MISSED: at worst {late} of {of} calls were sent more than 10 ms late")?;
    }
    Ok(())
}

impl Churned {
    pub(crate) const fn operations(&self) -> u64 {
        self.joins + self.leaves
    }
}

impl Churn {
    pub(crate) fn new(
        livestream: &TestLivestream,
        viewers: Range<u64>,
        lanes: CallSpread,
        join_times: Option<Arc<JoinTimes>>,
    ) -> Result<Self, BenchError> {
        let access = livestream.access.clone();
        let authorizations = viewers.clone().filter_map(|viewer| access.authorization(node(viewer)).transpose());
        let authorizations = authorizations.collect::<Result<_, _>>()?;
        let many = (viewers.end - viewers.start).max(1);
        let connections = lanes.connections.min(many);
        let lanes = (connections * lanes.in_flight).min(many);
        let (address, livestream) = (livestream.address, livestream.livestream);
        Ok(Self { address, livestream, viewers, lanes, connections, join_times, access, authorizations })
    }

    fn authorization(&self, viewer: u64) -> Option<&HeaderValue> {
        self.authorizations.get(usize::try_from(viewer - self.viewers.start).ok()?)
    }

    /// Joins everybody, as fast as it goes.
    pub(crate) async fn fill(&self) -> Result<Churned, BenchError> {
        self.work(Work::Fill).await
    }

    /// Lets the viewers leave and join again, in turn.
    pub(crate) async fn turns(&self, rate: Rate, duration: Duration) -> Result<Churned, BenchError> {
        self.work(Work::Turns { rate, duration }).await
    }

    async fn work(&self, work: Work) -> Result<Churned, BenchError> {
        let mut links = Vec::new();
        for _ in 0..self.connections {
            let tcp = TcpStream::connect(self.address).await?;
            tcp.set_nodelay(true)?;
            links.push(Link::open(self.access.wire(tcp).await?, WINDOW).await?);
        }
        let run = Arc::new(ChurnRun {
            churn: self.clone(),
            work,
            began: Instant::now(),
            joins: AtomicU64::new(0),
            leaves: AtomicU64::new(0),
            join_latencies: Latencies::new(),
            leave_latencies: Latencies::new(),
            late: AtomicU64::new(0),
        });
        let mut connections = JoinSet::new();
        for (first, (link, driver)) in (0_u64..).zip(links) {
            let run = Arc::clone(&run);
            connections.spawn(async move {
                let churn = &run.churn;
                let methods = Methods { join: link.method(JOIN)?, leave: link.method(LEAVE)? };
                let own = (first..churn.lanes).step_by(usize::try_from(churn.connections)?);
                driver.drive(own.map(|lane| run.lane(&link, &methods, lane)).collect()).await
            });
        }
        while let Some(ended) = connections.join_next().await {
            ended??;
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(Churned {
            joins: count(&run.joins),
            leaves: count(&run.leaves),
            seconds: run.began.elapsed().as_secs_f64(),
            join_ms: run.join_latencies.summary(),
            leave_ms: run.leave_latencies.summary(),
            late: count(&run.late),
        })
    }
}

impl ChurnRun {
    /// One call after the other.
    async fn lane(&self, link: &Link, methods: &Methods, lane: u64) -> Result<(), BenchError> {
        let Churn { ref viewers, lanes, .. } = self.churn;
        let own = || (viewers.start + lane..viewers.end).step_by(usize::try_from(lanes).unwrap_or(usize::MAX));
        let (rate, duration) = match self.work {
            Work::Turns { rate, duration } => (rate, duration),
            Work::Fill => {
                for viewer in own() {
                    self.join(link, &methods.join, viewer, Instant::now()).await?;
                }
                return Ok(());
            }
        };
        let mut operation = lane;
        for viewer in own().cycle() {
            for joins in [false, true] {
                let due = rate.due(operation).map(|after| self.began + after);
                if due.unwrap_or_else(Instant::now) >= self.began + duration {
                    return Ok(());
                }
                if let Some(due) = due {
                    sleep_until(due).await;
                    if due.elapsed() > TOLERANCE {
                        self.late.fetch_add(1, Ordering::Relaxed);
                    }
                }
                let due = due.unwrap_or_else(Instant::now);
                if joins {
                    self.join(link, &methods.join, viewer, due).await?;
                } else {
                    self.leave(link, &methods.leave, viewer, due).await?;
                }
                operation += lanes;
            }
        }
        Ok(())
    }

    async fn join(&self, link: &Link, method: &Uri, viewer: u64, due: Instant) -> Result<(), BenchError> {
        let node_id = node(viewer);
        let livestream_id = self.churn.livestream;
        let join = pb::JoinLivestreamRequest { livestream_id, node_id, lease_ttl: Some(LEASE), ..Default::default() };
        if let Some(join_times) = &self.churn.join_times {
            join_times.sent(node_id);
        }
        link.call(method, &join, self.churn.authorization(viewer)).await?;
        if let Some(join_times) = &self.churn.join_times {
            join_times.replied(node_id);
        }
        self.joins.fetch_add(1, Ordering::Relaxed);
        self.join_latencies.record(since(due));
        Ok(())
    }

    async fn leave(&self, link: &Link, method: &Uri, viewer: u64, due: Instant) -> Result<(), BenchError> {
        let (livestream_id, node_id) = (self.churn.livestream, node(viewer));
        let leave = pb::LeaveLivestreamRequest { livestream_id, node_id, ..Default::default() };
        link.call(method, &leave, self.churn.authorization(viewer)).await?;
        self.leaves.fetch_add(1, Ordering::Relaxed);
        self.leave_latencies.record(since(due));
        Ok(())
    }
}

/// Nanoseconds.
fn since(due: Instant) -> u64 {
    u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
