//! Updates that are accepted by other servers of a cluster: who follows them, and what is asked of their homes.
//!
//! The use cases know of other servers by [`Cascade`] alone. In one process there is none, and nothing here runs.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::feed::{Accepted, Counts, Draft, Feed, Rejected};
use starling_core::command::By;
use starling_core::id::{Epoch, PodId, SwarmId};

/// The other servers of a cluster, as far as updates are concerned.
pub trait Cascade: fmt::Debug + Send + Sync + 'static {
    /// This server's number in the partition of a swarm; [`NO_HOME`](starling_core::id::NO_HOME) = it has none now.
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
