//! The core: what a swarm is and what every command does to it.
//!
//! A deterministic state machine over plain data: no clock, no lock, no await,
//! no wire format, no source of randomness. [`apply`] is the only way to change
//! a swarm; it answers with the changes, or refuses and changes nothing.
//!
//! From the bottom up, each file using those before it only: [`id`], [`interest`],
//! `state`, `role` and [`config`] are the vocabulary, [`request`] and [`command`] what is
//! asked; [`topology`] is the relay tree, [`member`] and [`roster`] who is in, [`event`]
//! what is told; `base` is what every swarm has, `rules` what both kinds do with it,
//! [`livestream`] and [`group`] what each does in its own way, [`swarm`] the two together.
//! [`wire`] is the byte form of a command.

// Order of iteration must be the same in every process.
#![warn(clippy::iter_over_hash_type)]

mod base;
pub mod command;
pub mod config;
pub mod error;
pub mod event;
pub mod group;
pub mod hash;
pub mod id;
pub mod interest;
pub mod last_members;
pub mod livestream;
pub mod member;
pub mod propagation;
pub mod request;
pub mod role;
pub mod roster;
mod rules;
pub mod state;
pub mod stats;
pub mod summary;
pub mod swarm;
pub mod topology;
pub mod wire;

pub use command::{Command, GroupCommand, LivestreamCommand, SharedCommand};
pub use error::Rejection;
pub use event::{Applied, Event, GroupEvent, LivestreamEvent, SharedEvent};
pub use group::Group;
pub use id::{Epoch, MemberKey, NodeId, SessionId, SwarmId, SwarmKind};
pub use livestream::Livestream;
pub use swarm::{Rules, Swarm, apply};
