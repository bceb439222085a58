//! What a replicated log does to swarms without a command of anybody: it follows from the log's own time and from what it
//! says of pods, and is cut into slices, so that no entry does much at once.

use super::{Former, Rules, Swarm};
use crate::base::Base;
use crate::event::Applied;
use crate::id::{MemberKey, NO_HOME, NodeId, PodId, SessionId};
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
    /// Detach sessions from a pod of a cluster that is gone, and have no term at home there.
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
            let (applied, done) = rules::detach_gone(base, rules.set_mut(), pod, gone_at, most);
            Upkept { applied, done }
        }
    };
    let former = if upkept.applied.removed { slot.take() } else { None };
    (upkept, former)
}

impl Swarm {
    /// Raises its revision, and the position of its CHAT if somebody has written: what was of another history gets no
    /// second meaning. Nothing else is changed, and no event tells of it.
    pub fn raise(&mut self, by: u64) {
        let raised = |number: u64| number.saturating_add(by).min(LARGEST);
        self.base.revision = raised(self.base.revision);
        if let Rules::Livestream(livestream) = &mut self.rules
            && let Some(chat) = &mut livestream.chat
        {
            chat.sequence = raised(chat.sequence);
        }
    }

    /// Sessions that have a stream on a pod of a cluster, in the order of their slots, from one of these on.
    pub fn attached_to(&self, pod: PodId, from: MemberKey) -> impl Iterator<Item = (MemberKey, NodeId, SessionId)> {
        let Base { roster, .. } = &self.base;
        let members = roster.on_pod(pod, from).map(|key| (key, roster.at(key)));
        let attached = members.filter(move |(_, member)| member.lease.is_attached_to(pod));
        attached.map(|(key, member)| (key, member.node, member.session))
    }

    /// The pods of a cluster on which anybody has a stream, or a term its home, in order: what [`Upkeep::DetachGone`]
    /// finds something to do for. O(pods).
    pub fn pods(&self) -> Vec<PodId> {
        let homes = self.rules.set().homes();
        let homes = homes.iter().map(|(_, home)| *home).filter(|home| *home != NO_HOME);
        let mut pods: Vec<PodId> = self.base.roster.pods().chain(homes).collect();
        pods.sort_unstable();
        pods.dedup();
        pods
    }
}

#[cfg(test)]
mod tests;
