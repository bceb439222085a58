//! The way for reports of this pod to all others, and back.

use tokio::sync::{mpsc, watch};

use starling_cluster::peers::{Peers, PodReport};

/// The way for reports to and from all peers.
#[derive(Debug)]
pub struct NetworkPeers {
    outgoing: watch::Sender<PodReport>,
    incoming: mpsc::Receiver<PodReport>,
}

impl NetworkPeers {
    pub(super) const fn new(outgoing: watch::Sender<PodReport>, incoming: mpsc::Receiver<PodReport>) -> Self {
        Self { outgoing, incoming }
    }
}

impl Peers for NetworkPeers {
    fn send(&mut self, report: PodReport) {
        // A peer that is slow gets the newest one.
        self.outgoing.send_replace(report);
    }

    async fn receive(&mut self) -> PodReport {
        match self.incoming.recv().await {
            Some(report) => report,
            None => std::future::pending().await,
        }
    }
}
