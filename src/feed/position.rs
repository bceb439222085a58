//! Where an update stands: its lane, and its place on that lane.

use starling_core::channel::Channel;
use starling_core::id::NodeId;

/// (term, sequence): a place on one lane.
pub type TermSeq = (u64, u64);

/// Source and channel; no source for the CHAT of a livestream, which has many
/// authors and one order.
pub type LaneId = (Option<NodeId>, Channel);

/// Where an update stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Who published it; `None` for the CHAT of a livestream.
    pub source: Option<NodeId>,
    /// On what.
    pub channel: Channel,
    /// Under which grant; 0 for the CHAT of a livestream.
    pub term: u64,
    /// Its number in the term, from 1.
    pub sequence: u64,
}

impl Position {
    /// Its place on its lane.
    pub const fn point(&self) -> TermSeq {
        (self.term, self.sequence)
    }
}
