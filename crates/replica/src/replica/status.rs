//! What operators are told of a replica.

use super::Replica;
use crate::batch::LogId;
use crate::output::{LogAccess, NotReady};
use crate::partition::{PartitionPhase, RegisteredPod};
use crate::state::State;
use crate::{PodIncarnation, batch::LogPosition};

/// One partition as one pod sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Whether it can be used, and if not, why.
    pub readiness: Result<(), NotReady>,
    /// How far this pod is from the log.
    pub access: LogAccess,
    /// Whether what the log says counts.
    pub phase: PartitionPhase,
    /// The life of the log.
    pub log: LogId,
    /// The level that is active.
    pub level: u32,
    /// The last sequence that this pod has applied.
    pub applied: u64,
    /// The highest sequence that this pod has heard of.
    pub seen: u64,
    /// The lease clock, in milliseconds.
    pub lease_clock: u64,
    /// The newest snapshot that this pod knows, and how old it is by the lease clock, in milliseconds.
    pub snapshot: Option<(LogPosition, u64)>,
    /// Whether the pods' states differ.
    pub is_disputed: bool,
    /// The pods that are registered, and their numbers.
    pub pods: Vec<(PodIncarnation, RegisteredPod)>,
}

impl<S: State> Replica<S> {
    /// What operators are told. O(pods).
    pub fn status(&self) -> ReplicaStatus {
        let partition = &self.readable().partition;
        let applied = partition.counted_position().sequence;
        let lease_clock = partition.clock().now();
        ReplicaStatus {
            readiness: self.readiness(),
            access: self.access,
            phase: partition.phase(),
            log: partition.log(),
            level: partition.level(),
            applied,
            seen: self.seen.max(applied),
            lease_clock,
            snapshot: self.snapshot_last.map(|last| (last, lease_clock.saturating_sub(self.snapshot_lease))),
            is_disputed: partition.is_disputed(),
            pods: partition.pods().map(|(incarnation, pod)| (incarnation, pod.clone())).collect(),
        }
    }
}
