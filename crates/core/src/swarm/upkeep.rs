//! What a replicated log does to swarms without a command of anybody: it follows from the log's own time and from what it
//! says of pods, and is cut into slices, so that no entry does much at once.

use super::{Former, Swarm};
use crate::base::Base;
use crate::event::Applied;
use crate::id::{MemberKey, NodeId, PodId, SessionId};
use crate::invariant::LARGEST;
use crate::rules;

/// What is to be done, and how much of it at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// Carry out what is due: leases, interests, bans, the ends of swarms.
    Expire {
        /// At most so much.
        most: usize,
    },
    /// Detach sessions from a pod of a cluster that is gone.
    DetachGone {
        /// Which.
        pod: PodId,
        /// When it was gone, in milliseconds since the Unix epoch.
        gone_at: u64,
        /// At most so many.
        most: usize,
    },
}

/// What that did.
#[derive(Debug, Default)]
pub struct Upkept {
    /// As of a command.
    pub applied: Applied,
    /// How much was done: less than `most` when nothing is left.
    pub done: usize,
}

/// Does it to the swarm in `slot`, at `at` milliseconds since the Unix epoch, as [`apply`](super::apply) does a command.
/// O(what is done).
pub fn upkeep(slot: &mut Option<Box<Swarm>>, upkeep: Upkeep, at: u64) -> (Upkept, Former) {
    let Some(swarm) = slot.as_deref_mut() else { return Default::default() };
    let Swarm { base, rules } = swarm;
    base.now = base.now.max(at);
    let upkept = match upkeep {
        Upkeep::Expire { most } => {
            let (applied, done) = rules::expire(base, rules.set_mut(), most);
            Upkept { applied, done }
        }
        Upkeep::DetachGone { pod, gone_at, most } => {
            let done = base.detach_gone(pod, gone_at, most);
            Upkept { applied: base.unchanged(), done }
        }
    };
    let former = if upkept.applied.removed { slot.take() } else { None };
    (upkept, former)
}

impl Swarm {
    /// Raises its revision: what was a revision of another history gets no second meaning. Nothing else is changed, and
    /// no event tells of it.
    pub fn raise(&mut self, by: u64) {
        self.base.revision = self.base.revision.saturating_add(by).min(LARGEST);
    }

    /// Sessions that have a stream on a pod of a cluster, in the order of their slots, from one of these on.
    pub fn attached_to(&self, pod: PodId, from: MemberKey) -> impl Iterator<Item = (MemberKey, NodeId, SessionId)> {
        let Base { roster, .. } = &self.base;
        roster.attached_to(pod, from).map(|key| {
            let member = roster.at(key);
            (key, member.node, member.session)
        })
    }

    /// The pods of a cluster on which anybody has a stream, in order.
    pub fn attached_pods(&self) -> impl Iterator<Item = PodId> {
        self.base.roster.attached_pods()
    }

    /// How many they are. O(log pods).
    pub fn attached_count(&self, pod: PodId) -> usize {
        self.base.roster.attached_count(pod)
    }
}

#[cfg(test)]
mod tests;
