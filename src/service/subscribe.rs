//! Reading updates.

use std::sync::Arc;

use tokio::sync::Notify;

use super::watch::{Over, Step, Watch};
use super::{Refusal, Service, member};
use crate::cluster::clock;
use crate::feed::{Batch, Cursor, Feed, Greeting, Opening, Position, Resume, Selection, Start};
use crate::swarm::id::{Epoch, NodeId, SessionId, SwarmId};
use crate::swarm::interest::{Channel, ChannelSet};
use crate::swarm::{Rejection, Swarm};

/// What one look may bring, in bytes; one larger update comes alone.
const BATCH_BYTES: usize = 32 * 1024;

/// What a subscriber asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who.
    pub node: NodeId,
    /// Its session, when it says so; must be its current one then.
    pub session: Option<SessionId>,
    /// The channels; empty = all.
    pub channels: ChannelSet,
    /// Groups: the sources; empty = all but itself.
    pub sources: Vec<NodeId>,
    /// Where to begin.
    pub start: Start,
    /// Where an earlier subscription stopped: its incarnation, and positions.
    pub resume: Option<(u64, Vec<Position>)>,
}

/// A reader of one swarm's updates.
#[derive(Debug)]
pub struct Subscription {
    feed: Arc<Feed>,
    cursor: Cursor,
    epoch: Epoch,
}

impl Service {
    /// Subscribes a member.
    pub fn subscribe(&self, id: SwarmId, request: Request) -> Result<(Subscription, Greeting), Refusal> {
        let Request { node, session, channels, sources, start, resume } = request;
        let found = self.door.store().read(id, |entry| {
            let swarm = entry.swarm();
            let interests = member(swarm, node, session)?.interests.clone();
            let expected = match swarm {
                Swarm::Livestream(livestream) => vec![livestream.broadcaster()],
                Swarm::Group(_) => Vec::new(),
            };
            let epoch = swarm.epoch();
            let opening = Opening {
                selection: Selection {
                    node,
                    channels: if channels.is_empty() { Channel::ALL.into_iter().collect() } else { channels },
                    sources: (!sources.is_empty()).then_some(sources),
                },
                interests,
                expected,
                start,
                resume: resume.map(|(of, positions)| Resume { same_epoch: of == epoch.get(), positions }),
            };
            let feed = entry.feed();
            // Under the shard: no change of interest slips in between.
            let (cursor, greeting) = Cursor::open(&feed, opening, clock::uptime());
            Ok::<_, Rejection>((Subscription { feed, cursor, epoch }, greeting))
        });
        Ok(found.ok_or(Rejection::NoSuchSwarm)??)
    }
}

impl Subscription {
    /// The incarnation of the swarm.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The newest position of each source and channel that was asked for.
    pub fn heads(&self) -> Vec<Position> {
        self.feed.heads(self.cursor.selection())
    }

    /// Brings what is new, when it is due. The end comes after the last update.
    pub fn step(&mut self) -> Step<Batch> {
        // Asked before the read: what was published before the end is read after.
        let closed = self.feed.is_closed();
        let now = clock::uptime();
        if let Some(due) = self.cursor.due().filter(|due| *due > now && !closed) {
            return Step::Later(std::time::Duration::from_micros(due - now));
        }
        let batch = self.cursor.read(BATCH_BYTES, now);
        match (batch.deliveries.is_empty(), closed) {
            (false, _) => Step::Item(batch),
            (true, true) => Step::Over(Over::SwarmEnded),
            (true, false) => Step::Idle(0),
        }
    }

    /// The bell that rings when something must not wait.
    pub fn alarm(&self) -> Arc<Notify> {
        self.feed.urgent()
    }
}

impl Watch for Subscription {
    fn bell(&self) -> Arc<Notify> {
        self.feed.news()
    }
}
