//! One pod's replica of one partition of the command log, without a network.
//!
//! The log is a sequence of messages that every pod reads in the same order; a message is a [`Batch`]. What a batch does
//! to the [`Partition`] and its [`State`] is a function of the log alone; [`Replica`] is everything else that a pod does
//! to follow the log and to write to it, as a function of what it is told. [`MemoryLog`] is a log in memory, which fails
//! on demand.
//!
//! From the bottom up: [`wire`], numbers as bytes; [`batch`], what is written; [`clock`], [`history`] and [`judgement`],
//! parts of the [`partition`]; [`state`], what is applied to; [`world`], both and their snapshot; [`settings`],
//! [`output`], `ahead` and `submissions`, parts of the [`replica`]; [`memory_log`].

mod ahead;
pub mod batch;
pub mod clock;
pub mod history;
pub mod judgement;
pub mod memory_log;
pub mod output;
pub mod partition;
pub mod replica;
pub mod settings;
pub mod state;
mod submissions;
pub mod wire;
pub mod world;

pub use batch::{Batch, BatchItem, LogMessage, PodIncarnation};
pub use memory_log::MemoryLog;
pub use output::{Answer, Output};
pub use partition::Partition;
pub use replica::{LogRequest, Replica};
pub use settings::ReplicaSettings;
pub use state::State;
