//! Why a command came to nothing that no swarm has refused.

use starling_cluster::SubmitFault;
use starling_core::Rejection;
use thiserror::Error;

/// Why the log did not carry out a command, or why nobody knows whether it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LogFault {
    /// Nothing was taken: too much waits.
    #[error("too much waits for the log; nothing was done")]
    QueueFull,
    /// It was not carried out, and never will be.
    #[error("the log was not reached in time; nothing was done")]
    NotApplied,
    /// It may have been carried out, or may be within the next 15 s.
    #[error("the log has not answered in time; the outcome is unknown")]
    OutcomeUnknown,
    /// This server does not serve the partition of the swarm now; nothing was done.
    #[error("this server does not follow the log now; nothing was done")]
    NotServed,
    /// What the caller has seen elsewhere is not applied here yet; nothing was done.
    #[error("this server has not applied that revision yet; nothing was done")]
    Behind,
    /// The core could not carry it out, and the swarm is gone, on all pods alike.
    #[error("the command could not be carried out; the swarm is lost")]
    Panicked,
}

impl From<SubmitFault> for LogFault {
    fn from(fault: SubmitFault) -> Self {
        match fault {
            SubmitFault::QueueFull => Self::QueueFull,
            SubmitFault::NotApplied => Self::NotApplied,
            SubmitFault::OutcomeUnknown => Self::OutcomeUnknown,
            SubmitFault::Stopped => Self::NotServed,
        }
    }
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LogError {
    /// The swarm refused it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The log did not carry it out.
    #[error(transparent)]
    Fault(#[from] LogFault),
}

impl From<SubmitFault> for LogError {
    fn from(fault: SubmitFault) -> Self {
        Self::Fault(fault.into())
    }
}
