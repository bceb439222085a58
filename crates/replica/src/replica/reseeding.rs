//! How the log begins, and goes on after a loss: Born, Open, Reseed.
//!
//! A pod that finds that the log is not what it has read keeps what it holds and reads the log again as a new pod would.
//! Where that shows the same history after all, it goes on. Else it says what it has read ([`Replica::pump`] publishes a
//! proof), by which all others see the loss too, and then the pod that holds most has the log go on with it.

use starling_core::hash::splitmix64;

use super::snapshots::STORE_MS;
use super::{FoundReseed, Mode, OwnReseed, Replica};
use crate::batch::{Batch, BatchHeader, BatchItem, LogId, LogMessage, LogPosition};
use crate::output::{Alarm, Output, OverReason, SnapshotChoice};
use crate::partition::PartitionPhase;
use crate::state::State;
use crate::world::World;

/// After so long a snapshot of a Reseed is asked for again.
pub(super) const LOAD_MS: u64 = 1_000;

/// After so long without the snapshot of a Reseed, a later one is looked for.
pub(super) const GIVE_UP_MS: u64 = 5_000;

/// A broken log that nobody reseeds is read again after this.
const REREAD_MS: u64 = 10_000;

/// What peers have told is waited for.
const REPORTS_MS: u64 = 1_000;

/// A peer that was heard within this time is reachable.
pub(super) const REACHABLE_MS: u64 = 3_000;

/// The most steps that a Reseed raises all numbers by: thousands of them pass before any number is at its end.
const MOST_STEPS: u64 = 1 << 16;

/// How far a life of the log raises all numbers: drawn with it, and not the same for each. Two lives may go on from one
/// state, the second one by a pod that knows nothing of the first, and their numbers must differ too.
const fn raised_steps(log: LogId) -> u64 {
    1 + splitmix64(log.0) % MOST_STEPS
}

impl<S: State> Replica<S> {
    pub(super) fn drive_reseed(&mut self) {
        if let Mode::Reseeding { reseed, since, asked_at } = &mut self.mode {
            if self.now >= *since + GIVE_UP_MS {
                return self.start_over();
            }
            if self.now >= *asked_at + LOAD_MS {
                *asked_at = self.now;
                let name = reseed.name.clone();
                self.output(Output::Load(SnapshotChoice::Named(name)));
            }
            return;
        }
        self.settle_kept();
        if !self.has_caught_up() {
            self.candidate_since = None;
            return;
        }
        match self.partition().phase() {
            PartitionPhase::Unborn => self.give_birth(),
            PartitionPhase::Born => self.open_or_reseed(),
            PartitionPhase::Broken { .. } => self.try_reseed(),
            PartitionPhase::Open => {
                self.candidate_since = None;
                self.reseed = None;
            }
        }
    }

    /// Whether what is kept is of use.
    pub(super) fn settle_kept(&mut self) {
        let Some(kept) = &self.kept else { return };
        let position = kept.partition.counted_position();
        if self.partition().history().at(position.sequence) == Some(position.hash) {
            // The log has what this pod has read, and more.
            self.kept = None;
            self.output(Output::Replaced);
            return;
        }
        if self.partition().phase() != PartitionPhase::Open || !self.has_caught_up() {
            return;
        }
        let (old, new) = (kept.partition.log(), self.partition().log());
        if self.partition().goes_on_from(old) {
            return self.drop_kept(None);
        }
        let is_same_log = old == new || kept.partition.goes_on_from(new);
        // Nobody can tell any more whether a batch with this base is of the same log: it proves nothing.
        let can_prove = self.partition().history().first() <= position.sequence;
        if !is_same_log || !can_prove {
            self.drop_kept(Some(OverReason::OtherLog));
        }
    }

    /// Others go on without what this pod holds.
    fn drop_kept(&mut self, over: Option<OverReason>) {
        if let Some(kept) = self.kept.take() {
            self.report_loss(kept.partition.counted_position());
        }
        match over {
            Some(reason) => self.over(reason),
            None => self.after_load(),
        }
    }

    fn report_loss(&mut self, held: LogPosition) {
        let common = self.partition().counted_position().sequence;
        let entries = held.sequence.saturating_sub(common);
        if entries > 0 {
            self.output(Output::Alarm(Alarm::Lost { entries }));
        }
    }

    fn publish_alone(&mut self, item: BatchItem, log: LogId, expect_last: Option<u64>) {
        let base = self.partition().position();
        let header = BatchHeader { log, incarnation: self.incarnation, number: 0, base, not_after: 0 };
        let bytes = Batch { header, items: vec![item] }.encode();
        self.output(Output::Publish { bytes, expect_last });
    }

    /// An empty log gets a life. Where something lies in it already, the first Born in its order counts.
    fn give_birth(&mut self) {
        if self.asked_born_at.is_some_and(|at| self.now < at + self.settings.resend_ms) {
            return;
        }
        self.asked_born_at = Some(self.now);
        let log = LogId(self.draw());
        let last = self.partition().position().sequence;
        self.publish_alone(BatchItem::Born { log }, LogId::default(), (last == 0).then_some(0));
    }

    fn open_or_reseed(&mut self) {
        if self.holds().is_some() {
            return self.try_reseed();
        }
        let since = *self.born_at.get_or_insert(self.now);
        if self.reachable().any(|report| report.holds.is_some()) || self.now < since + self.settings.open_after_ms {
            return;
        }
        // Again each second, until it is seen.
        self.born_at = Some(self.now + 1_000 - self.settings.open_after_ms.min(self.now + 1_000));
        self.publish_alone(BatchItem::Open, self.partition().log(), None);
    }

    /// The sequence that this pod's state is as of, if others could go on with it.
    pub(super) fn holds(&self) -> Option<u64> {
        let held = &self.readable().partition;
        let holds = matches!(held.phase(), PartitionPhase::Open | PartitionPhase::Broken { .. });
        (holds && self.stopped().is_none()).then(|| held.counted_position().sequence)
    }

    /// Has the log go on with what this pod holds, if no reachable pod holds more.
    fn try_reseed(&mut self) {
        let Some(own) = self.holds() else { return };
        let since = *self.candidate_since.get_or_insert(self.now);
        let is_before = |held: u64, incarnation| held > own || (held == own && incarnation < self.incarnation);
        let before = self.reachable().filter(|peer| peer.holds.is_some_and(|held| is_before(held, peer.incarnation)));
        let wait = REPORTS_MS + self.settings.reseed_rank_ms * before.count() as u64;
        if self.kept.is_none() && self.now >= since + REREAD_MS + wait {
            self.candidate_since = None;
            return self.reload();
        }
        if self.now < since + wait {
            return;
        }
        let replaced = self.partition().log();
        let (now, resend) = (self.now, self.settings.resend_ms);
        let is_lost = |reseed: &OwnReseed| !reseed.is_stored && now >= reseed.handed_at + STORE_MS;
        if self.reseed.as_ref().is_none_or(|reseed| reseed.replaced != replaced || is_lost(reseed)) {
            return self.store_candidate(replaced);
        }
        let Some(reseed) = self.reseed.as_mut().filter(|reseed| reseed.is_stored) else { return };
        if reseed.sent_at.is_none_or(|at| now >= at + resend) {
            reseed.sent_at = Some(now);
            let item = BatchItem::Reseed { log: reseed.log, name: reseed.name.clone().into(), digest: reseed.digest };
            self.publish_alone(item, replaced, None);
        }
    }

    fn store_candidate(&mut self, replaced: LogId) {
        let log = LogId(self.draw());
        let candidate = self.readable();
        let (bytes, digest) = (candidate.encode(self.settings.part_bytes), candidate.digest());
        let name = format!("reseed-{:016x}", log.0);
        self.reseed = Some(OwnReseed {
            replaced,
            log,
            name: name.clone(),
            digest,
            handed_at: self.now,
            is_stored: false,
            sent_at: None,
        });
        self.output(Output::Store { name, bytes });
    }

    /// The candidate of this pod is in the object store, or is not.
    pub(super) fn stored_candidate(&mut self, name: &str, is_stored: bool) {
        match &mut self.reseed {
            Some(reseed) if reseed.name == name && is_stored => reseed.is_stored = true,
            Some(reseed) if reseed.name == name => self.reseed = None,
            _ => {}
        }
    }

    /// The first Reseed of this life of the log: whatever it has said is replaced.
    pub(super) fn begin_reseed(&mut self, message: LogMessage, batch: &Batch) {
        let [BatchItem::Reseed { log, name, digest }] = &batch.items[..] else { return };
        let name = String::from_utf8_lossy(name).into_owned();
        let found = FoundReseed { message, replaced: batch.header.log, log: *log, name, digest: *digest };
        self.snapshotting = None;
        match self.reseed.take() {
            // It holds what it has stored: nothing counts meanwhile.
            Some(own) if own.name == found.name => {
                let candidate = self.kept.take().unwrap_or_else(|| std::mem::take(&mut self.world));
                self.adopt(candidate, &found);
                self.snapshot_wanted = true;
                self.drain();
            }
            _ => {
                let name = found.name.clone();
                self.mode = Mode::Reseeding { reseed: found, since: self.now, asked_at: self.now };
                self.output(Output::Load(SnapshotChoice::Named(name)));
            }
        }
    }

    pub(super) fn loaded_reseed(&mut self, name: &str, bytes: Option<&[u8]>) {
        let Mode::Reseeding { reseed, .. } = &self.mode else { return };
        if reseed.name != name {
            return;
        }
        let candidate = bytes.and_then(|bytes| World::decode(bytes).ok());
        let digest = reseed.digest;
        let Some(candidate) = candidate.filter(|candidate: &World<S>| candidate.digest() == digest) else { return };
        let Mode::Reseeding { reseed, .. } = std::mem::replace(&mut self.mode, Mode::Following) else { return };
        let held = self.holds().map(|_| self.readable().partition.counted_position());
        let adopted = candidate.partition.counted_position();
        self.adopt(candidate, &reseed);
        let entries = held.map_or(0, |held| held.sequence.saturating_sub(adopted.sequence));
        if entries > 0 {
            self.output(Output::Alarm(Alarm::Lost { entries }));
        }
        self.begin_following();
    }

    fn adopt(&mut self, candidate: World<S>, found: &FoundReseed) {
        // What was read ahead may be of the log that was lost.
        self.ahead.distrust();
        // Snapshots of before do not lie in this log.
        (self.snapshot_last, self.purge) = (None, None);
        let World { partition, mut state } = candidate;
        state.raise(raised_steps(found.log));
        let partition = partition.reseeded(&found.message, found.replaced, found.log);
        self.snapshot_lease = partition.clock().now();
        self.world = World { partition, state };
        (self.kept, self.reseed, self.candidate_since) = (None, None, None);
        (self.verify, self.born_at, self.heard_at) = (None, None, None);
        self.progress_at = self.now;
        self.after_load();
        if self.partition().is_gone(self.incarnation) {
            self.over(OverReason::DeclaredGone);
        }
    }
}
