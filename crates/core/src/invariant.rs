//! What holds of every state that commands make, and must hold of one that comes as bytes.
//!
//! Those who keep a state check it by [`ensure`]: the simulation after its steps, and the byte form
//! ([`wire::state`](crate::wire::state)) before it hands one out.

/// The largest time, duration in milliseconds, revision or counter of a state: sums of a few of them fit 64 bits.
pub(crate) const LARGEST: u64 = 1 << 60;

/// Something does not hold of a state that holds of all that commands make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not hold that {0}")]
pub struct BrokenInvariant(
    /// What should hold.
    pub &'static str,
);

/// Refuses a state of which `invariant` does not hold.
pub(crate) const fn ensure(holds: bool, invariant: &'static str) -> Result<(), BrokenInvariant> {
    if holds { Ok(()) } else { Err(BrokenInvariant(invariant)) }
}
