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
    lane: u32,
    /// Readers get no more than a segment at once. Numbers of segments come again after 2^32 of them.
    pub(super) segment: u32,
    /// The update before it on its lane, in whatever term; (0, 0) = none.
    previous: TermSeq,
    /// What the lane had carried before it.
    pub(super) tally: Tally,
    /// The term in which its publisher began anew: runs go on over the terms since.
    pub(super) origin: u64,
    /// Temporal layers of its publisher, from 1 to 8.
    layers: u8,
    flags: Flags,
    /// How many revisions after its term the grant was made under which it was accepted.
    granted: u32,
    /// The publisher's number of it.
    pub(super) publisher_sequence: u64,
    /// When it was accepted.
    pub(super) at: Micros,
    encoded: Encoded,
}

/// What else is true of a record; bits, for there may be millions of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    /// On the top one of several layers, and no keyframe.
    pub(super) const TOP: Self = Self(1);
    /// To be flushed at once.
    pub(super) const URGENT: Self = Self(2);
    /// The server counted for its publisher.
    pub(super) const COUNTED: Self = Self(4);
    /// It came from another server, which had accepted it.
    pub(super) const INGESTED: Self = Self(8);
    /// What is missing before it did not reach this server.
    pub(super) const AFTER_LOSS: Self = Self(16);

    /// These too, if `given`.
    #[must_use]
    pub(super) const fn with(self, flags: Self, given: bool) -> Self {
        if given { Self(self.0 | flags.0) } else { self }
    }

    pub(super) const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
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
    /// The publisher's number of it.
    pub(super) publisher_sequence: u64,
    /// How many revisions after its term the grant was made under which it is accepted.
    pub(super) granted: u32,
    pub(super) flags: Flags,
    pub(super) at: Micros,
}

impl Record {
    /// Encodes an update. O(payload): the one copy that is made of it.
    pub(super) fn encode(position: Position, place: Place, draft: &Draft) -> Self {
        let Draft { keyframe, urgent, temporal_layer, .. } = *draft;
        let top = is_top(keyframe, temporal_layer, place.layers);
        let flags = place.flags.with(Flags::TOP, top).with(Flags::URGENT, urgent);
        let encoded = wire::encode(position, place.author, draft);
        Self::new(position, Place { flags, ..place }, keyframe, encoded)
    }

    /// An update that is encoded.
    pub(super) fn new(position: Position, place: Place, keyframe: bool, encoded: Encoded) -> Self {
        let Place { lane, previous, tally, origin, layers, author: _, publisher_sequence, granted, flags, at } = place;
        Self {
            position,
            keyframe,
            lane: u32::try_from(lane).expect("there are a few thousand lanes at most"),
            segment: 0,
            previous: previous.unwrap_or_default(),
            tally,
            origin,
            layers: u8::try_from(layers).unwrap_or(u8::MAX),
            flags,
            granted,
            publisher_sequence,
            at,
            encoded,
        }
    }

    /// Slot of its lane.
    pub(super) const fn lane(&self) -> usize {
        self.lane as usize
    }

    /// Temporal layers of its publisher, from 1.
    pub(super) fn layers(&self) -> u32 {
        self.layers.into()
    }

    /// On the top one of several layers, and no keyframe.
    pub(super) const fn is_top(&self) -> bool {
        self.flags.has(Flags::TOP)
    }

    /// To be flushed at once.
    pub(super) const fn is_urgent(&self) -> bool {
        self.flags.has(Flags::URGENT)
    }

    /// What else is true of it.
    pub(super) const fn flags(&self) -> Flags {
        self.flags
    }

    /// The revision of the grant under which it was accepted.
    pub(super) fn granted_at(&self) -> u64 {
        self.position.term.saturating_add(self.granted.into())
    }

    /// Notes its place in the ring.
    pub(super) const fn put_at(&mut self, number: u64, segment: u32) {
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
        } else if self.is_top() {
            Kind::Top
        } else {
            Kind::Plain
        }
    }

    /// What the lane has carried with it.
    pub(super) const fn tally_after(&self) -> Tally {
        let mut tally = self.tally;
        tally.add(self.keyframe, self.is_top());
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

    /// What one with such a message takes.
    pub(super) const fn cost_of(message: usize) -> usize {
        cost(message)
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
