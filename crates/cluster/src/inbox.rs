//! What callers want of a partition, on its way to the task that drives it.
//!
//! Callers never wait for that task: a request is put here under a short lock. Bounded as the replica's own queue is, but
//! for a Detach, of which there are never more than Attaches that were taken.

use std::collections::VecDeque;

use parking_lot::Mutex;
use starling_replica::batch::StreamSession;
use starling_replica::output::PeerReport;
use starling_replica::replica::status::ReplicaStatus;
use starling_replica::{Answer, LogRequest, ReplicaSettings};
use tokio::sync::{Notify, oneshot};

use crate::status::SubmitFault;

/// How many reports of peers wait at most: what is missing is told again each second.
const MAX_REPORTS: usize = 256;

/// What a request came to.
pub(crate) type Reply<O> = Result<Answer<O>, SubmitFault>;

/// Names an Attach, so that the Detach for it closes its stream and no other one.
pub(crate) type AttachId = u64;

/// What was put in.
#[derive(Debug)]
pub(crate) enum Inbound<O> {
    Request { request: LogRequest, deadline: u64, attach: Option<AttachId>, reply: oneshot::Sender<Reply<O>> },
    Detach(AttachId, StreamSession),
    Activate(u32),
    Status(oneshot::Sender<ReplicaStatus>),
}

#[derive(Debug)]
struct Waiting<O> {
    inbound: VecDeque<Inbound<O>>,
    reports: Vec<PeerReport>,
    bytes: usize,
    attaches: AttachId,
    is_closed: bool,
}

/// The requests of all callers.
#[derive(Debug)]
pub(crate) struct Inbox<O> {
    waiting: Mutex<Waiting<O>>,
    notify: Notify,
    max_items: usize,
    max_bytes: usize,
}

fn bytes_of(request: &LogRequest) -> usize {
    match request {
        LogRequest::Command(bytes) | LogRequest::Chat(bytes) => bytes.len(),
        LogRequest::Attach(_) | LogRequest::Detach(_) | LogRequest::Barrier => 0,
    }
}

impl<O> Inbox<O> {
    pub(crate) fn new(settings: &ReplicaSettings) -> Self {
        let waiting =
            Waiting { inbound: VecDeque::new(), reports: Vec::new(), bytes: 0, attaches: 0, is_closed: false };
        Self {
            waiting: Mutex::new(waiting),
            notify: Notify::new(),
            max_items: settings.queue_items,
            max_bytes: settings.queue_bytes,
        }
    }

    /// Takes a request, with the receiver of what it comes to. For an Attach, the name that its Detach must have.
    pub(crate) fn request(
        &self,
        request: LogRequest,
        deadline: u64,
    ) -> Result<(AttachId, oneshot::Receiver<Reply<O>>), SubmitFault> {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            return Err(SubmitFault::Stopped);
        }
        if waiting.inbound.len() >= self.max_items || waiting.bytes >= self.max_bytes {
            return Err(SubmitFault::QueueFull);
        }
        let is_attach = matches!(request, LogRequest::Attach(_));
        waiting.attaches += u64::from(is_attach);
        let attach = waiting.attaches;
        let (reply, receiver) = oneshot::channel();
        waiting.bytes += bytes_of(&request);
        let inbound = Inbound::Request { request, deadline, attach: is_attach.then_some(attach), reply };
        self.push(waiting, inbound);
        Ok((attach, receiver))
    }

    /// Takes a Detach, always.
    pub(crate) fn detach(&self, attach: AttachId, stream: StreamSession) {
        let waiting = self.waiting.lock();
        if !waiting.is_closed {
            self.push(waiting, Inbound::Detach(attach, stream));
        }
    }

    /// Takes an operator's word; the newest one counts.
    pub(crate) fn activate(&self, level: u32) {
        let mut waiting = self.waiting.lock();
        if !waiting.is_closed {
            waiting.inbound.retain(|inbound| !matches!(inbound, Inbound::Activate(_)));
            self.push(waiting, Inbound::Activate(level));
        }
    }

    /// Asks for what operators are told. A question that comes while many wait is dropped.
    pub(crate) fn status(&self) -> oneshot::Receiver<ReplicaStatus> {
        let (reply, receiver) = oneshot::channel();
        let waiting = self.waiting.lock();
        if !waiting.is_closed && waiting.inbound.len() < self.max_items {
            self.push(waiting, Inbound::Status(reply));
        }
        receiver
    }

    fn push(&self, mut waiting: parking_lot::MutexGuard<'_, Waiting<O>>, inbound: Inbound<O>) {
        waiting.inbound.push_back(inbound);
        let is_first = waiting.inbound.len() == 1;
        drop(waiting);
        if is_first {
            self.notify.notify_one();
        }
    }

    /// Takes what a peer tells. Only what `is_urgent` wakes the task for it.
    pub(crate) fn report(&self, report: PeerReport, is_urgent: bool) {
        let mut waiting = self.waiting.lock();
        waiting.reports.retain(|old| old.incarnation != report.incarnation);
        if !waiting.is_closed && waiting.reports.len() < MAX_REPORTS {
            waiting.reports.push(report);
        }
        drop(waiting);
        if is_urgent {
            self.notify.notify_one();
        }
    }

    /// Waits until there may be something.
    pub(crate) async fn filled(&self) {
        self.notify.notified().await;
    }

    /// Takes what there is.
    pub(crate) fn take(&self) -> (VecDeque<Inbound<O>>, Vec<PeerReport>) {
        let mut waiting = self.waiting.lock();
        waiting.bytes = 0;
        (std::mem::take(&mut waiting.inbound), std::mem::take(&mut waiting.reports))
    }

    /// Takes nothing more. What is in stays.
    pub(crate) fn close(&self) {
        self.waiting.lock().is_closed = true;
    }

    /// Turns away who is in.
    pub(crate) fn turn_away(&self) {
        let (inbound, _) = self.take();
        for inbound in inbound {
            if let Inbound::Request { reply, .. } = inbound {
                // Who does not wait any more need not be told.
                drop(reply.send(Err(SubmitFault::Stopped)));
            }
        }
    }
}
