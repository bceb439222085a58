//! The network as it is: slow, dead, or full of clients that do not read; and what our own
//! connections, watchdog and response body make of it.
//!
//! [`toxic`] is a network that can be made bad, [`frames`] a client that sees every frame,
//! [`fixture`] a livestream with readers that come back, each judged by the history checker.
//!
//! SOAK_SECONDS=n lets [`soak`] run longer, SEED=n with other faults.

pub(crate) mod fixture;
pub(crate) mod frames;
mod toxic;

mod bodies;
pub(crate) mod connections;
mod descriptors;
mod drain;
pub(crate) mod flood;
mod full;
pub(crate) mod receiving;
pub(crate) mod rules;
mod soak;
pub(crate) mod stalled;
mod web;
