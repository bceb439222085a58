//! The bytes that are signed.
//!
//! 119 bytes, integers with their highest byte first:
//!
//! | from | bytes | what |
//! | --- | --- | --- |
//! | 0 | 19 | `starling update v1` in ASCII, and a byte 0 |
//! | 19 | 1 | kind of the swarm: 1 = livestream, 2 = group |
//! | 20 | 8 | id of the swarm |
//! | 28 | 8 | epoch |
//! | 36 | 8 | session of the publisher |
//! | 44 | 8 | source: node id of the publisher |
//! | 52 | 4 | number of the channel, as in `UpdateChannel` |
//! | 56 | 4 | track; 0 |
//! | 60 | 8 | `publisher_sequence` |
//! | 68 | 1 | 1 when `publish_time` is present, else 0 and twelve bytes 0 |
//! | 69 | 8 | seconds of `publish_time`, in two's complement |
//! | 77 | 4 | nanoseconds of `publish_time` |
//! | 81 | 1 | `urgent`: 0 or 1 |
//! | 82 | 1 | `keyframe`: 0 or 1 |
//! | 83 | 4 | `temporal_layer` |
//! | 87 | 32 | SHA-256 of the payload |
//!
//! Every field has its place and its length, so that two updates that differ have different
//! bytes. Another layout gets another first line.

use sha2::{Digest, Sha256};

/// What no other protocol signs.
const DOMAIN: &[u8; 19] = b"starling update v1\0";

/// Bytes of the message that is signed.
pub const MESSAGE_BYTES: usize = 119;

/// What kind of swarm an update is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwarmTag {
    /// A livestream.
    Livestream = 1,
    /// A group.
    Group = 2,
}

/// An update, with all that its signature holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedUpdate<'a> {
    /// Livestream or group.
    pub kind: SwarmTag,
    /// Its id.
    pub swarm: u64,
    /// Its incarnation.
    pub epoch: u64,
    /// The session of the publisher.
    pub session: u64,
    /// The publisher.
    pub source: u64,
    /// The number of the channel in the schema.
    pub channel: u32,
    /// The track; 0.
    pub track: u32,
    /// The publisher's number of the update.
    pub publisher_sequence: u64,
    /// The publisher's time: seconds since the Unix epoch, and nanoseconds beyond.
    pub publish_time: Option<(i64, i32)>,
    /// It is sent at once.
    pub urgent: bool,
    /// It needs no earlier update.
    pub keyframe: bool,
    /// Its temporal layer.
    pub temporal_layer: u32,
    /// Opaque.
    pub payload: &'a [u8],
}

impl SignedUpdate<'_> {
    /// The bytes that are signed. O(payload).
    pub fn bytes(&self) -> [u8; MESSAGE_BYTES] {
        let Self { kind, swarm, epoch, session, source, channel, track, publisher_sequence, .. } = *self;
        let (seconds, nanos) = self.publish_time.unwrap_or_default();
        let mut message = [0; MESSAGE_BYTES];
        let mut rest = &mut message[..];
        put(&mut rest, DOMAIN);
        put(&mut rest, &[kind as u8]);
        put(&mut rest, &swarm.to_be_bytes());
        put(&mut rest, &epoch.to_be_bytes());
        put(&mut rest, &session.to_be_bytes());
        put(&mut rest, &source.to_be_bytes());
        put(&mut rest, &channel.to_be_bytes());
        put(&mut rest, &track.to_be_bytes());
        put(&mut rest, &publisher_sequence.to_be_bytes());
        put(&mut rest, &[self.publish_time.is_some().into()]);
        put(&mut rest, &seconds.to_be_bytes());
        put(&mut rest, &nanos.to_be_bytes());
        put(&mut rest, &[self.urgent.into(), self.keyframe.into()]);
        put(&mut rest, &self.temporal_layer.to_be_bytes());
        put(&mut rest, &Sha256::digest(self.payload));
        debug_assert!(rest.is_empty(), "the table is complete");
        message
    }
}

fn put(rest: &mut &mut [u8], bytes: &[u8]) {
    let (place, after) = std::mem::take(rest).split_at_mut(bytes.len());
    place.copy_from_slice(bytes);
    *rest = after;
}

#[cfg(test)]
mod tests;
