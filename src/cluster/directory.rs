//! Which pods there are, by the log: their numbers, and where the others reach them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use starling_cluster::PodHandle;
use starling_core::id::{Epoch, PodId};
use starling_replica::PodIncarnation;
use starling_replica::replica::status::ReplicaStatus;

use super::partition_state::{PARTITIONS, PartitionState, SERVER_PARTITION};

/// How often the log is asked which pods there are.
const REFRESH: Duration = Duration::from_secs(1);

/// The same while this pod is not registered everywhere.
const SOON: Duration = Duration::from_millis(20);

/// A pod, as the others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPod {
    /// This life of it.
    pub incarnation: PodIncarnation,
    /// HOST:PORT of its listener for the others; empty when it has none.
    pub address: String,
}

/// The pods of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct PartitionPods {
    by_number: BTreeMap<PodId, KnownPod>,
    own: Option<PodId>,
    /// The life of the log that its history began with; 0 while it is not known.
    origin: u64,
}

/// Which pods there are. What is told is at most a second old.
#[derive(Clone, Debug)]
pub struct Directory {
    pod: PodHandle<PartitionState>,
    known: Arc<watch::Sender<Vec<PartitionPods>>>,
}

impl Directory {
    /// The directory of a pod. It knows nobody until [`Self::run`] runs.
    pub(super) fn new(pod: PodHandle<PartitionState>) -> Self {
        let known = vec![PartitionPods::default(); PARTITIONS];
        Self { pod, known: Arc::new(watch::Sender::new(known)) }
    }

    /// Keeps itself current, for ever.
    pub async fn run(&self) {
        let mut refreshes = interval(REFRESH);
        refreshes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.refresh().await;
            tokio::select! {
                _ = refreshes.tick() => {}
                // Until it knows itself nobody can publish here.
                () = sleep(SOON), if !self.knows_itself() => {}
            }
        }
    }

    /// True when this pod is registered everywhere, and it is known who else was then.
    pub fn knows_itself(&self) -> bool {
        self.known.borrow().iter().all(|partition| partition.own.is_some())
    }

    /// Asks the log, as far as it is applied here.
    pub async fn refresh(&self) {
        let handles = (0..PARTITIONS).map(|partition| self.pod.of_shard(partition));
        let statuses = join_all(handles.map(|handle| async move { handle.status().await })).await;
        let own = self.pod.life().borrow().incarnation;
        self.known.send_if_modified(|known| {
            let mut is_changed = false;
            for (before, status) in known.iter_mut().zip(statuses) {
                let Some(status) = status else { continue };
                let now = PartitionPods::of(&status, own);
                is_changed |= *before != now;
                *before = now;
            }
            is_changed
        });
    }

    /// What the log has called this pod in a partition, once it is registered there.
    pub fn own(&self, partition: usize) -> Option<PodId> {
        self.known.borrow()[partition].own
    }

    /// The pod of a number in a partition.
    pub fn pod(&self, partition: usize, pod: PodId) -> Option<KnownPod> {
        self.known.borrow()[partition].by_number.get(&pod).cloned()
    }

    /// All other pods that are registered somewhere and have an address.
    pub fn others(&self) -> Vec<KnownPod> {
        let own = self.pod.life().borrow().incarnation;
        let known = self.known.borrow();
        let all = known.iter().flat_map(|partition| partition.by_number.values());
        let others = all.filter(|pod| pod.incarnation != own && !pod.address.is_empty());
        others.map(|pod| (pod.incarnation, pod.clone())).collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// Resolves when it knows something else than it did when this was asked for.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut known = self.known.subscribe();
        async move {
            if known.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Which history the set of swarms has, the same on all pods; waits until it is known.
    pub async fn set_epoch(&self) -> Epoch {
        let mut known = self.known.subscribe();
        loop {
            let origin = known.borrow_and_update()[SERVER_PARTITION].origin;
            if origin > 0 {
                return Epoch::drawn(origin);
            }
            if known.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl PartitionPods {
    fn of(status: &ReplicaStatus, own: PodIncarnation) -> Self {
        let known = |(incarnation, pod): &(PodIncarnation, _)| {
            let pod: &starling_replica::partition::RegisteredPod = pod;
            let address = String::from_utf8_lossy(&pod.address).into_owned();
            (pod.pod, KnownPod { incarnation: *incarnation, address })
        };
        let own = status.pods.iter().find(|(incarnation, _)| *incarnation == own);
        Self {
            by_number: status.pods.iter().map(known).collect(),
            own: own.map(|(_, pod)| pod.pod),
            origin: status.origin.0,
        }
    }
}
