//! Which members have a stream, or a term at home, on which pod: derived from their leases and terms, so that what a pod
//! leaves behind is found without a look at all members.

use crate::counted::{Map, Set};
use crate::id::{MemberKey, PodId};

/// Members by the pods on which they have a stream, or a term its home. The pod of a single process is not in it: it is never gone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Attached {
    by_pod: Map<PodId, Set<MemberKey>>,
    /// How many entries all of its sets have.
    len: usize,
}

impl Attached {
    /// Adds a member to these pods.
    pub(super) fn add(&mut self, key: MemberKey, pods: &[PodId]) {
        for pod in pods {
            self.len += usize::from(self.by_pod.entry(*pod).or_default().insert(key));
        }
    }

    /// Takes a member from these pods.
    pub(super) fn remove(&mut self, key: MemberKey, pods: &[PodId]) {
        for pod in pods {
            let Some(keys) = self.by_pod.get_mut(pod) else { continue };
            self.len -= usize::from(keys.remove(&key));
            if keys.is_empty() {
                self.by_pod.remove(pod);
            }
        }
    }

    /// The members that a pod has, in the order of their slots, from one of these on.
    pub(super) fn on(&self, pod: PodId, from: MemberKey) -> impl Iterator<Item = MemberKey> {
        self.by_pod.get(&pod).into_iter().flat_map(move |keys| keys.range(from..).copied())
    }

    /// The pods that have any, in order.
    pub(super) fn pods(&self) -> impl Iterator<Item = PodId> {
        self.by_pod.iter().map(|(pod, _)| *pod)
    }

    /// What it takes, in bytes. O(1).
    pub(super) const fn bytes(&self) -> usize {
        // Nodes of a tree that are half full at least.
        self.len * 2 * size_of::<MemberKey>()
    }
}
