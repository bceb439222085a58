//! The server of the demo, and what is measured beside it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::LIVESTREAM;
use super::progress::soon;
use super::verdict::Verdict;
use crate::app::App;
use crate::cli::{CliError, told};
use crate::config::{Config, Overrides};
use crate::shutdown::Shutdown;
use starling_client::pb::group::v1 as group;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{Target, TargetList};
use starling_client::{Client, Publisher};

/// Latencies above this are counted as this, in milliseconds.
const SLOWEST: usize = 2_000;

/// What is measured while the show goes on.
pub(super) struct Meters {
    /// Pictures published so far.
    pub(super) pictures: watch::Sender<u64>,
    /// Viewers that have had all that they were to have.
    pub(super) complete: watch::Sender<u64>,
    /// Viewers that are in.
    pub(super) viewers: AtomicU64,
    deliveries: AtomicU64,
    /// By milliseconds from acceptance to arrival.
    latencies: Box<[AtomicU64]>,
    /// The latest that a picture was published after its time, and that a timer fired, in milliseconds.
    late: AtomicU64,
    timers_late: AtomicU64,
    began: Instant,
    /// Lists of targets as the viewers have folded them: revision and list.
    pub(super) targets: Mutex<BTreeMap<u64, (u64, TargetList)>>,
    folded: watch::Sender<u64>,
    publisher: Mutex<Option<Publisher>>,
}

impl Meters {
    fn new() -> Self {
        Self {
            pictures: watch::Sender::new(0),
            complete: watch::Sender::new(0),
            viewers: AtomicU64::new(0),
            deliveries: AtomicU64::new(0),
            latencies: (0..=SLOWEST).map(|_| AtomicU64::new(0)).collect(),
            late: AtomicU64::new(0),
            timers_late: AtomicU64::new(0),
            began: Instant::now(),
            targets: Mutex::default(),
            folded: watch::Sender::new(0),
            publisher: Mutex::default(),
        }
    }

    pub(super) fn delivered(&self, latency: Duration) {
        self.deliveries.fetch_add(1, Ordering::Relaxed);
        let bucket = usize::try_from(latency.as_millis()).unwrap_or(SLOWEST).min(SLOWEST);
        self.latencies[bucket].fetch_add(1, Ordering::Relaxed);
    }

    /// Notes when a picture was published that was due then.
    pub(super) fn published(&self, due: Instant) {
        self.late.fetch_max(milliseconds(due.elapsed()), Ordering::Relaxed);
    }

    /// The latest that a picture was published after its time.
    pub(super) fn late(&self) -> Duration {
        Duration::from_millis(self.late.load(Ordering::Relaxed))
    }

    /// The latest that a timer of this process fired, which says how busy the machine is.
    pub(super) fn timers_late(&self) -> Duration {
        Duration::from_millis(self.timers_late.load(Ordering::Relaxed))
    }

    /// Looks at timers for as long as it runs.
    async fn watch_timers(&self) {
        let mut timer = interval(Duration::from_millis(20));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = timer.tick().await;
            self.timers_late.fetch_max(milliseconds(due.elapsed()), Ordering::Relaxed);
        }
    }

    pub(super) fn deliveries(&self) -> u64 {
        self.deliveries.load(Ordering::Relaxed)
    }

    /// Deliveries per second since the beginning.
    pub(super) fn rate(&self) -> u64 {
        self.deliveries() * 1_000 / u64::try_from(self.began.elapsed().as_millis()).unwrap_or(1).max(1)
    }

    /// The latency that this share of deliveries does not exceed, in milliseconds.
    pub(super) fn quantile(&self, share: f64) -> usize {
        let counts: Vec<_> = self.latencies.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let mut sum = 0;
        counts
            .iter()
            .position(|count| {
                sum += count;
                sum as f64 >= total as f64 * share
            })
            .unwrap_or(0)
    }

    /// Notes a list of targets; `None` = the node is gone.
    pub(super) fn fold(&self, node: u64, list: Option<(u64, TargetList)>) {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        match list {
            Some(list) => drop(targets.insert(node, list)),
            None => drop(targets.remove(&node)),
        }
        drop(targets);
        self.folded.send_modify(|count| *count += 1);
    }

    /// Keeps the publisher's stream open until the end of the livestream.
    pub(super) fn keep(&self, publisher: Publisher) {
        *self.publisher.lock().unwrap_or_else(PoisonError::into_inner) = Some(publisher);
    }

    fn release(&self) {
        self.publisher.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The server, on a free port.
pub(super) struct Stage {
    pub(super) url: String,
    pub(super) meters: Arc<Meters>,
    shutdown: Shutdown,
    server: JoinSet<()>,
    /// Measures beside it, until the stage closes.
    _monitor: JoinSet<()>,
}

impl Stage {
    pub(super) async fn open() -> Result<Self, CliError> {
        let overrides = Overrides { listen: Some(([127, 0, 0, 1], 0).into()), ..Overrides::default() };
        let mut config = Config::load(None, std::collections::HashMap::new(), overrides)?;
        config.drain.spread = Duration::ZERO;
        let app = App::bind(config).await?;
        let (url, shutdown) = (format!("http://{}", app.address()), Shutdown::new());
        let mut server = JoinSet::new();
        server.spawn(app.run(shutdown.clone()));
        let meters = Arc::new(Meters::new());
        let mut monitor = JoinSet::new();
        let timers = Arc::clone(&meters);
        monitor.spawn(async move { timers.watch_timers().await });
        Ok(Self { url, meters, shutdown, server, _monitor: monitor })
    }

    /// Stops the server; what was left over on it.
    pub(super) async fn close(mut self) -> Result<Vec<String>, CliError> {
        self.meters.release();
        let mut leaks = Vec::new();
        if soon("the streams to end", self.shutdown.idle()).await.is_err() {
            leaks.push(format!("{} streams", self.shutdown.open_streams()));
        }
        let mut client = Client::connect(&self.url).await?;
        let get = pb::GetLivestreamRequest { livestream_id: LIVESTREAM };
        let found = client.livestreams.get_livestream(get).await.map_err(|status| told(&status))?.into_inner();
        let viewers = found.livestream.unwrap_or_default().viewer_count;
        let get = group::GetGroupRequest { group_id: super::call::GROUP };
        let found = client.groups.get_group(get).await.map_err(|status| told(&status))?.into_inner();
        let participants = found.group.unwrap_or_default().participant_count;
        if viewers > 0 || participants > 0 {
            leaks.push(format!("{viewers} viewers, {participants} participants"));
        }
        drop(client);
        self.shutdown.begin();
        while let Some(served) = self.server.join_next().await {
            served?;
        }
        Ok(leaks)
    }
}

/// Compares what the viewers have folded with what the server answers, and the shape of
/// the tree with what it must be.
pub(super) async fn judge_tree(
    client: &mut Client,
    livestream_id: u64,
    meters: &Meters,
    verdict: &mut Verdict,
) -> Result<(), CliError> {
    let mut folded = meters.folded.subscribe();
    let nodes: Vec<u64> = meters.targets.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
    let (mut equal, mut most) = (0, 0);
    for node in &nodes {
        let get = pb::GetTargetsRequest { livestream_id, of_node_id: *node, ..Default::default() };
        let answer = client.livestreams.get_targets(get).await.map_err(|status| told(&status))?.into_inner();
        let wanted = answer.targets.unwrap_or_default();
        most = most.max(wanted.targets.len());
        // A delta may still be on its way.
        let same = || {
            let targets = meters.targets.lock().unwrap_or_else(PoisonError::into_inner);
            targets.get(node).is_some_and(|(_, list)| sorted(list) == sorted(&wanted))
        };
        equal += usize::from(soon("the targets", folded.wait_for(|_| same())).await.is_ok_and(|found| found.is_ok()));
    }
    verdict.check(
        "every node's folded targets equal GetTargets",
        equal == nodes.len() && equal > 0,
        format!("{equal} of {}", nodes.len()),
    );
    let get = pb::GetStatsRequest { livestream_id };
    let stats = client.livestreams.get_stats(get).await.map_err(|status| told(&status))?.into_inner();
    let stats = stats.stats.unwrap_or_default();
    // The least depth that holds so many with a fan-out of 5.
    let viewers = nodes.len() as u64;
    let best = (1_u32..).scan((0, 1), |(sum, row), depth| {
        *row *= 5;
        *sum += *row;
        Some((depth, *sum))
    });
    let best = best.into_iter().find(|(_, room)| *room >= viewers).map_or(0, |(depth, _)| depth);
    let fits = most <= 5 && stats.tree_depth == best;
    verdict.check("fan-out and depth are right", fits, format!("at most {most} targets, depth {}", stats.tree_depth));
    Ok(())
}

fn sorted(list: &TargetList) -> (Vec<Target>, i32) {
    let mut targets = list.targets.clone();
    targets.sort_unstable_by_key(|target| target.node_id);
    (targets, list.topology)
}
