//! What waits to be sent, what is on its way, and who waits for the answer.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::batch::{BatchItem, LogId, StreamSession};
use crate::output::SubmissionId;

/// One item with those who wait for what it comes to.
#[derive(Debug)]
pub(crate) struct QueuedItem {
    pub(crate) item: BatchItem,
    pub(crate) waiting: Option<SubmissionId>,
    pub(crate) is_chat: bool,
}

impl QueuedItem {
    fn bytes(&self) -> usize {
        match &self.item {
            BatchItem::Command(bytes) => bytes.len(),
            _ => size_of::<StreamSession>(),
        }
    }
}

/// What waits to be sent: membership goes before CHAT.
#[derive(Debug, Default)]
pub(crate) struct SubmitQueue {
    membership: VecDeque<QueuedItem>,
    chat: VecDeque<QueuedItem>,
    bytes: usize,
}

impl SubmitQueue {
    pub(crate) fn len(&self) -> usize {
        self.membership.len() + self.chat.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn lane(&mut self, is_chat: bool) -> &mut VecDeque<QueuedItem> {
        if is_chat { &mut self.chat } else { &mut self.membership }
    }

    pub(crate) fn push(&mut self, queued: QueuedItem) {
        self.bytes += queued.bytes();
        self.lane(queued.is_chat).push_back(queued);
    }

    /// Puts items back before all others, in their order.
    pub(crate) fn put_back(&mut self, items: Vec<QueuedItem>) {
        for queued in items.into_iter().rev() {
            self.bytes += queued.bytes();
            self.lane(queued.is_chat).push_front(queued);
        }
    }

    /// The next one, if it has no more than `room` bytes; the first of a batch may have more.
    pub(crate) fn pop(&mut self, room: usize, is_first: bool) -> Option<QueuedItem> {
        let lane = if self.membership.is_empty() { &mut self.chat } else { &mut self.membership };
        lane.front().filter(|queued| is_first || queued.bytes() <= room)?;
        let queued = lane.pop_front()?;
        self.bytes -= queued.bytes();
        Some(queued)
    }

    /// Empties the queue.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = QueuedItem> + use<> {
        let Self { membership, chat, .. } = std::mem::take(self);
        membership.into_iter().chain(chat)
    }
}

/// The one batch that is on its way.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) log: LogId,
    pub(crate) number: u64,
    pub(crate) not_after: u64,
    /// What had been applied when it was made.
    pub(crate) base: u64,
    pub(crate) bytes: Vec<u8>,
    /// What has outcomes, in the order of the batch.
    pub(crate) items: Vec<QueuedItem>,
    /// Who waits for a batch to come back.
    pub(crate) barriers: Vec<SubmissionId>,
    pub(crate) sent_at: u64,
}

/// Who waits, and until when.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    by_id: BTreeMap<SubmissionId, Waiter>,
    by_deadline: BTreeSet<(u64, SubmissionId)>,
}

#[derive(Debug)]
struct Waiter {
    deadline: u64,
    /// Whether a batch with it has been sent. Also one that never counts in this life of the log may count after a loss,
    /// where the clock of the log is behind, or a pod's end is not in it.
    is_sent: bool,
}

impl Waiters {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// False when somebody waits under this name already.
    pub(crate) fn add(&mut self, id: SubmissionId, deadline: u64) -> bool {
        match self.by_id.entry(id) {
            Entry::Occupied(_) => false,
            Entry::Vacant(slot) => {
                slot.insert(Waiter { deadline, is_sent: false });
                self.by_deadline.insert((deadline, id))
            }
        }
    }

    pub(crate) fn contains(&self, id: SubmissionId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(crate) fn set_sent(&mut self, id: SubmissionId) {
        if let Some(waiter) = self.by_id.get_mut(&id) {
            waiter.is_sent = true;
        }
    }

    pub(crate) fn may_be_applied(&self, id: SubmissionId) -> bool {
        self.by_id.get(&id).is_some_and(|waiter| waiter.is_sent)
    }

    /// True when it waited.
    pub(crate) fn remove(&mut self, id: SubmissionId) -> bool {
        match self.by_id.remove(&id) {
            Some(waiter) => self.by_deadline.remove(&(waiter.deadline, id)),
            None => false,
        }
    }

    /// The first deadline.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// One whose deadline has passed, and whether it may still be applied.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(SubmissionId, bool)> {
        let &(deadline, id) = self.by_deadline.first()?;
        if deadline > now {
            return None;
        }
        self.by_deadline.remove(&(deadline, id));
        let waiter = self.by_id.remove(&id)?;
        Some((id, waiter.is_sent))
    }
}

/// How many streams each session has on this pod, counted when they open and close.
#[derive(Debug, Default)]
pub(crate) struct StreamCounts {
    by_session: BTreeMap<StreamSession, StreamCount>,
}

#[derive(Debug, Default)]
struct StreamCount {
    streams: u32,
    /// While the Attach has not come back: who sent it, and who waits for it beside.
    pending: Option<(SubmissionId, Vec<SubmissionId>)>,
}

/// What a further stream has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FurtherStream {
    /// An Attach has to be sent.
    First,
    /// The Attach that is on its way.
    Pending,
    /// Nothing, if the Attach that came back was not refused.
    Attached,
}

impl StreamCounts {
    pub(crate) fn open(&mut self, stream: StreamSession, id: SubmissionId) -> FurtherStream {
        let count = self.by_session.entry(stream).or_default();
        count.streams = count.streams.saturating_add(1);
        if count.streams == 1 {
            count.pending = Some((id, Vec::new()));
            return FurtherStream::First;
        }
        match &mut count.pending {
            Some((_, pending)) => {
                pending.push(id);
                FurtherStream::Pending
            }
            None => FurtherStream::Attached,
        }
    }

    /// Another Attach is sent for a session that has streams already.
    pub(crate) fn attach_again(&mut self, stream: StreamSession, id: SubmissionId) {
        self.by_session.entry(stream).or_default().pending = Some((id, Vec::new()));
    }

    /// True when it was the last one: a Detach has to be sent.
    pub(crate) fn close(&mut self, stream: StreamSession) -> bool {
        let Entry::Occupied(mut count) = self.by_session.entry(stream) else { return false };
        count.get_mut().streams -= 1;
        let is_last = count.get().streams == 0;
        if is_last {
            count.remove();
        }
        is_last
    }

    /// The Attach that somebody sent has come back: who else waited for it.
    pub(crate) fn attached(&mut self, stream: StreamSession, sent_by: SubmissionId) -> Vec<SubmissionId> {
        let count = self.by_session.get_mut(&stream);
        let pending = count.and_then(|count| count.pending.take_if(|(id, _)| *id == sent_by));
        pending.map(|(_, waiting)| waiting).unwrap_or_default()
    }

    pub(crate) fn contains(&self, stream: StreamSession) -> bool {
        self.by_session.contains_key(&stream)
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = StreamSession> {
        self.by_session.keys().copied()
    }

    pub(crate) fn clear(&mut self) {
        self.by_session.clear();
    }
}
