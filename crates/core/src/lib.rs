//! The core: what a swarm is and what every command does to it.
//!
//! A deterministic state machine over plain data: no clock, no lock, no await, no source
//! of randomness. [`apply`] is the only way to change a swarm; it answers with the changes,
//! or refuses and changes nothing.
//!
//! From the bottom up, each file using only those before it: [`steps`] and [`counted`], by which work is
//! counted; [`hash`], [`invariant`], [`config`] and [`state`]; [`id`], [`key`] and [`channel`]; [`interest`] and [`error`]; [`role`], [`request`], [`topology`],
//! [`propagation`], [`stats`] and [`summary`]; [`numbers`], [`token_bucket`] and [`chat`], what members write to each other; [`command`], what is asked, and [`wire`], its byte
//! form; [`revocations`], which tokens are refused; `term`, the right to publish; [`member`], `node_index`, [`roster`] and [`last_members`], who is in
//! and who was; [`bans`], who must stay out; [`event`], what is told,
//! and [`Applied`], what a command did. `base` is what every swarm has, `rules` carries out the
//! commands of both kinds, [`livestream`] and [`group`] say what each kind does in its own way,
//! [`swarm`] is the two together.

// Order of iteration must be the same in every process.
#![warn(clippy::iter_over_hash_type)]

/// Makes an enum out of each of the enums that are its parts.
macro_rules! from_parts {
    ($whole:ident: $($variant:ident($part:ident)),*) => {
        $(impl From<$part> for $whole {
            fn from(part: $part) -> Self {
                Self::$variant(part)
            }
        })*
    };
}

pub mod bans;
mod base;
pub mod channel;
pub mod chat;
pub mod command;
pub mod config;
pub mod counted;
pub mod error;
pub mod event;
pub mod group;
pub mod hash;
pub mod id;
pub mod interest;
pub mod invariant;
pub mod key;
pub mod last_members;
pub mod leb128;
pub mod livestream;
pub mod member;
mod node_index;
pub mod numbers;
pub mod propagation;
pub mod request;
pub mod revocations;
pub mod role;
pub mod roster;
mod rules;
pub mod state;
pub mod stats;
pub mod steps;
pub mod summary;
pub mod swarm;
mod term;
pub mod token_bucket;
pub mod topology;
pub mod wire;

pub use command::{Command, GroupCommand, LivestreamCommand, ServerCommand, SharedCommand};
pub use error::Rejection;
pub use event::{Applied, Event, GroupEvent, LivestreamEvent, SharedEvent};
pub use group::Group;
pub use id::{Epoch, MemberKey, NodeId, SessionId, SwarmId, SwarmKind};
pub use livestream::Livestream;
pub use swarm::{Rules, Swarm, Upkeep, Upkept, apply, upkeep};
