//! Where each node is, in a hash table that grows by one part at a time.
//!
//! A hash table of `std` moves all of its entries when it is full: at a million members some ten milliseconds, for
//! which everybody waits. This one is many small tables. When there are too many entries, one of them is split in two
//! (Litwin, "Linear hashing: a new tool for file and table addressing", 1980): no insertion moves more than some
//! thousands.

use std::collections::HashMap;

use super::counted::List;
use super::hash::splitmix64;
use super::id::{MemberKey, NodeId};
use super::steps::count;

/// Entries of a part, on average, at which one is split.
const FULL: usize = 1_024;

/// Slots by node.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeIndex {
    /// None while nobody is in.
    parts: List<HashMap<NodeId, MemberKey>>,
    len: usize,
    /// Of all parts.
    capacity: usize,
}

impl NodeIndex {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What it takes outside itself, in bytes. O(1).
    pub(super) fn bytes(&self) -> usize {
        // A map of entries of 12 bytes is at most 7/8 full and grows by doubling.
        self.capacity * 20 + self.parts.capacity() * size_of::<HashMap<NodeId, MemberKey>>()
    }

    pub(super) fn get(&self, node: NodeId) -> Option<MemberKey> {
        count(1);
        self.parts.unvisited().get(self.part(node))?.get(&node).copied()
    }

    pub(super) fn insert(&mut self, node: NodeId, key: MemberKey) {
        if self.parts.is_empty() {
            self.parts.push(HashMap::new());
        }
        let part = self.part(node);
        self.len += usize::from(self.put(part, node, key).is_none());
        if self.len > self.parts.len() * FULL {
            self.split();
        }
    }

    pub(super) fn remove(&mut self, node: NodeId) {
        let part = self.part(node);
        if let Some(part) = self.parts.get_mut(part) {
            // What is left where an entry was may be of no use to another one.
            self.capacity -= part.capacity();
            self.len -= usize::from(part.remove(&node).is_some());
            self.capacity += part.capacity();
        }
    }

    /// Which part a node belongs to: the bits of its hash that tell all parts apart, or one less where
    /// there is no such part yet.
    fn part(&self, node: NodeId) -> usize {
        let parts = self.parts.len().max(1);
        let mask = parts.next_power_of_two() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "as many bits as there are parts")]
        let part = splitmix64(node.get()) as usize & mask;
        if part < parts { part } else { part & (mask >> 1) }
    }

    fn put(&mut self, part: usize, node: NodeId, key: MemberKey) -> Option<MemberKey> {
        let part = &mut self.parts[part];
        let before = part.capacity();
        count(1 + if part.len() == before { before } else { 0 });
        let known = part.insert(node, key);
        self.capacity = self.capacity - before + part.capacity();
        known
    }

    /// Adds a part, and moves to it what belongs there: all of that was in one other part. O([`FULL`]).
    fn split(&mut self) {
        let new = self.parts.len();
        // The one without the highest bit of the new one's number.
        let old = new - (1 << new.ilog2());
        let entries = std::mem::take(&mut self.parts[old]);
        self.capacity -= entries.capacity();
        self.parts.push(HashMap::new());
        // The order does not matter: each goes to its place.
        #[expect(clippy::iter_over_hash_type, reason = "each entry goes to its own place")]
        for (node, key) in entries {
            let part = self.part(node);
            debug_assert!(part == old || part == new, "a split concerns two parts");
            self.put(part, node, key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn node(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    #[test]
    fn index_finds_what_a_map_finds() {
        let (mut index, mut map) = (NodeIndex::default(), BTreeMap::new());
        // More than one doubling of the parts, and none of them empty.
        for number in 1..=9 * FULL as u64 {
            let key = MemberKey::from_index(usize::try_from(number).unwrap());
            index.insert(node(number * 7), key);
            map.insert(number * 7, key);
            if number % 3 == 0 {
                index.remove(node(number / 3 * 7));
                map.remove(&(number / 3 * 7));
            }
            assert_eq!((index.len(), index.is_empty()), (map.len(), map.is_empty()));
        }
        for number in 0..70 * FULL as u64 {
            assert_eq!(index.get(node(number + 1)), map.get(&(number + 1)).copied());
        }
        let (entries, capacity) = (
            index.parts.iter().map(HashMap::len).sum::<usize>(),
            index.parts.iter().map(HashMap::capacity).sum::<usize>(),
        );
        assert_eq!((entries, capacity), (index.len, index.capacity));
        let parts: Vec<usize> = index.parts.iter().map(HashMap::len).collect();
        assert!(parts.iter().all(|len| (1..4 * FULL).contains(len)), "they are about as large: {parts:?}");
    }
}
