//! Names of swarms, nodes, sessions and members.

use std::fmt;
use std::num::NonZeroU64;

use super::hash::splitmix64;

/// The largest id that the server draws: 2^53 - 1, exact in a JavaScript number.
pub const MAX_DRAWN_ID: u64 = (1 << 53) - 1;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU64);

        impl $name {
            /// The id with this number; `None` for 0, which names nothing.
            pub const fn new(number: u64) -> Option<Self> {
                match NonZeroU64::new(number) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }

            /// The number, never 0.
            pub const fn get(self) -> u64 {
                self.0.get()
            }

            /// An id that the server may hand out, made of 64 random or hashed
            /// bits: 1 to [`MAX_DRAWN_ID`].
            pub const fn drawn(bits: u64) -> Self {
                match Self::new(bits & MAX_DRAWN_ID) {
                    Some(id) => id,
                    None => Self(NonZeroU64::MIN),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A client endpoint. One node may be in many swarms.
    NodeId
}
id! {
    /// One join of one node.
    SessionId
}
id! {
    /// An incarnation of a swarm's history, drawn at Create.
    Epoch
}

/// One process of the service. A single process is pod 0, those of a cluster have numbers from 1.
pub type PodId = u32;

/// The number of a process that is alone.
pub const SINGLE_POD: PodId = 0;

/// In a cluster, the home of a term whose pod is gone. A process that is alone has the same number, and is never gone.
pub const NO_HOME: PodId = SINGLE_POD;

/// A member's slot in the roster; reused after it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey(u32);

impl MemberKey {
    /// The key of the first slot.
    pub const FIRST: Self = Self(0);

    /// The slot's number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The key of a slot.
    pub fn from_index(index: usize) -> Self {
        Self(u32::try_from(index).expect("a roster has fewer than 2^32 slots"))
    }
}

/// The two kinds of swarms. Their ids are independent: livestream 7 and group 7
/// may live side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SwarmKind {
    /// One broadcaster, many viewers.
    Livestream,
    /// A call among peers.
    Group,
}

/// The name of a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwarmId {
    /// Livestream or group.
    pub kind: SwarmKind,
    number: NonZeroU64,
}

impl SwarmId {
    /// The swarm of this kind and number; `None` for 0.
    pub const fn new(kind: SwarmKind, number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self { kind, number }),
            None => None,
        }
    }

    /// An id that the server may hand out: 1 to [`MAX_DRAWN_ID`].
    pub const fn drawn(kind: SwarmKind, bits: u64) -> Self {
        match Self::new(kind, bits & MAX_DRAWN_ID) {
            Some(id) => id,
            None => Self { kind, number: NonZeroU64::MIN },
        }
    }

    /// The least id of a kind.
    pub const fn first(kind: SwarmKind) -> Self {
        Self { kind, number: NonZeroU64::MIN }
    }

    /// The number, never 0.
    pub const fn get(self) -> u64 {
        self.number.get()
    }

    /// The shard that holds this swarm, the same on every pod.
    ///
    /// `shards` is a power of two.
    #[expect(clippy::cast_possible_truncation, reason = "only the low bits count")]
    pub const fn shard(self, shards: usize) -> usize {
        debug_assert!(shards.is_power_of_two());
        (splitmix64(self.number.get()) as usize) & (shards - 1)
    }
}

impl fmt::Display for SwarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            SwarmKind::Livestream => "livestream",
            SwarmKind::Group => "group",
        };
        write!(f, "{kind} {}", self.number)
    }
}
