//! What operators are told of a cluster, and its level.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use thiserror::Error;
use tokio::time::{Instant, interval};

use super::condition::why_not_ready;
use super::fault::LogFault;
use super::partition_state::{PARTITIONS, PartitionState};
use super::replicated::ReplicatedLog;
use starling_cluster::PartitionHandle;
use starling_replica::PodIncarnation;
use starling_replica::replica::status::ReplicaStatus;

/// How long an activation may take.
const ACTIVATION: Duration = Duration::from_secs(10);

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A pod of the cluster, by the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodStatus {
    /// This life of it.
    pub incarnation: PodIncarnation,
    /// Where the others reach it; empty = nowhere.
    pub address: String,
    /// The highest level that it can apply.
    pub level: u32,
    /// In how many partitions it is registered.
    pub partitions: u32,
    /// How long it was silent at most, by the lease clock, in milliseconds.
    pub silent_ms: u64,
}

/// A partition of the log, as this pod sees it.
#[derive(Clone, Debug)]
pub struct PartitionStatus {
    /// Why it cannot be used now; empty = it can.
    pub not_ready: &'static str,
    /// What its replica tells; `None` while nobody drives it.
    pub replica: Option<ReplicaStatus>,
}

/// How a pod does.
#[derive(Clone, Debug)]
pub struct ClusterStatus {
    /// This life of the pod.
    pub incarnation: PodIncarnation,
    /// In order of their ids.
    pub pods: Vec<PodStatus>,
    /// In order.
    pub partitions: Vec<PartitionStatus>,
}

/// Why a level was not activated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ActivationError {
    /// A pod cannot apply it; nothing was done.
    #[error("pod {pod:016x} can apply levels up to {highest}")]
    NotSupported {
        /// Which.
        pod: u64,
        /// The highest that it can.
        highest: u32,
    },
    /// The log was not reached.
    #[error(transparent)]
    Fault(#[from] LogFault),
}

impl ReplicatedLog {
    /// How this pod does. O(pods).
    pub async fn status(&self) -> ClusterStatus {
        let partitions = join_all(partitions(self).map(|partition| async move {
            let not_ready = partition.readiness().borrow().err().map_or("", why_not_ready);
            PartitionStatus { not_ready, replica: partition.status().await }
        }));
        let partitions = partitions.await;
        let replicas = partitions.iter().filter_map(|partition| partition.replica.as_ref());
        ClusterStatus { incarnation: self.pod().life().borrow().incarnation, pods: pods(replicas), partitions }
    }

    /// Has all pods go over to a level of the log; answers once it is active in all partitions.
    ///
    /// # Errors
    ///
    /// [`ActivationError`]; [`LogFault::OutcomeUnknown`] after 10 s.
    pub async fn activate(&self, level: u32) -> Result<(), ActivationError> {
        let until = Instant::now() + ACTIVATION;
        let mut looks = interval(LOOK_EVERY);
        let mut is_said = false;
        while Instant::now() < until {
            looks.tick().await;
            let statuses = join_all(partitions(self).map(|partition| async move { partition.status().await })).await;
            let Some(statuses) = statuses.into_iter().collect::<Option<Vec<_>>>() else { continue };
            if statuses.iter().all(|status| status.level >= level) {
                return Ok(());
            }
            if let Some(behind) = pods(statuses.iter()).into_iter().find(|pod| pod.level < level) {
                return Err(ActivationError::NotSupported { pod: behind.incarnation.0, highest: behind.level });
            }
            if !std::mem::replace(&mut is_said, true) {
                self.pod().activate(level);
            }
        }
        Err(if is_said { LogFault::OutcomeUnknown } else { LogFault::NotServed }.into())
    }
}

fn partitions(log: &ReplicatedLog) -> impl Iterator<Item = PartitionHandle<PartitionState>> {
    (0..PARTITIONS).map(|partition| log.pod().of_shard(partition))
}

/// The pods that are registered in any partition.
fn pods<'a>(replicas: impl Iterator<Item = &'a ReplicaStatus>) -> Vec<PodStatus> {
    let mut pods = BTreeMap::<PodIncarnation, PodStatus>::new();
    for replica in replicas {
        for (incarnation, pod) in &replica.pods {
            let status = pods.entry(*incarnation).or_insert_with(|| PodStatus {
                incarnation: *incarnation,
                address: String::from_utf8_lossy(&pod.address).into_owned(),
                level: pod.level,
                partitions: 0,
                silent_ms: 0,
            });
            status.partitions += 1;
            status.level = status.level.min(pod.level);
            status.silent_ms = status.silent_ms.max(replica.lease_clock.saturating_sub(pod.sign.at));
        }
    }
    pods.into_values().collect()
}
