//! What runs the replicas of the command log: the logs themselves, and what drives a replica over one.
//!
//! [`starling_replica`] says what a pod does with the log as a function of what it is told; here is what tells it. This
//! is the one crate beside the server's that waits, and the only one that knows NATS.
//!
//! From the bottom up: [`log`], what a replica needs of a log, with [`log::memory`], one in the
//! memory of the process, and [`log::jetstream`], one in NATS.

pub mod log;

pub use log::jetstream::{
    JetStreamCluster, JetStreamLog, JetStreamMessages, JetStreamSettings, JetStreamTls, StartError,
};
pub use log::memory::{MemoryCommandLog, SharedMemoryLog};
pub use log::{FetchedMessages, LogUnreachable, PartitionLog};
