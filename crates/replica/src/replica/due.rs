//! When the next tick is of use, so that whoever drives a replica need not wake for the others.

use super::access::STALLED_MS;
use super::reseeding::{self, REACHABLE_MS};
use super::{Mode, Replica, Snapshotting, following, snapshots, starting};
use crate::partition::PartitionPhase;
use crate::state::State;

/// What does not follow from a time alone is looked at so often. It is rare: a start, a loss of the log.
const LOOK_MS: u64 = 50;

impl<S: State> Replica<S> {
    /// When [`Replica::tick`] is to be called next, in milliseconds of the pod's own clock: one before that does
    /// nothing, if the last call was a tick and nothing comes meanwhile. In the past when it is to be called at once.
    ///
    /// O(pods).
    pub fn next_due(&self) -> u64 {
        if self.is_encoding() {
            return self.now;
        }
        let waiters = self.waiters.next_deadline();
        let stored = match self.snapshotting {
            Some(Snapshotting::Storing { since, .. }) => Some(since + snapshots::STORE_MS),
            Some(Snapshotting::Encoding { .. }) | None => None,
        };
        let mode = match &self.mode {
            Mode::Asking { since } | Mode::Loading { since, .. } => Some(since + starting::RETRY_MS),
            Mode::Verifying { since, .. } => Some(self.fetch_due().min(since + starting::VERIFY_MS)),
            Mode::Reseeding { since, asked_at, .. } => {
                Some((asked_at + reseeding::LOAD_MS).min(since + reseeding::GIVE_UP_MS))
            }
            Mode::Following => Some(self.following_due()),
            Mode::Stopped(_) => None,
        };
        [waiters, stored, mode, self.access_due()].into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    fn fetch_due(&self) -> u64 {
        self.fetched_at.map_or(self.now, |at| at + self.settings.fetch_retry_ms)
    }

    fn following_due(&self) -> u64 {
        let partition = self.partition();
        let stalled = self.progress_at + STALLED_MS;
        let mut due = self.stall_asked.map_or(stalled, |(at, _)| stalled.max(at + starting::RETRY_MS));
        if self.seen > partition.position().sequence {
            due = due.min(self.fetch_due());
        }
        if self.verify.is_some() {
            due = due.min(self.verified_at.map_or(self.now, |at| at + following::VERIFY_MS));
        }
        let is_settled = self.kept.is_none() && partition.phase() == PartitionPhase::Open && self.has_caught_up();
        match &self.in_flight {
            Some(in_flight) if is_settled && in_flight.log == partition.log() => {
                due.min(in_flight.sent_at + self.settings.resend_ms)
            }
            None if is_settled => due.min(self.alive_at.map_or(self.now, |at| at + self.settings.alive_ms)),
            Some(_) | None => due.min(self.now + LOOK_MS),
        }
    }

    /// When the pod may be farther from the log than it is now.
    fn access_due(&self) -> Option<u64> {
        let silences = [STALLED_MS, self.settings.behind_ms, self.settings.unready_ms, self.settings.max_staleness_ms];
        let silences = silences.into_iter().map(|silence| self.progress_at + silence);
        // Who was heard matters only where nothing comes.
        let is_silent = self.now >= self.progress_at + STALLED_MS;
        let peers = self.peers.values().filter(|_| is_silent).map(|heard| heard.at + REACHABLE_MS + 1);
        silences.chain(peers).filter(|due| *due > self.now).min()
    }
}
