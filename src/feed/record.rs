//! One update, encoded once.
//!
//! The bytes are a whole gRPC message that holds this one record:
//!
//! ```text
//! 00 | length, 4 bytes | 0A | length, varint | Delivery
//! ```
//!
//! `0A` is field 1 of `SubscribeUpdatesResponse`, a repeated field: records laid
//! end to end behind one gRPC prefix are the encoding of one larger message. The
//! layout of `Delivery` and `Update` is that of `starling/swarm/v1/swarm.proto`;
//! a test at the edge decodes it with the generated code.

use bytes::{BufMut, Bytes, BytesMut};

use super::Micros;
use super::lane::{Tally, TermSeq};
use starling_core::id::NodeId;
use starling_core::interest::Channel;
use starling_core::propagation::Filter;

/// Flag and length in front of every gRPC message.
const GRPC_PREFIX: usize = 5;

/// A point in time, as protobuf has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// Nanoseconds beyond; 0 to 999 999 999.
    pub nanos: i32,
}

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

/// An update before it has a position.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it is about.
    pub channel: Channel,
    /// Opaque.
    pub payload: Bytes,
    /// Needs no earlier update.
    pub keyframe: bool,
    /// It is sent at once.
    pub urgent: bool,
    /// Its temporal layer, from 0.
    pub temporal_layer: u32,
    /// The publisher's number of it; 0 = let the server count.
    pub publisher_sequence: u64,
    /// The publisher's time.
    pub publish_time: Option<Timestamp>,
    /// The server's time.
    pub accept_time: Timestamp,
}

impl Draft {
    /// Its number by the publisher's count; `None` = the server is to count.
    pub const fn given_number(&self) -> Option<u64> {
        match self.publisher_sequence {
            0 => None,
            number => Some(number),
        }
    }
}

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
    /// The update before it on its lane, in whatever term.
    pub(super) previous: Option<TermSeq>,
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

/// An update as it goes over the wire. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Encoded {
    number: u64,
    message: Bytes,
    delivery: usize,
}

impl Encoded {
    /// Its number in the ring.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// The whole gRPC message, prefix and all.
    pub const fn message(&self) -> &Bytes {
        &self.message
    }

    /// An item of `SubscribeUpdatesResponse.deliveries`, tag and all.
    pub fn item(&self) -> &[u8] {
        &self.message[GRPC_PREFIX..]
    }

    /// The `Delivery` alone.
    pub fn delivery(&self) -> &[u8] {
        &self.message[self.delivery..]
    }
}

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
    pub(super) fn encode(position: Position, place: Place, draft: Draft) -> Self {
        let Draft {
            channel: _,
            payload,
            keyframe,
            urgent,
            temporal_layer,
            publisher_sequence: _,
            publish_time,
            accept_time,
        } = draft;
        let mut head = BytesMut::with_capacity(64);
        put_message(&mut head, 1, |out| {
            put_varint(out, 1, position.source.map_or(0, NodeId::get));
            put_varint(out, 2, position.channel as u64 + 1);
            put_varint(out, 3, position.term);
            put_varint(out, 4, position.sequence);
        });
        let mut tail = BytesMut::with_capacity(64);
        put_varint(&mut tail, 3, u64::from(keyframe));
        put_varint(&mut tail, 5, u64::from(temporal_layer));
        if let Some(publish_time) = publish_time {
            put_message(&mut tail, 6, |out| put_timestamp(out, publish_time));
        }
        put_message(&mut tail, 7, |out| put_timestamp(out, accept_time));
        put_varint(&mut tail, 8, place.author.map_or(0, NodeId::get));
        put_varint(&mut tail, 9, u64::from(urgent));

        let body = if payload.is_empty() { 0 } else { 1 + varint_len(payload.len() as u64) + payload.len() };
        let update = head.len() + body + tail.len();
        let delivery = 1 + varint_len(update as u64) + update;
        let item = 1 + varint_len(delivery as u64) + delivery;
        let mut message = prefixed(item);
        message.put_u8(0x0a);
        put_length(&mut message, delivery as u64);
        let start = message.len();
        message.put_u8(0x0a);
        put_length(&mut message, update as u64);
        message.put_slice(&head);
        if !payload.is_empty() {
            message.put_u8(0x12);
            put_length(&mut message, payload.len() as u64);
            message.put_slice(&payload);
        }
        message.put_slice(&tail);
        let Place { lane, previous, tally, origin, layers, author: _, at } = place;
        Self {
            position,
            keyframe,
            lane,
            segment: 0,
            previous,
            tally,
            origin,
            layers,
            top: is_top(keyframe, temporal_layer, layers),
            urgent,
            at,
            encoded: Encoded { number: 0, message: message.freeze(), delivery: start },
        }
    }

    /// Notes its place in the ring.
    pub(super) const fn put_at(&mut self, number: u64, segment: u64) {
        (self.encoded.number, self.segment) = (number, segment);
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

    /// What it takes of the ring, and of a subscriber's bandwidth, in bytes.
    pub(super) const fn length(&self) -> usize {
        self.encoded.message.len()
    }
}

/// Items of `SubscribeUpdatesResponse.deliveries`, tags and all, as one gRPC message.
pub fn frame<'a>(items: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>) -> Bytes {
    let items = items.into_iter();
    let mut message = prefixed(items.clone().map(<[u8]>::len).sum());
    items.for_each(|item| message.put_slice(item));
    message.freeze()
}

/// The beginning of an uncompressed gRPC message, with room for the rest.
fn prefixed(length: usize) -> BytesMut {
    let mut message = BytesMut::with_capacity(GRPC_PREFIX + length);
    message.put_u8(0);
    message.put_u32(u32::try_from(length).expect("messages are limited to a few MiB"));
    message
}

/// True on the top one of several temporal layers.
pub(super) const fn is_top(keyframe: bool, layer: u32, layers: u32) -> bool {
    !keyframe && layers > 1 && layer + 1 == layers
}

fn put_timestamp(out: &mut BytesMut, timestamp: Timestamp) {
    put_varint(out, 1, timestamp.seconds.cast_unsigned());
    put_varint(out, 2, i64::from(timestamp.nanos).cast_unsigned());
}

/// A varint field; the default is left out, as proto3 has it.
fn put_varint(out: &mut BytesMut, field: u8, value: u64) {
    if value != 0 {
        out.put_u8(field << 3);
        put_length(out, value);
    }
}

fn put_message(out: &mut BytesMut, field: u8, fill: impl FnOnce(&mut BytesMut)) {
    let mut inner = BytesMut::with_capacity(32);
    fill(&mut inner);
    out.put_u8(field << 3 | 2);
    put_length(out, inner.len() as u64);
    out.put_slice(&inner);
}

fn put_length(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.put_u8(value.to_le_bytes()[0]);
}

const fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}
