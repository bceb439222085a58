//! The logs of a cluster, of which this process is about to be a pod.

use starling_cluster::{
    JetStreamCluster, JetStreamLog, JetStreamSettings, MemoryCommandLog, Peers, Pod, SharedMemoryLog, StartError,
};
use starling_replica::ReplicaSettings;

use super::partition_state::{PARTITIONS, PartitionState, ShownPartition};

/// Bytes of a log in memory, and of its snapshots.
const MEMORY_LOG_BYTES: usize = 256 << 20;

/// The logs of a cluster, of which this process is about to be a pod.
#[derive(Debug)]
pub struct ClusterLogs(Kind);

#[derive(Debug)]
enum Kind {
    JetStream(Vec<JetStreamLog>),
    Memory(Vec<MemoryCommandLog>),
}

/// The logs of a cluster whose pods are all in this process. Copies are of the same logs.
#[derive(Clone, Debug)]
pub struct SharedLogs(Vec<SharedMemoryLog>);

impl SharedLogs {
    /// Empty logs, whose time begins at `unix_ms`, in milliseconds since the Unix epoch.
    pub fn new(unix_ms: u64) -> Self {
        Self((0..PARTITIONS).map(|_| SharedMemoryLog::new(unix_ms, MEMORY_LOG_BYTES)).collect())
    }

    /// As a further pod has them.
    pub fn for_pod(&self) -> ClusterLogs {
        ClusterLogs(Kind::Memory(self.0.iter().map(SharedMemoryLog::for_pod).collect()))
    }
}

impl ClusterLogs {
    /// Those in NATS JetStream, which are made if there are none.
    ///
    /// # Errors
    ///
    /// [`StartError`]: NATS cannot be reached or used, or the cluster is another one.
    pub async fn in_nats(settings: JetStreamSettings) -> Result<Self, StartError> {
        let cluster = JetStreamCluster::connect(settings).await?;
        let partitions = 0..u32::try_from(PARTITIONS).unwrap_or(u32::MAX);
        Ok(Self(Kind::JetStream(partitions.map(|partition| cluster.log(partition)).collect())))
    }

    /// Starts a pod that is shown in these places, on the runtime of whoever calls.
    pub fn start<P: Peers>(
        self,
        places: Vec<ShownPartition>,
        peers: P,
        settings: &ReplicaSettings,
    ) -> Pod<PartitionState> {
        match self.0 {
            Kind::JetStream(logs) => Pod::start(logs.into_iter().zip(places).collect(), peers, settings, rand::random),
            Kind::Memory(logs) => {
                // Nobody can hold a state that is not in this process: an empty log is a new one.
                let settings = ReplicaSettings { open_after_ms: 0, ..settings.clone() };
                Pod::start(logs.into_iter().zip(places).collect(), peers, &settings, rand::random)
            }
        }
    }
}
