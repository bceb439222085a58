//! The bytes of a command, as a command log keeps them.
//!
//! Every replica and every later version reads what this one writes, so what is
//! written here once stays: tags are never given a second meaning, and fields
//! keep their order. A new command takes the next free tag; a command with other
//! fields is a new command, or the whole takes a new [`VERSION`] beside this one.
//!
//! ```text
//! entry   = version kind number at tag field*
//! version = 1                     one byte
//! kind    = 1 | 2                 one byte: livestream, group; 3 is what is about no swarm, see [`server`]
//! number, at, integers, ids       LEB128, little end first, in the fewest bytes
//! bool, variants                  one byte
//! option  = 0 | 1 value
//! strings, bytes, lists = length item*
//! keys                    32 bytes
//! ```
//!
//! A command has exactly one form: [`decode`] refuses every other, and whatever
//! it accepts, [`encode`] writes back byte for byte. It asks whether a value
//! exists, not whether it is sensible; limits and ranges of the domain are checked
//! before a command reaches the log.

use std::str;

use crate::channel::{Channel, ChannelSet};
use crate::command::{
    By, Command, CreateGroup, CreateLivestream, GroupCommand, Join, LivestreamCommand, MemberUpdate, SharedCommand,
    SwarmUpdate,
};
use crate::config::{GroupConfig, LivestreamConfig};
use crate::id::{Epoch, NodeId, SessionId, SwarmId, SwarmKind};
use crate::interest::{Interest, InterestChange};
use crate::key::BroadcasterKey;
use crate::leb128::{self, NumberFault};
use crate::request::RequestId;
use crate::role::ViewerMode;

mod error;
#[cfg(test)]
mod tests;

pub use error::{Fault, WireError};

/// The version that [`encode`] writes.
pub const VERSION: u8 = 1;

/// Enough for nearly every command.
const TYPICAL_BYTES: usize = 64;

/// The bytes of `command` for the swarm `id`, at `at` milliseconds since the
/// Unix epoch.
pub fn encode(id: SwarmId, at: u64, command: &Command) -> Vec<u8> {
    let mut out = Vec::with_capacity(TYPICAL_BYTES);
    out.push(VERSION);
    id.put(&mut out);
    at.put(&mut out);
    command.put(&mut out);
    out
}

/// What [`encode`] was given.
///
/// Takes bytes from anywhere: it does not panic, and allocates no more than a
/// small multiple of their length.
pub fn decode(bytes: &[u8]) -> Result<(SwarmId, u64, Command), WireError> {
    let mut reader = Reader::new(bytes);
    match reader.byte()? {
        VERSION => {}
        found => return Err(reader.fault(0, Fault::Version { found })),
    }
    let id = reader.field("swarm")?;
    let at = reader.field("at")?;
    let command = reader.field("command")?;
    reader.finish()?;
    Ok((id, at, command))
}

/// A value with exactly one form in bytes.
trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError>;
}

/// A struct is its fields, in the order given here.
macro_rules! wire_struct {
    ($name:ty: $($field:ident),* $(,)?) => {
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($field.put(out);)*
            }

            fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
                Ok(Self {
                    $($field: reader.field(concat!(stringify!($name), ".", stringify!($field)))?),*
                })
            }
        }
    };
}

/// An enum: the tag of a variant, then what the variant holds.
trait Tagged: Sized {
    /// The value whose tag has been read; `None` when no variant has the tag.
    fn take_tagged(tag: u8, reader: &mut Reader<'_>) -> Result<Option<Self>, WireError>;
}

/// An enum is the tag of its variant, then the fields, in the order given here. A variant
/// without a tag is an enum whose tags are told apart from the others.
macro_rules! wire_enum {
    ($name:ty {
        $($tag:literal => $variant:ident $(($($item:ident),*))? $({ $($field:ident),* })?),*
        $(; $(_ => $nested:ident),*)? $(,)?
    }) => {
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $(($($item),*))? $({ $($field),* })? => {
                        out.push($tag);
                        $($($item.put(out);)*)?
                        $($($field.put(out);)*)?
                    })*
                    $($(Self::$nested(nested) => nested.put(out),)*)?
                }
            }

            fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
                let start = reader.offset;
                let found = reader.byte()?;
                Self::take_tagged(found, reader)?.ok_or_else(|| reader.fault(start, Fault::Tag { found }))
            }
        }

        impl Tagged for $name {
            #[allow(unused_variables, reason = "an enum without fields reads nothing more")]
            fn take_tagged(tag: u8, reader: &mut Reader<'_>) -> Result<Option<Self>, WireError> {
                Ok(Some(match tag {
                    $($tag => Self::$variant
                        $(($(reader.field(concat!(stringify!($variant), ".", stringify!($item)))?),*))?
                        $({ $($field: reader.field(concat!(stringify!($variant), ".", stringify!($field)))?),* })?,
                    )*
                    _ => {
                        $($(if let Some(nested) = Tagged::take_tagged(tag, reader)? {
                            return Ok(Some(Self::$nested(nested)));
                        })*)?
                        return Ok(None);
                    }
                }))
            }
        }
    };
}

// Here, for they use the macros above.
pub mod revocations;
pub mod server;
pub mod state;

// The format of version 1. A tag that was ever written is never used again, not
// even when its variant is gone; no line here changes once it is released.

wire_enum!(Command {
    1 => CreateLivestream(create),
    2 => CreateGroup(create),
    32 => CreateSignedLivestream(create, key);
    _ => Shared,
    _ => Livestream,
    _ => Group,
});

wire_enum!(SharedCommand {
    3 => Join(join),
    4 => Leave(by),
    5 => Touch(node, session),
    6 => Attach(node, session, pod),
    7 => Detach(node, session, pod),
    8 => PodGone(pod),
    9 => Expire,
    10 => SetInterest(by, changes),
    11 => UpdateMember(by, update),
    12 => UpdateSwarm(by, update),
    13 => End(by),
    14 => Remove(by, node),
    15 => ReportPeer(by, node),
    16 => Claim { by, channels, session, ttl_ms, pod },
    28 => Acquire { by, channels, session, ttl_ms, pod },
    29 => Forget,
    30 => Ban { by, node, ttl_ms },
    31 => Unban(by, node),
});

wire_enum!(LivestreamCommand {
    17 => Start(by),
    18 => Pause(by),
    19 => Resume(by),
    20 => AddModerator(by, node),
    21 => RemoveModerator(by, node),
    22 => Mute(by, node),
    23 => Unmute(by, node),
    24 => Transfer(by, node),
    33 => TransferSigned(by, node, key),
    34 => Chat { by, publisher_sequence, content },
});

wire_enum!(GroupCommand {
    25 => SetMedia { by, audio, video },
    26 => StartShare(by),
    27 => StopShare(by),
});

wire_struct!(By: node, session, request);
wire_struct!(RequestId: name, fingerprint);
wire_struct!(CreateLivestream: epoch, broadcaster, config, metadata, retention_ms);
wire_struct!(CreateGroup: epoch, owner, config, metadata, retention_ms, empty_ms);
wire_struct!(Join: node, session, request, ttl_ms, mode, can_relay, endpoint, metadata, interests, listens);
wire_struct!(MemberUpdate: metadata, endpoint, can_relay);
wire_struct!(SwarmUpdate:
    metadata,
    subscriber_bytes_per_second,
    keyframe_interval_ms,
    max_lag_ms,
    capacity,
    broadcaster_timeout_ms,
);
wire_struct!(InterestChange: channel, source, level, ttl_ms);
wire_struct!(LivestreamConfig:
    star_to_tree_threshold,
    tree_fanout,
    subscriber_bytes_per_second,
    keyframe_interval_ms,
    max_viewers,
    max_lag_ms,
    broadcaster_timeout_ms,
);
wire_struct!(GroupConfig:
    max_participants,
    subscriber_bytes_per_second,
    keyframe_interval_ms,
    max_lag_ms,
);

wire_enum!(SwarmKind { 1 => Livestream, 2 => Group });
wire_enum!(ViewerMode { 1 => Active, 2 => Lurker });
wire_enum!(Channel { 1 => Visual, 2 => Audio, 3 => Screen, 4 => Chat, 5 => Data });
wire_enum!(Interest { 1 => None, 2 => Low, 3 => Medium, 4 => High, 5 => Critical });

impl Wire for SwarmId {
    fn put(&self, out: &mut Vec<u8>) {
        self.kind.put(out);
        self.get().put(out);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let kind = SwarmKind::take(reader)?;
        reader.id(|number| Self::new(kind, number))
    }
}

macro_rules! wire_id {
    ($($name:ident),*) => {
        $(impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                self.get().put(out);
            }

            fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
                reader.id(Self::new)
            }
        })*
    };
}

wire_id!(NodeId, SessionId, Epoch);

/// Its 32 bytes.
impl Wire for BroadcasterKey {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes());
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        reader.array().map(Self::new)
    }
}

/// Five bits, bit n for the channel with tag n + 1.
impl Wire for ChannelSet {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.bits());
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let start = reader.offset;
        let bits = reader.byte()?;
        let within = |channel: &Channel| bits & (1 << *channel as u8) != 0;
        let set: Self = Channel::ALL.into_iter().filter(within).collect();
        if set.bits() == bits {
            Ok(set)
        } else {
            let all: Self = Channel::ALL.into_iter().collect();
            let max = all.bits().into();
            Err(reader.fault(start, Fault::OutOfRange { max }))
        }
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                value.put(out);
            }
        }
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(if bool::take(reader)? { Some(T::take(reader)?) } else { None })
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        for item in self {
            item.put(out);
        }
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let length = reader.length()?;
        // Grows with the items that are there, not to the length that is claimed.
        (0..length).map(|_| T::take(reader)).collect()
    }
}

impl Wire for Box<[u8]> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        out.extend_from_slice(self);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        reader.bytes().map(Self::from)
    }
}

impl Wire for Box<str> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let start = reader.offset;
        str::from_utf8(reader.bytes()?).map(Self::from).map_err(|_| reader.fault(start, Fault::Utf8))
    }
}

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let start = reader.offset;
        match reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(reader.fault(start, Fault::Tag { found })),
        }
    }
}

impl Wire for u32 {
    fn put(&self, out: &mut Vec<u8>) {
        u64::from(*self).put(out);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let start = reader.offset;
        let max = Self::MAX.into();
        Self::try_from(u64::take(reader)?).map_err(|_| reader.fault(start, Fault::OutOfRange { max }))
    }
}

impl Wire for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        leb128::put(*self, out);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let start = reader.offset;
        leb128::take(reader.bytes, &mut reader.offset).map_err(|fault| match fault {
            NumberFault::Truncated => reader.fault(reader.offset, Fault::Truncated),
            NumberFault::TooLarge => reader.fault(start, Fault::OutOfRange { max: Self::MAX }),
            NumberFault::Overlong => reader.fault(start, Fault::Overlong),
        })
    }
}

/// Bytes, and how far they are read.
struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
    what: &'static str,
}

impl<'a> Reader<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, what: "version" }
    }

    const fn left(&self) -> usize {
        self.bytes.len() - self.offset
    }

    fn fault(&self, offset: usize, fault: Fault) -> WireError {
        WireError { offset, what: self.what, fault }
    }

    /// Reads a value, under this name in errors.
    fn field<T: Wire>(&mut self, what: &'static str) -> Result<T, WireError> {
        self.what = what;
        T::take(self)
    }

    fn byte(&mut self) -> Result<u8, WireError> {
        let byte = self.bytes.get(self.offset).copied();
        let byte = byte.ok_or_else(|| self.fault(self.offset, Fault::Truncated))?;
        self.offset += 1;
        Ok(byte)
    }

    fn id<T>(&mut self, new: impl FnOnce(u64) -> Option<T>) -> Result<T, WireError> {
        let start = self.offset;
        new(u64::take(self)?).ok_or_else(|| self.fault(start, Fault::ZeroId))
    }

    /// The length of what follows: at most as many as bytes are left, for nothing
    /// takes less than one.
    fn length(&mut self) -> Result<usize, WireError> {
        let start = self.offset;
        let claimed = u64::take(self)?;
        let left = self.left();
        match usize::try_from(claimed) {
            Ok(length) if length <= left => Ok(length),
            _ => Err(self.fault(start, Fault::Length { claimed, left })),
        }
    }

    fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.length()?;
        let start = self.offset;
        self.offset += length;
        Ok(&self.bytes[start..self.offset])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let rest = &self.bytes[self.offset..];
        let array = *rest.first_chunk().ok_or_else(|| self.fault(self.bytes.len(), Fault::Truncated))?;
        self.offset += N;
        Ok(array)
    }

    fn finish(mut self) -> Result<(), WireError> {
        self.what = "end";
        match self.left() {
            0 => Ok(()),
            count => Err(self.fault(self.offset, Fault::Trailing { count })),
        }
    }
}
