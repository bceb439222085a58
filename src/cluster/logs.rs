//! The logs of a cluster, of which this process is about to be a pod.

use std::fmt;

use starling_cluster::{
    JetStreamCluster, JetStreamLog, JetStreamSettings, MemoryCommandLog, Peers, Pod, SharedMemoryLog, StartError,
};
use starling_replica::ReplicaSettings;

use super::partition_state::{PARTITIONS, PartitionState, ShownPartition};

/// Bytes of a log in memory, and of its snapshots.
const MEMORY_LOG_BYTES: usize = 256 << 20;

/// The logs of a cluster, of which this process is about to be a pod.
pub struct ClusterLogs {
    logs: PodLogs,
    secret: Vec<u8>,
}

#[derive(Debug)]
enum PodLogs {
    JetStream(Vec<JetStreamLog>),
    Memory(Vec<MemoryCommandLog>),
}

/// The logs of a cluster whose pods are all in this process. Copies are of the same logs.
#[derive(Clone)]
pub struct SharedLogs {
    logs: Vec<SharedMemoryLog>,
    /// By what the pods know each other.
    secret: [u8; 32],
}

impl SharedLogs {
    /// Empty logs, whose time begins at `unix_ms`, in milliseconds since the Unix epoch.
    pub fn new(unix_ms: u64) -> Self {
        let logs = (0..PARTITIONS).map(|_| SharedMemoryLog::new(unix_ms, MEMORY_LOG_BYTES)).collect();
        Self { logs, secret: rand::random() }
    }

    /// The same logs, for pods that know each other by another secret.
    #[must_use]
    pub fn with_secret(&self, secret: [u8; 32]) -> Self {
        Self { logs: self.logs.clone(), secret }
    }

    /// As a further pod has them.
    pub fn for_pod(&self) -> ClusterLogs {
        let logs = self.logs.iter().map(SharedMemoryLog::for_pod).collect();
        ClusterLogs { logs: PodLogs::Memory(logs), secret: self.secret.to_vec() }
    }
}

impl ClusterLogs {
    /// Those in NATS JetStream, which are made if there are none, of pods that know each other by a secret.
    ///
    /// # Errors
    ///
    /// [`StartError`]: NATS cannot be reached or used, or the cluster is another one.
    pub async fn in_nats(settings: JetStreamSettings, secret: Vec<u8>) -> Result<Self, StartError> {
        let cluster = JetStreamCluster::connect(settings).await?;
        let partitions = 0..u32::try_from(PARTITIONS).unwrap_or(u32::MAX);
        Ok(Self { logs: PodLogs::JetStream(partitions.map(|partition| cluster.log(partition)).collect()), secret })
    }

    /// By what the pods know each other.
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// Starts a pod that is shown in these places, on the runtime of whoever calls.
    pub fn start<P: Peers>(
        self,
        places: Vec<ShownPartition>,
        peers: P,
        settings: &ReplicaSettings,
    ) -> Pod<PartitionState> {
        match self.logs {
            PodLogs::JetStream(logs) => {
                Pod::start(logs.into_iter().zip(places).collect(), peers, settings, rand::random)
            }
            PodLogs::Memory(logs) => {
                // Nobody can hold a state that is not in this process: an empty log is a new one.
                let settings = ReplicaSettings { open_after_ms: 0, ..settings.clone() };
                Pod::start(logs.into_iter().zip(places).collect(), peers, &settings, rand::random)
            }
        }
    }
}

/// Without the secret.
impl fmt::Debug for ClusterLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterLogs").field("logs", &self.logs).finish_non_exhaustive()
    }
}

impl fmt::Debug for SharedLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLogs").finish_non_exhaustive()
    }
}
