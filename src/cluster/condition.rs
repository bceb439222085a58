//! Whether a pod can be used, in words.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use futures_util::future::select_all;

use starling_cluster::{PartitionNotReady, PodHandle};
use starling_replica::output::{LogAccess, NotReady, OverReason, StopReason};

use super::partition_state::PartitionState;

/// Whether a pod can be used, in words for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodCondition {
    /// Why calls should go elsewhere; nothing when the pod can be used.
    pub reasons: Vec<String>,
    /// What is wrong and no reason to go elsewhere.
    pub remarks: Vec<String>,
}

impl PodCondition {
    /// As it is now.
    fn of(pod: &PodHandle<PartitionState>) -> Self {
        let (mut reasons, mut remarks) = (BTreeMap::new(), BTreeMap::new());
        for partition in 0..pod.partitions() {
            let handle = pod.of_shard(partition);
            let (readiness, access) = (*handle.readiness().borrow(), *handle.access().borrow());
            match readiness {
                Err(reason) => note(&mut reasons, not_ready(reason), partition),
                Ok(()) if access == LogAccess::Stalled => {
                    note(&mut remarks, "the log does not answer, and nobody has seen it go on", partition);
                }
                Ok(()) => {}
            }
        }
        Self { reasons: told(reasons), remarks: told(remarks) }
    }
}

type Noted = BTreeMap<&'static str, Vec<String>>;

fn note(noted: &mut Noted, what: &'static str, partition: usize) {
    noted.entry(what).or_default().push(partition.to_string());
}

fn told(noted: Noted) -> Vec<String> {
    noted.into_iter().map(|(what, partitions)| format!("{what} (partitions {})", partitions.join(", "))).collect()
}

fn not_ready(reason: PartitionNotReady) -> &'static str {
    match reason {
        PartitionNotReady::Dropped => "a fault was found: what was held is dropped, and loaded again",
        PartitionNotReady::Stopped
        | PartitionNotReady::Replica(NotReady::Stopped(StopReason::Over(OverReason::Stopped))) => "this server stops",
        PartitionNotReady::Replica(NotReady::Stopped(StopReason::Over(_))) => "this server begins anew",
        PartitionNotReady::Replica(NotReady::Stopped(StopReason::Undecodable)) => {
            "the log has an entry that this build cannot apply: run a newer one"
        }
        PartitionNotReady::Replica(NotReady::Stopped(StopReason::Level)) => {
            "a level of the log is active that this build cannot apply: run a newer one"
        }
        PartitionNotReady::Replica(NotReady::Loading) => "no snapshot is loaded yet",
        PartitionNotReady::Replica(NotReady::CatchingUp) => "the log since the snapshot is being applied",
        PartitionNotReady::Replica(NotReady::NothingCounts) => "the log is new or lost, and nobody goes on with it yet",
        PartitionNotReady::Replica(NotReady::NotHeard) => "the log has not taken what this server has sent yet",
        PartitionNotReady::Replica(NotReady::LogFull) => "the log is full: see cluster.max_log_bytes",
        PartitionNotReady::Replica(NotReady::Away(_)) => "neither the log nor all other servers can be reached",
    }
}

/// Tells the condition of a pod, now and whenever it changes, until the pod is gone.
pub async fn watch_condition(pod: PodHandle<PartitionState>, mut tell: impl FnMut(PodCondition)) {
    let handles: Vec<_> = (0..pod.partitions()).map(|partition| pod.of_shard(partition)).collect();
    let mut readiness: Vec<_> = handles.iter().map(|handle| handle.readiness()).collect();
    let mut access: Vec<_> = handles.iter().map(|handle| handle.access()).collect();
    loop {
        readiness.iter_mut().for_each(|readiness| drop(readiness.borrow_and_update()));
        access.iter_mut().for_each(|access| drop(access.borrow_and_update()));
        tell(PodCondition::of(&pod));
        let changes = readiness.iter_mut().map(|readiness| readiness.changed().boxed());
        let changes = changes.chain(access.iter_mut().map(|access| access.changed().boxed()));
        if select_all(changes).await.0.is_err() {
            return;
        }
    }
}
