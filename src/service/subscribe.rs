//! Reading updates.

use std::sync::Arc;

use tokio::sync::Notify;

use super::watch::{Over, Step, Watch};
use super::{Refusal, Service};
use crate::feed::{Batch, Cursor, Feed, Position, Start};
use crate::swarm::Rejection;
use crate::swarm::id::{Epoch, NodeId, SwarmId};
use crate::swarm::interest::{Channel, Interest};
use crate::swarm::propagation::Filter;

/// What one look may bring, in bytes; one larger update comes alone.
const BATCH_BYTES: usize = 32 * 1024;

/// A reader of one swarm's VISUAL updates.
#[derive(Debug)]
pub struct Subscription {
    feed: Arc<Feed>,
    cursor: Cursor,
    source: NodeId,
    epoch: Epoch,
    interest: Interest,
}

impl Service {
    /// Subscribes a member of a livestream.
    pub fn subscribe(&self, id: SwarmId, node: NodeId, start: Start) -> Result<Subscription, Refusal> {
        let found = self.door.store().read(id, |entry| {
            let swarm = entry.swarm();
            if swarm.is_over() {
                return Err(Rejection::Ended);
            }
            let member = swarm.roster().find(node).ok_or(Rejection::NotAMember(node))?;
            let source = match swarm {
                crate::swarm::Swarm::Livestream(livestream) => livestream.broadcaster(),
                crate::swarm::Swarm::Group(_) => return Err(Rejection::WrongKind),
            };
            Ok((entry.feed(), swarm.epoch(), member.interests.level(Some(source), Channel::Visual), source))
        });
        let (feed, epoch, interest, source) = found.ok_or(Rejection::NoSuchSwarm)??;
        let cursor = Cursor::open(&feed, source, Channel::Visual, interest, start);
        Ok(Subscription { feed, cursor, source, epoch, interest })
    }
}

impl Subscription {
    /// The incarnation of the swarm.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Who publishes.
    pub const fn source(&self) -> NodeId {
        self.source
    }

    /// The interest that the subscription serves, and what passes by it.
    pub const fn filter(&self) -> (Interest, Filter) {
        (self.interest, self.cursor.filter())
    }

    /// The position before the first update to come; `None` while a keyframe is
    /// awaited.
    pub const fn start(&self) -> Option<Position> {
        self.cursor.start()
    }

    /// The newest position of each source and channel.
    pub fn heads(&self) -> Vec<Position> {
        self.feed.heads()
    }

    /// Brings what is new. The end comes after the last update.
    pub fn step(&mut self) -> Step<Batch> {
        // Asked before the read: what was published before the end is read after.
        let closed = self.feed.is_closed();
        let batch = self.cursor.read(&self.feed, BATCH_BYTES);
        match (batch.deliveries.is_empty(), closed) {
            (false, _) => Step::Item(batch),
            (true, true) => Step::Over(Over::SwarmEnded),
            (true, false) => Step::Idle(0),
        }
    }
}

impl Watch for Subscription {
    fn bell(&self) -> Arc<Notify> {
        self.feed.news()
    }
}
