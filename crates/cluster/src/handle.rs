//! One partition, as everybody but its driver sees it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use starling_replica::batch::StreamSession;
use starling_replica::output::{LogAccess, NotReady, PeerReport};
use starling_replica::replica::status::ReplicaStatus;
use starling_replica::{Answer, LogRequest, ReplicaSettings, State};
use tokio::sync::{broadcast, watch};

use crate::clock::PodClock;
use crate::inbox::{AttachId, Inbox};
use crate::status::{PartitionNotReady, PodEvent, SubmitFault};

/// The longest that a call waits for the log.
pub const CALL_PATIENCE: Duration = Duration::from_secs(10);

/// A state that others read while entries are applied to it: the replica's value is one handle to it, and each reader
/// has another. What is locked, and for how long, is up to the state; a reader that holds a lock holds up the applier.
pub trait ReadableState: State<Outcome: Send> + Send + 'static {
    /// How others read it.
    type Reader: Clone + Send + Sync + 'static;

    /// Where clients see it, if that is outside of it.
    type Place: Clone + Send + Sync + 'static;

    /// A handle to this state, which stays one to it when the replica goes over to another.
    fn reader(&self) -> Self::Reader;

    /// Has clients see it there from now on, in place of what they saw before; nothing when they do.
    fn show(&mut self, place: &Self::Place);
}

/// What the driver of a partition shares with those who hold its handle.
pub(crate) struct PartitionShared<S: ReadableState> {
    pub(crate) clock: PodClock,
    pub(crate) inbox: Inbox<S::Outcome>,
    pub(crate) readiness: watch::Sender<Result<(), PartitionNotReady>>,
    pub(crate) access: watch::Sender<LogAccess>,
    pub(crate) applied: watch::Sender<u64>,
    pub(crate) lives: watch::Sender<u64>,
    pub(crate) reader: watch::Sender<S::Reader>,
    pub(crate) events: broadcast::Sender<PodEvent>,
    /// What peers are to be told, when there is something.
    pub(crate) report: Mutex<Option<PeerReport>>,
    pub(crate) wakeups: AtomicU64,
}

impl<S: ReadableState> PartitionShared<S> {
    pub(crate) fn new(settings: &ReplicaSettings, clock: PodClock, events: broadcast::Sender<PodEvent>) -> Self {
        Self {
            clock,
            inbox: Inbox::new(settings),
            readiness: watch::Sender::new(Err(PartitionNotReady::Replica(NotReady::Loading))),
            access: watch::Sender::new(LogAccess::Current),
            applied: watch::Sender::new(0),
            lives: watch::Sender::new(0),
            reader: watch::Sender::new(S::default().reader()),
            events,
            report: Mutex::new(None),
            wakeups: AtomicU64::new(0),
        }
    }

    /// Tells what happened. Nobody may be listening.
    pub(crate) fn tell(&self, event: PodEvent) {
        let _ = self.events.send(event);
    }

    /// What streams have of the partition is over.
    pub(crate) fn begin_life(&self) {
        self.lives.send_modify(|lives| *lives += 1);
    }

    pub(crate) fn set_readiness(&self, readiness: Result<(), PartitionNotReady>) {
        self.readiness.send_if_modified(|now| std::mem::replace(now, readiness) != readiness);
    }
}

/// A partition of a pod. Copies are of the same partition.
///
/// Each call is answered once, by its patience or [`CALL_PATIENCE`] at the latest, whichever is shorter. A call that is
/// dropped goes on, without an answer: what it asked for may be applied.
pub struct PartitionHandle<S: ReadableState> {
    shared: Arc<PartitionShared<S>>,
}

impl<S: ReadableState> Clone for PartitionHandle<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S: ReadableState> fmt::Debug for PartitionHandle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionHandle")
            .field("readiness", &*self.shared.readiness.borrow())
            .field("applied", &*self.shared.applied.borrow())
            .finish_non_exhaustive()
    }
}

impl<S: ReadableState> PartitionHandle<S> {
    pub(crate) const fn new(shared: Arc<PartitionShared<S>>) -> Self {
        Self { shared }
    }

    /// Submits a command, in the byte form of the core, and says what it came to once this pod has applied it.
    ///
    /// # Errors
    ///
    /// [`SubmitFault`].
    pub async fn submit(&self, command: Vec<u8>, patience: Duration) -> Result<S::Outcome, SubmitFault> {
        self.apply(LogRequest::Command(command), patience).await
    }

    /// The same for CHAT: whatever is about membership goes first.
    ///
    /// # Errors
    ///
    /// [`SubmitFault`].
    pub async fn chat(&self, command: Vec<u8>, patience: Duration) -> Result<S::Outcome, SubmitFault> {
        self.apply(LogRequest::Chat(command), patience).await
    }

    async fn apply(&self, request: LogRequest, patience: Duration) -> Result<S::Outcome, SubmitFault> {
        match self.ask(request, patience).await? {
            (Answer::Applied(outcome), _) => Ok(outcome),
            _ => Err(SubmitFault::OutcomeUnknown),
        }
    }

    /// Says that a stream of a session has opened. The outcome is `None` when the session had streams here already. The
    /// stream has closed when what is answered is dropped.
    ///
    /// # Errors
    ///
    /// [`SubmitFault`]: the stream counts no more.
    pub async fn attach(
        &self,
        stream: StreamSession,
        patience: Duration,
    ) -> Result<(StreamAttachment<S>, Option<S::Outcome>), SubmitFault> {
        match self.ask(LogRequest::Attach(stream), patience).await? {
            (Answer::Applied(outcome), Some(attachment)) => Ok((attachment, Some(outcome))),
            (Answer::AlreadyAttached, Some(attachment)) => Ok((attachment, None)),
            _ => Err(SubmitFault::OutcomeUnknown),
        }
    }

    /// Waits until this pod has applied all that any pod had answered before this was called: then it may say that
    /// something is not there.
    ///
    /// # Errors
    ///
    /// [`SubmitFault`], never [`SubmitFault::OutcomeUnknown`] while the pod lives.
    pub async fn barrier(&self, patience: Duration) -> Result<(), SubmitFault> {
        self.ask(LogRequest::Barrier, patience).await.map(drop)
    }

    /// Makes a request, again when it was not applied and there is time.
    async fn ask(
        &self,
        request: LogRequest,
        patience: Duration,
    ) -> Result<(Answer<S::Outcome>, Option<StreamAttachment<S>>), SubmitFault> {
        let clock = self.shared.clock;
        let deadline = clock.after(patience.min(CALL_PATIENCE));
        loop {
            let (id, reply) = self.shared.inbox.request(request.clone(), deadline)?;
            // From here on a Detach follows, whatever becomes of this call.
            let attachment = match &request {
                LogRequest::Attach(stream) => {
                    Some(StreamAttachment { shared: Arc::clone(&self.shared), id, stream: *stream })
                }
                _ => None,
            };
            match reply.await.unwrap_or(Err(SubmitFault::OutcomeUnknown))? {
                // The incarnation was over: the next one may have more luck.
                Answer::NotApplied if clock.now() < deadline => {}
                Answer::NotApplied => return Err(SubmitFault::NotApplied),
                Answer::Unknown => return Err(SubmitFault::OutcomeUnknown),
                answer @ (Answer::Applied(_) | Answer::AlreadyAttached | Answer::Reached) => {
                    return Ok((answer, attachment));
                }
            }
        }
    }

    /// An operator's word to activate a level, once all pods can apply it.
    pub fn activate(&self, level: u32) {
        self.shared.inbox.activate(level);
    }

    /// What operators are told, as it is now; `None` while the partition is not driven: the pod stops, or leaves the
    /// partition alone after a panic.
    pub async fn status(&self) -> Option<ReplicaStatus> {
        self.shared.inbox.status().await.ok()
    }

    /// Whether the partition can be used.
    pub fn readiness(&self) -> watch::Receiver<Result<(), PartitionNotReady>> {
        self.shared.readiness.subscribe()
    }

    /// How far the pod is from the log.
    pub fn access(&self) -> watch::Receiver<LogAccess> {
        self.shared.access.subscribe()
    }

    /// The last sequence that was applied to the state that clients read, which may be another log's after a loss. What
    /// this shows is in the state already.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.shared.applied.subscribe()
    }

    /// How often what streams had of the partition was over, by another incarnation or for a panic. When it changes, all
    /// streams of the partition are to be told goodbye, and what was attached is attached no more.
    pub fn lives(&self) -> watch::Receiver<u64> {
        self.shared.lives.subscribe()
    }

    /// The state that clients read.
    pub fn state(&self) -> watch::Receiver<S::Reader> {
        self.shared.reader.subscribe()
    }

    /// How often the driver has woken.
    pub fn wakeups(&self) -> u64 {
        self.shared.wakeups.load(Ordering::Relaxed)
    }
}

/// An open stream of a session. When it is dropped, the stream has closed.
#[must_use = "the stream counts while this lives"]
pub struct StreamAttachment<S: ReadableState> {
    shared: Arc<PartitionShared<S>>,
    id: AttachId,
    stream: StreamSession,
}

impl<S: ReadableState> fmt::Debug for StreamAttachment<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamAttachment").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl<S: ReadableState> Drop for StreamAttachment<S> {
    fn drop(&mut self) {
        self.shared.inbox.detach(self.id, self.stream);
    }
}
