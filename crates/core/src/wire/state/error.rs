//! Why bytes are no state of a swarm.

use crate::invariant::BrokenInvariant;
use crate::wire::WireError;

/// Why bytes are no state of a swarm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// They are not in the form of a state.
    #[error(transparent)]
    Bytes(#[from] WireError),
    /// They are, and no commands make this state.
    #[error("no commands make this state: {0}")]
    Invariant(#[from] BrokenInvariant),
}
