//! One update as the ring holds it: its encoded form, and what readers decide by.

use super::draft::Draft;
use super::heap::allocated;
use super::lane::Tally;
use super::position::{Position, TermSeq};
use super::wire::{self, Encoded};
use crate::clock::Micros;
use starling_core::id::NodeId;
use starling_core::propagation::Filter;

/// An update in the ring.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// Needs no earlier update.
    pub keyframe: bool,
    /// Slot of its lane.
    pub(super) lane: usize,
    /// Readers get no more than a segment at once.
    pub(super) segment: u64,
    /// The update before it on its lane, in whatever term; (0, 0) = none.
    previous: TermSeq,
    /// What the lane had carried before it.
    pub(super) tally: Tally,
    /// The term in which its publisher began anew: runs go on over the terms since.
    pub(super) origin: u64,
    /// Temporal layers of its publisher, from 1.
    pub(super) layers: u32,
    /// On the top one of several layers, and no keyframe.
    pub(super) top: bool,
    /// To be flushed at once.
    pub(super) urgent: bool,
    /// When it was accepted.
    pub(super) at: Micros,
    encoded: Encoded,
}

// There may be millions of them: 160 bytes are a size class of allocators.
const _: () = assert!(size_of::<Record>() <= 160, "a record stays small");

/// What `Bytes` allocate to be shared, with the first clone.
const SHARED: usize = 24;

/// What surrounds a payload in its message at most, in bytes.
const ENVELOPE: usize = 112;

/// What a filter tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Keyframe,
    /// On the top one of several temporal layers.
    Top,
    Plain,
}

impl Kind {
    pub(super) const fn passes(self, filter: Filter) -> bool {
        match filter {
            Filter::Nothing => false,
            Filter::Keyframes => matches!(self, Self::Keyframe),
            Filter::WithoutTopLayer => !matches!(self, Self::Top),
            Filter::Everything => true,
        }
    }
}

/// What the feed knows of an update beside its position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) lane: usize,
    pub(super) previous: Option<TermSeq>,
    pub(super) tally: Tally,
    pub(super) origin: u64,
    pub(super) layers: u32,
    pub(super) author: Option<NodeId>,
    pub(super) at: Micros,
}

impl Record {
    /// Encodes an update. O(payload): the one copy that is made of it.
    pub(super) fn encode(position: Position, place: Place, draft: &Draft) -> Self {
        let Draft { keyframe, urgent, temporal_layer, .. } = *draft;
        let Place { lane, previous, tally, origin, layers, author, at } = place;
        Self {
            position,
            keyframe,
            lane,
            segment: 0,
            previous: previous.unwrap_or_default(),
            tally,
            origin,
            layers,
            top: is_top(keyframe, temporal_layer, layers),
            urgent,
            at,
            encoded: wire::encode(position, author, draft),
        }
    }

    /// Notes its place in the ring.
    pub(super) const fn put_at(&mut self, number: u64, segment: u64) {
        self.encoded.set_number(number);
        self.segment = segment;
    }

    /// True when it may go on with the run of the update before it. The first one of a
    /// publisher that begins anew does not.
    pub(super) const fn continues(&self) -> bool {
        self.position.term != self.origin || self.position.sequence > 1
    }

    /// True when a filter lets it pass. Keyframes pass every one but [`Filter::Nothing`].
    pub(super) const fn passes(&self, filter: Filter) -> bool {
        self.kind().passes(filter)
    }

    pub(super) const fn kind(&self) -> Kind {
        if self.keyframe {
            Kind::Keyframe
        } else if self.top {
            Kind::Top
        } else {
            Kind::Plain
        }
    }

    /// What the lane has carried with it.
    pub(super) const fn tally_after(&self) -> Tally {
        let mut tally = self.tally;
        tally.add(self.keyframe, self.top);
        tally
    }

    /// As it goes over the wire.
    pub const fn encoded(&self) -> &Encoded {
        &self.encoded
    }

    /// The update before it on its lane, in whatever term.
    pub(super) const fn previous(&self) -> Option<TermSeq> {
        match self.previous {
            (0, 0) => None,
            point => Some(point),
        }
    }

    /// Bytes of its message: what it takes of a subscriber's bandwidth, and of a segment.
    pub(super) const fn length(&self) -> usize {
        self.encoded.length()
    }

    /// Bytes of memory that it takes, its place in the ring apart.
    pub(super) const fn cost(&self) -> usize {
        cost(self.encoded.length())
    }

    /// The most that one with such a payload may take.
    pub(super) const fn cost_at_most(payload: usize) -> usize {
        cost(payload + ENVELOPE)
    }
}

/// What a record with a message of `length` bytes takes: its box, its message, and the counter by
/// which that is shared.
const fn cost(length: usize) -> usize {
    allocated(size_of::<Record>()) + allocated(length) + allocated(SHARED)
}

/// True on the top one of several temporal layers.
pub(super) const fn is_top(keyframe: bool, layer: u32, layers: u32) -> bool {
    !keyframe && layers > 1 && layer + 1 == layers
}
