//! What operators are told of a cluster.

use super::convert;
use crate::cluster::status::{ClusterStatus, PartitionStatus, PodStatus};
use crate::pb::swarm::v1 as pb;

fn span(ms: u64) -> Option<prost_types::Duration> {
    Some(convert::duration(u32::try_from(ms).unwrap_or(u32::MAX)))
}

impl From<ClusterStatus> for pb::GetClusterStatusResponse {
    fn from(status: ClusterStatus) -> Self {
        let ClusterStatus { incarnation, pods, partitions } = status;
        Self {
            pod_id: format!("{:016x}", incarnation.0),
            ready: partitions.iter().all(|partition| partition.not_ready.is_empty()),
            pods: pods.into_iter().map(Into::into).collect(),
            partitions: (0..).zip(partitions).map(|(number, partition)| shown(number, &partition)).collect(),
        }
    }
}

impl From<PodStatus> for pb::ClusterPod {
    fn from(pod: PodStatus) -> Self {
        let PodStatus { incarnation, address, level, partitions, silent_ms } = pod;
        Self { pod_id: format!("{:016x}", incarnation.0), address, level, partitions, silent_for: span(silent_ms) }
    }
}

fn shown(partition: u32, status: &PartitionStatus) -> pb::ClusterPartition {
    let not_ready = status.not_ready.to_owned();
    let Some(replica) = &status.replica else {
        return pb::ClusterPartition { partition, not_ready, ..Default::default() };
    };
    pb::ClusterPartition {
        partition,
        not_ready,
        log_id: format!("{:016x}", replica.log.0),
        level: replica.level,
        applied_sequence: replica.applied,
        last_sequence: replica.seen,
        snapshot_sequence: replica.snapshot.map_or(0, |(position, _)| position.sequence),
        snapshot_age: replica.snapshot.and_then(|(_, age_ms)| span(age_ms)),
        disputed: replica.is_disputed,
    }
}
