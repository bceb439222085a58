//! An update as its publisher hands it in.

use bytes::Bytes;

use starling_core::channel::Channel;
use starling_core::id::SessionId;
use starling_core::key::BroadcasterKey;

/// A point in time, as protobuf has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// Nanoseconds beyond; 0 to 999 999 999.
    pub nanos: i32,
}

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// What a signature takes of a message at most, with what it is verified by: tags, session, number, length.
const PROOF: usize = 2 * (1 + 10) + 2 + SIGNATURE_BYTES;

/// Under what a signature was verified: it holds for no other session, and no other key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The session of the publisher.
    pub session: SessionId,
    /// Its key.
    pub key: BroadcasterKey,
}

/// The signature of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// As it came.
    pub signature: [u8; SIGNATURE_BYTES],
    /// Set by whoever verified it.
    pub verified: Option<Verified>,
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
    /// Its signature, if it has one.
    pub proof: Option<Box<Proof>>,
}

impl Draft {
    /// Its number by the publisher's count; `None` = the server is to count.
    pub const fn given_number(&self) -> Option<u64> {
        match self.publisher_sequence {
            0 => None,
            number => Some(number),
        }
    }

    /// The payload, and what a signature adds to it, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.payload.len() + if self.proof.is_some() { PROOF } else { 0 }
    }
}
