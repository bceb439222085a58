//! What a shard keeps for a replicated log: of which swarms the digest is not known any more, and which have streams,
//! or terms at home, on which pod. A single process needs neither.

use std::hash::Hasher;
use std::ops::Bound;

use starling_core::counted::{Map, Set};
use starling_core::hash::FixedHasher;
use starling_core::id::{PodId, SwarmId};

use crate::store::entry::Entry;

/// Kept up with each change of a swarm.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    /// Of the digests that are known, added up.
    sum: u64,
    /// Swarms that have changed since theirs was made.
    stale: Set<SwarmId>,
    by_pod: Map<PodId, Set<SwarmId>>,
}

impl Tracked {
    /// A swarm is another one than before, perhaps none: its entry goes, then. O(pods).
    pub(super) fn changed(&mut self, id: SwarmId, entry: &mut Entry) {
        let Some(swarm) = entry.swarm.as_deref() else { return self.removed(id, entry) };
        let now = swarm.pods();
        if now != entry.pods {
            self.move_pods(id, &entry.pods, &now);
            entry.pods = now;
        }
        if let Some(digest) = entry.digest.take() {
            self.sum = self.sum.wrapping_sub(digest);
        }
        self.stale.insert(id);
    }

    /// A swarm goes.
    pub(super) fn removed(&mut self, id: SwarmId, entry: &mut Entry) {
        self.move_pods(id, &std::mem::take(&mut entry.pods), &[]);
        match entry.digest.take() {
            Some(digest) => self.sum = self.sum.wrapping_sub(digest),
            None => drop(self.stale.remove(&id)),
        }
    }

    fn move_pods(&mut self, id: SwarmId, from: &[PodId], to: &[PodId]) {
        for pod in from.iter().filter(|pod| !to.contains(pod)) {
            let Some(swarms) = self.by_pod.get_mut(pod) else { continue };
            swarms.remove(&id);
            if swarms.is_empty() {
                self.by_pod.remove(pod);
            }
        }
        for pod in to.iter().filter(|pod| !from.contains(pod)) {
            self.by_pod.entry(*pod).or_default().insert(id);
        }
    }

    /// One of the swarms whose digest is not known.
    pub(super) fn stale(&self) -> Option<SwarmId> {
        self.stale.first().copied()
    }

    /// The digest of a swarm as it is.
    pub(super) fn digested(&mut self, id: SwarmId, entry: &mut Entry, digest: u64) {
        if self.stale.remove(&id) {
            entry.digest = Some(digest);
            self.sum = self.sum.wrapping_add(digest);
        }
    }

    /// Of all swarms, once none is stale.
    pub(super) const fn sum(&self) -> u64 {
        self.sum
    }

    /// Swarms with something on a pod, after this one.
    pub(super) fn on_pod(&self, pod: PodId, after: Option<SwarmId>) -> Option<SwarmId> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let swarms = self.by_pod.get(&pod)?;
        swarms.range((after, Bound::Unbounded)).next().copied()
    }
}

/// The digest of a swarm, with which one it is.
pub(super) fn named(id: SwarmId, swarm_digest: u64) -> u64 {
    let mut hasher = FixedHasher::default();
    hasher.write_u64(id.kind as u64);
    hasher.write_u64(id.get());
    hasher.write_u64(swarm_digest);
    hasher.finish()
}
