//! What runs the replicas of the command log: the logs themselves, and what drives a replica over one.
//!
//! [`starling_replica`] says what a pod does with the log as a function of what it is told; here is what tells it. This
//! is the one crate beside the server's that waits, and the only one that knows NATS.
//!
//! From the bottom up: [`log`], what a replica needs of a log, with [`log::memory`], one in the memory of the process, and
//! [`log::jetstream`], one in NATS; `clock`, the pod's own time; [`status`], what a pod tells; `inbox`, what callers want,
//! and [`handle`], how they want it; `driver`, the task that has one replica; [`peers`], what pods tell each other beside
//! the log; [`pod`], the replicas of all partitions.

mod clock;
mod driver;
pub mod handle;
mod inbox;
pub mod log;
pub mod peers;
pub mod pod;
pub mod status;

pub use handle::{CALL_PATIENCE, PartitionHandle, ReadableState, StreamAttachment};
pub use log::jetstream::{
    JetStreamCluster, JetStreamLog, JetStreamMessages, JetStreamSettings, JetStreamTls, StartError,
};
pub use log::memory::{MemoryCommandLog, SharedMemoryLog};
pub use log::{FetchedMessages, LogUnreachable, PartitionLog};
pub use peers::{HubPeers, PeerHub, Peers};
pub use pod::{Pod, PodHandle};
pub use status::{PartitionNotReady, PodEvent, PodLife, SubmitFault};
