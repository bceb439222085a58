//! Why a request was refused.

use crate::cluster::{LogError, LogFault};
use crate::feed::{self, Position};
use crate::limits::Exceeded;
use starling_core::Rejection;
use starling_core::id::Epoch;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The swarm refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The swarm has ended, and the subscriber may not read what is left of it.
    #[error("the swarm has ended")]
    Ended {
        /// Its incarnation.
        epoch: Epoch,
        /// Where its updates ended: the newest positions.
        last: Vec<Position>,
    },
    /// The process has no room for the updates of one more reader.
    #[error("the process is out of memory for updates")]
    FeedMemory,
    /// The process holds as many swarms as it may.
    #[error("at most {max} swarms")]
    TooManySwarms {
        /// How many.
        max: usize,
    },
    /// The memory for swarms is full, or what of it the swarms may take that one address or identity made.
    #[error("the memory for swarms is full")]
    StateMemory,
    /// One address or identity has made as many swarms as it may.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// There are no tokens.
    #[error("the server knows no identities")]
    IdentityOff,
    /// The server where updates of the source are taken does not answer.
    #[error("the server where updates of this source are taken does not answer; whether it has taken it is not known")]
    HomeUnreachable,
    /// The server is not one of several.
    #[error("the server is not one of several")]
    ClusterOff,
    /// A pod of the cluster cannot apply a level.
    #[error("pod {:016x} can apply levels up to {highest}", pod)]
    LevelNotSupported {
        /// Which.
        pod: u64,
        /// The highest that it can.
        highest: u32,
    },
    /// The log that several servers share did not carry it out.
    #[error(transparent)]
    Log(#[from] LogFault),
}

impl From<LogError> for ServiceError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Rejected(rejection) => Self::Rejected(rejection),
            LogError::Fault(fault) => Self::Log(fault),
        }
    }
}

/// Why an update was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The swarm refused its publisher.
    #[error(transparent)]
    Swarm(#[from] ServiceError),
    /// The feed refused the update.
    #[error(transparent)]
    Feed(#[from] feed::Rejected),
}

impl From<Rejection> for PublishError {
    fn from(rejection: Rejection) -> Self {
        Self::Swarm(rejection.into())
    }
}
