//! How what clients want gets into the log: one batch at a time, published until it is seen.

use starling_core::id::PodId;

use super::{LogRequest, PublishFault, Replica, SubmitQueueFull};
use crate::batch::{Batch, BatchHeader, BatchItem, LogMessage, LogPosition, StreamSession};
use crate::output::{Answer, Output, OverReason, SubmissionId};
use crate::partition::{POD_GONE_AFTER_MS, PartitionPhase};
use crate::state::State;
use crate::submissions::{FurtherStream, InFlight, QueuedItem};
use crate::world::World;

/// The most pods that one batch declares gone.
const GONE_PER_BATCH: usize = 8;

/// Each further pod waits so much longer, by the lease clock, until it declares a pod gone.
const GONE_RANK_MS: u64 = 500;

impl<S: State> Replica<S> {
    /// Takes a request; `id` names it in the answer, which comes by `deadline` (the pod's own clock) at the latest. A
    /// Detach has no answer.
    ///
    /// # Errors
    ///
    /// [`SubmitQueueFull`]: nothing was taken.
    ///
    /// # Panics
    ///
    /// When another request with this id has no answer yet.
    pub fn submit(&mut self, id: SubmissionId, request: LogRequest, deadline: u64) -> Result<(), SubmitQueueFull> {
        if let LogRequest::Detach(stream) = request {
            self.detach(stream);
            return Ok(());
        }
        let is_full = self.queue.len() >= self.settings.queue_items
            || self.waiters.len() >= 2 * self.settings.queue_items
            || self.queue.bytes() >= self.settings.queue_bytes;
        if is_full {
            return Err(SubmitQueueFull);
        }
        assert!(self.waiters.add(id, deadline), "submission {id} waits already");
        match request {
            LogRequest::Command(bytes) => self.enqueue(BatchItem::Command(bytes), Some(id), false),
            LogRequest::Chat(bytes) => self.enqueue(BatchItem::Command(bytes), Some(id), true),
            LogRequest::Barrier => self.barriers.push(id),
            LogRequest::Attach(stream) => match self.counts.open(stream, id) {
                FurtherStream::First => self.enqueue(BatchItem::Attach(stream), Some(id), false),
                // It has been sent, or will be before anybody can give up.
                FurtherStream::Pending => self.waiters.set_sent(id),
                FurtherStream::Attached if self.is_attached(stream) => self.answer(id, Answer::AlreadyAttached),
                // Its Attach was refused, or its session is over, and whoever has the first stream has not closed it yet.
                FurtherStream::Attached => {
                    self.counts.attach_again(stream, id);
                    self.enqueue(BatchItem::Attach(stream), Some(id), false);
                }
            },
            LogRequest::Detach(_) => {}
        }
        self.pump();
        Ok(())
    }

    fn is_attached(&self, stream: StreamSession) -> bool {
        let World { partition, state } = self.readable();
        partition.pod(self.incarnation).is_some_and(|own| state.is_attached(stream, own.pod))
    }

    fn detach(&mut self, stream: StreamSession) {
        if self.counts.close(stream) {
            self.enqueue(BatchItem::Detach(stream), None, false);
            self.pump();
        }
    }

    /// Has the pod stop in order: it says that it is gone, and its incarnation is over once that has come back.
    pub fn stop_in_order(&mut self) {
        self.stopping = true;
        self.pump();
    }

    /// An operator's word to activate a level, once all pods can apply it.
    pub const fn activate(&mut self, level: u32) {
        self.activate = Some(level);
    }

    fn enqueue(&mut self, item: BatchItem, waiting: Option<SubmissionId>, is_chat: bool) {
        self.queue.push(QueuedItem { item, waiting, is_chat });
    }

    fn answer(&mut self, id: SubmissionId, answer: Answer<S::Outcome>) {
        if self.waiters.remove(id) {
            self.output(Output::Resolve { id, answer });
        }
    }

    /// Answers those who have waited long enough.
    pub(super) fn answer_due(&mut self) {
        while let Some((id, is_sent)) = self.waiters.pop_due(self.now) {
            let answer = if is_sent { Answer::Unknown } else { Answer::NotApplied };
            self.output(Output::Resolve { id, answer });
        }
        let waiters = &self.waiters;
        self.barriers.retain(|id| waiters.contains(*id));
    }

    /// Answers everybody: the incarnation is over.
    pub(super) fn answer_all(&mut self) {
        let (items, barriers) = self.in_flight.take().map(|InFlight { items, barriers, .. }| (items, barriers)).unzip();
        let unanswered = items.into_iter().flatten().chain(self.queue.take());
        for id in unanswered.filter_map(|queued| queued.waiting).collect::<Vec<_>>() {
            let may_be_applied = self.waiters.may_be_applied(id);
            self.answer(id, if may_be_applied { Answer::Unknown } else { Answer::NotApplied });
        }
        let barriers = barriers.into_iter().flatten().chain(std::mem::take(&mut self.barriers)).collect::<Vec<_>>();
        barriers.into_iter().for_each(|id| self.answer(id, Answer::NotApplied));
    }

    /// The log has answered a publish with the sequence that it gave, or why it did not take it.
    pub fn published(&mut self, result: Result<u64, PublishFault>) {
        match result {
            Ok(sequence) => {
                self.log_is_full = false;
                let is_unseen = self.in_flight.is_some() && self.is_following() && self.kept.is_none();
                let position = self.partition().position().sequence;
                self.see(sequence);
                // Where it says to have put the batch this pod has read something else, perhaps.
                if is_unseen && sequence <= position {
                    self.verify = Some(sequence);
                    self.verified_at = None;
                }
                self.fetch_missing();
            }
            Err(PublishFault::Full) => self.log_is_full = true,
            Err(PublishFault::OtherLast | PublishFault::Unreachable) => {}
        }
    }

    /// Sends what there is to send.
    pub(super) fn pump(&mut self) {
        if !self.is_following() || self.is_encoding() {
            return;
        }
        // A proof has the number of the next batch: none is sent where the doubt is over.
        self.settle_kept();
        if !self.is_following() {
            return;
        }
        if self.kept.is_some() || matches!(self.partition().phase(), PartitionPhase::Broken { .. }) {
            return self.publish_proof();
        }
        // While the log is read again, batches of this incarnation come whose numbers a new one would have too: what is in
        // it would be sent once for each of them, and a rewind of the log could have several of these count.
        if self.partition().phase() != PartitionPhase::Open || !self.has_caught_up() {
            return;
        }
        let log = self.partition().log();
        if self.registered_in == Some(log) && self.partition().pod(self.incarnation).is_none() {
            // It was declared gone, for so long that this is forgotten: its sessions have run out since.
            return self.over(OverReason::DeclaredGone);
        }
        if let Some(in_flight) = self.in_flight.take_if(|in_flight| in_flight.log != log) {
            self.give_up_in_other_life(in_flight);
        }
        match &mut self.in_flight {
            Some(in_flight) if self.now >= in_flight.sent_at + self.settings.resend_ms => {
                in_flight.sent_at = self.now;
                let bytes = in_flight.bytes.clone();
                self.output(Output::Publish { bytes, expect_last: None });
            }
            Some(_) => {}
            None => self.send_batch(),
        }
    }

    fn send_batch(&mut self) {
        let control = self.control_items();
        let room = self.settings.batch_items;
        let (mut items, mut bytes) = (Vec::new(), self.settings.batch_bytes);
        while items.len() < room {
            let Some(queued) = self.queue.pop(bytes, items.is_empty()) else { break };
            // Nobody waits for it any more, and was told that it is not applied.
            let is_wanted = queued.waiting.is_none_or(|id| self.waiters.contains(id));
            if let (BatchItem::Command(command), true) = (&queued.item, is_wanted) {
                bytes = bytes.saturating_sub(command.len());
            }
            if is_wanted || !matches!(queued.item, BatchItem::Command(_)) {
                items.push(queued);
            }
        }
        if control.is_empty() && items.is_empty() && self.barriers.is_empty() && !self.stopping {
            return;
        }
        for id in items.iter().filter_map(|queued| queued.waiting) {
            self.waiters.set_sent(id);
        }
        let World { partition, .. } = &self.world;
        let number = partition.pod(self.incarnation).map_or(0, |pod| pod.number) + 1;
        let not_after = partition.clock().now() + self.settings.batch_life_ms;
        let header = self.header(partition.position(), number, not_after);
        let own_end = self.stopping.then_some(BatchItem::PodGone { incarnation: self.incarnation, last_sign: 0 });
        let all = control.into_iter().chain(items.iter().map(|queued| queued.item.clone())).chain(own_end);
        let bytes = Batch { header, items: all.collect() }.encode();
        self.in_flight = Some(InFlight {
            log: header.log,
            number,
            not_after,
            base: header.base.sequence,
            bytes: bytes.clone(),
            items,
            barriers: std::mem::take(&mut self.barriers),
            sent_at: self.now,
        });
        self.output(Output::Publish { bytes, expect_last: None });
    }

    fn header(&self, base: LogPosition, number: u64, not_after: u64) -> BatchHeader {
        BatchHeader { log: self.partition().log(), incarnation: self.incarnation, number, base, not_after }
    }

    fn alive(&self) -> BatchItem {
        BatchItem::Alive { level: self.settings.level, address: self.settings.address.clone() }
    }

    /// What the pod says of itself and of others, at the head of the next batch.
    fn control_items(&mut self) -> Vec<BatchItem> {
        let mut items = Vec::new();
        let is_registered = self.partition().pod(self.incarnation).is_some();
        let is_due = self.alive_at.is_none_or(|at| self.now >= at + self.settings.alive_ms);
        if !is_registered || is_due {
            items.push(self.alive());
            self.alive_at = Some(self.now);
        }
        if !is_registered {
            return items;
        }
        items.extend(self.digest_due.take());
        let clock = self.partition().clock().now();
        if self.is_first() && clock >= self.compared_at + self.settings.compare_ms {
            self.compared_at = clock;
            items.push(BatchItem::Compare);
        }
        let patience = POD_GONE_AFTER_MS + GONE_RANK_MS * self.rank();
        let silent = self.partition().pods().filter(|(incarnation, pod)| {
            *incarnation != self.incarnation && clock.saturating_sub(pod.sign.at) >= patience
        });
        let gone = silent.map(|(incarnation, pod)| BatchItem::PodGone { incarnation, last_sign: pod.sign.sequence });
        items.extend(gone.take(GONE_PER_BATCH));
        items.extend(self.activation(clock));
        items
    }

    fn activation(&mut self, clock: u64) -> Option<BatchItem> {
        let partition = &self.world.partition;
        let common = partition.pods().map(|(_, pod)| pod.level).min()?;
        let by_itself = self.settings.activate_after_ms.zip(partition.upgradable_since).filter(|_| self.is_first());
        let is_time = by_itself.is_some_and(|(after, since)| clock >= since + after);
        let wanted = self.activate.or_else(|| is_time.then_some(common))?;
        if partition.level() >= wanted {
            self.activate = None;
            return None;
        }
        (common >= wanted).then_some(BatchItem::Activate { level: wanted })
    }

    /// While the log is not what this pod has read: what it has read, for all others to see.
    fn publish_proof(&mut self) {
        if self.proof_at.is_some_and(|at| self.now < at + self.settings.alive_ms) || !self.has_caught_up() {
            return;
        }
        if !matches!(self.partition().phase(), PartitionPhase::Open | PartitionPhase::Broken { .. }) {
            return;
        }
        self.proof_at = Some(self.now);
        let held = &self.readable().partition;
        let number = held.pod(self.incarnation).map_or(0, |pod| pod.number) + 1;
        let not_after = self.partition().clock().now().max(held.clock().now()) + self.settings.batch_life_ms;
        let header = self.header(held.counted_position(), number, not_after);
        let bytes = Batch { header, items: vec![self.alive()] }.encode();
        self.output(Output::Publish { bytes, expect_last: None });
    }

    /// A batch of this incarnation has counted.
    pub(super) fn own_batch(&mut self, message: &LogMessage, batch: &Batch, outcomes: Vec<S::Outcome>) {
        (self.heard_at, self.registered_in) = (Some(self.now), Some(batch.header.log));
        self.check_purge();
        let number = batch.header.number;
        match self.in_flight.take_if(|in_flight| in_flight.number <= number && in_flight.log == batch.header.log) {
            Some(in_flight) if in_flight.bytes == message.bytes => self.settle(in_flight, outcomes),
            // Its number is another batch's: it never counts.
            Some(in_flight) => self.send_again(in_flight),
            None => {}
        }
        // Nothing that it could send after its own end counts.
        if !self.partition().is_gone(self.incarnation) {
            self.pump();
        }
    }

    fn settle(&mut self, in_flight: InFlight, outcomes: Vec<S::Outcome>) {
        let mut outcomes = outcomes.into_iter();
        for queued in in_flight.items {
            // There are fewer outcomes when the pod has ended itself before.
            let outcome = outcomes.next();
            let answer = |outcome: Option<S::Outcome>| outcome.map_or(Answer::NotApplied, Answer::Applied);
            let Some(id) = queued.waiting else { continue };
            if let BatchItem::Attach(stream) = queued.item {
                for further in self.counts.attached(stream, id) {
                    self.answer(further, answer(outcome.clone()));
                }
            }
            self.answer(id, answer(outcome));
        }
        in_flight.barriers.into_iter().for_each(|id| self.answer(id, Answer::Reached));
    }

    /// A batch that never counts: what somebody still waits for is sent in another one.
    pub(super) fn send_again(&mut self, in_flight: InFlight) {
        let InFlight { items, barriers, .. } = in_flight;
        let mut wanted = Vec::new();
        for queued in items {
            // A client that was told that the outcome is unknown must find it settled.
            let is_wanted = queued.waiting.is_some_and(|id| self.waiters.contains(id));
            if is_wanted || !matches!(queued.item, BatchItem::Command(_)) {
                wanted.push(queued);
            }
        }
        self.queue.put_back(wanted);
        self.barriers.extend(barriers);
    }

    /// A batch of another life of the log: it may have counted there, and this pod may come back to that life, or others
    /// may go on from it. Its commands are not sent a second time.
    fn give_up_in_other_life(&mut self, mut in_flight: InFlight) {
        let is_command = |queued: &mut QueuedItem| matches!(queued.item, BatchItem::Command(_));
        for queued in in_flight.items.extract_if(.., is_command).collect::<Vec<_>>() {
            queued.waiting.into_iter().for_each(|id| self.answer(id, Answer::Unknown));
        }
        self.send_again(in_flight);
    }

    /// A batch that has not counted until its time never will.
    pub(super) fn give_up_late_batch(&mut self) {
        let (log, clock) = (self.partition().log(), self.partition().clock().now());
        let is_late = |in_flight: &mut InFlight| in_flight.log == log && in_flight.not_after < clock;
        if let Some(in_flight) = self.in_flight.take_if(is_late) {
            self.send_again(in_flight);
        }
    }

    /// A batch that was applied, or another one of its number was, and this pod did not see the outcome.
    fn give_up_unseen(&mut self, in_flight: InFlight) {
        for queued in in_flight.items {
            let Some(id) = queued.waiting else { continue };
            if let BatchItem::Attach(stream) = queued.item {
                self.counts.attached(stream, id).into_iter().for_each(|further| self.answer(further, Answer::Unknown));
            }
            self.answer(id, Answer::Unknown);
        }
        self.barriers.extend(in_flight.barriers);
    }

    /// Another world is there: what becomes of the batch on its way, and of the streams' sessions.
    pub(super) fn after_load(&mut self) {
        let partition = &self.world.partition;
        let (log, own) = (partition.log(), partition.pod(self.incarnation));
        let (last, pod) = (own.map_or(0, |own| own.number), own.map(|own| own.pod));
        let is_later = |in_flight: &mut InFlight| in_flight.log == log || partition.goes_on_from(in_flight.log);
        // In an older log than the one that it was sent to nothing is known of it yet.
        if let Some(in_flight) = self.in_flight.take_if(is_later) {
            if last >= in_flight.number {
                self.give_up_unseen(in_flight);
            } else if in_flight.log == log {
                self.in_flight = Some(in_flight);
            } else {
                self.give_up_in_other_life(in_flight);
            }
        }
        self.announce_streams(pod);
        self.output(Output::Replaced);
    }

    /// Once all that the log had is applied: an Attach of this incarnation may have been among it whose stream nobody has
    /// any more, for the pod has dropped what it held.
    pub(super) fn settle_streams(&mut self) {
        if self.streams_unsettled && self.has_caught_up() && self.partition().phase() == PartitionPhase::Open {
            self.streams_unsettled = false;
            self.announce_streams(self.partition().pod(self.incarnation).map(|own| own.pod));
        }
    }

    /// Says of all sessions that differ which have streams here.
    fn announce_streams(&mut self, pod: Option<PodId>) {
        let attached = pod.map(|pod| self.world.state.attached(pod)).unwrap_or_default();
        for stream in attached.iter().copied() {
            if !self.counts.contains(stream) {
                self.enqueue(BatchItem::Detach(stream), None, false);
            }
        }
        let missing: Vec<_> = self.counts.sessions().filter(|stream| attached.binary_search(stream).is_err()).collect();
        missing.into_iter().for_each(|stream| self.enqueue(BatchItem::Attach(stream), None, false));
    }
}
