//! A pod: its replicas of all partitions, as one incarnation.
//!
//! An incarnation that is over in one partition is over in all of them: the pod draws the next one, and each driver goes on
//! with that.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use starling_replica::{PodIncarnation, ReplicaSettings};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use crate::clock::PodClock;
use crate::driver::{Callers, Driver, PodOver};
use crate::handle::{PartitionHandle, PartitionShared, ReadableState};
use crate::log::PartitionLog;
use crate::peers::{Peers, PodReport};
use crate::status::{PartitionNotReady, PodEvent, PodLife};

/// How often peers are told how far this pod is.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Events that a receiver may be behind.
const MAX_EVENTS: usize = 1_024;

/// A pod that runs. Dropped, it is killed: it stops where it is, and says nothing.
#[must_use = "the pod runs while this lives"]
pub struct Pod<S: ReadableState> {
    handle: PodHandle<S>,
    drivers: JoinSet<()>,
    coordinator: JoinSet<()>,
}

impl<S: ReadableState> fmt::Debug for Pod<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pod").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl<S: ReadableState> Pod<S> {
    /// Starts a pod on the runtime of whoever calls: a replica for each of the partitions, whose logs these are, in order,
    /// with the place where clients see it. `draw` gives 64 random bits, others each time.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn start<L: PartitionLog, P: Peers>(
        partitions: Vec<(L, S::Place)>,
        peers: P,
        settings: &ReplicaSettings,
        mut draw: impl FnMut() -> u64 + Send + 'static,
    ) -> Self {
        let clock = PodClock::new();
        let life = PodLife { incarnation: PodIncarnation(draw()), is_stopping: false };
        let life = Arc::new(watch::Sender::new(life));
        let events = broadcast::Sender::new(MAX_EVENTS);
        let (overs, over) = mpsc::channel(partitions.len().max(1));
        let mut drivers = JoinSet::new();
        let mut all_shared = Vec::new();
        for (partition, (log, place)) in partitions.into_iter().enumerate() {
            let shared = Arc::new(PartitionShared::<S>::new(settings, clock, events.clone()));
            all_shared.push(Arc::clone(&shared));
            let driver = Driver {
                partition,
                shared,
                log,
                place,
                settings: settings.clone(),
                life: life.subscribe(),
                overs: overs.clone(),
                callers: Callers::default(),
                has_ended: false,
            };
            drivers.spawn(driver.run());
        }
        let shared = Arc::new(PodShared { partitions: all_shared, life, events });
        let mut coordinator = JoinSet::new();
        coordinator.spawn(coordinate(Arc::clone(&shared), peers, over, draw));
        Self { handle: PodHandle { shared }, drivers, coordinator }
    }

    /// How others use the pod.
    pub fn handle(&self) -> PodHandle<S> {
        self.handle.clone()
    }

    /// Stops in order: takes nothing more, and says in each partition that this pod is gone, so that nobody waits until it
    /// is missed. Answers whether all of it was heard within `patience`; the pod has stopped in either case, and whoever
    /// waited was told.
    pub async fn stop(mut self, patience: Duration) -> bool {
        self.handle.shared.life.send_modify(|life| life.is_stopping = true);
        let ended = timeout(patience, async { while self.drivers.join_next().await.is_some() {} });
        let is_heard = ended.await.is_ok();
        if !is_heard {
            warn!("this pod stops without having been heard in all partitions");
        }
        self.drivers.shutdown().await;
        self.coordinator.shutdown().await;
        is_heard
    }
}

struct PodShared<S: ReadableState> {
    partitions: Vec<Arc<PartitionShared<S>>>,
    life: Arc<watch::Sender<PodLife>>,
    events: broadcast::Sender<PodEvent>,
}

/// A pod as its callers see it. Copies are of the same pod.
pub struct PodHandle<S: ReadableState> {
    shared: Arc<PodShared<S>>,
}

impl<S: ReadableState> Clone for PodHandle<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S: ReadableState> fmt::Debug for PodHandle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodHandle").field("life", &*self.shared.life.borrow()).finish_non_exhaustive()
    }
}

impl<S: ReadableState> PodHandle<S> {
    /// How many partitions there are.
    pub fn partitions(&self) -> usize {
        self.shared.partitions.len()
    }

    /// The partition that a shard of the store is in.
    ///
    /// # Panics
    ///
    /// When there are no partitions.
    pub fn of_shard(&self, shard: usize) -> PartitionHandle<S> {
        let partitions = &self.shared.partitions;
        PartitionHandle::new(Arc::clone(&partitions[shard % partitions.len()]))
    }

    /// The life of the pod. When the incarnation changes, all streams are to be told goodbye.
    pub fn life(&self) -> watch::Receiver<PodLife> {
        self.shared.life.subscribe()
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<PodEvent> {
        self.shared.events.subscribe()
    }

    /// Which partitions cannot be used now, and why. The pod is ready when there are none.
    pub fn not_ready(&self) -> Vec<(usize, PartitionNotReady)> {
        let readiness = |shared: &Arc<PartitionShared<S>>| shared.readiness.borrow().err();
        let partitions = self.shared.partitions.iter().map(readiness).enumerate();
        partitions.filter_map(|(partition, reason)| Some((partition, reason?))).collect()
    }

    /// Waits until all partitions can be used, at some time each.
    pub async fn ready(&self) {
        for partition in &self.shared.partitions {
            // This pod's handle has the sender.
            drop(partition.readiness.subscribe().wait_for(Result::is_ok).await);
        }
    }

    /// An operator's word to activate a level in all partitions, once all pods can apply it.
    pub fn activate(&self, level: u32) {
        self.shared.partitions.iter().for_each(|partition| partition.inbox.activate(level));
    }
}

impl<S: ReadableState> PodShared<S> {
    fn report(&self) -> PodReport {
        let reports = self.partitions.iter().map(|partition| *partition.report.lock()).enumerate();
        reports.filter_map(|(partition, report)| Some((partition, report?))).collect()
    }

    fn take(&self, report: PodReport) {
        for (partition, report) in report {
            if let Some(partition) = self.partitions.get(partition) {
                // Only what this pod has not seen is worth waking for.
                let is_urgent = report.applied > *partition.applied.borrow();
                partition.inbox.report(report, is_urgent);
            }
        }
    }

    /// The next incarnation follows one that is over, unless it is another one's turn already, or nobody's.
    fn follow_on(&self, (partition, over, reason): PodOver, next: PodIncarnation) {
        self.life.send_if_modified(|life| {
            if life.incarnation != over || life.is_stopping {
                return false;
            }
            info!(partition, ?reason, "this pod goes on as another incarnation");
            life.incarnation = next;
            // Nobody may be listening.
            let _ = self.events.send(PodEvent::Over { partition, reason, next });
            true
        });
    }
}

/// What the partitions have in common.
async fn coordinate<S: ReadableState>(
    shared: Arc<PodShared<S>>,
    mut peers: impl Peers,
    mut overs: mpsc::Receiver<PodOver>,
    mut draw: impl FnMut() -> u64,
) {
    let mut reports = interval(REPORT_EVERY);
    reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(over) = overs.recv() => shared.follow_on(over, PodIncarnation(draw())),
            report = peers.receive() => shared.take(report),
            _ = reports.tick() => peers.send(shared.report()),
        }
    }
}
