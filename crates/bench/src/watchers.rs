//! Watchers of target lists: each has a connection, and counts what comes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::access::Wire;
use super::join_times::JoinTimes;
use super::link::{Link, Messages};
use crate::error::BenchError;
use pb::watch_targets_response::Event;
use starling_client::pb::livestream::v1 as pb;

const WATCH: &str = "/starling.livestream.v1.LivestreamService/WatchTargets";
const WINDOW: u32 = 1 << 20;
/// Connections that are opened at the same time.
const AT_ONCE: usize = 64;

/// All of them, gone when dropped.
#[derive(Debug)]
pub(crate) struct Watchers {
    connections: JoinSet<Result<(), BenchError>>,
    pub(crate) count: Arc<DeltaCounts>,
}

/// What they count.
#[derive(Debug)]
pub(crate) struct DeltaCounts {
    join_times: Arc<JoinTimes>,
    deltas: AtomicU64,
    /// Targets that deltas added, updated or removed.
    targets: AtomicU64,
    /// A permit per watcher that has its snapshot.
    watching: Semaphore,
    /// Permits to open a connection.
    connect_permits: Semaphore,
}

impl DeltaCounts {
    pub(crate) fn deltas(&self) -> u64 {
        self.deltas.load(Ordering::Relaxed)
    }

    pub(crate) fn targets(&self) -> u64 {
        self.targets.load(Ordering::Relaxed)
    }

    async fn watch(&self, address: SocketAddr, request: &pb::WatchTargetsRequest) -> Result<(), BenchError> {
        let permit = self.connect_permits.acquire().await?;
        let tcp = TcpStream::connect(address).await?;
        drop(permit);
        tcp.set_nodelay(true)?;
        let (link, driver) = Link::open(Wire::Left(tcp), WINDOW).await?;
        let method = link.method(WATCH)?;
        let watching = async {
            let mut messages = Messages::new(link.stream(&method, request, None).await?);
            while let Some(message) = messages.next::<pb::WatchTargetsResponse>().await? {
                match message.event {
                    Some(Event::Snapshot(_)) => self.watching.add_permits(1),
                    Some(Event::Delta(delta)) => {
                        self.deltas.fetch_add(1, Ordering::Relaxed);
                        let targets = delta.added.len() + delta.updated.len() + delta.removed.len();
                        self.targets.fetch_add(targets as u64, Ordering::Relaxed);
                        for target in delta.added {
                            self.join_times.added(target.node_id);
                        }
                    }
                    Some(Event::Heartbeat(_) | Event::Goodbye(_)) | None => {}
                }
            }
            Err(BenchError("a watch ended under way".into()))
        };
        driver.drive(std::iter::once(watching).collect()).await
    }
}

impl Watchers {
    /// Opens the watches, and waits until each has its snapshot.
    pub(crate) async fn open(
        address: SocketAddr,
        requests: Vec<pb::WatchTargetsRequest>,
        join_times: Arc<JoinTimes>,
    ) -> Result<Self, BenchError> {
        let count = Arc::new(DeltaCounts {
            join_times,
            deltas: AtomicU64::new(0),
            targets: AtomicU64::new(0),
            watching: Semaphore::new(0),
            connect_permits: Semaphore::new(AT_ONCE),
        });
        let all = u32::try_from(requests.len())?;
        let mut connections = JoinSet::new();
        for request in requests {
            let count = Arc::clone(&count);
            connections.spawn(async move { count.watch(address, &request).await });
        }
        let mut watchers = Self { connections, count };
        tokio::select! {
            permits = watchers.count.watching.acquire_many(all) => drop(permits?),
            ended = watchers.connections.join_next() => {
                ended.unwrap_or(Ok(Ok(())))??;
            }
        }
        Ok(watchers)
    }

    /// Fails when a watch has ended.
    pub(crate) fn check(&mut self) -> Result<(), BenchError> {
        while let Some(ended) = self.connections.try_join_next() {
            ended??;
        }
        Ok(())
    }
}
