//! The relay tree: one array, balanced after any history.
//!
//! Slots `0..R` hold relays, slots `R..n` hold leaf-only nodes; the root (the
//! broadcaster) stands outside. With fan-out `f` the tree is the heap layout of
//! an f-ary tree whose root has the first `f` slots as children:
//!
//! - `parent(i)` is the root for `i < f`, else slot `i / f - 1`;
//! - `children(i)` are the slots `f(i+1) .. f(i+2)` for `i < R`;
//! - slot `i` is attached iff `i < f(R + 1)`. Those beyond are edge-served.
//!
//! A join or leave moves at most three occupants, so the layout stays complete
//! and its depth optimal whatever came before. No rebalancing, no search.
//!
//! Invariants ([`RelayTree::check`]): relays lie before leaf-only nodes; every
//! key is in exactly one slot and `position` is the inverse of `slots`. From the
//! layout follow: one parent each, no cycle, nobody over the fan-out, every
//! attached node reaches the root through relays.

use crate::swarm::roster::Key;

const NOWHERE: u32 = u32::MAX;

/// Whom an attached node receives from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parent {
    /// The broadcaster.
    Root,
    /// A relay.
    Relay(Key),
}

/// Where a node stands in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// `None`: edge-served.
    pub parent: Option<Parent>,
    /// Whom to turn to when the parent fails.
    pub backup: Option<Parent>,
    /// Hops from the root, from 1; 0 when edge-served.
    pub depth: u32,
}

/// A balanced f-ary tree of relays with leaf-only nodes at its lower end.
///
/// Memory: 8 bytes per key.
#[derive(Clone, Debug, Hash)]
pub struct RelayTree {
    slots: Vec<Key>,
    /// Slot of each key, indexed by key.
    position: Vec<u32>,
    relays: usize,
    fanout: usize,
}

impl RelayTree {
    /// An empty tree in which nobody feeds more than `fanout` nodes (at least 2).
    pub fn new(fanout: u32) -> Self {
        assert!(fanout >= 2, "a relay tree needs a fan-out of at least 2");
        Self { slots: Vec::new(), position: Vec::new(), relays: 0, fanout: fanout as usize }
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True when there is no node.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Number of nodes that forward.
    pub fn relays(&self) -> usize {
        self.relays
    }

    /// True when `key` is in the tree.
    pub fn contains(&self, key: Key) -> bool {
        self.slot(key).is_some()
    }

    /// True when `key` is in the tree and forwards.
    pub fn is_relay(&self, key: Key) -> bool {
        self.slot(key).is_some_and(|slot| slot < self.relays)
    }

    /// All nodes, relays first.
    pub fn keys(&self) -> &[Key] {
        &self.slots
    }

    /// Adds a node that is not in the tree. O(1).
    pub fn insert(&mut self, key: Key, can_relay: bool) {
        debug_assert!(!self.contains(key), "{key:?} is in the tree already");
        if self.position.len() <= key.index() {
            self.position.resize(key.index() + 1, NOWHERE);
        }
        let last = self.slots.len();
        self.slots.push(key);
        self.settle(last);
        if can_relay {
            self.slots.swap(last, self.relays);
            self.settle(last);
            self.settle(self.relays);
            self.relays += 1;
        }
    }

    /// Removes a node; false when it was not there. O(1).
    pub fn remove(&mut self, key: Key) -> bool {
        let Some(slot) = self.slot(key) else { return false };
        self.position[key.index()] = NOWHERE;
        let hole = if slot < self.relays {
            self.relays -= 1;
            self.slots[slot] = self.slots[self.relays];
            self.slots[self.relays] = key;
            if slot != self.relays {
                self.settle(slot);
            }
            self.relays
        } else {
            slot
        };
        self.slots.swap_remove(hole);
        if hole < self.slots.len() {
            self.settle(hole);
        }
        if self.slots.is_empty() {
            self.position = Vec::new();
        }
        true
    }

    /// The nodes that the broadcaster feeds.
    pub fn root_children(&self) -> &[Key] {
        &self.slots[..self.fanout.min(self.slots.len())]
    }

    /// The nodes that `key` feeds; none for leaf-only nodes.
    pub fn children(&self, key: Key) -> &[Key] {
        match self.slot(key) {
            Some(slot) if slot < self.relays => &self.slots[self.child_slots(slot)],
            _ => &[],
        }
    }

    /// Where `key` stands; `None` when it is not in the tree.
    pub fn place(&self, key: Key) -> Option<Place> {
        self.slot(key).map(|slot| self.place_of_slot(slot))
    }

    /// Hops from the root to the farthest attached node: the least `d` with
    /// `f + f^2 + .. + f^d >= min(n, f(R + 1))`. 0 when empty.
    pub fn depth(&self) -> u32 {
        let attached = self.slots.len().min(self.fanout * (self.relays + 1));
        attached.checked_sub(1).map_or(0, |last| self.depth_of_slot(last))
    }

    /// The slots whose occupants may see a change when a node joins: a superset,
    /// as ranges that may overlap. O(1) ranges of O(f) slots.
    pub fn disturbed_by_insert(&self, can_relay: bool) -> Disturbed {
        let last = self.slots.len();
        if can_relay {
            self.disturbed(&[self.relays, last], self.relays, self.relays + 1)
        } else {
            self.disturbed(&[last], self.relays, self.relays)
        }
    }

    /// The same for the leave of `key`; nothing when it is not in the tree.
    pub fn disturbed_by_remove(&self, key: Key) -> Disturbed {
        let Some(slot) = self.slot(key) else { return Disturbed::default() };
        let last = self.slots.len() - 1;
        if slot < self.relays {
            self.disturbed(&[slot, self.relays - 1, last], self.relays, self.relays - 1)
        } else {
            self.disturbed(&[slot, last], self.relays, self.relays)
        }
    }

    /// Calls `see` with each node in `disturbed` and its place as it is now, some
    /// of them more than once.
    pub fn each(&self, disturbed: &Disturbed, mut see: impl FnMut(Key, Place)) {
        for &(from, to) in &disturbed.ranges[..disturbed.len] {
            for slot in from..to.min(self.slots.len()) {
                see(self.slots[slot], self.place_of_slot(slot));
            }
        }
    }

    /// Panics when an invariant of the module does not hold. O(n).
    pub fn check(&self) {
        assert!(self.relays <= self.slots.len());
        assert_eq!(self.position.iter().filter(|slot| **slot != NOWHERE).count(), self.slots.len());
        for (slot, key) in self.slots.iter().enumerate() {
            assert_eq!(self.position[key.index()] as usize, slot, "position is the inverse of slots");
            match self.place_of_slot(slot).parent {
                Some(Parent::Relay(parent)) => {
                    let parent = self.slot(parent).expect("a parent is in the tree");
                    assert!(parent < self.relays, "a parent is a relay");
                    assert!(parent < slot, "a parent lies nearer to the root");
                    assert!(self.child_slots(parent).contains(&slot), "a child is listed by its parent");
                }
                Some(Parent::Root) => assert!(slot < self.fanout),
                None => assert!(slot >= self.fanout * (self.relays + 1), "only the surplus is edge-served"),
            }
        }
    }

    /// What changes for others when the occupants of `moved` change and the
    /// number of relays goes from `before` to `after`:
    /// the moved nodes; the children of moved slots (their parent changes); the
    /// children of the slot before a moved one, and those of the last relays
    /// (their backup changes); the children that the slot at the boundary gains
    /// or loses.
    fn disturbed(&self, moved: &[usize], before: usize, after: usize) -> Disturbed {
        let mut disturbed = Disturbed::default();
        let relays = before.max(after);
        let block = |slot: usize| (self.fanout * (slot + 1), self.fanout * (slot + 2));
        for &slot in moved {
            disturbed.push((slot, slot + 1));
            if slot < relays {
                let (from, to) = block(slot);
                // The children of the slot before it lie directly before its own.
                disturbed.push((if slot > 0 { from - self.fanout } else { from }, to));
            }
            if slot == 0 && relays > 0 {
                disturbed.push(block(relays - 1));
            }
        }
        if before != after {
            let edge = before.min(after);
            // The backup of the last relay's children wraps to slot 0.
            let (from, to) = block(edge);
            disturbed.push((from.saturating_sub(self.fanout).max(self.fanout), to));
        }
        disturbed
    }

    fn slot(&self, key: Key) -> Option<usize> {
        match self.position.get(key.index()) {
            None | Some(&NOWHERE) => None,
            Some(&slot) => Some(slot as usize),
        }
    }

    fn settle(&mut self, slot: usize) {
        let key = self.slots[slot];
        self.position[key.index()] = u32::try_from(slot).expect("keys are 32 bits wide, so are slots");
    }

    fn child_slots(&self, slot: usize) -> std::ops::Range<usize> {
        let end = self.slots.len();
        (self.fanout * (slot + 1)).min(end)..(self.fanout * (slot + 2)).min(end)
    }

    fn place_of_slot(&self, slot: usize) -> Place {
        if slot >= self.fanout * (self.relays + 1) {
            return Place { parent: None, backup: None, depth: 0 };
        }
        if slot < self.fanout {
            return Place { parent: Some(Parent::Root), backup: None, depth: 1 };
        }
        let parent = slot / self.fanout - 1;
        let backup = if self.relays == 1 {
            Parent::Root
        } else {
            Parent::Relay(self.slots[if parent + 1 == self.relays { 0 } else { parent + 1 }])
        };
        Place { parent: Some(Parent::Relay(self.slots[parent])), backup: Some(backup), depth: self.depth_of_slot(slot) }
    }

    fn depth_of_slot(&self, slot: usize) -> u32 {
        let (mut depth, mut level, mut end) = (1, self.fanout, self.fanout);
        while slot >= end {
            level *= self.fanout;
            end += level;
            depth += 1;
        }
        depth
    }
}

/// Ranges of slots that a change of the tree may concern.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disturbed {
    ranges: [(usize, usize); 12],
    len: usize,
}

impl Disturbed {
    fn push(&mut self, range: (usize, usize)) {
        self.ranges[self.len] = range;
        self.len += 1;
    }
}
