//! Reading updates.

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;

use super::cascade::FollowLease;
use super::homes::wait_while;
use super::watch::{Over, Step};
use super::{Service, ServiceError, member};
use crate::clock;
use crate::feed::{
    Cursor, Delivery, Encoded, Feed, Gap, Greeting, Limits, MAX_NAMED, Opening, Position, Resume, Selection, Start,
};
use crate::store::entry::Entry;
use starling_core::Rejection;
use starling_core::channel::{Channel, ChannelSet};
use starling_core::id::{Epoch, NodeId, SessionId, SwarmId};
use starling_core::interest::Interests;

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
    /// Where an earlier subscription stopped.
    pub resume: Option<ResumePoint>,
}

/// Where an earlier subscription stopped.
#[derive(Clone, Debug, Default)]
pub struct ResumePoint {
    /// The incarnation of the swarm that it read.
    pub epoch: u64,
    /// The last position of each lane.
    pub positions: Vec<Position>,
    /// The gaps whose end it was not told.
    pub open_gaps: Vec<Gap>,
}

/// A reader of one swarm's updates.
#[derive(Debug)]
pub struct Subscription {
    feed: Arc<Feed>,
    cursor: Cursor,
    epoch: Epoch,
    /// The swarm had ended before.
    after_end: bool,
    /// What keeps updates of other servers coming.
    follows: Option<FollowLease>,
}

/// A subscription that counts, and has no place in the ring yet.
#[derive(Debug)]
#[must_use = "it reads nothing before it begins"]
pub struct EnteredSubscription {
    subscription: Subscription,
    opening: Opening,
}

/// The most positions that are named when a swarm has ended.
const LAST_POSITIONS: usize = 64;

/// Who may read the updates of a swarm, and what it wants of them. Once the swarm has
/// ended, whoever was in then may go on where it stopped; anybody else is told where
/// everything ended.
fn reader(entry: &Entry, request: &Request, now: u64) -> Result<Interests, ServiceError> {
    let (swarm, &Request { node, session, .. }) = (entry.swarm(), request);
    if !swarm.is_over() {
        return Ok(member(swarm, node, session, now)?.interests.clone());
    }
    let epoch = swarm.epoch();
    let resumes = request.resume.as_ref().is_some_and(|resume| resume.epoch == epoch.get());
    let known = session.filter(|_| resumes).and_then(|session| swarm.last_members().find(node, session));
    known.map(|member| member.interests.clone()).ok_or_else(|| ServiceError::Ended {
        epoch,
        last: entry.feed().newest_heads(&request.selection(), LAST_POSITIONS),
    })
}

impl Request {
    fn selection(&self) -> Selection {
        let channels = if self.channels.is_empty() { Channel::ALL.into_iter().collect() } else { self.channels };
        Selection::new(self.node, channels, self.sources.clone())
    }
}

impl Service {
    /// Subscribes a member. `waker` is woken when there is something to read after
    /// [`Subscription::park`], and when the subscriber wants something else.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Ended`] when the swarm has ended and the node was no member then, names
    /// no session, or does not resume; [`ServiceError::FeedMemory`] when the process has no room for
    /// it; [`Rejection::Quota`] when the subscriptions of the node would name too many sources.
    pub fn subscribe(
        &self,
        id: SwarmId,
        request: Request,
        waker: Waker,
    ) -> Result<(Subscription, Greeting), ServiceError> {
        Ok(self.enter(id, request, waker)?.begin_now())
    }

    /// The same up to where it begins: that may have to come from other servers.
    ///
    /// # Errors
    ///
    /// As [`Self::subscribe`].
    pub fn enter(&self, id: SwarmId, request: Request, waker: Waker) -> Result<EnteredSubscription, ServiceError> {
        let (selection, now) = (request.selection(), clock::uptime());
        let feed = self.log.store().read(id, Entry::feed).ok_or(Rejection::NoSuchSwarm)?;
        if !feed.has_room_for_readers(now) {
            return Err(ServiceError::FeedMemory);
        }
        let found = self.log.store().read(id, |entry| {
            let interests = reader(entry, &request, self.log.now(id))?;
            let (swarm, feed) = (entry.swarm(), entry.feed());
            // Under the shard: no change of interest slips in between.
            let cursor = Cursor::enter(&feed, selection, interests, waker, now)
                .ok_or(Rejection::Quota { what: "sources of the subscriptions of a member", max: MAX_NAMED })?;
            let (epoch, after_end) = (swarm.epoch(), swarm.is_over());
            let subscription = Subscription { feed, cursor, epoch, after_end, follows: None };
            Ok::<_, ServiceError>((subscription, swarm.broadcaster()))
        });
        // Its place is found without the shard.
        let (mut subscription, broadcaster) = found.ok_or(Rejection::NoSuchSwarm)??;
        let same_epoch = |resume: &ResumePoint| resume.epoch == subscription.epoch.get();
        let resume = request.resume.map(|resume| {
            let same_epoch = same_epoch(&resume);
            let ResumePoint { positions, open_gaps, .. } = resume;
            Resume { same_epoch, positions, open_gaps }
        });
        let opening = Opening { expected: broadcaster.into_iter().collect(), start: request.start, resume };
        if !subscription.after_end {
            subscription.follows = self.follow_homes(id, subscription.epoch, &subscription.feed);
        }
        Ok(EnteredSubscription { subscription, opening })
    }
}

impl EnteredSubscription {
    /// Finds its place in the ring, once what it begins with has come from other servers, or a second has passed.
    pub async fn begin(self) -> (Subscription, Greeting) {
        let Subscription { feed, cursor, follows, .. } = &self.subscription;
        if follows.is_some() {
            let resume = self.opening.resume.as_ref().filter(|resume| resume.same_epoch);
            let positions = resume.iter().flat_map(|resume| &resume.positions);
            let points: Vec<_> =
                positions.map(|position| ((position.source, position.channel), position.point())).collect();
            wait_while(feed, || feed.awaits_upstream(cursor.selection(), &points)).await;
        }
        self.begin_now()
    }

    /// Finds its place in the ring, as that is now.
    pub fn begin_now(self) -> (Subscription, Greeting) {
        let Self { mut subscription, opening } = self;
        let greeting = subscription.cursor.begin(opening, clock::uptime());
        subscription.feed.start_wake_task();
        (subscription, greeting)
    }
}

impl Subscription {
    /// The incarnation of the swarm.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What the subscription is limited to now.
    pub fn limits(&self) -> Limits {
        self.feed.limits()
    }

    /// True when the swarm had ended before: there are no members any more.
    pub const fn is_after_end(&self) -> bool {
        self.after_end
    }

    /// The newest position of each source and channel that was asked for.
    pub fn heads(&self) -> Vec<Position> {
        self.feed.heads(self.cursor.selection())
    }

    /// Brings what is new. The end comes after the last update. When it is idle and
    /// [is behind](Self::is_behind), there is more to look at: it is to be called again, in a while.
    pub fn step(&mut self) -> Step<Vec<Delivery>> {
        // Asked before the read: what was published before the end is read after.
        let closed = self.feed.is_over();
        let mut deliveries = self.cursor.read(clock::uptime());
        if self.cursor.is_behind() && deliveries.is_empty() {
            return Step::Idle(0);
        }
        if deliveries.is_empty() && closed {
            deliveries = self.cursor.finish();
        }
        match (deliveries.is_empty(), closed) {
            (false, _) => Step::Item(deliveries),
            (true, true) => Step::Over(Over::SwarmEnded),
            (true, false) => Step::Idle(0),
        }
    }

    /// True when the last step had more to look at than goes under one lock.
    pub const fn is_behind(&self) -> bool {
        self.cursor.is_behind()
    }

    /// Waits for what comes next, after a look that brought nothing. False when there
    /// is something already.
    pub fn park(&self) -> bool {
        // In this order: the end wakes those that are parked by then.
        self.cursor.park() && !self.feed.is_over()
    }

    /// Counts that the subscriber is cut off because it does not read.
    pub fn note_slow(&self) {
        self.cursor.note_slow();
    }

    /// These updates as one gRPC message.
    pub fn join(&self, updates: &[Encoded]) -> Bytes {
        self.cursor.join(updates)
    }
}
