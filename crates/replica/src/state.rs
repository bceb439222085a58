//! What the entries of a partition are applied to.

use starling_core::id::PodId;
use thiserror::Error;

use crate::batch::StreamSession;

/// A change that the log orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateChange<'a> {
    /// A command in the byte form of the core, and the pod that it came from.
    Command(&'a [u8], PodId),
    /// The session has streams on the pod; without effect when it has already.
    Attach(StreamSession, PodId),
    /// The session has no streams on the pod; without effect when it had none.
    Detach(StreamSession, PodId),
}

/// The time of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogTime {
    /// The lease clock, in milliseconds: what everything is decided by.
    pub lease: u64,
    /// The timestamp of the log, in milliseconds since the Unix epoch: only to be shown.
    pub wall: u64,
}

/// Bytes that this build cannot apply: the partition stops, for what one pod skips makes it another state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("bytes that this build cannot apply")]
pub struct Undecodable;

/// The swarms of one partition, or what stands for them: a function of the changes, the same on every pod.
///
/// Nothing here may depend on the pod, on its clock or on chance.
pub trait State: Default {
    /// What a change came to: plain data for whoever submitted it.
    type Outcome: Clone;

    /// Carries a change out, or refuses it; the outcome says which.
    ///
    /// # Errors
    ///
    /// [`Undecodable`]; then nothing is changed.
    fn apply(&mut self, change: StateChange<'_>, at: LogTime) -> Result<Self::Outcome, Undecodable>;

    /// Carries out what is due by the lease clock, in the order of (due, swarm), at most `most` of it. Answers how much
    /// it was: fewer than `most` when nothing is left.
    fn carry_out_due(&mut self, at: LogTime, most: usize) -> usize;

    /// A pod is gone. O(1): its sessions and the terms that have their home there follow by [`State::detach_gone`].
    fn pod_gone(&mut self, pod: PodId, at: LogTime);

    /// Detaches at most `most` sessions of a pod that is gone, as of the lease clock `gone_at`; their terms, and those of
    /// swarms, have their home there no more. Answers how much it was: fewer than `most` when nothing is left.
    fn detach_gone(&mut self, pod: PodId, gone_at: u64, at: LogTime, most: usize) -> usize;

    /// The sessions that are attached to a pod, in order.
    fn attached(&self, pod: PodId) -> Vec<StreamSession>;

    /// Whether a session is attached to a pod.
    fn is_attached(&self, stream: StreamSession, pod: PodId) -> bool {
        self.attached(pod).binary_search(&stream).is_ok()
    }

    /// After a Reseed: raises every revision by `steps` times 2^20 and all positions of sets by `steps` times 2^32, so
    /// that no number gets a second meaning. There are 1 to 2^16 steps.
    fn raise(&mut self, steps: u64);

    /// A digest of the whole: equal wherever the same changes were applied.
    fn digest(&self) -> u64;

    /// A part of its byte form as pods of `level` read it, of about `most` bytes, that begins where the part before ended: at `from`, 0 for the
    /// first. Answers where the next begins, `None` after the last. The state is not changed between two parts.
    fn encode_part(&self, level: u32, from: u64, most: usize, out: &mut Vec<u8>) -> Option<u64>;

    /// The state of these bytes, which are all parts joined.
    ///
    /// # Errors
    ///
    /// [`Undecodable`] when they are of no state.
    fn decode(bytes: &[u8]) -> Result<Self, Undecodable>;
}
