//! What a client makes of a watch. Each fold checks every message that it takes
//! against the rules of the stream.

mod census;
mod roster;
mod targets;

pub(crate) use census::CensusFold;
pub(crate) use roster::RosterFold;
pub(crate) use targets::{TargetFold, Targets};
