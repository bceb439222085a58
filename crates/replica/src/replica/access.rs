//! How far the pod is from the log, as itself and its peers can tell, and whether it is ready.

use super::reseeding::REACHABLE_MS;
use super::{HeardPeer, Mode, Replica};
use crate::output::{LogAccess, NotReady, Output, PeerReport};
use crate::partition::PartitionPhase;
use crate::state::State;

/// Every pod writes once a second: after this without anything the log stands still.
pub(super) const STALLED_MS: u64 = 2_500;

impl<S: State> Replica<S> {
    /// What peers are to be told, each second.
    pub fn report(&self) -> PeerReport {
        let partition = self.partition();
        PeerReport {
            incarnation: self.incarnation,
            log: partition.log(),
            applied: partition.position().sequence,
            holds: self.holds(),
        }
    }

    /// What a peer tells.
    pub fn peer(&mut self, report: PeerReport) {
        if report.incarnation == self.incarnation || self.partition().is_gone(report.incarnation) {
            return;
        }
        if self.peers.len() < crate::partition::MAX_PODS || self.peers.contains_key(&report.incarnation) {
            self.peers.insert(report.incarnation, HeardPeer { report, at: self.now });
        }
        if report.log == self.partition().log() {
            self.see(report.applied);
        }
    }

    /// Peers that were heard lately.
    pub(super) fn reachable(&self) -> impl Iterator<Item = PeerReport> {
        let since = self.now.saturating_sub(REACHABLE_MS);
        self.peers.values().filter(move |heard| heard.at >= since).map(|heard| heard.report)
    }

    pub(super) fn judge_access(&mut self) {
        let now = self.now;
        self.peers.retain(|_, heard| now <= heard.at + 20 * REACHABLE_MS);
        let silent = now - self.progress_at;
        let position = self.partition().position().sequence;
        let log = self.partition().log();
        let is_behind = self.reachable().any(|peer| peer.log == log && peer.applied > position);
        let is_heard = |incarnation| self.reachable().any(|peer| peer.incarnation == incarnation);
        let hears_all = self.readable().partition.pods().all(|(pod, _)| pod == self.incarnation || is_heard(pod));
        let access = if silent < STALLED_MS {
            LogAccess::Current
        } else if is_behind && silent >= self.settings.behind_ms {
            LogAccess::Behind
        } else if hears_all || silent < self.settings.unready_ms {
            LogAccess::Stalled
        } else if silent < self.settings.max_staleness_ms {
            LogAccess::Alone
        } else {
            LogAccess::Stale
        };
        if access != self.access {
            self.access = access;
            self.output(Output::Access(access));
        }
    }

    /// Whether the pod may be sent clients.
    ///
    /// # Errors
    ///
    /// Why it may not.
    pub fn readiness(&self) -> Result<(), NotReady> {
        match self.mode {
            Mode::Stopped(reason) => return Err(NotReady::Stopped(reason)),
            Mode::Following => {}
            Mode::Asking { .. } | Mode::Loading { .. } | Mode::Verifying { .. } | Mode::Reseeding { .. } => {
                return Err(NotReady::Loading);
            }
        }
        if matches!(self.access, LogAccess::Alone | LogAccess::Behind | LogAccess::Stale) {
            return Err(NotReady::Away(self.access));
        }
        if !self.has_caught_up() {
            return Err(NotReady::CatchingUp);
        }
        if self.partition().phase() != PartitionPhase::Open || self.kept.is_some() {
            return Err(NotReady::NothingCounts);
        }
        if self.log_is_full {
            return Err(NotReady::LogFull);
        }
        if self.heard_at.is_none() { Err(NotReady::NotHeard) } else { Ok(()) }
    }
}
