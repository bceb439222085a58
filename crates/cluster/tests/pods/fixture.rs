//! Pods in one process, over logs in memory, with tokio's time paused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use starling_cluster::{CALL_PATIENCE, MemoryCommandLog, PartitionHandle, PeerHub, Pod, PodHandle, SharedMemoryLog};
use starling_replica::output::OverReason;
use starling_replica::{PodIncarnation, ReplicaSettings};
use starling_testkit::Rng;

use crate::model::{Contents, Model, command};

/// What a log and its object store hold at most.
const LOG_BYTES: usize = 64 << 20;

/// A wait that only ends a test that would never end.
const AT_MOST: Duration = Duration::from_secs(180);

pub(crate) struct Fixture {
    pub(crate) logs: Vec<SharedMemoryLog>,
    pub(crate) settings: ReplicaSettings,
    hub: PeerHub,
    pub(crate) rng: Rng,
}

pub(crate) struct TestPod {
    pub(crate) pod: Pod<Model>,
    pub(crate) handle: PodHandle<Model>,
    pub(crate) logs: Vec<MemoryCommandLog>,
    cut_from_peers: Arc<AtomicBool>,
}

/// Lets time pass.
pub(crate) async fn pass(ms: u64) {
    let never = std::future::pending::<()>();
    assert!(tokio::time::timeout(Duration::from_millis(ms), never).await.is_err());
}

/// Waits for what must come.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(AT_MOST, future).await.expect("it comes")
}

impl Fixture {
    pub(crate) fn new(seed: u64, partitions: usize) -> Self {
        let logs = (0..partitions).map(|_| SharedMemoryLog::new(1_800_000_000_000, LOG_BYTES)).collect();
        let settings = ReplicaSettings { queue_items: 512, ..ReplicaSettings::default() };
        Self { logs, settings, hub: PeerHub::new(), rng: Rng::new(seed) }
    }

    /// Starts a pod, ready or not.
    pub(crate) fn start(&mut self) -> TestPod {
        let logs: Vec<_> = self.logs.iter().map(SharedMemoryLog::for_pod).collect();
        let peers = self.hub.join();
        let cut_from_peers = peers.cut();
        let mut rng = Rng::new(self.rng.bits());
        let partitions = logs.iter().cloned().map(|log| (log, ())).collect();
        let pod = Pod::start(partitions, peers, &self.settings, move || rng.bits());
        TestPod { handle: pod.handle(), pod, logs, cut_from_peers }
    }

    /// Pods that are ready.
    pub(crate) async fn pods(&mut self, count: usize) -> Vec<TestPod> {
        let pods: Vec<_> = (0..count).map(|_| self.start()).collect();
        for pod in &pods {
            within(pod.handle.ready()).await;
        }
        pods
    }

    /// No log takes anything for a time.
    pub(crate) fn elect_for(&self, ms: u64) {
        self.logs.iter().for_each(|log| log.with_log(|log| log.elect_for(ms)));
    }
}

impl TestPod {
    pub(crate) fn partition(&self, at: usize) -> PartitionHandle<Model> {
        self.handle.of_shard(at)
    }

    pub(crate) fn contents(&self, partition: usize) -> Contents {
        let state = self.partition(partition).state();
        let model = state.borrow().clone();
        model.lock().clone()
    }

    pub(crate) fn incarnation(&self) -> PodIncarnation {
        self.handle.life().borrow().incarnation
    }

    pub(crate) async fn submit(&self, partition: usize, id: u64) -> usize {
        let outcome = self.partition(partition).submit(command(id), CALL_PATIENCE).await;
        outcome.unwrap_or_else(|fault| panic!("command {id}: {fault}"))
    }

    /// Waits until the pod knows all that was answered before.
    pub(crate) async fn barrier(&self, partition: usize) {
        self.partition(partition).barrier(CALL_PATIENCE).await.expect("the log is there");
    }

    /// Waits until the contents are so.
    pub(crate) async fn holds(&self, partition: usize, is_so: impl Fn(&Contents) -> bool) {
        let mut applied = self.partition(partition).applied();
        within(async {
            while !is_so(&self.contents(partition)) {
                applied.changed().await.expect("the pod lives");
            }
        })
        .await;
    }

    pub(crate) fn cut_from_log(&self, partition: usize, is_cut: bool) {
        self.logs[partition].set_cut(is_cut);
    }

    pub(crate) fn cut_from_peers(&self, is_cut: bool) {
        self.cut_from_peers.store(is_cut, Ordering::Relaxed);
    }

    /// Waits until the pod is another incarnation, and says why.
    pub(crate) async fn over(
        &self,
        events: &mut tokio::sync::broadcast::Receiver<starling_cluster::PodEvent>,
    ) -> OverReason {
        within(async {
            loop {
                if let starling_cluster::PodEvent::Over { reason, .. } = events.recv().await.expect("not too many") {
                    return reason;
                }
            }
        })
        .await
    }
}
