//! Answers of a server that may not have applied yet what others have answered.
//!
//! Of several servers on one log each applies it in its own time. A client that was let in by one may ask the next at
//! once: before that one says that something is not so, it waits until it has applied all that any had answered. In one
//! process nothing here waits.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::error::PublishError;
use super::{Service, ServiceError};
use crate::cluster::{CALL_PATIENCE, LogFault};
use crate::feed::AppendError;
use crate::store::entry::Entry;
use starling_core::id::{Epoch, SwarmId};

/// How long a server may take to apply what a request is to see.
pub(super) const CATCH_UP: Duration = Duration::from_secs(1);

/// A refusal that may be the answer of a state that is not the newest.
pub trait Refusal: From<LogFault> {
    /// Whether it may.
    fn may_be_early(&self) -> bool;
}

impl Refusal for ServiceError {
    fn may_be_early(&self) -> bool {
        matches!(self, Self::Rejected(_) | Self::Ended { .. })
    }
}

impl From<LogFault> for PublishError {
    fn from(fault: LogFault) -> Self {
        Self::Swarm(fault.into())
    }
}

impl Refusal for PublishError {
    fn may_be_early(&self) -> bool {
        match self {
            Self::Swarm(refusal) => refusal.may_be_early(),
            Self::Feed(rejected) => matches!(rejected.refusal, AppendError::StaleTerm | AppendError::Closed(_)),
        }
    }
}

/// What a client has seen of a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenRevision {
    /// Of this incarnation.
    pub epoch: Epoch,
    /// The revision.
    pub revision: u64,
}

impl Service {
    /// Looks, and once more where the answer may be early.
    ///
    /// # Errors
    ///
    /// What the look says, or [`ServiceError::Log`] when it may be early and nobody can tell.
    pub async fn settled<T>(
        &self,
        id: SwarmId,
        look: impl Fn(&Self) -> Result<T, ServiceError> + Send,
    ) -> Result<T, ServiceError> {
        match look(self) {
            Err(refusal) if self.is_early(&refusal) => {}
            answer => return answer,
        }
        self.catch_up(id).await?;
        look(self)
    }

    /// Whether a refusal may be early here.
    pub fn is_early(&self, refusal: &impl Refusal) -> bool {
        self.log.cluster().is_some() && refusal.may_be_early()
    }

    /// Waits until this server has applied all that any had answered.
    ///
    /// # Errors
    ///
    /// [`LogFault`].
    pub async fn catch_up(&self, id: SwarmId) -> Result<(), LogFault> {
        self.log.barrier(id, CALL_PATIENCE).await
    }

    /// Waits up to 1 s until what a client has seen elsewhere is applied here; at once in one process.
    ///
    /// What is of another incarnation than the swarm has here, or of a swarm that is not here, is no revision to wait for:
    /// which of the two came first, only the log knows. So this waits until all is applied that any server had answered,
    /// and what is here then is the newest.
    ///
    /// # Errors
    ///
    /// [`LogFault::Behind`], or what [`Self::catch_up`] says.
    pub async fn reach(&self, id: SwarmId, seen: SeenRevision) -> Result<(), LogFault> {
        let Some(log) = self.log.cluster() else { return Ok(()) };
        let until = Instant::now() + CATCH_UP;
        let mut applied = log.applied(id);
        let mut has_all = false;
        loop {
            applied.borrow_and_update();
            let look = |entry: &Entry| (entry.swarm().epoch(), entry.swarm().revision());
            let here = self.log.store().read(id, look).filter(|(epoch, _)| *epoch == seen.epoch);
            match here {
                Some((_, revision)) if revision >= seen.revision => return Ok(()),
                Some(_) => match timeout_at(until, applied.changed()).await {
                    Ok(Ok(())) => {}
                    _ => return Err(LogFault::Behind),
                },
                None if has_all => return Ok(()),
                None => {
                    self.log.barrier(id, until.saturating_duration_since(Instant::now())).await?;
                    has_all = true;
                }
            }
        }
    }

    /// The same for a position that a watch goes on from, which may be none that anybody gave out. Then it is ahead of
    /// all that is applied here once this answers, and the watch begins anew.
    ///
    /// # Errors
    ///
    /// [`LogFault`]: nobody can tell.
    pub async fn reach_position(&self, id: SwarmId, position: SeenRevision) -> Result<(), LogFault> {
        match self.reach(id, position).await {
            Err(LogFault::Behind) => self.catch_up(id).await,
            reached => reached,
        }
    }
}
