//! Where updates stand: lanes and points.

use std::fmt;

use starling_client::pb::swarm::v1::{self as pb, UpdateChannel};

/// One order of updates: what one source publishes on one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// The publisher; 0 for CHAT in livestreams.
    pub source: u64,
    /// The channel.
    pub channel: UpdateChannel,
}

impl Lane {
    /// CHAT of a livestream: many authors, one order.
    pub const CHAT: Self = Self { source: 0, channel: UpdateChannel::Chat };

    /// What one source publishes on one channel, by the number that the schema gives it.
    pub(super) fn new(source: u64, channel: i32) -> Self {
        Self { source, channel: UpdateChannel::try_from(channel).unwrap_or_default() }
    }

    /// True when updates depend on those since their keyframe.
    pub(super) const fn has_runs(self) -> bool {
        matches!(self.channel, UpdateChannel::Visual | UpdateChannel::Screen)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.channel.as_str_name().trim_start_matches("UPDATE_CHANNEL_"), self.source)
    }
}

/// A place on a lane. Orders as updates do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// Incarnation of the authority to publish.
    pub term: u64,
    /// From 1 in each term; 0 = before the first.
    pub sequence: u64,
}

impl Point {
    /// The same in the words of the schema; the lane is left out.
    pub(super) const fn of(position: pb::UpdatePosition) -> Self {
        Self { term: position.term, sequence: position.sequence }
    }

    /// The point right after it, in its term.
    pub(super) const fn next(self) -> Self {
        Self { term: self.term, sequence: self.sequence.saturating_add(1) }
    }

    /// True when nothing can lie between the two.
    pub(super) const fn precedes(self, next: Self) -> bool {
        self.term == next.term && self.next().sequence == next.sequence
    }
}

impl From<pb::TermSequence> for Point {
    fn from(point: pb::TermSequence) -> Self {
        Self { term: point.term, sequence: point.sequence }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.sequence)
    }
}
