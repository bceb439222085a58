//! An update as its publisher hands it in.

use bytes::Bytes;

use starling_core::channel::Channel;

/// A point in time, as protobuf has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// Nanoseconds beyond; 0 to 999 999 999.
    pub nanos: i32,
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
