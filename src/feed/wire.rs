//! The one hand-written encoding: an update as a gRPC message, made once for all subscribers.
//!
//! ```text
//! 00 | length, 4 bytes | 0A | length, varint | Delivery
//! └── gRPC prefix ───┘   └── item of SubscribeUpdatesResponse.deliveries
//! ```
//!
//! `deliveries` is a repeated field: items laid end to end behind one gRPC prefix are the
//! encoding of one larger message, so that [`frame`] joins what was encoded alone. The
//! generated code would encode each message of each subscriber anew.
//!
//! The layout mirrors `starling/swarm/v1/swarm.proto` (see [`field`]). The tests decode it with
//! code that is generated from there, and compare all fields and all bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::draft::{Draft, Timestamp};
use super::position::Position;
use starling_core::channel::Channel;
use starling_core::id::NodeId;

/// The fields that are written here, by the name of their message. Whoever adds a field to one
/// of these messages adds it here too, and to [`encode`], in the order of the numbers.
mod field {
    /// `SubscribeUpdatesResponse` of livestream.proto and group.proto.
    pub(super) mod response {
        pub(in crate::feed::wire) const DELIVERIES: u8 = 1;
    }

    /// `Delivery`.
    pub(super) mod delivery {
        pub(in crate::feed::wire) const UPDATE: u8 = 1;
    }

    /// `Update`. Number 4 is reserved.
    pub(super) mod update {
        pub(in crate::feed::wire) const POSITION: u8 = 1;
        pub(in crate::feed::wire) const PAYLOAD: u8 = 2;
        pub(in crate::feed::wire) const KEYFRAME: u8 = 3;
        pub(in crate::feed::wire) const TEMPORAL_LAYER: u8 = 5;
        pub(in crate::feed::wire) const PUBLISH_TIME: u8 = 6;
        pub(in crate::feed::wire) const ACCEPT_TIME: u8 = 7;
        pub(in crate::feed::wire) const AUTHOR_NODE_ID: u8 = 8;
        pub(in crate::feed::wire) const URGENT: u8 = 9;
        pub(in crate::feed::wire) const SESSION_ID: u8 = 10;
        pub(in crate::feed::wire) const PUBLISHER_SEQUENCE: u8 = 11;
        pub(in crate::feed::wire) const SIGNATURE: u8 = 12;
    }

    /// `UpdatePosition`. Number 5, `track`, is always 0, and so never written.
    pub(super) mod position {
        pub(in crate::feed::wire) const SOURCE_NODE_ID: u8 = 1;
        pub(in crate::feed::wire) const CHANNEL: u8 = 2;
        pub(in crate::feed::wire) const TERM: u8 = 3;
        pub(in crate::feed::wire) const SEQUENCE: u8 = 4;
    }

    /// `google.protobuf.Timestamp`.
    pub(super) mod timestamp {
        pub(in crate::feed::wire) const SECONDS: u8 = 1;
        pub(in crate::feed::wire) const NANOS: u8 = 2;
    }
}

/// Flag and length in front of every gRPC message.
const GRPC_PREFIX: usize = 5;

/// An update as it goes over the wire. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Encoded {
    number: u64,
    message: Bytes,
    /// Where the `Delivery` begins in `message`.
    delivery: usize,
}

impl Encoded {
    /// Its number in the ring.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Notes its number in the ring.
    pub(super) const fn set_number(&mut self, number: u64) {
        self.number = number;
    }

    /// Bytes of the whole message.
    pub(super) const fn length(&self) -> usize {
        self.message.len()
    }

    /// What another server has encoded; `None` when it is no message with one delivery. O(message): it is copied, so that
    /// it takes no more memory than it is long.
    pub(super) fn copied(message: &[u8]) -> Option<Self> {
        let (prefix, item) = message.split_at_checked(GRPC_PREFIX)?;
        let (tag, rest) = item.split_first()?;
        let (length, taken) = read_varint(rest)?;
        let whole = usize::try_from(length).ok()? == rest.len() - taken && *tag == field::response::DELIVERIES << 3 | 2;
        let framed = prefix[0] == 0 && prefix[1..] == u32::try_from(item.len()).ok()?.to_be_bytes();
        let message = (whole && framed).then(|| Bytes::copy_from_slice(message))?;
        Some(Self { number: 0, message, delivery: GRPC_PREFIX + 1 + taken })
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

/// Reads a varint; its value, and how long it is.
fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Encodes an update at a position; `author` is written for the CHAT of a livestream. The number
/// is 0 until it is set. O(payload): the one copy that is made of it.
pub(super) fn encode(position: Position, author: Option<NodeId>, draft: &Draft) -> Encoded {
    // What surrounds the payload comes first: a length stands before what it counts, and the
    // message is to be allocated once, as long as it becomes.
    let mut head = BytesMut::with_capacity(64);
    put_message(&mut head, field::update::POSITION, |out| {
        put_varint(out, field::position::SOURCE_NODE_ID, position.source.map_or(0, NodeId::get));
        put_varint(out, field::position::CHANNEL, channel_number(position.channel));
        put_varint(out, field::position::TERM, position.term);
        put_varint(out, field::position::SEQUENCE, position.sequence);
    });
    let mut tail = BytesMut::with_capacity(if draft.proof.is_some() { 160 } else { 64 });
    put_varint(&mut tail, field::update::KEYFRAME, u64::from(draft.keyframe));
    put_varint(&mut tail, field::update::TEMPORAL_LAYER, u64::from(draft.temporal_layer));
    if let Some(publish_time) = draft.publish_time {
        put_message(&mut tail, field::update::PUBLISH_TIME, |out| put_timestamp(out, publish_time));
    }
    put_message(&mut tail, field::update::ACCEPT_TIME, |out| put_timestamp(out, draft.accept_time));
    put_varint(&mut tail, field::update::AUTHOR_NODE_ID, author.map_or(0, NodeId::get));
    put_varint(&mut tail, field::update::URGENT, u64::from(draft.urgent));
    if let Some(proof) = &draft.proof {
        put_varint(&mut tail, field::update::SESSION_ID, proof.verified.map_or(0, |verified| verified.session.get()));
        put_varint(&mut tail, field::update::PUBLISHER_SEQUENCE, draft.publisher_sequence);
        put_length(&mut tail, field::update::SIGNATURE, proof.signature.len() as u64);
        tail.put_slice(&proof.signature);
    }

    // Every tag is one byte long: all field numbers are below 16.
    let payload = &draft.payload;
    let body = if payload.is_empty() { 0 } else { 1 + varint_len(payload.len() as u64) + payload.len() };
    let update = head.len() + body + tail.len();
    let delivery = 1 + varint_len(update as u64) + update;
    let item = 1 + varint_len(delivery as u64) + delivery;
    let mut message = prefixed(item);
    put_length(&mut message, field::response::DELIVERIES, delivery as u64);
    let start = message.len();
    put_length(&mut message, field::delivery::UPDATE, update as u64);
    message.put_slice(&head);
    if !payload.is_empty() {
        put_length(&mut message, field::update::PAYLOAD, payload.len() as u64);
        message.put_slice(payload);
    }
    message.put_slice(&tail);
    Encoded { number: 0, message: message.freeze(), delivery: start }
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

/// The number of a channel in `UpdateChannel`, where 0 is "not given".
const fn channel_number(channel: Channel) -> u64 {
    match channel {
        Channel::Visual => 1,
        Channel::Audio => 2,
        Channel::Screen => 3,
        Channel::Chat => 4,
        Channel::Data => 5,
    }
}

fn put_timestamp(out: &mut BytesMut, timestamp: Timestamp) {
    // int64 and int32: negative numbers are sign-extended to 64 bits, and ten bytes long.
    put_varint(out, field::timestamp::SECONDS, timestamp.seconds.cast_unsigned());
    put_varint(out, field::timestamp::NANOS, i64::from(timestamp.nanos).cast_unsigned());
}

/// A varint field; the default is left out, as proto3 has it.
fn put_varint(out: &mut BytesMut, field: u8, value: u64) {
    if value != 0 {
        out.put_u8(field << 3);
        varint(out, value);
    }
}

/// A message field. One that is empty is written too: proto3 tells it from one that is absent.
fn put_message(out: &mut BytesMut, field: u8, fill: impl FnOnce(&mut BytesMut)) {
    let mut inner = BytesMut::with_capacity(32);
    fill(&mut inner);
    put_length(out, field, inner.len() as u64);
    out.put_slice(&inner);
}

/// The tag and the length of a field that is a message or bytes.
fn put_length(out: &mut BytesMut, field: u8, length: u64) {
    out.put_u8(field << 3 | 2);
    varint(out, length);
}

fn varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.put_u8(value.to_le_bytes()[0]);
}

const fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use starling_client::pb::livestream::v1::SubscribeUpdatesResponse;
    use starling_client::pb::swarm::v1 as pb;

    use super::*;
    use crate::feed::draft::{Proof, SIGNATURE_BYTES, Verified};
    use starling_core::id::SessionId;
    use starling_core::key::BroadcasterKey;

    const ACCEPTED: Timestamp = Timestamp { seconds: 1_700_000_000, nanos: 999_999_999 };

    fn draft(payload: usize, keyframe: bool, publish_time: Option<Timestamp>) -> Draft {
        Draft {
            channel: Channel::Visual,
            payload: vec![0xa5; payload].into(),
            keyframe,
            urgent: !keyframe,
            temporal_layer: u32::from(!keyframe) * 7,
            publisher_sequence: 9,
            publish_time,
            accept_time: ACCEPTED,
            // Every other one.
            proof: payload.is_multiple_of(2).then(|| {
                let verified = SessionId::new(u64::MAX >> (payload % 60));
                let key = BroadcasterKey::new([7; 32]);
                let verified = verified.map(|session| Verified { session, key });
                Box::new(Proof { signature: [0xc3; SIGNATURE_BYTES], verified })
            }),
        }
    }

    fn decoded(position: Position, author: Option<NodeId>, draft: &Draft) -> pb::Delivery {
        let channel = match position.channel {
            Channel::Visual => pb::UpdateChannel::Visual,
            Channel::Audio => pb::UpdateChannel::Audio,
            Channel::Screen => pb::UpdateChannel::Screen,
            Channel::Chat => pb::UpdateChannel::Chat,
            Channel::Data => pb::UpdateChannel::Data,
        };
        let timestamp = |Timestamp { seconds, nanos }| prost_types::Timestamp { seconds, nanos };
        let update = pb::Update {
            position: Some(pb::UpdatePosition {
                source_node_id: position.source.map_or(0, NodeId::get),
                channel: channel.into(),
                term: position.term,
                sequence: position.sequence,
                track: 0,
            }),
            payload: draft.payload.clone(),
            keyframe: draft.keyframe,
            temporal_layer: draft.temporal_layer,
            publish_time: draft.publish_time.map(timestamp),
            accept_time: Some(timestamp(draft.accept_time)),
            author_node_id: author.map_or(0, NodeId::get),
            urgent: draft.urgent,
            session_id: draft.proof.as_ref().map_or(0, |proof| proof.verified.unwrap().session.get()),
            publisher_sequence: draft.proof.as_ref().map_or(0, |_| draft.publisher_sequence),
            signature: draft.proof.as_ref().map_or_else(Bytes::new, |proof| proof.signature.to_vec().into()),
        };
        pb::Delivery { item: Some(pb::delivery::Item::Update(update)) }
    }

    /// Payloads round the lengths at which a length takes another byte, times with either sign,
    /// every channel, with and without source and author.
    fn cases() -> impl Iterator<Item = (Position, Option<NodeId>, Draft)> {
        let times = [None, Some(Timestamp::default()), Some(Timestamp { seconds: -1, nanos: 1 }), Some(ACCEPTED)];
        let payloads = [0, 1, 60, 90, 100, 127, 128, 16_300, 16_384, 70_000];
        let numbers = [(None, 0, 1), (NodeId::new(1), 1, 127), (NodeId::new(u64::MAX), u64::MAX, u64::MAX)];
        Channel::ALL.into_iter().zip(times.into_iter().cycle()).flat_map(move |(channel, time)| {
            payloads.into_iter().zip([true, false].into_iter().cycle()).flat_map(move |(payload, keyframe)| {
                numbers.into_iter().map(move |(source, term, sequence)| {
                    let author = if source.is_none() { NodeId::new(300) } else { None };
                    (Position { source, channel, term, sequence }, author, draft(payload, keyframe, time))
                })
            })
        })
    }

    #[test]
    fn an_update_is_encoded_as_generated_code_does() {
        for (position, author, draft) in cases() {
            let encoded = encode(position, author, &draft);
            let expected = decoded(position, author, &draft);
            assert_eq!(pb::Delivery::decode(encoded.delivery()).unwrap(), expected);
            assert_eq!(encoded.delivery(), expected.encode_to_vec());
        }
    }

    #[test]
    fn items_are_framed_as_one_message() {
        let cases: Vec<_> = cases().collect();
        let encoded: Vec<_> = cases.iter().map(|(at, author, draft)| encode(*at, *author, draft)).collect();
        let message = frame(encoded.iter().map(Encoded::item));
        let (prefix, body) = message.split_at(GRPC_PREFIX);
        assert_eq!((prefix[0], &prefix[1..]), (0, &u32::try_from(body.len()).unwrap().to_be_bytes()[..]));
        let deliveries = cases.iter().map(|(at, author, draft)| decoded(*at, *author, draft)).collect();
        let expected = SubscribeUpdatesResponse { deliveries };
        assert_eq!(SubscribeUpdatesResponse::decode(body).unwrap(), expected);
        assert_eq!(body, expected.encode_to_vec());
        let [first, ..] = encoded.as_slice() else { panic!("there are cases") };
        assert_eq!(first.message(), &frame([first.item()]));
    }
}
