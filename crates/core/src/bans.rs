//! Nodes that a swarm keeps out for a time, whatever they show.
//!
//! A ban holds while the time of commands is before its end; the table forgets it with the first Expire after. It is
//! about a node that is not in: whoever is banned is put out in the same step.
//!
//! Invariants ([`Bans::check`]): both sides of the table hold the same, and (`validate`) no more than [`MAX_BANS`].

use std::ops::Bound;

use super::counted::{Map, Set};
use super::error::Rejection;
use super::id::NodeId;
use super::invariant::{BrokenInvariant, LARGEST, ensure};

/// The most bans of a swarm.
pub const MAX_BANS: u32 = 10_000;

/// The bans of a swarm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bans {
    /// When each ends, in milliseconds since the Unix epoch.
    ends: Map<NodeId, u64>,
    due: Set<(u64, NodeId)>,
}

impl Bans {
    /// How many there are, with those that are over and not forgotten yet.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// When the ban of a node that is banned at `now` ends, both in milliseconds since the Unix epoch. O(log bans).
    pub fn end(&self, node: NodeId, now: u64) -> Option<u64> {
        self.ends.get(&node).copied().filter(|end| *end > now)
    }

    /// The nodes in their order, from this one on, and when the ban of each ends.
    pub fn iter_from(&self, from: Option<NodeId>) -> impl Iterator<Item = (NodeId, u64)> {
        let from = from.map_or(Bound::Unbounded, Bound::Included);
        self.ends.range((from, Bound::Unbounded)).map(|(node, end)| (*node, *end))
    }

    /// What it takes outside itself, in bytes. O(1).
    pub(super) fn heap_bytes(&self) -> usize {
        // Two trees of entries of 16 bytes, in nodes of 11 that are more than half full as a rule
        // (`tests/memory.rs` compares with what is allocated).
        const NODES: usize = 2 * 192;
        const ENTRIES: usize = 2 * 40;
        if self.is_empty() { 0 } else { NODES + self.len() * ENTRIES }
    }

    /// Refuses a ban more than there may be.
    pub(super) fn has_room_for(&self, node: NodeId) -> Result<(), Rejection> {
        if self.ends.contains_key(&node) || self.len() < MAX_BANS as usize {
            Ok(())
        } else {
            Err(Rejection::Quota { what: "bans", max: MAX_BANS })
        }
    }

    /// Bans a node until `end`, whatever was said of it before. True when that is something else.
    pub(super) fn set(&mut self, node: NodeId, end: u64) -> bool {
        let before = self.ends.insert(node, end);
        if let Some(before) = before {
            self.due.remove(&(before, node));
        }
        self.due.insert((end, node));
        before != Some(end)
    }

    /// Lifts the ban of a node. True when there was one.
    pub(super) fn lift(&mut self, node: NodeId) -> bool {
        let before = self.ends.remove(&node);
        before.is_some_and(|end| self.due.remove(&(end, node)))
    }

    /// When the next one ends.
    pub(super) fn next_end(&self) -> Option<u64> {
        self.due.first().map(|(end, _)| *end)
    }

    /// Forgets what is over at `now`, at most `limit` of it, what ended first first. O(limit log bans).
    pub(super) fn take_due(&mut self, now: u64, limit: usize) -> Vec<NodeId> {
        let due: Vec<_> =
            self.due.iter().take_while(|(end, _)| *end <= now).take(limit).map(|(_, node)| *node).collect();
        due.iter().for_each(|node| {
            self.lift(*node);
        });
        due
    }

    /// Refuses what no command makes. O(n).
    pub(super) fn validate(&self) -> Result<(), BrokenInvariant> {
        ensure(self.ends.len() <= MAX_BANS as usize, "bans are bounded")?;
        ensure(self.due.last().is_none_or(|(end, _)| *end <= LARGEST), "bans end below 2^60")
    }

    /// Panics when the sides of the table differ. O(n).
    pub(super) fn check(&self) {
        let mut due: Vec<_> = self.ends.iter().map(|(node, end)| (*end, *node)).collect();
        due.sort_unstable();
        assert!(self.due.iter().copied().eq(due), "each ban ends once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    #[test]
    fn ban_holds_until_its_end_and_not_longer() {
        let mut bans = Bans::default();
        assert!(bans.set(node(1), 100));
        assert_eq!((bans.end(node(1), 99), bans.end(node(1), 100), bans.end(node(2), 0)), (Some(100), None, None));
        assert!(!bans.set(node(1), 100), "as it was");
        assert!(bans.set(node(1), 50), "shorter now");
        assert_eq!((bans.next_end(), bans.len()), (Some(50), 1));
        bans.check();
        assert_eq!(bans.take_due(49, 10), []);
        assert_eq!(bans.take_due(50, 10), [node(1)]);
        assert!(bans.is_empty() && bans.next_end().is_none() && !bans.lift(node(1)));
        assert_eq!(bans.heap_bytes(), 0);
    }

    #[test]
    fn what_is_over_is_forgotten_in_portions() {
        let mut bans = Bans::default();
        for (number, end) in [(3, 10), (1, 20), (2, 10), (4, 30)] {
            bans.set(node(number), end);
        }
        assert_eq!(bans.take_due(20, 2), [node(2), node(3)]);
        assert_eq!(bans.take_due(20, 2), [node(1)]);
        assert_eq!(bans.iter_from(None).collect::<Vec<_>>(), [(node(4), 30)]);
        bans.check();
    }

    #[test]
    fn full_table_still_takes_who_is_in_it() {
        let mut bans = Bans::default();
        (1..=u64::from(MAX_BANS)).for_each(|number| assert!(bans.set(node(number), number)));
        let full = Err(Rejection::Quota { what: "bans", max: MAX_BANS });
        assert_eq!((bans.has_room_for(node(1)), bans.has_room_for(node(1 << 40))), (Ok(()), full));
        assert_eq!(bans.iter_from(Some(node(9_999))).map(|(node, _)| node.get()).collect::<Vec<_>>(), [9_999, 10_000]);
        bans.check();
        bans.lift(node(5));
        assert_eq!(bans.has_room_for(node(1 << 40)), Ok(()));
    }
}
