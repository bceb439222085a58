//! Updates that are accepted by other servers of a cluster: who follows them, and what is asked of their homes.
//!
//! The use cases know of other servers by [`Cascade`] alone. In one process there is none, and nothing here runs.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::error::PublishError;
use super::{Service, ServiceError};
use crate::feed::{Accepted, AppendError, Counts, Draft, Feed, Rejected};
use crate::store::entry::Entry;
use starling_core::Rejection;
use starling_core::channel::ChannelSet;
use starling_core::command::By;
use starling_core::id::{Epoch, NO_HOME, NodeId, PodId, SwarmId};

/// How long a subscription waits until its start is here, and a publisher until the end of its term elsewhere is.
const PATIENCE: Duration = Duration::from_secs(1);

/// The other servers of a cluster, as far as updates are concerned.
pub trait Cascade: fmt::Debug + Send + Sync + 'static {
    /// This server's number in the partition of a swarm; [`NO_HOME`] = it has none now.
    fn own(&self, id: SwarmId) -> PodId;

    /// Takes the updates of a swarm from their homes while what is answered lives, and for a while after.
    fn follow(&self, id: SwarmId, epoch: Epoch, feed: &Arc<Feed>) -> FollowLease;

    /// Publishes an update at the home of its lane, once.
    fn forward(&self, home: PodId, update: ForwardedUpdate) -> BoxFuture<'static, Result<Accepted, ForwardError>>;

    /// Asks all other servers what they have counted of the updates of a swarm.
    fn stats(&self, id: SwarmId, epoch: Epoch) -> BoxFuture<'static, PeerCounts>;
}

/// Keeps the updates of a swarm coming from their homes.
#[derive(Clone)]
#[must_use = "updates come while this lives"]
pub struct FollowLease(#[expect(dead_code, reason = "it is dropped")] Arc<dyn Any + Send + Sync>);

impl FollowLease {
    /// A lease for as long as `kept` lives.
    pub fn new(kept: Arc<dyn Any + Send + Sync>) -> Self {
        Self(kept)
    }
}

impl fmt::Debug for FollowLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowLease").finish_non_exhaustive()
    }
}

/// An update for the home of its lane.
#[derive(Clone, Debug)]
pub struct ForwardedUpdate {
    /// Which swarm.
    pub id: SwarmId,
    /// Its incarnation.
    pub epoch: Epoch,
    /// Who publishes.
    pub by: By,
    /// Under which term, and no other.
    pub term: u64,
    /// The update.
    pub draft: Draft,
}

/// Why a home did not take an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardError {
    /// It cannot be asked, or has not answered, or knows less than this server.
    Unreachable,
    /// It refused it.
    Rejected(Rejected),
}

/// What other servers have counted.
#[derive(Clone, Debug, Default)]
pub struct PeerCounts {
    /// How many were asked.
    pub asked: usize,
    /// What those have counted that answered.
    pub answers: Vec<Counts>,
}

impl Service {
    /// The same as one of several servers.
    #[must_use]
    pub fn with_cascade(self, cascade: Arc<dyn Cascade>) -> Self {
        Self { cascade: Some(cascade), ..self }
    }

    /// The updates of this incarnation of a swarm, if it is here.
    pub fn feed(&self, id: SwarmId, epoch: Epoch) -> Option<Arc<Feed>> {
        let look = |entry: &Entry| (entry.swarm().epoch() == epoch).then(|| entry.feed());
        self.log.store().read(id, look).flatten()
    }

    /// Begins to take updates of a swarm from their homes; `None` in one process.
    pub(super) fn follow_homes(&self, id: SwarmId, epoch: Epoch, feed: &Arc<Feed>) -> Option<FollowLease> {
        let cascade = self.cascade.as_ref()?;
        match cascade.own(id) {
            NO_HOME => None,
            own => {
                feed.follow_as(own);
                Some(cascade.follow(id, epoch, feed))
            }
        }
    }

    /// Waits until it is known where former terms of a source ended at other servers, whose session goes on here.
    pub(crate) async fn settle_seals(
        &self,
        id: SwarmId,
        epoch: Epoch,
        feed: &Arc<Feed>,
        source: NodeId,
        channels: ChannelSet,
    ) {
        let Some(cascade) = &self.cascade else { return };
        let own = cascade.own(id);
        if own == NO_HOME {
            return;
        }
        feed.follow_as(own);
        if feed.awaits_seal(source, channels) {
            let _follows = cascade.follow(id, epoch, feed);
            wait_while(feed, || feed.awaits_seal(source, channels)).await;
            feed.give_up_seals(source, channels);
        }
    }

    /// The home of a term, when that is another server.
    pub(super) fn other_home(&self, id: SwarmId, home: PodId) -> Option<(&Arc<dyn Cascade>, PodId)> {
        let cascade = self.cascade.as_ref()?;
        (home != NO_HOME && home != cascade.own(id)).then_some((cascade, home))
    }

    /// Publishes an update here that came to another server, under its term, and no other.
    ///
    /// # Errors
    ///
    /// As [`Self::publish_one`]; when the home of the term is elsewhere, too.
    pub async fn publish_forwarded(&self, update: ForwardedUpdate) -> Result<Accepted, PublishError> {
        let ForwardedUpdate { id, epoch, by, term, draft } = update;
        let feed = self.feed(id, epoch).ok_or(Rejection::NoSuchSwarm)?;
        let holder = feed.holder(by.node, draft.channel);
        if holder.is_none_or(|(held, home)| held != term || self.other_home(id, home).is_some()) {
            return Err(AppendError::StaleTerm.uncounted().into());
        }
        let (accepted, _) = self.publish_once(id, &by, Some(term), &draft).await?;
        Ok(accepted)
    }

    /// What other servers have counted of the updates of a swarm.
    ///
    /// # Errors
    ///
    /// When there is no such swarm.
    pub async fn peer_counts(&self, id: SwarmId) -> Result<PeerCounts, ServiceError> {
        let epoch = self.read(id, starling_core::Swarm::epoch)?;
        match &self.cascade {
            Some(cascade) => Ok(cascade.stats(id, epoch).await),
            None => Ok(PeerCounts::default()),
        }
    }
}

/// Waits while something is so of a feed, as its publishers are told; not for ever.
pub(super) async fn wait_while(feed: &Feed, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let changed = feed.producers().notified_owned();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if !is_so() || timeout_at(deadline, changed).await.is_err() {
            return;
        }
    }
}
