//! How a replica follows the log: entry after entry, and what is missing by its sequence.

use super::{Mode, Replica};
use crate::ahead::AheadMessage;
use crate::batch::{Batch, BatchItem, LogMessage};
use crate::judgement::{Effects, Verdict, VoidReason};
use crate::output::{Alarm, Output, OverReason, StopReason};
use crate::partition::PartitionPhase;
use crate::state::State;
use crate::submissions::InFlight;
use crate::world::World;

/// How many messages are asked for at once.
const FETCH_ENTRIES: u64 = 256;

/// After so many answers with nothing new, nothing is waited for that somebody has spoken of.
const SHORT_ANSWERS: u32 = 20;

/// Time between two comparisons of an entry in question with the log.
pub(super) const VERIFY_MS: u64 = 1_000;

impl<S: State> Replica<S> {
    /// A message of the log as it was told when it was written: late, twice, never, in any order.
    pub fn message(&mut self, message: LogMessage) {
        self.take_in(message, false);
    }

    fn take_in(&mut self, message: LogMessage, is_fetched: bool) {
        if self.is_verified_by(&message) {
            return;
        }
        self.see(message.sequence);
        let last = self.partition().position().sequence;
        if !self.is_following() || message.sequence > last {
            self.ahead.insert(message, is_fetched && self.is_following(), last + 1);
            return self.drain();
        }
        // The batch on its way cannot lie at or below what this pod had applied when it sent it.
        let is_own = |own: &InFlight| own.bytes == message.bytes && message.sequence <= own.base;
        let is_other = match self.partition().history().has(&message) {
            Some(is_same) => !is_same,
            None => self.in_flight.as_ref().is_some_and(is_own),
        };
        if is_other {
            return self.suspect();
        }
        if self.verify == Some(message.sequence) {
            self.verify = None;
        }
        if is_fetched {
            self.purge_entry_read(message.sequence);
        }
    }

    /// While a snapshot is being verified: whether this was its entry.
    fn is_verified_by(&mut self, message: &LogMessage) -> bool {
        let Mode::Verifying { skipped, .. } = self.mode else { return false };
        let position = self.partition().position();
        if message.sequence != position.sequence {
            return false;
        }
        let is_same = self.partition().history().has(message) != Some(false);
        self.verify_snapshot(is_same, skipped);
        true
    }

    /// The answer to a fetch: what there was, and the first sequence that the log has.
    pub fn fetched(&mut self, messages: Vec<LogMessage>, first: u64) {
        let is_missing = self.is_following() && first > self.partition().position().sequence + 1;
        if is_missing {
            // What this pod has not read was purged: somebody's snapshot has it.
            return self.reload();
        }
        self.note_answer(messages.last().map_or(0, |last| last.sequence));
        let was_following = self.is_following();
        for message in messages {
            self.take_in(message, true);
            if was_following && !self.is_following() {
                // It was answered from another log than this pod has read, or what came is the last that it reads.
                return;
            }
        }
    }

    /// Somebody has spoken of a sequence.
    pub(super) fn see(&mut self, sequence: u64) {
        if sequence > self.seen {
            (self.seen, self.short_answers) = (sequence, 0);
        }
    }

    /// Where the log ends before what somebody has spoken of, that was of an earlier life, or is lost: it is not waited
    /// for. What the log has in truth is heard of again, with the next message or where none comes.
    fn note_answer(&mut self, last: u64) {
        let position = self.partition().position().sequence;
        if !self.is_following() || self.seen <= position {
            return;
        }
        if last > position {
            self.short_answers = self.short_answers.saturating_sub(1);
            return;
        }
        self.short_answers += 1;
        if self.short_answers >= SHORT_ANSWERS {
            (self.seen, self.short_answers) = (position, 0);
            self.ahead.clear();
        }
    }

    /// Drops the world for a later one.
    pub(super) fn reload(&mut self) {
        let phase = self.partition().phase();
        if let (None, PartitionPhase::Broken { .. }) = (&self.kept, phase) {
            self.kept = Some(std::mem::take(&mut self.world));
        }
        self.start_over();
    }

    /// The log is not what this pod has read. It keeps what it holds, and reads the log again.
    pub(super) fn suspect(&mut self) {
        let holds = matches!(self.partition().phase(), PartitionPhase::Open | PartitionPhase::Broken { .. });
        if self.kept.is_none() && holds {
            self.kept = Some(std::mem::take(&mut self.world));
        }
        self.start_over();
    }

    /// Applies what is there in order.
    pub(super) fn drain(&mut self) {
        while self.is_following() && !self.is_encoding() {
            let next = self.partition().position().sequence + 1;
            let Some(AheadMessage { message, is_fetched }) = self.ahead.take(next) else { break };
            let Ok(batch) = Batch::decode(&message.bytes) else {
                return self.stop(StopReason::Undecodable);
            };
            // It may have been on its way when the log was lost, and its place is another one's now. If it lies in this
            // log nevertheless, it is fetched.
            let partition = self.partition();
            let is_doubtful = partition.phase() == PartitionPhase::Open && batch.header.log != partition.log();
            if is_fetched || !is_doubtful {
                self.apply(message, &batch);
            }
        }
    }

    /// Asks for what is missing, from the last entry on: it must be the same.
    pub(super) fn fetch_missing(&mut self) {
        if !self.is_following() || self.is_encoding() {
            return;
        }
        let (now, retry) = (self.now, self.settings.fetch_retry_ms);
        let position = self.partition().position().sequence;
        if self.seen > position && self.fetched_at.is_none_or(|at| now >= at + retry) {
            self.fetched_at = Some(now);
            let to = self.seen.min(position + FETCH_ENTRIES);
            self.output(Output::Fetch { from: position.max(1), to });
        }
        if let Some(sequence) = self.verify
            && self.verified_at.is_none_or(|at| now >= at + VERIFY_MS)
        {
            self.verified_at = Some(now);
            self.output(Output::Fetch { from: sequence, to: sequence });
        }
    }

    fn apply(&mut self, message: LogMessage, batch: &Batch) {
        let before = self.partition().position();
        let World { partition, state } = &mut self.world;
        let Ok(effects) = partition.apply(&message, batch, state) else {
            return self.stop(StopReason::Undecodable);
        };
        self.progress_at = self.now;
        self.fetched_at = None;
        match effects.verdict {
            Verdict::Reseed => return self.begin_reseed(message, batch),
            // Either side may be wrong: what the log has at the last entry tells.
            Verdict::Lost(_) if before.sequence > 0 => self.verify = Some(before.sequence),
            // Where the log was rewound to before the beginning of this life, and has begun another one since, all that
            // came later is the same in both: only the beginning tells.
            Verdict::Void(VoidReason::OtherLog) if before.sequence > 0 => {
                let is_whole = !self.partition().goes_on_from(batch.header.log);
                let first = self.partition().history().beginning().filter(|_| is_whole);
                self.verify = Some(first.unwrap_or(before.sequence));
            }
            Verdict::Born => self.born_at = Some(self.now),
            _ => {}
        }
        self.after_entry(&message, batch, effects);
    }

    fn after_entry(&mut self, message: &LogMessage, batch: &Batch, effects: Effects<S::Outcome>) {
        let Effects { verdict, outcomes, gone, compare, compared } = effects;
        if verdict == Verdict::Counted && batch.header.incarnation == self.incarnation {
            self.own_batch(message, batch, outcomes);
        }
        self.give_up_late_batch();
        if compare {
            let (sequence, digest) = (message.sequence, self.world.digest());
            self.digest_due = Some(BatchItem::Digest { sequence, digest });
            self.compared_at = self.partition().clock().now();
        }
        for incarnation in gone {
            self.peers.remove(&incarnation);
            self.output(Output::PodGone(incarnation));
            if incarnation == self.incarnation {
                let reason = if self.stopping { OverReason::Stopped } else { OverReason::DeclaredGone };
                self.over(reason);
            }
        }
        if let Some(compared) = compared {
            if compared.is_tie {
                self.output(Output::Alarm(Alarm::Tie { sequence: compared.sequence }));
            }
            if compared.minority.contains(&self.incarnation) {
                self.over(OverReason::Diverged);
            }
        }
        if self.partition().level() > self.settings.level {
            self.stop(StopReason::Level);
        }
    }
}
