//! Publishing on a stream of updates.

use std::sync::Arc;

use tokio::sync::Notify;

use super::presence::Presence;
use super::{Refusal, Service};
use crate::feed::{self, Accepted, Draft, Feed};
use crate::swarm::command::By;
use crate::swarm::id::{Epoch, NodeId, SwarmId};
use crate::swarm::interest::{Channel, ChannelSet};
use crate::swarm::{Command, Rejection};

/// The lease of a session that publishing makes, in milliseconds.
const LEASE_MS: u32 = 30_000;

/// The right to publish, while it lasts.
#[derive(Debug)]
pub struct Publication {
    feed: Arc<Feed>,
    news: Arc<Notify>,
    source: NodeId,
    epoch: Epoch,
    term: u64,
    claimed: ChannelSet,
    /// Channels that nobody has claimed since.
    channels: Vec<Channel>,
}

impl Service {
    /// Claims channels for a node, and keeps its session alive; the broadcaster gets
    /// one if it has none.
    pub async fn publish(&self, id: SwarmId, by: By, channels: ChannelSet) -> Result<(Publication, Presence), Refusal> {
        let node = by.node;
        let claim = Command::Claim { by, channels, session: Self::draw_session(), ttl_ms: LEASE_MS };
        let (epoch, term, session) =
            self.door.submit(id, claim, |swarm, applied| (swarm.epoch(), applied.revision, applied.session)).await?;
        let session = session.ok_or(Rejection::NotAMember(node))?;
        let presence = self.attach(id, node, session).await?;
        // Of this incarnation: another may have taken its place by now.
        let found =
            self.door.store().read(id, |entry| (entry.swarm().epoch() == epoch).then(|| (entry.feed(), entry.news())));
        let (feed, news) = found.flatten().ok_or(Rejection::NoSuchSwarm)?;
        let held = channels.iter().collect();
        Ok((Publication { feed, news, source: node, epoch, term, claimed: channels, channels: held }, presence))
    }
}

impl Publication {
    /// The incarnation of the swarm.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The term of all channels.
    pub const fn term(&self) -> u64 {
        self.term
    }

    /// The channels that are still ours, and the last number that the publisher
    /// gave on each.
    pub fn channels(&self) -> impl Iterator<Item = (Channel, u64)> {
        self.channels.iter().map(|channel| (*channel, self.feed.publisher_sequence(self.source, *channel)))
    }

    /// What was claimed at first.
    pub const fn claimed(&self) -> ChannelSet {
        self.claimed
    }

    /// The bell that rings when a channel may have been lost.
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// True when the swarm has ended.
    pub fn is_over(&self) -> bool {
        self.feed.is_closed()
    }

    /// Channels lost since the last call.
    pub fn revoked(&mut self) -> Vec<Channel> {
        let (feed, source, term) = (&self.feed, self.source, self.term);
        self.channels.extract_if(.., |channel| feed.term(source, *channel) != Some(term)).collect()
    }

    /// Publishes one update.
    pub fn send(&self, draft: Draft) -> Result<Accepted, feed::Refusal> {
        self.feed.publish(self.source, self.term, draft)
    }
}
