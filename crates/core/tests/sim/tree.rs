//! The relay tree alone: optimal after any history, and every change a small one.
//!
//! Each step compares all places and all lists of children before and after, and
//! holds the difference against the bounds of the design, for fan-outs 2, 3, 5, 8.

use std::collections::{BTreeMap, BTreeSet};

use starling_core::MemberKey;
use starling_core::topology::RelayTree;
use starling_core::topology::relay_tree::{Parent, Place};

use crate::invariants::optimal_depth;
use starling_testkit::Rng;

/// Every node's place and, as a set, its children; the root's under `None`.
#[derive(Clone, Debug, Default)]
struct Picture {
    places: BTreeMap<MemberKey, Place>,
    children: BTreeMap<Option<MemberKey>, BTreeSet<MemberKey>>,
}

impl Picture {
    fn of(tree: &RelayTree) -> Self {
        let places = tree.keys().iter().map(|key| (*key, tree.place(*key).expect("a key of the tree"))).collect();
        let mut children: BTreeMap<_, BTreeSet<MemberKey>> =
            tree.keys().iter().map(|key| (Some(*key), tree.children(*key).iter().copied().collect())).collect();
        children.insert(None, tree.root_children().iter().copied().collect());
        Self { places, children }
    }

    /// Nodes other than `actor` and the root that are in both and whose parent or
    /// children differ.
    fn moved(&self, after: &Self, actor: MemberKey) -> usize {
        self.others(actor)
            .filter(|(key, place)| {
                let now = after.places[key];
                place.parent != now.parent || self.children[&Some(*key)] != after.children[&Some(*key)]
            })
            .count()
    }

    fn backups_changed(&self, after: &Self, actor: MemberKey) -> usize {
        self.others(actor).filter(|(key, place)| place.backup != after.places[key].backup).count()
    }

    fn places_changed(&self, after: &Self, actor: MemberKey) -> Vec<MemberKey> {
        self.others(actor).filter(|(key, place)| *place != after.places[key]).map(|(key, _)| key).collect()
    }

    fn others(&self, actor: MemberKey) -> impl Iterator<Item = (MemberKey, Place)> {
        self.places.iter().map(|(key, place)| (*key, *place)).filter(move |(key, _)| *key != actor)
    }

    /// Everything the module promises of the shape, from its answers alone.
    fn check(&self, tree: &RelayTree, fanout: usize) {
        let relays = tree.relays();
        let attached = tree.len().min(fanout * (relays + 1));
        let mut deepest = 0;
        for (slot, key) in tree.keys().iter().enumerate() {
            let place = self.places[key];
            assert_eq!(place.parent.is_some(), slot < attached, "only the surplus is edge-served");
            assert_eq!(tree.is_relay(*key), slot < relays);
            assert!(self.children[&Some(*key)].len() <= if slot < relays { fanout } else { 0 });
            let Some(parent) = place.parent else {
                assert_eq!((place.backup, place.depth), (None, 0));
                continue;
            };
            let above = match parent {
                Parent::Root => None,
                Parent::Relay(relay) => Some(relay),
            };
            assert!(self.children[&above].contains(key), "{key:?} is listed by its parent");
            assert_eq!(place.depth, 1 + above.map_or(0, |above| self.places[&above].depth));
            deepest = deepest.max(place.depth);
            self.check_backup(tree, *key, above, place);
        }
        let listed: usize = self.children.values().map(BTreeSet::len).sum();
        assert_eq!(listed, attached, "every attached node is listed once");
        assert!(self.children[&None].len() <= fanout);
        assert_eq!(deepest, optimal_depth(attached, fanout));
        assert_eq!(tree.depth(), deepest);
    }

    /// The backup is the relay after the parent, the root when there is one relay
    /// only, and never below the node itself.
    fn check_backup(&self, tree: &RelayTree, key: MemberKey, above: Option<MemberKey>, place: Place) {
        let Some(above) = above else { return assert_eq!(place.backup, None) };
        let relays = &tree.keys()[..tree.relays()];
        let parent = relays.iter().position(|relay| *relay == above).expect("a parent is a relay");
        let next = if relays.len() == 1 { Parent::Root } else { Parent::Relay(relays[(parent + 1) % relays.len()]) };
        assert_eq!(place.backup, Some(next));
        let mut cursor = place.backup;
        while let Some(Parent::Relay(relay)) = cursor {
            assert_ne!(relay, key, "a backup is not below the node that it backs");
            cursor = self.places[&relay].parent;
        }
    }
}

/// The largest differences seen, by kind of change.
#[derive(Debug, Default)]
struct Worst {
    leaf_join: usize,
    leaf_leave: usize,
    relay_join: usize,
    relay_leave: usize,
    backups_of_a_leave: usize,
}

fn churn(fanout: u32, seed: u64, steps: usize) -> Worst {
    let mut rng = Rng::new(seed);
    let mut tree = RelayTree::new(fanout);
    let fanout = fanout as usize;
    let mut present: Vec<MemberKey> = Vec::new();
    let mut absent: Vec<MemberKey> = (0..320).map(MemberKey::from_index).collect();
    let mut before = Picture::of(&tree);
    let mut worst = Worst::default();
    let (mut wanted, mut relays_in_ten) = (0, 0);
    for step in 0..steps {
        if step % 120 == 0 {
            wanted = rng.pick(&[0, 1, 3, fanout, 2 * fanout + 1, 40, 120, 300]);
            relays_in_ten = rng.pick(&[0, 1, 3, 7, 9, 10]);
        }
        let grow = if present.len() < wanted { 80 } else { 20 };
        let joins = present.is_empty() || (!absent.is_empty() && rng.chance(grow));
        let pool = if joins { &mut absent } else { &mut present };
        let key = pool.swap_remove(rng.index(pool.len()));
        let relay = if joins { rng.below(10) < relays_in_ten } else { tree.is_relay(key) };

        let snapshot = if joins { tree.before_insert(key, relay) } else { tree.before_remove(key) };
        if joins {
            tree.insert(key, relay);
            present.push(key);
        } else {
            assert!(tree.remove(key));
            absent.push(key);
        }
        tree.check();
        let mut told = BTreeSet::new();
        tree.moved_since(&snapshot, |moved, old, new| {
            assert_eq!(before.places.get(&moved), Some(&old), "step {step}: the old place of {moved:?}");
            assert_eq!(tree.place(moved), Some(new), "step {step}: the new place of {moved:?}");
            assert!(told.insert(moved), "step {step}: {moved:?} is told once");
        });
        let mut after = Picture::of(&tree);
        after.check(&tree, fanout);

        // What is not in both pictures has no counterpart to compare.
        if joins {
            after.places.remove(&key);
        } else {
            before.places.remove(&key);
        }
        let changed: BTreeSet<MemberKey> = before.places_changed(&after, key).into_iter().collect();
        assert_eq!(told, changed, "step {step}: exactly those whose place changed are told");
        let moved = before.moved(&after, key);
        let backups = before.backups_changed(&after, key);
        match (joins, relay) {
            (true, false) => worst.leaf_join = worst.leaf_join.max(moved),
            (true, true) => worst.relay_join = worst.relay_join.max(moved),
            (false, false) => worst.leaf_leave = worst.leaf_leave.max(moved),
            (false, true) => worst.relay_leave = worst.relay_leave.max(moved),
        }
        if !joins {
            worst.backups_of_a_leave = worst.backups_of_a_leave.max(backups);
        }
        before = Picture::of(&tree);
    }
    worst
}

#[test]
fn tree_changes_stay_within_their_bounds() {
    for fanout in [2, 3, 5, 8] {
        for seed in 0..5 {
            let worst = churn(fanout, seed, 3_000);
            let fanout = fanout as usize;
            let case = format!("fan-out {fanout}, seed {seed}: {worst:?}");
            assert!(worst.leaf_join <= 1, "{case}");
            assert!(worst.leaf_leave <= 3, "{case}");
            assert!(worst.relay_join <= fanout + 2, "{case}");
            assert!(worst.relay_leave <= 2 * fanout + 5, "{case}");
            assert!(worst.backups_of_a_leave <= 3 * fanout + 2, "{case}");
        }
    }
}

#[test]
fn tree_depth_is_optimal_at_every_size() {
    for (viewers, depth) in [(51, 3), (200, 4), (1_000, 5), (50_000, 7)] {
        let mut tree = RelayTree::new(5);
        (0..viewers).for_each(|index| tree.insert(MemberKey::from_index(index), true));
        tree.check();
        assert_eq!(tree.depth(), depth, "{viewers} viewers");
        assert_eq!(optimal_depth(viewers, 5), depth);
    }
}

#[test]
fn tree_stays_optimal_over_100_000_changes() {
    const FANOUT: u32 = 5;
    let mut rng = Rng::new(7);
    let mut tree = RelayTree::new(FANOUT);
    let fanout = FANOUT as usize;
    let mut present: Vec<MemberKey> = (0..50_000).map(MemberKey::from_index).collect();
    let mut absent: Vec<MemberKey> = (50_000..60_000).map(MemberKey::from_index).collect();
    present.iter().for_each(|key| tree.insert(*key, true));
    for step in 0..100_000 {
        let joins = present.is_empty() || (!absent.is_empty() && rng.chance(50));
        let pool = if joins { &mut absent } else { &mut present };
        let key = pool.swap_remove(rng.index(pool.len()));
        if joins {
            tree.insert(key, rng.chance(60));
            present.push(key);
        } else {
            assert!(tree.remove(key));
            absent.push(key);
        }
        let attached = tree.len().min(fanout * (tree.relays() + 1));
        assert_eq!(tree.depth(), optimal_depth(attached, fanout), "step {step}");
        assert!(tree.root_children().len() <= fanout);
        assert!(tree.children(key).len() <= fanout);
    }
    tree.check();
    let mut fed = tree.root_children().len();
    let mut deepest = 0;
    for key in tree.keys() {
        let children = tree.children(*key);
        assert!(children.len() <= if tree.is_relay(*key) { fanout } else { 0 });
        fed += children.len();
        let mut place = tree.place(*key).expect("a key of the tree");
        let (told, mut walked) = (place.depth, 0);
        while let Some(parent) = place.parent {
            walked += 1;
            let Parent::Relay(above) = parent else { break };
            place = tree.place(above).expect("a parent is in the tree");
        }
        assert_eq!(told, walked, "the depth is the way to the root");
        deepest = deepest.max(walked);
    }
    let attached = tree.len().min(fanout * (tree.relays() + 1));
    assert_eq!(fed, attached, "everyone attached is fed by exactly one node");
    assert_eq!(deepest, optimal_depth(attached, fanout));
}
