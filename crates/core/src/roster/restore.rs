//! A roster that is put together again, slot by slot, from what another one held.
//!
//! Slots, their members and the list of the free ones decide what follows; the index by node, the timetable, who
//! has a stream where and the sum of bytes are made of them anew.

use super::{Roster, free_digest};
use crate::id::MemberKey;
use crate::member::Member;

impl Roster {
    /// Adds a slot to the list of the free ones. It is given its place by [`Self::restore_vacant`].
    pub(crate) fn restore_free(&mut self, key: MemberKey) {
        self.digest = self.digest.wrapping_add(free_digest(self.free.len(), key));
        self.free.push(key);
    }

    /// Adds a slot that is free.
    pub(crate) fn restore_vacant(&mut self) {
        self.slots.push(None);
    }

    /// Adds a slot that is taken. False, and nothing is done, when the node has one already.
    pub(crate) fn restore_member(&mut self, member: Member) -> bool {
        if self.index.get(member.node).is_some() {
            return false;
        }
        let key = MemberKey::from_index(self.slots.len());
        self.index.insert(member.node, key);
        self.schedule(key, &member);
        self.attached.add(key, &member.pods());
        self.heap += member.heap_bytes();
        self.digest = self.digest.wrapping_add(member.digest(key));
        self.slots.push(Some(member));
        true
    }

    /// How many slots there are.
    pub(crate) fn slot_count(&self) -> usize {
        self.slots.len()
    }
}
