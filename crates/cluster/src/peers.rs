//! What pods tell each other beside the log: how far each has applied it.

use std::fmt;
use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use starling_replica::output::PeerReport;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

/// How many reports wait for a slow pod in one process at most.
const WAITING_REPORTS: usize = 256;

/// The reports of one pod, by partition. One that has nothing to tell is left out.
pub type PodReport = Vec<(usize, PeerReport)>;

/// The way to all peers. It may lose whatever it is given.
pub trait Peers: Send + 'static {
    /// Tells all peers, without waiting: each second.
    fn send(&mut self, report: PodReport);

    /// What some peer tells next. A call that is dropped loses nothing. Without peers it never ends.
    fn receive(&mut self) -> impl Future<Output = PodReport> + Send;
}

/// Peers in one process.
#[derive(Clone)]
pub struct PeerHub {
    reports: Sender<(u64, PodReport)>,
    joined: Arc<AtomicU64>,
}

impl PeerHub {
    /// A hub without pods.
    pub fn new() -> Self {
        Self { reports: channel(WAITING_REPORTS).0, joined: Arc::default() }
    }

    /// The peers of a further pod.
    pub fn join(&self) -> HubPeers {
        HubPeers {
            own: self.joined.fetch_add(1, Ordering::Relaxed),
            sender: self.reports.clone(),
            receiver: self.reports.subscribe(),
            is_cut: Arc::default(),
        }
    }
}

impl Default for PeerHub {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PeerHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerHub").field("pods", &self.reports.receiver_count()).finish()
    }
}

/// The other pods of a [`PeerHub`], as one of them reaches them.
pub struct HubPeers {
    own: u64,
    sender: Sender<(u64, PodReport)>,
    receiver: Receiver<(u64, PodReport)>,
    is_cut: Arc<AtomicBool>,
}

impl HubPeers {
    /// Fault: while it is true, the pod reaches nobody and is reached by nobody.
    pub fn cut(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_cut)
    }
}

impl fmt::Debug for HubPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubPeers").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Peers for HubPeers {
    fn send(&mut self, report: PodReport) {
        if !self.is_cut.load(Ordering::Relaxed) {
            // It has a receiver, this one.
            drop(self.sender.send((self.own, report)));
        }
    }

    async fn receive(&mut self) -> PodReport {
        loop {
            match self.receiver.recv().await {
                Ok((from, report)) if from != self.own && !self.is_cut.load(Ordering::Relaxed) => return report,
                // What was missed is told again in a second.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return pending().await,
            }
        }
    }
}
