//! What a pod tells of itself and of its partitions.
//!
//! What must not be missed is a value that is watched: readiness, access to the log, the sequence, the life. What is an
//! event of its own is broadcast, and a receiver that is too slow is told that it has missed some.

use starling_replica::PodIncarnation;
use starling_replica::output::{Alarm, NotReady, OverReason};
use thiserror::Error;

/// Why a partition of this pod cannot be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionNotReady {
    /// Its replica says so.
    Replica(NotReady),
    /// Something panicked: what the pod held of the partition was dropped, and is loaded again after a time.
    Dropped,
    /// The pod stops, or has stopped.
    Stopped,
}

/// What happens once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodEvent {
    /// The pod's incarnation is over in all partitions, and the pod goes on as the next one: all streams are to be told
    /// goodbye.
    Over {
        /// The partition in which it was over.
        partition: usize,
        /// Why.
        reason: OverReason,
        /// What the pod is called from now on.
        next: PodIncarnation,
    },
    /// What clients read of the partition is another state than before: streams get resets.
    Replaced {
        /// Which.
        partition: usize,
    },
    /// Something panicked: what the pod held of the partition was dropped.
    Dropped {
        /// Which.
        partition: usize,
    },
    /// A pod is gone.
    PodGone {
        /// In which partition; the others follow.
        partition: usize,
        /// Which pod.
        incarnation: PodIncarnation,
    },
    /// An operator has to look.
    Alarm {
        /// At which partition.
        partition: usize,
        /// What it is.
        alarm: Alarm,
    },
}

/// Why a request came to nothing, or to what nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SubmitFault {
    /// Nothing was taken: too much waits.
    #[error("too much waits for the log")]
    QueueFull,
    /// It was not carried out in time, and never will be.
    #[error("the log was not reached in time: nothing was done")]
    NotApplied,
    /// Nobody can say whether it was or will be applied. That is settled once the life of a batch has passed.
    #[error("the log has not answered in time: the outcome is unknown")]
    OutcomeUnknown,
    /// The partition takes nothing, for this pod stops or cannot apply what the log says. It was not applied.
    #[error("this pod does not serve the partition")]
    Stopped,
}

/// The life of a pod in all its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodLife {
    /// What the pod is called.
    pub incarnation: PodIncarnation,
    /// Whether it is about to stop.
    pub is_stopping: bool,
}
