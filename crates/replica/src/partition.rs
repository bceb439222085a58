//! The partition's own state: what the log says of itself and of the pods, and which batches count.
//!
//! A function of the entries alone, the same on every pod, and a part of every snapshot.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hasher;

use starling_core::hash::FixedHasher;
use starling_core::id::PodId;

use crate::batch::{Batch, BatchHeader, BatchItem, LogId, LogMessage, LogPosition, PodIncarnation};
use crate::clock::LeaseClock;
use crate::history::LogHistory;
use crate::judgement::{Comparison, Effects, LossSign, Verdict, VoidReason};
use crate::state::{LogTime, State, StateChange, Undecodable};

/// How long a pod that is gone is remembered, by the lease clock: longer than any of its batches can count.
pub const GONE_REMEMBERED_MS: u64 = 60_000;

/// After its last sign of life a pod may be declared gone, by the lease clock.
pub const POD_GONE_AFTER_MS: u64 = 6_000;

/// What one entry carries out at most of what is due, and of what pods leave behind.
pub const DUE_PER_ENTRY: usize = 1_024;

/// The most pods that are registered at once, and that are remembered as gone.
pub const MAX_PODS: usize = 1_024;

/// How many lives of the log are remembered.
const FORMER_LOGS: usize = 8;

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionPhase {
    /// The log has no beginning yet: only Born counts, or a Reseed.
    Unborn,
    /// Nothing counts until Open or a Reseed.
    Born,
    /// Batches count.
    Open,
    /// An entry has shown that the log is not what it was: nothing counts until a Reseed.
    Broken {
        /// The last entry that counted, which the state is as of.
        at: LogPosition,
    },
}

/// A batch that counted: a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifeSign {
    /// Its sequence.
    pub sequence: u64,
    /// The lease clock then.
    pub at: u64,
}

/// A pod that is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredPod {
    /// Its number in this partition, never given twice.
    pub pod: PodId,
    /// The number of its last batch that counted.
    pub number: u64,
    /// The highest level that it can apply.
    pub level: u32,
    /// Where its peers find it.
    pub address: Vec<u8>,
    /// Its last batch that counted.
    pub sign: LifeSign,
}

/// Digests that pods say of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingComparison {
    pub(crate) sequence: u64,
    pub(crate) digests: BTreeMap<PodIncarnation, u64>,
}

/// The partition's own state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub(crate) history: LogHistory,
    pub(crate) phase: PartitionPhase,
    pub(crate) log: LogId,
    /// The lives that this one goes on from, newest last.
    pub(crate) former: VecDeque<LogId>,
    pub(crate) clock: LeaseClock,
    pub(crate) level: u32,
    /// Since when all pods could apply a higher level, by the lease clock.
    pub(crate) upgradable_since: Option<u64>,
    pub(crate) pods: BTreeMap<PodIncarnation, RegisteredPod>,
    pub(crate) gone: BTreeMap<PodIncarnation, u64>,
    /// Pods whose sessions are not all detached yet, with the lease clock at which they were gone.
    pub(crate) detaching: VecDeque<(PodId, u64)>,
    pub(crate) next_pod: PodId,
    pub(crate) comparison: Option<PendingComparison>,
    /// True while the last comparison has shown a difference.
    pub(crate) disputed: bool,
}

/// The partition before the first entry.
impl Default for Partition {
    fn default() -> Self {
        Self {
            history: LogHistory::default(),
            phase: PartitionPhase::Unborn,
            log: LogId::default(),
            former: VecDeque::new(),
            clock: LeaseClock::default(),
            level: 1,
            upgradable_since: None,
            pods: BTreeMap::new(),
            gone: BTreeMap::new(),
            detaching: VecDeque::new(),
            next_pod: 1,
            comparison: None,
            disputed: false,
        }
    }
}

impl Partition {
    /// The last entry that was applied.
    pub fn position(&self) -> LogPosition {
        self.history.last()
    }

    /// The last entry that the state is as of: the same, but in a broken log.
    pub fn counted_position(&self) -> LogPosition {
        match self.phase {
            PartitionPhase::Broken { at } => at,
            PartitionPhase::Unborn | PartitionPhase::Born | PartitionPhase::Open => self.position(),
        }
    }

    /// What the log has said.
    pub const fn history(&self) -> &LogHistory {
        &self.history
    }

    /// What counts.
    pub const fn phase(&self) -> PartitionPhase {
        self.phase
    }

    /// The life of the log.
    pub const fn log(&self) -> LogId {
        self.log
    }

    /// Whether this log goes on from another one.
    pub fn goes_on_from(&self, log: LogId) -> bool {
        self.former.contains(&log)
    }

    /// Time as the log has it.
    pub const fn clock(&self) -> LeaseClock {
        self.clock
    }

    /// The level that is active.
    pub const fn level(&self) -> u32 {
        self.level
    }

    /// A pod that is registered.
    pub fn pod(&self, incarnation: PodIncarnation) -> Option<&RegisteredPod> {
        self.pods.get(&incarnation)
    }

    /// All pods that are registered.
    pub fn pods(&self) -> impl Iterator<Item = (PodIncarnation, &RegisteredPod)> {
        self.pods.iter().map(|(incarnation, pod)| (*incarnation, pod))
    }

    /// Whether a pod is gone, as far as that is remembered.
    pub fn is_gone(&self, incarnation: PodIncarnation) -> bool {
        self.gone.contains_key(&incarnation)
    }

    /// Whether the pods' states have been found to differ.
    pub const fn is_disputed(&self) -> bool {
        self.disputed
    }

    /// Applies the next entry, whose sequence is one above the last. A Reseed is only found: it replaces the partition
    /// ([`Partition::reseeded`]).
    ///
    /// # Errors
    ///
    /// [`Undecodable`]: then the partition and the state are of no use any more.
    pub(crate) fn apply<S: State>(
        &mut self,
        message: &LogMessage,
        batch: &Batch,
        state: &mut S,
    ) -> Result<Effects<S::Outcome>, Undecodable> {
        debug_assert_eq!(message.sequence, self.position().sequence + 1, "entries come in order");
        let before = self.position();
        let loss = self.loss(message.sequence, batch);
        self.history.push(message);
        if let (0, [item]) = (batch.header.number, &batch.items[..]) {
            match (item, self.phase) {
                (BatchItem::Reseed { .. }, _) if batch.header.log == self.log => return Ok(Verdict::Reseed.into()),
                (BatchItem::Born { log }, PartitionPhase::Unborn) => {
                    (self.phase, self.log) = (PartitionPhase::Born, *log);
                    self.clock = LeaseClock::starting_at(message.timestamp);
                    return Ok(Verdict::Born.into());
                }
                (BatchItem::Open, PartitionPhase::Born) if batch.header.log == self.log => {
                    self.phase = PartitionPhase::Open;
                    self.clock.resume_at(message.timestamp);
                    return Ok(Verdict::Open.into());
                }
                _ => {}
            }
        }
        if self.phase != PartitionPhase::Open {
            return Ok(Verdict::Void(VoidReason::NothingCounts).into());
        }
        if let Some(sign) = loss {
            self.phase = PartitionPhase::Broken { at: before };
            return Ok(Verdict::Lost(sign).into());
        }
        self.clock.advance(message.timestamp);
        let at = LogTime { lease: self.clock.now(), wall: message.timestamp };
        self.carry_out_due(state, at);
        match self.judge(&batch.header, &batch.items) {
            Verdict::Counted => self.carry_out(message.sequence, batch, state, at),
            verdict => Ok(verdict.into()),
        }
    }

    /// How an entry shows that this log is not the one that its sender has read.
    fn loss(&self, sequence: u64, batch: &Batch) -> Option<LossSign> {
        let BatchHeader { log, incarnation, number, base, .. } = batch.header;
        if log != self.log || number == 0 {
            return None;
        }
        if base.sequence >= sequence {
            return Some(LossSign::BaseAhead);
        }
        if self.history.at(base.sequence).is_some_and(|hash| hash != base.hash) {
            return Some(LossSign::OtherHistory);
        }
        let last = self.pods.get(&incarnation).map(|pod| pod.number);
        last.is_some_and(|last| number > last + 1).then_some(LossSign::SkippedNumber)
    }

    /// What every entry carries out first.
    fn carry_out_due<S: State>(&mut self, state: &mut S, at: LogTime) {
        let mut left = DUE_PER_ENTRY - state.carry_out_due(at, DUE_PER_ENTRY).min(DUE_PER_ENTRY);
        while let Some(&(pod, gone_at)) = self.detaching.front() {
            let detached = state.detach_gone(pod, gone_at, at, left);
            if detached >= left {
                break;
            }
            left -= detached;
            self.detaching.pop_front();
        }
        self.gone.retain(|_, since| at.lease.saturating_sub(*since) <= GONE_REMEMBERED_MS);
    }

    /// Whether a batch counts; a new pod is registered.
    fn judge(&mut self, header: &BatchHeader, items: &[BatchItem]) -> Verdict {
        let BatchHeader { log, incarnation, number, base, not_after } = *header;
        let void = |reason| Verdict::Void(reason);
        if log != self.log {
            return void(VoidReason::OtherLog);
        }
        if self.gone.contains_key(&incarnation) {
            return void(VoidReason::Gone);
        }
        if not_after < self.clock.now() {
            return void(VoidReason::TooLate);
        }
        if base.sequence < self.history.first() {
            return void(VoidReason::OldBase);
        }
        match self.pods.get(&incarnation) {
            Some(pod) if number <= pod.number => Verdict::Repeat,
            Some(_) => Verdict::Counted,
            None => match items.first() {
                Some(BatchItem::Alive { level, .. }) if number == 1 => self.register(incarnation, *level),
                _ => void(VoidReason::NotRegistered),
            },
        }
    }

    fn register(&mut self, incarnation: PodIncarnation, level: u32) -> Verdict {
        if level < self.level {
            return Verdict::Void(VoidReason::Level);
        }
        if self.pods.len() >= MAX_PODS || self.gone.len() >= MAX_PODS || self.next_pod == PodId::MAX {
            return Verdict::Void(VoidReason::TooMany);
        }
        let sign = LifeSign { sequence: 0, at: 0 };
        let pod = RegisteredPod { pod: self.next_pod, number: 0, level, address: Vec::new(), sign };
        self.next_pod += 1;
        self.pods.insert(incarnation, pod);
        Verdict::Counted
    }

    fn carry_out<S: State>(
        &mut self,
        sequence: u64,
        batch: &Batch,
        state: &mut S,
        at: LogTime,
    ) -> Result<Effects<S::Outcome>, Undecodable> {
        let mut effects = Effects::from(Verdict::Counted);
        let sender = batch.header.incarnation;
        let registered = self.pods.get_mut(&sender).expect("who is not registered does not count");
        registered.number = batch.header.number;
        registered.sign = LifeSign { sequence, at: at.lease };
        let own = registered.pod;
        for item in &batch.items {
            // A pod that says of itself that it is gone says nothing after that.
            let Some(registered) = self.pods.get_mut(&sender) else { break };
            match item {
                BatchItem::Command(bytes) => {
                    effects.outcomes.push(state.apply(StateChange::Command(bytes, own), at)?);
                }
                BatchItem::Attach(stream) => {
                    effects.outcomes.push(state.apply(StateChange::Attach(*stream, own), at)?);
                }
                BatchItem::Detach(stream) => {
                    effects.outcomes.push(state.apply(StateChange::Detach(*stream, own), at)?);
                }
                BatchItem::Alive { level, address } => {
                    registered.level = *level;
                    registered.address.clone_from(address);
                }
                BatchItem::PodGone { incarnation, last_sign } => {
                    if self.is_silent(*incarnation, *last_sign) || *incarnation == sender {
                        self.declare_gone(*incarnation, state, at);
                        effects.gone.push(*incarnation);
                    }
                }
                BatchItem::Activate { level } => {
                    if *level > self.level && self.pods.values().all(|pod| pod.level >= *level) {
                        self.level = *level;
                    }
                }
                BatchItem::Compare => {
                    self.comparison = Some(PendingComparison { sequence, digests: BTreeMap::new() });
                    effects.compare = true;
                }
                BatchItem::Digest { sequence, digest } => {
                    let pending = self.comparison.as_mut().filter(|pending| pending.sequence == *sequence);
                    pending.and_then(|pending| pending.digests.insert(sender, *digest));
                }
                // They are entries of their own.
                BatchItem::Born { .. } | BatchItem::Open | BatchItem::Reseed { .. } => {}
            }
        }
        effects.compared = self.compared();
        let is_upgradable = !self.pods.is_empty() && self.pods.values().all(|pod| pod.level > self.level);
        self.upgradable_since = is_upgradable.then(|| self.upgradable_since.unwrap_or(at.lease));
        Ok(effects)
    }

    /// Whether a registered pod may be declared gone: it gave no sign after this one, which is old enough.
    fn is_silent(&self, incarnation: PodIncarnation, last_sign: u64) -> bool {
        self.pods
            .get(&incarnation)
            .is_some_and(|pod| pod.sign.sequence == last_sign && self.clock.now() - pod.sign.at >= POD_GONE_AFTER_MS)
    }

    fn declare_gone<S: State>(&mut self, incarnation: PodIncarnation, state: &mut S, at: LogTime) {
        let Some(registered) = self.pods.remove(&incarnation) else { return };
        self.gone.insert(incarnation, at.lease);
        state.pod_gone(registered.pod, at);
        self.detaching.push_back((registered.pod, at.lease));
    }

    /// The comparison that all pods have answered.
    fn compared(&mut self) -> Option<Comparison> {
        let pending = self.comparison.as_ref()?;
        if !self.pods.keys().all(|incarnation| pending.digests.contains_key(incarnation)) {
            return None;
        }
        let pending = self.comparison.take()?;
        let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
        for incarnation in self.pods.keys() {
            *votes.entry(pending.digests[incarnation]).or_default() += 1;
        }
        let most = votes.values().copied().max().unwrap_or_default();
        let mut largest = votes.iter().filter(|(_, count)| **count == most).map(|(digest, _)| *digest);
        let (winner, is_tie) = (largest.next()?, largest.next().is_some());
        self.disputed = votes.len() > 1;
        let differs = |incarnation: &&PodIncarnation| pending.digests[*incarnation] != winner;
        let minority = if is_tie { Vec::new() } else { self.pods.keys().filter(differs).copied().collect() };
        Some(Comparison { sequence: pending.sequence, minority, is_tie })
    }

    /// The partition that goes on from this one by a Reseed: pods and clock are as they were, and every pod has given a
    /// sign of life.
    pub(crate) fn reseeded(mut self, message: &LogMessage, replaced: LogId, log: LogId) -> Self {
        for former in [self.log, replaced] {
            if former != LogId::default() && !self.former.contains(&former) {
                self.former.push_back(former);
            }
        }
        while self.former.len() > FORMER_LOGS {
            self.former.pop_front();
        }
        self.history = LogHistory::beginning_with(message);
        self.phase = PartitionPhase::Open;
        self.log = log;
        self.clock.resume_at(message.timestamp);
        self.comparison = None;
        let sign = LifeSign { sequence: message.sequence, at: self.clock.now() };
        self.pods.values_mut().for_each(|pod| pod.sign = sign);
        self
    }

    /// A digest of the whole, equal on all pods that have applied the same entries.
    pub fn digest(&self) -> u64 {
        let mut bytes = Vec::new();
        self.encode_without_history(&mut bytes);
        let mut hasher = FixedHasher::default();
        hasher.write_u64(self.position().sequence);
        hasher.write_u64(self.position().hash);
        hasher.write(&bytes);
        hasher.finish()
    }
}

mod encoding;

#[cfg(test)]
mod tests;
