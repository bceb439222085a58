//! How many commands a second go through one partition, and through eight, over a log in memory, and how long a caller
//! waits: what the replicas and their drivers cost without a network.
//!
//! `cargo run --release -p starling-cluster --example throughput`
#![expect(clippy::print_stdout, reason = "its output is what it is run for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use starling_cluster::{CALL_PATIENCE, PartitionHandle, PeerHub, Pod, ReadableState, SharedMemoryLog};
use starling_core::id::PodId;
use starling_replica::batch::StreamSession;
use starling_replica::state::{LogTime, StateChange, Undecodable};
use starling_replica::{ReplicaSettings, State};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const PODS: usize = 3;

/// Callers of each pod and partition, each with one call at a time.
const CALLERS: usize = 256;

const COMMAND_BYTES: usize = 60;

const MEASURED: Duration = Duration::from_secs(5);

/// Only counts.
#[derive(Debug, Default)]
struct Counter(Arc<AtomicU64>);

impl ReadableState for Counter {
    type Reader = Arc<AtomicU64>;
    type Place = ();

    fn reader(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0)
    }

    fn show(&mut self, (): &()) {}
}

impl State for Counter {
    type Outcome = u64;

    fn apply(&mut self, _: StateChange<'_>, _: LogTime) -> Result<u64, Undecodable> {
        Ok(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn carry_out_due(&mut self, _: LogTime, _: usize) -> usize {
        0
    }

    fn pod_gone(&mut self, _: PodId, _: LogTime) {}

    fn detach_gone(&mut self, _: PodId, _: u64, _: LogTime, _: usize) -> usize {
        0
    }

    fn attached(&self, _: PodId) -> Vec<StreamSession> {
        Vec::new()
    }

    fn raise(&mut self, _: u64) {}

    fn digest(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn encode_part(&self, _: u32, _: u64, _: usize, out: &mut Vec<u8>) -> Option<u64> {
        out.extend(self.digest().to_le_bytes());
        None
    }

    fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        let count = bytes.try_into().map_err(|_| Undecodable)?;
        Ok(Self(Arc::new(AtomicU64::new(u64::from_le_bytes(count)))))
    }
}

/// Calls until it is time, and answers how long each call took.
async fn call(partition: PartitionHandle<Counter>, until: Instant) -> Vec<Duration> {
    let mut took = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        if partition.submit(vec![7; COMMAND_BYTES], CALL_PATIENCE).await.is_ok() {
            took.push(began.elapsed());
        }
    }
    took
}

async fn measure(partitions: usize) {
    let logs: Vec<_> = (0..partitions).map(|_| SharedMemoryLog::new(1_800_000_000_000, 1 << 30)).collect();
    let hub = PeerHub::new();
    let settings = ReplicaSettings { open_after_ms: 100, ..ReplicaSettings::default() };
    let mut next = 0;
    let mut pods = Vec::new();
    for _ in 0..PODS {
        next += 1_000_000;
        let mut draws = next..;
        let logs = logs.iter().map(|log| (log.for_pod(), ())).collect();
        let draw = move || draws.next().unwrap_or_default();
        pods.push(Pod::<Counter>::start(logs, hub.join(), &settings, draw));
    }
    join_all(pods.iter().map(|pod| async { pod.handle().ready().await })).await;

    let wakeups = || {
        let of_pod = |pod: &Pod<Counter>| (0..partitions).map(|at| pod.handle().of_shard(at).wakeups()).sum::<u64>();
        pods.iter().map(of_pod).sum::<u64>()
    };
    let before = wakeups();
    // Nothing is asked of them meanwhile.
    let _ = timeout(MEASURED, std::future::pending::<()>()).await;
    let idle = (wakeups() - before) / MEASURED.as_secs() / PODS as u64;

    let until = Instant::now() + MEASURED;
    let mut callers = JoinSet::new();
    for pod in &pods {
        for partition in 0..partitions {
            for _ in 0..CALLERS {
                callers.spawn(call(pod.handle().of_shard(partition), until));
            }
        }
    }
    let mut took: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    took.sort_unstable();
    let rate = took.len() as u64 / MEASURED.as_secs();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!(
        "{PODS} pods, {partitions} partitions, {CALLERS} callers each: {rate} commands/s, p50 {p50:.1?}, p99 {p99:.1?}; idle: \
         {idle} wake-ups a second and pod"
    );
    for pod in pods {
        pod.stop(Duration::from_secs(2)).await;
    }
}

#[tokio::main]
async fn main() {
    for partitions in [1, 8] {
        measure(partitions).await;
    }
}
