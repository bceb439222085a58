//! Watches: snapshots and what changes after.
//!
//! A watch is pulled: its `step` looks at the swarm under its lock and
//! brings what is new. Whoever drives it waits for [`Watch::changed`] in between,
//! having asked for [`Watch::changed`] before the step, so that no change is missed. A
//! watcher that does not pull holds a cursor and delays nobody.

mod census;
mod events;
mod targets;

use std::sync::Arc;

use tokio::sync::Notify;

pub use census::{CensusItem, CensusWatch, SetChange, SetPosition};
pub use events::{EventItem, EventSelection, EventWatch, ResetReason};
pub use targets::{Change, Removal, TargetDelta, TargetItem, TargetWatch};

/// A look ends before the entry that would bring more than this, in bytes on the wire; one entry may be
/// longer. A stream keeps the buffer of its largest message, so that this is less than a page of a list.
const LOOK_BYTES: usize = 16 * 1024;

/// What a look brings.
#[derive(Debug)]
pub enum Step<Item> {
    /// Something new. There may be more.
    Item(Item),
    /// Nothing new: the state is known up to this revision.
    Idle(u64),
    /// Nothing will come any more.
    Over(Over),
}

/// Why nothing will come any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The swarm ended.
    SwarmEnded,
    /// The watched node left the swarm.
    NodeLeft,
}

/// Something that can be watched.
pub trait Watch {
    /// Notified when there may be something new.
    fn changed(&self) -> Arc<Notify>;
}
