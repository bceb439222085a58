//! What the use cases do with the homes of terms: updates are taken from there, and sent there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::cascade::{Cascade, FollowLease, ForwardedUpdate, PeerCounts};
use super::publish::PublishError;
use super::{Service, ServiceError};
use crate::feed::{Accepted, AppendError, Feed};
use crate::store::entry::Entry;
use starling_core::Rejection;
use starling_core::channel::ChannelSet;
use starling_core::id::{Epoch, NO_HOME, NodeId, PodId, SwarmId};

/// How long a subscription waits until its start is here, and a publisher until the end of its term elsewhere is.
const PATIENCE: Duration = Duration::from_secs(1);

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
