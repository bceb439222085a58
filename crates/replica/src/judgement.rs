//! What becomes of an entry.

use crate::batch::PodIncarnation;

/// Whether an entry counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was carried out.
    Counted,
    /// The same batch counted before.
    Repeat,
    /// It counts as nothing, on every pod alike.
    Void(VoidReason),
    /// It shows that the log was lost or rewound: nothing counts until a Reseed.
    Lost(LossSign),
    /// The log has a beginning.
    Born,
    /// Batches count from here on.
    Open,
    /// The log goes on with the state of a pod.
    Reseed,
}

/// Why a batch does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoidReason {
    /// It was for another life of the log.
    OtherLog,
    /// Its sender is not registered, and does not register by it.
    NotRegistered,
    /// Its sender is gone.
    Gone,
    /// It came after its time.
    TooLate,
    /// Its sender had read so little that nobody can tell whether it was the same log.
    OldBase,
    /// Its sender cannot apply what is active.
    Level,
    /// There are as many pods as may be.
    TooMany,
    /// The log is not born, not open, or broken.
    NothingCounts,
}

/// How an entry shows that the log was lost or rewound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossSign {
    /// Its sender had applied this sequence, or a later one, before it sent it.
    BaseAhead,
    /// Its sender has read something else.
    OtherHistory,
    /// The batch before it is missing.
    SkippedNumber,
}

/// What the pods' digests of one entry came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The entry.
    pub sequence: u64,
    /// Pods that differ from the most.
    pub minority: Vec<PodIncarnation>,
    /// True when no digest has the most votes.
    pub is_tie: bool,
}

/// What an entry did.
#[derive(Debug)]
pub(crate) struct Effects<O> {
    pub(crate) verdict: Verdict,
    /// Of its commands, attaches and detaches, in order.
    pub(crate) outcomes: Vec<O>,
    /// Pods that are gone by it.
    pub(crate) gone: Vec<PodIncarnation>,
    /// Whether every pod is to say its digest.
    pub(crate) compare: bool,
    pub(crate) compared: Option<Comparison>,
}

impl<O> From<Verdict> for Effects<O> {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, outcomes: Vec::new(), gone: Vec::new(), compare: false, compared: None }
    }
}
