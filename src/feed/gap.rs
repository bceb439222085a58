//! What a subscriber is told of updates that it does not get.

use super::position::{LaneId, TermSeq};

/// Why updates are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The reader was behind by more than the greatest lag.
    Lagging,
    /// The reader's bandwidth did not suffice.
    Bandwidth,
    /// The reader was so slow that the ring went round.
    Evicted,
    /// Authority passed on before the reader had everything.
    TermChanged,
    /// The reader came from another incarnation of the swarm.
    EpochChanged,
    /// The reader claimed to know what there never was.
    UnknownPosition,
    /// The updates did not reach this pod.
    Upstream,
}

impl GapReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Lagging,
        Self::Bandwidth,
        Self::Evicted,
        Self::TermChanged,
        Self::EpochChanged,
        Self::UnknownPosition,
        Self::Upstream,
    ];
}

/// Updates that will not come: those strictly between two points of a lane.
///
/// One whose end is not known yet is open: the same gap, with its end and its count,
/// follows once they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The lane.
    pub lane: LaneId,
    /// The last one that came; `None` = from the beginning.
    pub after: Option<TermSeq>,
    /// The next one that comes; `None` = not known yet, the gap is open.
    pub before: Option<TermSeq>,
    /// Why.
    pub reason: GapReason,
    /// How many; `None` = not known.
    pub count: Option<u64>,
}
