//! Starling.
pub mod swarm;
