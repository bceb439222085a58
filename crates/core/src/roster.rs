//! The members of a swarm, in a slab, with an index by node and a timetable.
//!
//! Order lives in the slab: iteration and paging follow it, so that they give
//! the same on every pod, and a member that is present throughout a scan is seen
//! exactly once.
//!
//! Invariants ([`Roster::check`]): the index names each member's slot; free
//! slots are vacant; the timetable holds exactly the deadlines of the members.

use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};

use super::command::{By, Join};
use super::error::Rejection;
use super::event::Applied;
use super::id::{NodeId, PodId, SessionId};
use super::interest::{Interests, MAX_OVERRIDES};
use super::member::{Lease, Member};

/// A member's slot in the roster; reused after it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u32);

impl Key {
    /// The slot's number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The key of a slot.
    pub fn from_index(index: usize) -> Self {
        Self(u32::try_from(index).expect("a roster has fewer than 2^32 slots"))
    }
}

/// The most slots that one page looks at.
const PAGE_SLOTS: usize = 16_384;

/// What falls due for a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// Its session ends.
    Lease,
    /// An interest falls back.
    Interest,
}

/// The members of a swarm.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    slots: Vec<Option<Member>>,
    free: Vec<Key>,
    index: HashMap<NodeId, Key>,
    timers: BTreeSet<(u64, Key, Timer)>,
}

impl Roster {
    /// Number of members.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// True when nobody is in.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The slot of `node`.
    pub fn key(&self, node: NodeId) -> Option<Key> {
        self.index.get(&node).copied()
    }

    /// The member in a slot, if it is taken.
    pub fn get(&self, key: Key) -> Option<&Member> {
        self.slots.get(key.index())?.as_ref()
    }

    /// The member of this node.
    pub fn find(&self, node: NodeId) -> Option<&Member> {
        self.key(node).and_then(|key| self.get(key))
    }

    /// The member in a slot that is known to be taken.
    pub(super) fn at(&self, key: Key) -> &Member {
        self.get(key).expect("the key comes from the index, the tree or the timetable")
    }

    /// Members in slab order, from slot `from` on.
    pub fn iter_from(&self, from: usize) -> impl Iterator<Item = (Key, &Member)> {
        self.slots
            .iter()
            .enumerate()
            .skip(from)
            .filter_map(|(index, member)| Some((Key::from_index(index), member.as_ref()?)))
    }

    /// Up to `limit` members that `wanted` admits, from slot `from` on, and the slot
    /// where the next page begins, if anybody may be there. Looks at no more than
    /// [`PAGE_SLOTS`] slots: after many left, a page may be short.
    pub fn page(&self, from: usize, limit: usize, wanted: impl Fn(&Member) -> bool) -> (Vec<Key>, Option<usize>) {
        let mut keys = Vec::new();
        let end = self.slots.len().min(from.saturating_add(PAGE_SLOTS));
        for index in from..end {
            if self.slots[index].as_ref().is_some_and(&wanted) {
                if keys.len() == limit {
                    return (keys, Some(index));
                }
                keys.push(Key::from_index(index));
            }
        }
        (keys, (end < self.slots.len()).then_some(end))
    }

    /// Members in slab order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Member)> {
        self.iter_from(0)
    }

    /// Adds a member whose node is not in yet.
    pub(super) fn insert(&mut self, member: Member) -> Key {
        debug_assert!(!self.index.contains_key(&member.node));
        let key = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Key::from_index(self.slots.len() - 1)
        });
        self.index.insert(member.node, key);
        self.schedule(key, &member);
        self.slots[key.index()] = Some(member);
        key
    }

    /// Takes a member out.
    pub(super) fn remove(&mut self, key: Key) -> Member {
        let member = self.slots[key.index()].take().expect("only taken slots are emptied");
        self.index.remove(&member.node);
        self.unschedule(key, &member);
        self.free.push(key);
        if self.index.is_empty() {
            *self = Self::default();
        }
        member
    }

    /// Changes a member in place and keeps the timetable right.
    pub(super) fn update<R>(&mut self, key: Key, change: impl FnOnce(&mut Member) -> R) -> R {
        let mut member = self.slots[key.index()].take().expect("only taken slots are changed");
        let before = (member.lease.deadline(), member.interests.next_expiry());
        let result = change(&mut member);
        if before != (member.lease.deadline(), member.interests.next_expiry()) {
            for (at, timer) in [(before.0, Timer::Lease), (before.1, Timer::Interest)] {
                if let Some(at) = at {
                    self.timers.remove(&(at, key, timer));
                }
            }
            self.schedule(key, &member);
        }
        self.slots[key.index()] = Some(member);
        result
    }

    /// The earliest deadline of any member.
    pub fn next_expiry(&self) -> Option<u64> {
        self.timers.first().map(|(at, _, _)| *at)
    }

    /// What is due at `now`, earliest first; at most `limit` of it.
    pub(super) fn due(&self, now: u64, limit: usize) -> Vec<(Key, Timer)> {
        self.timers
            .iter()
            .take_while(|(at, _, _)| *at <= now)
            .take(limit)
            .map(|(_, key, timer)| (*key, *timer))
            .collect()
    }

    /// The actor is a member, or `regent` (the one who may act without a session);
    /// a session that it names is its current one.
    pub(super) fn admit(&self, by: &By, regent: Option<NodeId>) -> Result<(), Rejection> {
        match (self.find(by.node), by.session) {
            (Some(member), Some(given)) if member.session != given => {
                Err(Rejection::SessionReplaced { node: by.node, given })
            }
            (Some(_), _) => Ok(()),
            (None, None) if Some(by.node) == regent => Ok(()),
            // A session that it names is over, and no other one has begun.
            (None, _) => Err(Rejection::NotAMember(by.node)),
        }
    }

    /// The answer to a Join that repeats the request that made the current session.
    pub(super) fn repeated_join(&self, join: &Join) -> Result<Option<Applied>, Rejection> {
        let Some(member) = self.find(join.node) else { return Ok(None) };
        match (member.join_request.as_deref(), &join.request) {
            (Some((made_by, revision)), Some(request)) if made_by.name == request.name => {
                if made_by.fingerprint == request.fingerprint {
                    Ok(Some(Applied { revision: *revision, session: Some(member.session), ..Applied::default() }))
                } else {
                    Err(Rejection::RequestReused)
                }
            }
            _ => Ok(None),
        }
    }

    pub(super) fn has_room_for_interests(&self, join: &Join) -> Result<(), Rejection> {
        let none = Interests::default();
        let interests = self.find(join.node).map_or(&none, |member| &member.interests);
        if !interests.has_room_for(&join.interests) {
            return Err(Rejection::Quota { what: "interests of a member", max: MAX_OVERRIDES });
        }
        Ok(())
    }

    /// Changes the lease of a current session.
    pub(super) fn renew(
        &mut self,
        node: NodeId,
        session: SessionId,
        now: u64,
        change: impl FnOnce(&mut Lease, u64),
    ) -> Result<(), Rejection> {
        let key = self.key(node).ok_or(Rejection::NotAMember(node))?;
        if self.at(key).session != session {
            return Err(Rejection::SessionReplaced { node, given: session });
        }
        self.update(key, |member| change(&mut member.lease, now));
        Ok(())
    }

    /// Detaches every session from a pod. O(members).
    pub(super) fn pod_gone(&mut self, pod: PodId, now: u64) {
        let keys: Vec<Key> =
            self.iter().filter(|(_, member)| member.lease.is_attached_to(pod)).map(|(key, _)| key).collect();
        for key in keys {
            self.update(key, |member| member.lease.detach(pod, now));
        }
    }

    /// Panics when an invariant of the module does not hold. O(n).
    pub fn check(&self) {
        let mut deadlines = BTreeSet::new();
        let mut members = 0;
        for (key, member) in self.iter() {
            members += 1;
            assert_eq!(self.key(member.node), Some(key), "the index names each member's slot");
            deadlines.extend(member.lease.deadline().map(|at| (at, key, Timer::Lease)));
            deadlines.extend(member.interests.next_expiry().map(|at| (at, key, Timer::Interest)));
        }
        assert_eq!(members, self.index.len());
        assert_eq!(members + self.free.len(), self.slots.len(), "what is not taken is free");
        assert!(self.free.iter().all(|key| self.get(*key).is_none()));
        assert_eq!(deadlines, self.timers, "the timetable holds exactly the members' deadlines");
    }

    fn schedule(&mut self, key: Key, member: &Member) {
        self.timers.extend(member.lease.deadline().map(|at| (at, key, Timer::Lease)));
        self.timers.extend(member.interests.next_expiry().map(|at| (at, key, Timer::Interest)));
    }

    fn unschedule(&mut self, key: Key, member: &Member) {
        if let Some(at) = member.lease.deadline() {
            self.timers.remove(&(at, key, Timer::Lease));
        }
        if let Some(at) = member.interests.next_expiry() {
            self.timers.remove(&(at, key, Timer::Interest));
        }
    }
}

/// The index is left out: it is derived, and its order is nobody's business.
impl Hash for Roster {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.slots.hash(state);
        self.free.hash(state);
        self.timers.hash(state);
    }
}

#[cfg(test)]
mod tests;
