//! The task that drives one replica: it alone has it, and tells it the time, what the log says and what callers want.
//!
//! It sleeps until something comes or the replica's next tick is due. It never works for long at once: entries that come
//! in masses and parts of snapshots are taken in slices, and a snapshot that is read goes to the threads that may block.
//! A panic, in the state or elsewhere, costs what the pod holds of this partition; it is loaded again.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use starling_replica::output::{LogAccess, OverReason, SnapshotChoice, StopReason, SubmissionId};
use starling_replica::replica::ObjectStoreUnreachable;
use starling_replica::{Answer, LogMessage, LogRequest, Output, PodIncarnation, Replica, ReplicaSettings};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::{error, info, warn};

use self::calls::{LogCalls, LogReply};
use crate::handle::{PartitionShared, ReadableState};
use crate::inbox::{AttachId, Inbound, Reply};
use crate::log::PartitionLog;
use crate::status::{PartitionNotReady, PodEvent, PodLife, SubmitFault};

mod calls;

/// After so many bytes of entries others get their turn.
const SLICE_BYTES: usize = 64 << 10;

/// So many messages and answers are taken before the time is looked at again.
const SLICE_INPUTS: usize = 64;

/// A snapshot of more bytes is read where it may block.
const BLOCKING_BYTES: usize = 256 << 10;

/// How long the partition is left alone after a panic; each time twice as long, for a cause that stays.
const DROPPED_FOR: Duration = Duration::from_secs(1);

/// The longest that it is left alone. After so long without a panic it is the first one again.
const DROPPED_FOR_MOST: Duration = Duration::from_secs(60);

/// An incarnation is over: by which partition, which one, and why.
pub(crate) type PodOver = (usize, PodIncarnation, OverReason);

/// Drives one partition.
pub(crate) struct Driver<S: ReadableState, L> {
    pub(crate) partition: usize,
    pub(crate) shared: Arc<PartitionShared<S>>,
    pub(crate) log: L,
    pub(crate) place: S::Place,
    pub(crate) settings: ReplicaSettings,
    pub(crate) life: watch::Receiver<PodLife>,
    pub(crate) overs: mpsc::Sender<PodOver>,
    pub(crate) callers: Callers<S::Outcome>,
    /// The pod stops, and has said so in this partition.
    pub(crate) has_ended: bool,
}

/// Who waits for the replica.
#[derive(Debug)]
pub(crate) struct Callers<O> {
    next: SubmissionId,
    waiting: HashMap<SubmissionId, oneshot::Sender<Reply<O>>>,
    /// Streams that the replica counts.
    attached: HashSet<AttachId>,
}

impl<O> Default for Callers<O> {
    fn default() -> Self {
        Self { next: 0, waiting: HashMap::new(), attached: HashSet::new() }
    }
}

/// The pod stops.
struct Ended;

/// What woke the task.
enum Woken<M> {
    Life,
    Inbox,
    Message(Option<LogMessage>),
    Reply(LogReply<M>),
    Due,
}

async fn next_message<M: futures_util::Stream<Item = LogMessage> + Unpin>(
    messages: &mut Option<M>,
) -> Option<LogMessage> {
    match messages {
        Some(messages) => messages.next().await,
        None => std::future::pending().await,
    }
}

impl<S: ReadableState, L: PartitionLog> Driver<S, L> {
    /// Drives the partition until the pod stops.
    pub(crate) async fn run(mut self) {
        let mut pause = DROPPED_FOR;
        loop {
            let began = Instant::now();
            if AssertUnwindSafe(self.drive()).catch_unwind().await.is_ok() {
                return;
            }
            if began.elapsed() >= DROPPED_FOR_MOST {
                pause = DROPPED_FOR;
            }
            self.dropped();
            if self.leave_alone(pause).await.is_err() {
                return;
            }
            pause = DROPPED_FOR_MOST.min(pause * 2);
        }
    }

    /// What the replica held is dropped. What it was asked last may have been applied.
    fn dropped(&mut self) {
        error!(partition = self.partition, "a panic: what this pod held of the partition is dropped");
        for (_, reply) in self.callers.waiting.drain() {
            drop(reply.send(Err(SubmitFault::OutcomeUnknown)));
        }
        self.callers.attached.clear();
        self.shared.set_readiness(Err(PartitionNotReady::Dropped));
        *self.shared.report.lock() = None;
        // What panicked may have left anything in it.
        self.shared.reader.send_replace(S::default().reader());
        self.shared.begin_life();
        self.shared.tell(PodEvent::Dropped { partition: self.partition });
    }

    /// Turns callers away for a time; an error once the pod stops.
    async fn leave_alone(&mut self, pause: Duration) -> Result<(), Ended> {
        let until = Instant::now() + pause;
        loop {
            if self.life.borrow_and_update().is_stopping {
                return Err(Ended);
            }
            tokio::select! {
                () = self.shared.inbox.filled() => self.shared.inbox.turn_away(),
                // Without a sender the pod is no more, and this task ends with it.
                changed = self.life.changed() => changed.map_err(|_| Ended)?,
                () = sleep_until(until) => return Ok(()),
            }
        }
    }

    async fn drive(&mut self) {
        let incarnation = self.life.borrow().incarnation;
        let mut replica = Replica::<S>::new(self.settings.clone(), incarnation, self.shared.clock.now());
        self.shared.reader.send_replace(replica.readable().state.reader());
        self.shared.access.send_replace(LogAccess::Current);
        let mut calls = LogCalls::new(self.log.clone());
        let mut messages = None;
        calls.follow();
        self.obey(&mut replica);
        let mut timer = Box::pin(sleep_until(Instant::now()));
        let (mut slice, mut inputs) = (0, 0);
        loop {
            self.tick(&mut replica);
            self.carry_out(&mut replica, &mut calls).await;
            if self.has_ended {
                return self.end(replica);
            }
            if slice >= SLICE_BYTES || inputs >= SLICE_INPUTS {
                (slice, inputs) = (0, 0);
                yield_now().await;
            }
            let woken = self.wait(replica.next_due(), timer.as_mut(), &mut messages, &mut calls).await;
            self.shared.wakeups.fetch_add(1, Ordering::Relaxed);
            self.tick(&mut replica);
            match woken {
                Woken::Life => self.obey(&mut replica),
                Woken::Inbox | Woken::Due => {}
                Woken::Message(Some(message)) => {
                    slice += message.bytes.len();
                    replica.message(message);
                }
                Woken::Message(None) => {
                    messages = None;
                    calls.follow();
                }
                Woken::Reply(LogReply::Following(begun)) => messages = Some(begun),
                Woken::Reply(reply) => replica = self.answered(replica, reply, &mut slice, &mut calls).await,
            }
            inputs += 1;
            // What came meanwhile, before the time is looked at again.
            while inputs < SLICE_INPUTS && slice < SLICE_BYTES {
                let Some(Some(message)) = next_message(&mut messages).now_or_never() else { break };
                (slice, inputs) = (slice + message.bytes.len(), inputs + 1);
                replica.message(message);
            }
            self.take_inbox(&mut replica);
        }
    }

    async fn wait(
        &mut self,
        due: u64,
        mut timer: Pin<&mut Sleep>,
        messages: &mut Option<L::Messages>,
        calls: &mut LogCalls<L>,
    ) -> Woken<L::Messages> {
        let is_due = due <= self.shared.clock.now();
        if !is_due {
            timer.as_mut().reset(self.shared.clock.moment(due));
        }
        tokio::select! {
            // An end of the channel is that of the pod, which ends this task.
            Ok(()) = self.life.changed() => Woken::Life,
            () = self.shared.inbox.filled() => Woken::Inbox,
            message = next_message(messages) => Woken::Message(message),
            reply = calls.next() => Woken::Reply(reply),
            () = timer, if !is_due => Woken::Due,
            () = yield_now(), if is_due => Woken::Due,
        }
    }

    fn tick(&self, replica: &mut Replica<S>) {
        replica.tick(self.shared.clock.now());
    }

    /// Takes over the pod's life.
    fn obey(&mut self, replica: &mut Replica<S>) {
        let life = *self.life.borrow_and_update();
        if life.incarnation != replica.incarnation() {
            replica.restart(life.incarnation, self.shared.clock.now());
            self.callers.attached.clear();
            self.shared.begin_life();
        }
        if life.is_stopping {
            self.shared.inbox.close();
            replica.stop_in_order();
        }
    }

    fn take_inbox(&mut self, replica: &mut Replica<S>) {
        let (inbound, reports) = self.shared.inbox.take();
        reports.into_iter().for_each(|report| replica.peer(report));
        for inbound in inbound {
            match inbound {
                Inbound::Request { request, deadline, attach, reply } => {
                    self.take_request(replica, request, deadline, attach, reply);
                }
                Inbound::Detach(attach, stream) => {
                    // An Attach that was refused, or was another life's, is counted no more.
                    if self.callers.attached.remove(&attach) {
                        // It is never refused.
                        let _ = replica.submit(0, LogRequest::Detach(stream), 0);
                    }
                }
                Inbound::Activate(level) => replica.activate(level),
                // Who asked may have gone.
                Inbound::Status(reply) => drop(reply.send(replica.status())),
            }
        }
    }

    fn take_request(
        &mut self,
        replica: &mut Replica<S>,
        request: LogRequest,
        deadline: u64,
        attach: Option<AttachId>,
        reply: oneshot::Sender<Reply<S::Outcome>>,
    ) {
        if matches!(replica.stopped(), Some(StopReason::Undecodable | StopReason::Level)) {
            drop(reply.send(Err(SubmitFault::Stopped)));
            return;
        }
        // A caller that has gone before anything was done for it needs nothing; its Attach has no Detach to follow.
        if reply.is_closed() && !matches!(request, LogRequest::Command(_) | LogRequest::Chat(_)) {
            return;
        }
        self.callers.next += 1;
        let id = self.callers.next;
        match replica.submit(id, request, deadline) {
            Ok(()) => {
                self.callers.attached.extend(attach);
                self.callers.waiting.insert(id, reply);
            }
            Err(_) => drop(reply.send(Err(SubmitFault::QueueFull))),
        }
    }

    /// Hands on an answer of the log.
    async fn answered(
        &mut self,
        mut replica: Replica<S>,
        reply: LogReply<L::Messages>,
        slice: &mut usize,
        calls: &mut LogCalls<L>,
    ) -> Replica<S> {
        match reply {
            LogReply::Published(result) => replica.published(result),
            LogReply::Extent(first, last) => replica.extent(first, last),
            LogReply::Stored(name, is_stored) => replica.stored(&name, is_stored),
            LogReply::Loaded(choice, bytes) => return load(replica, choice, bytes).await,
            LogReply::Fetched(fetched) if fetched.messages.is_empty() => replica.fetched(Vec::new(), fetched.first),
            LogReply::Fetched(fetched) => {
                for message in fetched.messages {
                    *slice += message.bytes.len();
                    replica.fetched(vec![message], fetched.first);
                    if *slice >= SLICE_BYTES {
                        *slice = 0;
                        self.carry_out(&mut replica, calls).await;
                        yield_now().await;
                        self.tick(&mut replica);
                    }
                }
            }
            LogReply::Following(_) | LogReply::Nothing => {}
        }
        replica
    }

    /// Does what the replica asks for, and tells what it tells.
    async fn carry_out(&mut self, replica: &mut Replica<S>, calls: &mut LogCalls<L>) {
        let applied = replica.readable().partition.counted_position().sequence;
        let partition = self.partition;
        let (mut answers, mut over) = (Vec::new(), None);
        while let Some(output) = replica.next_output() {
            match output {
                Output::Publish { bytes, expect_last } => calls.publish(bytes, expect_last),
                Output::Fetch { from, to } => calls.fetch(from, to),
                Output::AskExtent => calls.extent(),
                Output::Load(choice) => calls.load(choice),
                Output::Store { name, bytes } => calls.store(name, bytes),
                Output::Purge { below } => calls.purge(below),
                Output::Resolve { id, answer } => answers.push((id, answer)),
                Output::Replaced => {
                    replica.show(|state| state.show(&self.place));
                    self.shared.reader.send_replace(replica.readable().state.reader());
                    self.shared.tell(PodEvent::Replaced { partition });
                }
                Output::Access(access) => drop(self.shared.access.send_replace(access)),
                Output::Over(reason) => over = Some(reason),
                Output::PodGone(incarnation) => self.shared.tell(PodEvent::PodGone { partition, incarnation }),
                Output::Alarm(alarm) => {
                    warn!(partition, ?alarm, "an operator has to look");
                    self.shared.tell(PodEvent::Alarm { partition, alarm });
                }
            }
        }
        // Who is answered finds everything as it was then, or later.
        self.shared.applied.send_if_modified(|now| std::mem::replace(now, applied) != applied);
        let readiness = replica.readiness().map_err(PartitionNotReady::Replica);
        self.shared.set_readiness(readiness);
        *self.shared.report.lock() = Some(replica.report());
        self.answer(answers);
        match over {
            Some(reason) if !self.life.borrow().is_stopping => {
                info!(partition, ?reason, "this incarnation is over");
                if self.overs.send((partition, replica.incarnation(), reason)).await.is_err() {
                    // The pod is no more, and this task ends with it.
                    self.has_ended = true;
                }
            }
            // Whatever it was that stopped it: it says nothing more.
            _ => self.has_ended |= self.life.borrow().is_stopping && replica.stopped().is_some(),
        }
    }

    fn answer(&mut self, answers: Vec<(SubmissionId, Answer<S::Outcome>)>) {
        for (id, answer) in answers {
            if let Some(reply) = self.callers.waiting.remove(&id) {
                // Who does not wait any more need not be told.
                drop(reply.send(Ok(answer)));
            }
        }
    }

    /// The pod has stopped in order: whoever waits is told.
    fn end(&mut self, mut replica: Replica<S>) {
        replica.restart(replica.incarnation(), self.shared.clock.now());
        let mut answers = Vec::new();
        while let Some(output) = replica.next_output() {
            if let Output::Resolve { id, answer } = output {
                answers.push((id, answer));
            }
        }
        self.answer(answers);
    }
}

/// A task that ends, or is ended, leaves nobody waiting.
impl<S: ReadableState, L> Drop for Driver<S, L> {
    fn drop(&mut self) {
        self.shared.inbox.close();
        self.shared.inbox.turn_away();
        self.shared.set_readiness(Err(PartitionNotReady::Stopped));
        *self.shared.report.lock() = None;
    }
}

/// Hands on a snapshot: a large one takes its time.
async fn load<S: ReadableState>(
    mut replica: Replica<S>,
    choice: SnapshotChoice,
    bytes: Result<Option<Vec<u8>>, ObjectStoreUnreachable>,
) -> Replica<S> {
    if bytes.as_ref().is_ok_and(|found| found.as_ref().is_some_and(|bytes| bytes.len() > BLOCKING_BYTES)) {
        let reading = spawn_blocking(move || {
            replica.loaded(&choice, bytes);
            replica
        });
        return match reading.await {
            Ok(replica) => replica,
            Err(fault) if fault.is_panic() => std::panic::resume_unwind(fault.into_panic()),
            // The runtime ends.
            Err(_) => std::future::pending().await,
        };
    }
    replica.loaded(&choice, bytes);
    replica
}
