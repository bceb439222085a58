//! Watches over real gRPC: every rule of how state is streamed, how a watch
//! resumes and how it ends, from the other side of the wire.
//!
//! [`stage`] sets a server and its swarms up, [`fold`] is what a client does with
//! the messages of a watch, and checks each of them on the way.

#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails, and says where")]

#[path = "../edge/harness.rs"]
mod harness;
#[allow(dead_code, reason = "each test binary that includes this file uses its own part of it")]
#[path = "../edge/process.rs"]
mod process;

mod fold;
mod random;
mod stage;

mod census;
mod churn;
mod crowd;
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
