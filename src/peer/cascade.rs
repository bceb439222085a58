//! What the use cases ask of other servers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::timeout;

use super::Homes;
use super::convert::{self, publish_request};
use super::followers::Followers;
use super::network::PeerNetwork;
use crate::feed::{Accepted, Counts, Feed};
use crate::pb::peer::v1::StatsRequest;
use crate::service::cascade::{Cascade, FollowLease, ForwardError, ForwardedUpdate, PeerCounts};
use starling_core::id::{Epoch, PodId, SwarmId};

/// How long a home may take to publish an update.
const PUBLISH: Duration = Duration::from_secs(3);

/// How long a peer may take to say what it has counted.
const STATS: Duration = Duration::from_secs(1);

/// The other servers of a cluster, over the network.
#[derive(Debug)]
pub struct PeerCascade {
    followers: Arc<Followers>,
}

impl PeerCascade {
    /// The peers of this network.
    pub fn new(network: PeerNetwork, homes: Arc<dyn Homes>) -> Arc<Self> {
        Arc::new(Self { followers: Followers::new(network, homes) })
    }

    /// Swarms that are followed.
    #[cfg(test)]
    pub(super) fn followed(&self) -> usize {
        self.followers.len()
    }
}

impl Cascade for PeerCascade {
    fn own(&self, id: SwarmId) -> PodId {
        self.followers.homes().own(id)
    }

    fn follow(&self, id: SwarmId, epoch: Epoch, feed: &Arc<Feed>) -> FollowLease {
        self.followers.follow(id, epoch, feed)
    }

    fn forward(&self, home: PodId, update: ForwardedUpdate) -> BoxFuture<'static, Result<Accepted, ForwardError>> {
        let (homes, network) = (Arc::clone(self.followers.homes()), self.followers.network().clone());
        async move {
            let mut address = homes.peer(update.id, home);
            if address.is_none() {
                // It may have come a moment ago.
                homes.refresh().await;
                address = homes.peer(update.id, home);
            }
            let client = address.and_then(|at| Some((at.incarnation, network.client(&at.address)?)));
            let (incarnation, mut client) = client.ok_or(ForwardError::Unreachable)?;
            let (source, channel) = (update.by.node, update.draft.channel);
            let answer = timeout(PUBLISH, client.publish(publish_request(incarnation, update))).await;
            let Ok(Ok(response)) = answer else { return Err(ForwardError::Unreachable) };
            match convert::outcome(source, channel, response.into_inner()) {
                Some(outcome) => outcome.map_err(ForwardError::Rejected),
                None => Err(ForwardError::Unreachable),
            }
        }
        .boxed()
    }

    fn stats(&self, id: SwarmId, epoch: Epoch) -> BoxFuture<'static, PeerCounts> {
        let network = self.followers.network().clone();
        async move {
            let peers = network.peers();
            let request = StatsRequest { swarm: Some(convert::swarm_name(id, epoch)) };
            let answers = peers.iter().map(|peer| ask(&network, &peer.address, request));
            PeerCounts { asked: peers.len(), answers: join_all(answers).await.into_iter().flatten().collect() }
        }
        .boxed()
    }
}

async fn ask(network: &PeerNetwork, address: &str, request: StatsRequest) -> Option<Counts> {
    let mut client = network.client(address)?;
    let response = timeout(STATS, client.stats(request)).await.ok()?.ok()?;
    Counts::of_figures(&response.into_inner().figures)
}
