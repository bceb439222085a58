//! What a change that the log says came to.

use crate::store::Panicked;
use crate::store::snapshot::Outcome;
use starling_core::Rejection;
use starling_core::revocations::Revocation;

/// What a change that the log says came to: plain data, for whoever submitted it.
#[derive(Clone, Debug)]
pub enum LogOutcome {
    /// A command, or Attach or Detach, was carried out, or refused and changed nothing.
    Swarm(Result<Box<Outcome>, Rejection>),
    /// Tokens are refused, or the table is full.
    Revoked(Result<Revocation, Rejection>),
    /// It is of another partition: nothing was done.
    Misrouted,
    /// The core could not carry it out, and the swarm is gone.
    Panicked,
}

impl LogOutcome {
    pub(super) fn of(result: Result<Result<Outcome, Rejection>, Panicked>) -> Self {
        match result {
            Ok(result) => Self::Swarm(result.map(Box::new)),
            Err(Panicked) => Self::Panicked,
        }
    }
}
