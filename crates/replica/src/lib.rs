//! One pod's replica of one partition of the command log, without a network.
//!
//! The log is a sequence of messages that every pod reads in the same order; a message is a [`Batch`]. What a batch does
//! to the [`Partition`] and its [`State`] is a function of the log alone.

pub mod batch;
pub mod clock;
pub mod history;
pub mod judgement;
pub mod partition;
pub mod state;
pub mod wire;

pub use batch::{Batch, BatchItem, LogMessage, PodIncarnation};
pub use partition::Partition;
pub use state::State;
