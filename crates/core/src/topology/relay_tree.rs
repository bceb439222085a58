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
//!
//! An example, f = 2, relays A to D, leaf-only x to z; the slots and who feeds them:
//!
//! ```text
//! slot     0     1     2     3   |  4     5     6
//! node     A     B     C     D   |  x     y     z
//! parent   root  root  A     A   |  B     B     C       attached: slots below 2 * (4 + 1) = 10
//! ```
//!
//! B leaves: D, the last relay, takes slot 1, and z, the last node, the slot that D left (3), which is now the first of
//! the leaf-only ones: A D C | z x y. Moved are D and z. D has B's children, x and y; z has D's former parent A; and the
//! children of the slot before the hole (of A) have another backup, D for B. `before_remove` notes just these: the
//! occupants of the slots 1, 3 and 6, and the children of the slots 0 and 1 and of the last relay before and after.

use std::hash::{Hash, Hasher};

use crate::counted::{Chunks, List};
use crate::hash::WordHasher;
use crate::id::MemberKey;

const NOWHERE: u32 = u32::MAX;

/// Whom an attached node receives from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parent {
    /// The broadcaster.
    Root,
    /// A relay.
    Relay(MemberKey),
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
#[derive(Clone, Debug)]
pub struct RelayTree {
    slots: List<MemberKey>,
    /// Slot of each key, indexed by key.
    position: Chunks<u32>,
    relays: usize,
    fanout: usize,
    /// Of each key in its slot, added up.
    digest: u64,
}

impl RelayTree {
    /// An empty tree in which nobody feeds more than `fanout` nodes (at least 2).
    pub fn new(fanout: u32) -> Self {
        assert!(fanout >= 2, "a relay tree needs a fan-out of at least 2");
        Self { slots: List::new(), position: Chunks::new(), relays: 0, fanout: fanout as usize, digest: 0 }
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True when there is no node.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// A tree with these nodes in its slots, of which so many are relays: what [`Self::keys_from`] and
    /// [`Self::relays`] tell of another one. `None` when a node is there twice, or when there are more relays than
    /// nodes. `fanout` as for [`Self::new`].
    pub(crate) fn of(fanout: u32, slots: Vec<MemberKey>, relays: usize) -> Option<Self> {
        let mut tree = Self { relays, ..Self::new(fanout) };
        for key in slots {
            tree.position.fill_to(key.index() + 1, NOWHERE);
            if tree.contains(key) {
                return None;
            }
            tree.slots.push(key);
            tree.settle(tree.slots.len() - 1);
        }
        (relays <= tree.slots.len()).then_some(tree)
    }

    /// The nodes from a slot on, relays first.
    pub(crate) fn keys_from(&self, slot: usize) -> impl Iterator<Item = &MemberKey> {
        self.slots.iter_from(slot)
    }

    /// What it takes outside itself, in bytes. O(1).
    pub fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u32>() + self.position.bytes()
    }

    /// Number of nodes that forward.
    pub fn relays(&self) -> usize {
        self.relays
    }

    /// True when `key` is in the tree.
    pub fn contains(&self, key: MemberKey) -> bool {
        self.slot(key).is_some()
    }

    /// True when `key` is in the tree and forwards.
    pub fn is_relay(&self, key: MemberKey) -> bool {
        self.slot(key).is_some_and(|slot| slot < self.relays)
    }

    /// All nodes, relays first.
    pub fn keys(&self) -> &[MemberKey] {
        self.slots.slice(0..self.slots.len())
    }

    /// Adds a node that is not in the tree. O(1).
    pub fn insert(&mut self, key: MemberKey, can_relay: bool) {
        debug_assert!(!self.contains(key), "{key:?} is in the tree already");
        self.position.fill_to(key.index() + 1, NOWHERE);
        let last = self.slots.len();
        self.slots.push(key);
        self.settle(last);
        // A relay takes the first leaf-only slot; who stood there goes to the end, where nobody depends on it.
        if can_relay {
            self.slots.swap(last, self.relays);
            self.settle(last);
            self.settle(self.relays);
            self.relays += 1;
        }
    }

    /// Removes a node; false when it was not there. O(1).
    pub fn remove(&mut self, key: MemberKey) -> bool {
        let Some(slot) = self.slot(key) else { return false };
        self.position[key.index()] = NOWHERE;
        self.digest = self.digest.wrapping_sub(digest_in(key, slot));
        let hole = if slot < self.relays {
            // The last relay fills the hole: any other one would leave a second hole among the relays.
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
        // The last node fills what is left: at the end of the array a hole costs nobody a place.
        self.slots.swap_remove(hole);
        if hole < self.slots.len() {
            self.settle(hole);
        }
        if self.slots.is_empty() {
            // A tree that is empty again must not keep 4 bytes for each key that ever was.
            self.position = Chunks::new();
        }
        true
    }

    /// The nodes that the broadcaster feeds.
    pub fn root_children(&self) -> &[MemberKey] {
        self.slots.slice(0..self.fanout.min(self.slots.len()))
    }

    /// The nodes that `key` feeds; none for leaf-only nodes.
    pub fn children(&self, key: MemberKey) -> &[MemberKey] {
        match self.slot(key) {
            Some(slot) if slot < self.relays => self.slots.slice(self.child_slots(slot)),
            _ => &[],
        }
    }

    /// True when `key` feeds any. O(1).
    pub fn feeds(&self, key: MemberKey) -> bool {
        self.slot(key).is_some_and(|slot| slot < self.relays && !self.child_slots(slot).is_empty())
    }

    /// The nodes that turn to `key` when their parent fails. O(1).
    pub fn backed_by(&self, key: MemberKey) -> &[MemberKey] {
        match self.slot(key) {
            Some(slot) if slot < self.relays && self.relays > 1 => {
                // Backups go round: children of slot i turn to slot i + 1, those of the last relay to slot 0. A relay
                // is never the backup of its own children, and takes over one block at most.
                let previous = slot.checked_sub(1).unwrap_or(self.relays - 1);
                self.slots.slice(self.child_slots(previous))
            }
            _ => &[],
        }
    }

    /// The nodes that turn to the broadcaster when their parent fails. O(1).
    pub fn backed_by_root(&self) -> &[MemberKey] {
        if self.relays == 1 { self.slots.slice(self.child_slots(0)) } else { &[] }
    }

    /// Where `key` stands; `None` when it is not in the tree.
    pub fn place(&self, key: MemberKey) -> Option<Place> {
        self.slot(key).map(|slot| self.place_of_slot(slot))
    }

    /// Hops from the root to the farthest attached node: the least `d` with
    /// `f + f^2 + .. + f^d >= min(n, f(R + 1))`. 0 when empty.
    pub fn depth(&self) -> u32 {
        let attached = self.slots.len().min(self.fanout * (self.relays + 1));
        attached.checked_sub(1).map_or(0, |last| self.depth_of_slot(last))
    }

    /// What a join of a relay or a leaf-only node may change for others; to be
    /// taken before it. O(1).
    pub fn before_insert(&self, key: MemberKey, can_relay: bool) -> Before {
        let last = self.slots.len();
        let after = self.relays + usize::from(can_relay);
        let mut before = Before { subject: Some(key), ..Before::default() };
        if can_relay {
            self.note(&mut before, self.relays, after);
        }
        self.note(&mut before, last, after);
        self.note_boundary(&mut before, after);
        before
    }

    /// The same for the leave of `key`; nothing when it is not in the tree.
    pub fn before_remove(&self, key: MemberKey) -> Before {
        let mut before = Before { subject: Some(key), ..Before::default() };
        let Some(slot) = self.slot(key) else { return before };
        let after = self.relays - usize::from(slot < self.relays);
        self.note(&mut before, slot, after);
        if slot < self.relays {
            self.note(&mut before, self.relays - 1, after);
        }
        self.note(&mut before, self.slots.len() - 1, after);
        self.note_boundary(&mut before, after);
        before
    }

    /// Calls `see` once with each node whose place is another than `before`, with
    /// the old place and the new one; the node that joined or left is not among
    /// them. O(1) for whoever did not move, O(f) for what is told.
    pub fn moved_since(&self, before: &Before, mut see: impl FnMut(MemberKey, Place, Place)) {
        let movers = &before.movers[..before.mover_count];
        for &(key, old) in movers {
            // Who left has no place any more, and who joined had none.
            if let Some(new) = self.place(key).filter(|new| *new != old) {
                see(key, old, new);
            }
        }
        for &(parent, old) in &before.blocks[..before.block_count] {
            // All children of a slot share their place: one comparison decides for the whole block.
            let new = self.place_below(parent);
            if new == old {
                continue;
            }
            for &key in self.slots.slice(self.child_slots(parent)) {
                // Movers were told above, with the place that they came from.
                if movers.iter().all(|(mover, _)| *mover != key) && before.subject != Some(key) {
                    see(key, old, new);
                }
            }
        }
    }

    /// A digest of all keys in their slots. O(1).
    pub(crate) const fn digest(&self) -> u64 {
        self.digest
    }

    /// Panics when an invariant of the module does not hold. O(n).
    pub fn check(&self) {
        let digests = (0..).zip(self.slots.iter()).map(|(slot, key)| digest_in(*key, slot));
        assert_eq!(self.digest, digests.fold(0, u64::wrapping_add), "what is in the slots adds up");
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

    /// Notes what hangs on one slot whose occupant changes while the number of
    /// relays goes to `after`: the occupant; the children of the slot (their parent
    /// changes) and those of the slot before it (their backup changes).
    fn note(&self, before: &mut Before, slot: usize, after: usize) {
        if let Some(&key) = self.slots.get(slot) {
            before.mover(key, self.place_of_slot(slot));
        }
        // A slot that is a relay's before or after has children at one of the two times.
        let relays = self.relays.max(after);
        if slot >= relays {
            return;
        }
        before.block(slot, self);
        match slot.checked_sub(1) {
            Some(previous) => before.block(previous, self),
            // The backup of the last relay's children is in slot 0.
            None => {
                before.block(relays - 1, self);
                before.block(self.relays.min(after).saturating_sub(1), self);
            }
        }
    }

    /// Notes what changes when a slot becomes or ceases to be a relay's: it gains or
    /// loses its children, and the relay before it is the last one no more, or again.
    fn note_boundary(&self, before: &mut Before, after: usize) {
        if self.relays != after {
            let boundary = self.relays.min(after);
            before.block(boundary, self);
            before.block(boundary.saturating_sub(1), self);
        }
    }

    fn slot(&self, key: MemberKey) -> Option<usize> {
        match self.position.get(key.index()) {
            None | Some(&NOWHERE) => None,
            Some(&slot) => Some(slot as usize),
        }
    }

    fn settle(&mut self, slot: usize) {
        let key = self.slots[slot];
        if let Some(before) = self.slot(key) {
            self.digest = self.digest.wrapping_sub(digest_in(key, before));
        }
        self.digest = self.digest.wrapping_add(digest_in(key, slot));
        self.position[key.index()] = u32::try_from(slot).expect("keys are 32 bits wide, so are slots");
    }

    fn child_slots(&self, slot: usize) -> std::ops::Range<usize> {
        let end = self.slots.len();
        (self.fanout * (slot + 1)).min(end)..(self.fanout * (slot + 2)).min(end)
    }

    fn place_of_slot(&self, slot: usize) -> Place {
        if slot < self.fanout {
            Place { parent: Some(Parent::Root), backup: None, depth: 1 }
        } else {
            self.place_below(slot / self.fanout - 1)
        }
    }

    /// The place that all children of a slot share.
    fn place_below(&self, parent: usize) -> Place {
        if parent >= self.relays {
            return Place { parent: None, backup: None, depth: 0 };
        }
        let backup = if self.relays == 1 {
            Parent::Root
        } else {
            Parent::Relay(self.slots[if parent + 1 == self.relays { 0 } else { parent + 1 }])
        };
        let depth = self.depth_of_slot(parent) + 1;
        Place { parent: Some(Parent::Relay(self.slots[parent])), backup: Some(backup), depth }
    }

    fn depth_of_slot(&self, slot: usize) -> u32 {
        // By multiplication, not by logarithm: it is exact, and a tree of 10^6 nodes at f = 2 has some 20 levels.
        let (mut depth, mut level, mut end) = (1, self.fanout, self.fanout);
        while slot >= end {
            level *= self.fanout;
            end += level;
            depth += 1;
        }
        depth
    }
}

/// A digest of a key in a slot.
const fn digest_in(key: MemberKey, slot: usize) -> u64 {
    let mut digest = WordHasher::new(slot as u64);
    digest.word(key.index() as u64);
    digest.finish()
}

/// `position` is left out: it is derived, and as long as any key ever was.
impl Hash for RelayTree {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.slots.hash(state);
        self.relays.hash(state);
        self.fanout.hash(state);
    }
}

/// What one join or leave may change for others, as it was before.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    /// Who joins or leaves.
    subject: Option<MemberKey>,
    /// Nodes that may get another slot.
    movers: [(MemberKey, Place); 3],
    mover_count: usize,
    /// Slots whose children may get another parent or backup, and their place.
    blocks: [(usize, Place); 10],
    block_count: usize,
}

impl Default for Before {
    fn default() -> Self {
        let nowhere = Place { parent: None, backup: None, depth: 0 };
        Self {
            subject: None,
            movers: [(MemberKey::from_index(0), nowhere); 3],
            mover_count: 0,
            blocks: [(0, nowhere); 10],
            block_count: 0,
        }
    }
}

impl Before {
    fn mover(&mut self, key: MemberKey, place: Place) {
        if self.movers[..self.mover_count].iter().all(|(known, _)| *known != key) {
            self.movers[self.mover_count] = (key, place);
            self.mover_count += 1;
        }
    }

    fn block(&mut self, parent: usize, tree: &RelayTree) {
        if self.blocks[..self.block_count].iter().all(|(known, _)| *known != parent) {
            self.blocks[self.block_count] = (parent, tree.place_below(parent));
            self.block_count += 1;
        }
    }
}
