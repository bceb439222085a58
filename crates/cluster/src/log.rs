//! What a replica needs of a log: the calls that answer its outputs.
//!
//! A log is an order of messages that all pods share, and an object store for snapshots beside it. It may lose what it
//! publishes, answer late or not at all, and even lose what it has taken: a replica expects all of it. What it may not do
//! is answer a question with the answer to another one.

use bytes::Bytes;
use futures_util::Stream;
use starling_replica::LogMessage;
use starling_replica::output::SnapshotChoice;
use starling_replica::replica::{ObjectStoreUnreachable, PublishFault};
use thiserror::Error;

pub mod jetstream;
pub mod memory;

/// What is fetched at once at most, in bytes, but for one message that is larger.
const FETCH_BYTES: usize = 4 << 20;

/// The log did not answer, or not in time: what was asked of it may have been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the log cannot be reached")]
pub struct LogUnreachable;

/// What a log has of the sequences that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedMessages {
    /// The messages, in order, from the first that is there on; perhaps not all, but not none if there is one.
    pub messages: Vec<LogMessage>,
    /// Above the first sequence that was asked for, the first that the log has: what lies before it was purged. Else
    /// nothing is known to have been purged.
    pub first: u64,
}

/// The log of one partition, as one pod has it. Copies are of the same log.
///
/// Every call ends by itself: a log that does not answer is unreachable after a time that the log knows.
pub trait PartitionLog: Clone + Send + Sync + 'static {
    /// The messages as they are written. It never ends, may lose any message, and goes on by itself when a connection
    /// was lost; what it keeps for a slow reader is bounded in bytes.
    type Messages: Stream<Item = LogMessage> + Send + Unpin + 'static;

    /// Begins to follow: everything that is written after the answer is on its way, unless it is lost.
    ///
    /// # Errors
    ///
    /// [`LogUnreachable`]: to be tried again.
    fn follow(&self) -> impl Future<Output = Result<Self::Messages, LogUnreachable>> + Send;

    /// Writes a message; with `expect_last`, only if that is the log's last sequence. Answers the sequence that it got.
    ///
    /// # Errors
    ///
    /// [`PublishFault`]; after [`PublishFault::Unreachable`] the message may have been written, or be written later.
    fn publish(&self, bytes: Bytes, expect_last: Option<u64>)
    -> impl Future<Output = Result<u64, PublishFault>> + Send;

    /// The messages from one sequence to another, both included. The answer may be older than what others have said,
    /// and is bounded in bytes: what is missing at its end is asked for again.
    ///
    /// # Errors
    ///
    /// [`LogUnreachable`].
    fn fetch(&self, from: u64, to: u64) -> impl Future<Output = Result<FetchedMessages, LogUnreachable>> + Send;

    /// The first and the last sequence, as the log's leader has them; (1, 0) for a log that never had a message.
    ///
    /// # Errors
    ///
    /// [`LogUnreachable`].
    fn extent(&self) -> impl Future<Output = Result<(u64, u64), LogUnreachable>> + Send;

    /// The name and the bytes of a snapshot; `None` when there is no such one.
    ///
    /// # Errors
    ///
    /// [`ObjectStoreUnreachable`].
    fn load(
        &self,
        choice: SnapshotChoice,
    ) -> impl Future<Output = Result<Option<(String, Vec<u8>)>, ObjectStoreUnreachable>> + Send;

    /// Puts a snapshot into the object store.
    ///
    /// # Errors
    ///
    /// [`ObjectStoreUnreachable`].
    fn store(&self, name: String, bytes: Vec<u8>) -> impl Future<Output = Result<(), ObjectStoreUnreachable>> + Send;

    /// Deletes the messages below a sequence, and then the snapshots below it ([`SnapshotChoice::sequence_of`]).
    ///
    /// # Errors
    ///
    /// [`LogUnreachable`]: some may be deleted.
    fn purge(&self, below: u64) -> impl Future<Output = Result<(), LogUnreachable>> + Send;
}
