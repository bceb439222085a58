//! The members of a swarm, in a slab, with an index by node and a timetable.
//!
//! Order lives in the slab: iteration and paging follow it, so that they give
//! the same on every pod, and a member that is present throughout a scan is seen
//! exactly once.
//!
//! Invariants ([`Roster::check`]): the index names each member's slot; free
//! slots are vacant; the timetable holds exactly the deadlines of the members; pods have those with a stream or a term on them.

use std::hash::{Hash, Hasher};

use super::counted::{Chunks, Set};
use super::hash::WordHasher;
use super::id::{MemberKey, NodeId, PodId};
use super::member::Member;
use super::node_index::NodeIndex;

use attached::Attached;

mod attached;
mod restore;

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
    slots: Chunks<Option<Member>>,
    free: Chunks<MemberKey>,
    index: NodeIndex,
    timers: Set<(u64, MemberKey, Timer)>,
    attached: Attached,
    /// What the members hold outside their slots, in bytes.
    heap: usize,
    /// Of each member and of each free slot, added up.
    digest: u64,
}

impl Roster {
    /// Number of members.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// What it takes, in bytes, as far as its collections tell. O(1).
    pub fn bytes(&self) -> usize {
        // A set of entries of 24 bytes has nodes that are half full at least.
        self.slots.bytes()
            + self.free.bytes()
            + self.index.bytes()
            + self.timers.len() * 40
            + self.attached.bytes()
            + self.heap
    }

    /// True when nobody is in.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The slot of `node`.
    pub fn key(&self, node: NodeId) -> Option<MemberKey> {
        self.index.get(node)
    }

    /// The member in a slot, if it is taken.
    pub fn get(&self, key: MemberKey) -> Option<&Member> {
        self.slots.get(key.index())?.as_ref()
    }

    /// The member of this node.
    pub fn find(&self, node: NodeId) -> Option<&Member> {
        self.key(node).and_then(|key| self.get(key))
    }

    /// The member in a slot that is known to be taken.
    pub(super) fn at(&self, key: MemberKey) -> &Member {
        self.get(key).expect("the key comes from the index, the tree or the timetable")
    }

    /// Members in slab order, from slot `from` on.
    pub fn iter_from(&self, from: usize) -> impl Iterator<Item = (MemberKey, &Member)> {
        (from..)
            .zip(self.slots.iter_from(from))
            .filter_map(|(index, member)| Some((MemberKey::from_index(index), member.as_ref()?)))
    }

    /// Slots from one on, with those that are free.
    pub(super) fn slots_from(&self, from: usize) -> impl Iterator<Item = Option<&Member>> {
        self.slots.iter_from(from).map(Option::as_ref)
    }

    /// The free slots from a place in their list on. The last one of the list is taken next.
    pub(super) fn free_from(&self, from: usize) -> impl Iterator<Item = MemberKey> {
        self.free.iter_from(from).copied()
    }

    /// How many slots are free.
    pub(super) fn free_len(&self) -> usize {
        self.free.len()
    }

    /// Up to `limit` members that `wanted` admits, from slot `from` on, and the slot
    /// where the next page begins, if anybody may be there. Looks at no more than
    /// [`PAGE_SLOTS`] slots: after many left, a page may be short.
    pub fn page(&self, from: usize, limit: usize, wanted: impl Fn(&Member) -> bool) -> (Vec<MemberKey>, Option<usize>) {
        let mut keys = Vec::new();
        let end = self.slots.len().min(from.saturating_add(PAGE_SLOTS));
        for index in from..end {
            if self.slots[index].as_ref().is_some_and(&wanted) {
                if keys.len() == limit {
                    return (keys, Some(index));
                }
                keys.push(MemberKey::from_index(index));
            }
        }
        (keys, (end < self.slots.len()).then_some(end))
    }

    /// Members in slab order.
    pub fn iter(&self) -> impl Iterator<Item = (MemberKey, &Member)> {
        self.iter_from(0)
    }

    /// The slots that are taken, in slab order.
    pub(super) fn keys(&self) -> Vec<MemberKey> {
        self.iter().map(|(key, _)| key).collect()
    }

    /// Adds a member whose node is not in yet.
    pub(super) fn insert(&mut self, member: Member) -> MemberKey {
        debug_assert!(self.index.get(member.node).is_none());
        let key = match self.free.pop() {
            Some(key) => {
                self.digest = self.digest.wrapping_sub(free_digest(self.free.len(), key));
                key
            }
            None => {
                self.slots.push(None);
                MemberKey::from_index(self.slots.len() - 1)
            }
        };
        self.index.insert(member.node, key);
        self.schedule(key, &member);
        self.attached.add(key, &member.pods());
        self.heap += member.heap_bytes();
        self.digest = self.digest.wrapping_add(member.digest(key));
        self.slots[key.index()] = Some(member);
        key
    }

    /// Takes a member out.
    pub(super) fn remove(&mut self, key: MemberKey) -> Member {
        let member = self.slots[key.index()].take().expect("only taken slots are emptied");
        self.index.remove(member.node);
        self.unschedule(key, &member);
        self.attached.remove(key, &member.pods());
        self.heap -= member.heap_bytes();
        self.digest = self.digest.wrapping_sub(member.digest(key)).wrapping_add(free_digest(self.free.len(), key));
        self.free.push(key);
        member
    }

    /// Begins anew when the last member has left: what it was may hold the slots of a million, to be dropped outside
    /// any lock.
    pub(super) fn take_emptied(&mut self) -> Option<Self> {
        (self.index.is_empty() && !self.slots.is_empty()).then(|| std::mem::take(self))
    }

    /// Changes a member in place and keeps the timetable right.
    pub(super) fn update<R>(&mut self, key: MemberKey, change: impl FnOnce(&mut Member) -> R) -> R {
        let mut member = self.slots[key.index()].take().expect("only taken slots are changed");
        let before = (member.lease.deadline(), member.interests.next_expiry());
        let pods = member.pods().into_owned();
        self.heap -= member.heap_bytes();
        self.digest = self.digest.wrapping_sub(member.digest(key));
        let result = change(&mut member);
        self.digest = self.digest.wrapping_add(member.digest(key));
        self.heap += member.heap_bytes();
        if before != (member.lease.deadline(), member.interests.next_expiry()) {
            for (at, timer) in [(before.0, Timer::Lease), (before.1, Timer::Interest)] {
                if let Some(at) = at {
                    self.timers.remove(&(at, key, timer));
                }
            }
            self.schedule(key, &member);
        }
        let pods_now = member.pods();
        if pods != *pods_now {
            self.attached.remove(key, &pods);
            self.attached.add(key, &pods_now);
        }
        drop(pods_now);
        self.slots[key.index()] = Some(member);
        result
    }

    /// The members that have a stream, or a term at home, on a pod of a cluster, in the order of their slots, from one of
    /// these on.
    pub(super) fn on_pod(&self, pod: PodId, from: MemberKey) -> impl Iterator<Item = MemberKey> {
        self.attached.on(pod, from)
    }

    /// The pods of a cluster that have any, in order.
    pub(super) fn pods(&self) -> impl Iterator<Item = PodId> {
        self.attached.pods()
    }

    /// The earliest deadline of any member.
    pub fn next_expiry(&self) -> Option<u64> {
        self.timers.first().map(|(at, _, _)| *at)
    }

    /// What is due at `now`, earliest first; at most `limit` of it.
    pub(super) fn due(&self, now: u64, limit: usize) -> Vec<(MemberKey, Timer)> {
        self.timers
            .iter()
            .take_while(|(at, _, _)| *at <= now)
            .take(limit)
            .map(|(_, key, timer)| (*key, *timer))
            .collect()
    }

    /// A digest of all members in their slots, and of the list of the free ones. O(1).
    pub(super) const fn digest(&self) -> u64 {
        self.digest
    }

    /// Panics when an invariant of the module does not hold. O(n).
    pub fn check(&self) {
        let mut deadlines = Set::new();
        let mut members = 0;
        let mut attached = Attached::default();
        for (key, member) in self.iter() {
            members += 1;
            attached.add(key, &member.pods());
            assert_eq!(self.key(member.node), Some(key), "the index names each member's slot");
            deadlines.extend(member.lease.deadline().map(|at| (at, key, Timer::Lease)));
            deadlines.extend(member.interests.next_expiry().map(|at| (at, key, Timer::Interest)));
        }
        assert_eq!(members, self.index.len());
        assert_eq!(members + self.free.len(), self.slots.len(), "what is not taken is free");
        assert!(self.free.iter().all(|key| self.get(*key).is_none()));
        assert_eq!(attached, self.attached, "pods have those with a stream or a term on them");
        assert_eq!(deadlines, self.timers, "the timetable holds exactly the members' deadlines");
        let members = self.iter().map(|(key, member)| member.digest(key));
        let free = (0..).zip(self.free.iter()).map(|(at, key)| free_digest(at, *key));
        assert_eq!(self.digest, members.chain(free).fold(0, u64::wrapping_add), "what they are adds up");
        assert_eq!(self.heap, self.iter().map(|(_, member)| member.heap_bytes()).sum(), "what they hold adds up");
    }

    fn schedule(&mut self, key: MemberKey, member: &Member) {
        self.timers.extend(member.lease.deadline().map(|at| (at, key, Timer::Lease)));
        self.timers.extend(member.interests.next_expiry().map(|at| (at, key, Timer::Interest)));
    }

    fn unschedule(&mut self, key: MemberKey, member: &Member) {
        if let Some(at) = member.lease.deadline() {
            self.timers.remove(&(at, key, Timer::Lease));
        }
        if let Some(at) = member.interests.next_expiry() {
            self.timers.remove(&(at, key, Timer::Interest));
        }
    }
}

/// A digest of a free slot at a place in the list of them, unlike that of any member.
const fn free_digest(at: usize, key: MemberKey) -> u64 {
    let mut digest = WordHasher::new(u64::MAX);
    digest.word(at as u64);
    digest.word(key.index() as u64);
    digest.finish()
}

/// The index is left out: it is derived, and its order differs from process to process.
impl Hash for Roster {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.slots.hash(state);
        self.free.hash(state);
        self.timers.hash(state);
    }
}

#[cfg(test)]
mod tests;
