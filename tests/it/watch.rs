//! Watches over real gRPC: every rule of how state is streamed, how a watch
//! resumes and how it ends, from the other side of the wire.
//!
//! [`fixture`] sets a server and its swarms up, [`fold`] is what a client does with
//! the messages of a watch, and checks each of them on the way.

pub(crate) mod fixture;
mod fold;

mod bounds;
mod census;
mod churn;
mod ends;
mod events;
mod groups;
mod incarnations;
mod leases;
mod origins;
mod resume;
mod roster;
mod stalled;
mod targets;
mod unread_watchers;
