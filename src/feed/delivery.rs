//! What a subscriber gets.

use super::gap::Gap;
use super::position::LaneId;
use super::wire::Encoded;
use starling_core::interest::Interest;

/// What passes on a lane from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterChange {
    /// The lane.
    pub lane: LaneId,
    /// The interest that is served.
    pub interest: Interest,
    /// Temporal layers of the publisher, from 1.
    pub layers: u32,
}

/// What a subscriber gets.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// An update.
    Update(Encoded),
    /// A loss, told before what follows it.
    Gap(Gap),
    /// Another filter, told before what follows it.
    Filter(FilterChange),
}

impl Delivery {
    /// True when it is an update.
    pub const fn is_update(&self) -> bool {
        matches!(self, Self::Update(_))
    }

    /// The update, if it is one.
    pub fn into_update(self) -> Option<Encoded> {
        match self {
            Self::Update(update) => Some(update),
            Self::Gap(_) | Self::Filter(_) => None,
        }
    }
}
