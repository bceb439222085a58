//! What the demo measures.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use starling_client::Publisher;
use starling_client::pb::swarm::v1::TargetList;

/// Latencies above this are counted as this, in milliseconds.
const SLOWEST: usize = 2_000;

/// What is measured during the livestream.
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
    pub(super) folded: watch::Sender<u64>,
    publisher: Mutex<Option<Publisher>>,
}

impl Meters {
    pub(super) fn new() -> Self {
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
    pub(super) async fn watch_timers(&self) {
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

    /// A line about them all.
    pub(super) fn line(&self) -> String {
        let (p50, p99) = (self.quantile(0.5), self.quantile(0.99));
        let (viewers, deliveries) = (self.viewers.load(Ordering::Relaxed), self.rate());
        format!("{viewers} viewers, {deliveries}/s, p50 {p50} ms, p99 {p99} ms")
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

    pub(super) fn release(&self) {
        self.publisher.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
