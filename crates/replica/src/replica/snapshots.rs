//! What others start from: an exact snapshot, written by the pod that comes first, and the purge that it allows.

use super::{PendingPurge, PurgeCheck, Replica, Snapshotting};
use crate::output::{Alarm, Output, SnapshotChoice};
use crate::partition::PartitionPhase;
use crate::state::State;
use crate::world::{World, WorldEncoder};

/// After so long without an answer of the object store, the snapshot is given up.
pub(super) const STORE_MS: u64 = 10_000;

/// Answers about a log that is to be purged are of use for so long.
const PURGE_CHECK_MS: u64 = 1_000;

impl<S: State> Replica<S> {
    pub(super) const fn is_encoding(&self) -> bool {
        matches!(self.snapshotting, Some(Snapshotting::Encoding { .. }))
    }

    /// Begins a snapshot when one is due.
    pub(super) fn drive_snapshots(&mut self) {
        if let Some(Snapshotting::Storing { since, .. }) = &self.snapshotting
            && self.now >= since + STORE_MS
        {
            self.snapshotting = None;
        }
        let partition = &self.world.partition;
        let may = self.is_following()
            && self.snapshotting.is_none()
            && self.kept.is_none()
            && partition.phase() == PartitionPhase::Open
            && !partition.is_disputed()
            && (self.is_first() || self.snapshot_wanted);
        if !may {
            return;
        }
        let position = partition.position();
        let entries = position.sequence - self.snapshot_last.map_or(0, |last| last.sequence.min(position.sequence));
        let age = partition.clock().now().saturating_sub(self.snapshot_lease);
        let is_due = entries >= self.settings.snapshot_entries || (entries > 0 && age >= self.settings.snapshot_ms);
        if is_due || self.snapshot_wanted {
            self.snapshot_wanted = false;
            self.snapshot_lease = partition.clock().now();
            let (encoder, digest) = (WorldEncoder::new(&self.world), self.world.digest());
            self.snapshotting = Some(Snapshotting::Encoding { encoder, position, digest });
        }
    }

    /// Encodes the next part; the applier goes on after the last.
    pub(super) fn step_snapshot(&mut self) {
        let Some(Snapshotting::Encoding { encoder, .. }) = &mut self.snapshotting else { return };
        if encoder.step(&self.world.state, self.settings.part_bytes).is_none() {
            return;
        }
        let Some(Snapshotting::Encoding { encoder, position, digest }) = self.snapshotting.take() else { return };
        let name = format!("snapshot-{:016x}-{:020}", self.partition().log().0, position.sequence);
        self.snapshotting = Some(Snapshotting::Storing { name: name.clone(), position, digest, since: self.now });
        self.output(Output::Store { name, bytes: encoder.finish() });
        self.drain();
    }

    /// A snapshot is in the object store, or is not.
    pub fn stored(&mut self, name: &str, is_stored: bool) {
        self.stored_candidate(name, is_stored);
        match &self.snapshotting {
            Some(Snapshotting::Storing { name: own, .. }) if own == name && is_stored => {
                self.output(Output::Load(SnapshotChoice::Named(name.to_owned())));
            }
            Some(Snapshotting::Storing { name: own, .. }) if own == name => self.snapshotting = None,
            _ => {}
        }
    }

    /// The own snapshot has been loaded again: if it can be read, the log is purged up to the one before.
    /// Not at once: a log that was lost meanwhile has other messages there, and nothing that they could be had from.
    pub(super) fn loaded_own_snapshot(&mut self, name: &str, bytes: Option<&[u8]>) {
        let own = self.snapshotting.take_if(|snapshotting| match snapshotting {
            Snapshotting::Storing { name: own, .. } => own == name,
            Snapshotting::Encoding { .. } => false,
        });
        let Some(Snapshotting::Storing { position, digest, .. }) = own else { return };
        let scratch = bytes.and_then(|bytes| World::<S>::decode(bytes).ok());
        if scratch.is_none_or(|scratch| scratch.digest() != digest) {
            return self.output(Output::Alarm(Alarm::UnreadableSnapshot));
        }
        let before = self.snapshot_last.replace(position);
        // The log keeps the entry of the older one: by it a pod that starts knows that the snapshot is of this log.
        let is_of_this_log = |sequence| self.partition().history().first() <= sequence;
        if let Some(before) = before.filter(|before| is_of_this_log(before.sequence) && !self.partition().is_disputed())
        {
            self.purge = Some(PendingPurge { below: before.sequence, check: None });
        }
    }

    /// A batch of this pod has counted: the log was what this pod has read. It may have been lost since, while the
    /// message was on its way or this process stood still, so that it is asked again, and no old answer is taken.
    pub(super) fn check_purge(&mut self) {
        let (sequence, now) = (self.partition().position().sequence, self.now);
        let Some(PendingPurge { check, .. }) = &mut self.purge else { return };
        if check.as_ref().is_none_or(|check| now > check.asked_at + PURGE_CHECK_MS) {
            *check = Some(PurgeCheck { sequence, asked_at: now, has_entry: false, has_end: false });
            self.output(Output::Fetch { from: sequence, to: sequence });
            self.output(Output::AskExtent);
        }
    }

    /// The log was asked for an entry, and has what this pod has read.
    pub(super) fn purge_entry_read(&mut self, sequence: u64) {
        if let Some(check) = self.purge_check()
            && check.sequence == sequence
        {
            check.has_entry = true;
            self.purge_same_log();
        }
    }

    /// The log's leader has said where it ends.
    pub(super) fn purge_end_read(&mut self, last: u64) {
        if let Some(check) = self.purge_check()
            && check.sequence <= last
        {
            check.has_end = true;
            self.purge_same_log();
        }
    }

    fn purge_check(&mut self) -> Option<&mut PurgeCheck> {
        let now = self.now;
        let check = self.purge.as_mut()?.check.as_mut()?;
        (now <= check.asked_at + PURGE_CHECK_MS).then_some(check)
    }

    fn purge_same_log(&mut self) {
        let may = self.is_following() && self.kept.is_none() && self.partition().phase() == PartitionPhase::Open;
        let is_same = |check: &PurgeCheck| check.has_entry && check.has_end;
        if let Some(PendingPurge { below, .. }) = self.purge.take_if(|purge| purge.check.as_ref().is_some_and(is_same))
            && may
            && !self.partition().is_disputed()
        {
            self.output(Output::Purge { below });
        }
    }
}
