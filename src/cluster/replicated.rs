//! The command log of a cluster, as one of its pods has it.

use std::sync::Arc;
use std::time::Duration;

use starling_cluster::{CALL_PATIENCE, PartitionHandle, PodHandle, StreamAttachment};
use starling_core::id::{NodeId, SessionId, SwarmId};
use starling_core::revocations::Revocation;
use starling_core::{Command, LivestreamCommand, ServerCommand, wire};
use starling_replica::batch::StreamSession;
use tokio::sync::watch;

use super::directory::Directory;
use super::fault::{LogError, LogFault};
use super::goodbyes::{Goodbyes, PartitionGoodbyes};
use super::partition_state::{LogOutcome, PARTITIONS, PartitionState, SERVER_PARTITION, ShownPartition, partition_of};
use crate::store::snapshot::{Outcome, Projection};

/// A stream of a session that the log knows of, until it is dropped.
pub type LoggedStream = StreamAttachment<PartitionState>;

/// The command log of a cluster, as one of its pods has it.
#[derive(Debug)]
pub struct ReplicatedLog {
    pod: PodHandle<PartitionState>,
    places: Vec<ShownPartition>,
    goodbyes: Goodbyes,
    directory: Directory,
}

impl ReplicatedLog {
    /// The log of a pod whose partitions are shown there, in order. To be called on a runtime.
    pub fn new(pod: PodHandle<PartitionState>, places: Vec<ShownPartition>) -> Self {
        assert_eq!((pod.partitions(), places.len()), (PARTITIONS, PARTITIONS), "each partition has its place");
        let goodbyes = Goodbyes::new(&pod);
        let directory = Directory::new(pod.clone());
        Self { pod, places, goodbyes, directory }
    }

    /// The pod.
    pub const fn pod(&self) -> &PodHandle<PartitionState> {
        &self.pod
    }

    /// Which pods there are.
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// When streams about a swarm, or about all of them, have to end, because this pod does not follow the log any more.
    pub fn goodbyes(&self, of: Option<SwarmId>) -> PartitionGoodbyes {
        self.goodbyes.of(of.map(partition_of))
    }

    /// Whether a session has streams on this pod, or a term is used here, by the log. O(shards).
    pub fn is_in_use(&self) -> bool {
        let own = |partition| self.directory.own(partition);
        self.places
            .iter()
            .enumerate()
            .any(|(partition, place)| own(partition).is_some_and(|pod| place.has_swarms_on(pod)))
    }

    /// The last sequence of a swarm's partition that is applied here.
    pub fn applied(&self, id: SwarmId) -> watch::Receiver<u64> {
        self.partition(id).applied()
    }

    /// Where the lease clock of a swarm stands, as this pod knows it: at most a second behind while the log is reached.
    pub fn lease_now(&self, id: SwarmId) -> u64 {
        self.places[partition_of(id)].lease_now()
    }

    /// The same of what is about no swarm.
    pub fn server_lease_now(&self) -> u64 {
        self.places[SERVER_PARTITION].lease_now()
    }

    fn partition(&self, id: SwarmId) -> PartitionHandle<PartitionState> {
        self.pod.of_shard(partition_of(id))
    }

    /// Submits a command, and answers once this pod has applied it. Whatever is about membership goes before CHAT.
    pub(super) async fn submit(
        &self,
        id: SwarmId,
        command: &Command,
        projection: Projection,
    ) -> Result<Outcome, LogError> {
        // The time of a command is that of the entry that it comes in.
        let bytes = wire::encode(id, 0, command);
        let _expected = self.places[partition_of(id)].projections().expect(&bytes, projection);
        let partition = self.partition(id);
        swarm_outcome(match command {
            Command::Livestream(LivestreamCommand::Chat { .. }) => partition.chat(bytes, CALL_PATIENCE).await?,
            _ => partition.submit(bytes, CALL_PATIENCE).await?,
        })
    }

    /// Refuses tokens of a node, on all pods.
    pub(super) async fn revoke(&self, command: ServerCommand) -> Result<Revocation, LogError> {
        let bytes = wire::server::encode(0, &command);
        match self.pod.of_shard(SERVER_PARTITION).submit(bytes, CALL_PATIENCE).await? {
            LogOutcome::Revoked(result) => Ok(result?),
            LogOutcome::Swarm(_) | LogOutcome::Misrouted | LogOutcome::Panicked => Err(LogFault::Panicked.into()),
        }
    }

    /// Says that a session has one more stream on this pod, until what is answered is dropped.
    pub(super) async fn attach(&self, id: SwarmId, node: NodeId, session: SessionId) -> Result<LoggedStream, LogError> {
        let stream = StreamSession { swarm: id, node, session };
        let (attachment, outcome) = self.partition(id).attach(stream, CALL_PATIENCE).await?;
        if let Some(outcome) = outcome {
            swarm_outcome(outcome)?;
        }
        Ok(attachment)
    }

    /// Waits until this pod has applied all that any pod had answered before, so that it may say that something is not
    /// there.
    ///
    /// # Errors
    ///
    /// [`LogFault`]: it may not.
    pub async fn barrier(&self, id: SwarmId, patience: Duration) -> Result<(), LogFault> {
        Ok(self.partition(id).barrier(patience).await?)
    }
}

fn swarm_outcome(outcome: LogOutcome) -> Result<Outcome, LogError> {
    match outcome {
        LogOutcome::Swarm(Ok(outcome)) => Ok(*outcome),
        LogOutcome::Swarm(Err(rejection)) => Err(rejection.into()),
        // A command is sent to its own partition.
        LogOutcome::Revoked(_) | LogOutcome::Misrouted | LogOutcome::Panicked => Err(LogFault::Panicked.into()),
    }
}

/// The pod's own shards, for each partition.
///
/// # Errors
///
/// [`OtherShards`](super::partition_state::OtherShards).
pub fn places(store: &Arc<crate::store::Store>) -> Result<Vec<ShownPartition>, super::partition_state::OtherShards> {
    (0..PARTITIONS).map(|partition| ShownPartition::new(Arc::clone(store), partition)).collect()
}
