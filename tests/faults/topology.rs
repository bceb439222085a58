//! E1 to E14: the tree, the star and the mesh.

use std::collections::BTreeSet;

use elara_diffusion::{MeshTopology, PropagationEdge, PropagationTopology, StarTopology, TreeTopology};
use starling_core::command::Join;
use starling_core::topology::{Forwarder, RelayTree, Topology};
use starling_core::{Applied, Event, LivestreamCommand, LivestreamEvent, SharedCommand, livestream};

use crate::fixture::{BROADCASTER, SwarmFixture, by, node, seed_node};

const FANOUT: usize = 5;

/// The seed's tree after these joins.
fn seed_tree(fanout: usize, numbers: impl IntoIterator<Item = u64>) -> TreeTopology {
    let mut tree = TreeTopology::new(seed_node(BROADCASTER), fanout);
    for number in numbers {
        tree.add_node(seed_node(number));
    }
    tree
}

/// Nodes whose place an answer changes.
fn moved(applied: &Applied) -> BTreeSet<u64> {
    let mut moved = BTreeSet::new();
    for event in &applied.events {
        if let Event::Livestream(LivestreamEvent::PlacementChanged { node, .. }) = event {
            moved.insert(node.get());
        }
    }
    moved
}

#[test]
fn e01_the_depth_is_the_least_possible() {
    let seed = seed_tree(FANOUT, 2..202);
    let seeds = (2..202).map(|number| seed.depth(seed_node(number))).max();
    assert!(seeds >= Some(30), "the seed's tree is a chain: {seeds:?} hops");

    assert_eq!(SwarmFixture::with_viewers(200).as_livestream().depth(), 4);
}

#[test]
fn e02_join_changes_are_independent_of_size() {
    for viewers in [100, 5_000] {
        let mut fixture = SwarmFixture::with_viewers(viewers);
        assert!(moved(&fixture.join(1_000_000)).len() <= FANOUT + 2, "{viewers} viewers");
    }
}

#[test]
fn e03_rejoining_node_has_one_parent() {
    let mut seed = seed_tree(FANOUT, 2..20);
    seed.add_node(seed_node(2));
    let everyone = (1..20).flat_map(|number| seed.topology.downstream(seed_node(number)));
    assert_eq!(everyone.filter(|target| *target == seed_node(2)).count(), 2, "the seed feeds it twice");

    let mut fixture = SwarmFixture::with_viewers(60);
    fixture.join(2);
    let feeders = (3..62).map(Some).chain([None, Some(2)]).filter(|feeder| fixture.targets(*feeder).contains(&2));
    assert_eq!(feeders.count(), 1);
    assert_ne!(fixture.placement(2).parent, Some(node(2)));
}

#[test]
fn e04_every_path_up_ends_at_the_broadcaster() {
    let mut fixture = SwarmFixture::with_viewers(300);
    fixture.join_all(2..100);
    fixture.leave_all(50..150);
    for number in fixture.members() {
        let (mut above, mut hops) = (number, 0);
        while above != BROADCASTER {
            above = fixture.placement(above).parent.expect("everyone is fed").get();
            hops += 1;
            assert!(hops <= fixture.as_livestream().depth());
        }
    }
}

#[test]
fn e05_a_departing_relay_overloads_nobody() {
    let mut seed = seed_tree(FANOUT, 2..12);
    let busy = (2..12).map(seed_node).find(|node| seed.topology.downstream(*node).len() == FANOUT);
    seed.remove_node(busy.expect("one relay feeds five"));
    assert_eq!(seed.topology.downstream(seed_node(BROADCASTER)).len(), 9, "nine of five");

    let mut fixture = SwarmFixture::with_viewers(200);
    for departing in 2..100 {
        fixture.leave(departing);
        let fed = fixture.members().into_iter().map(|number| fixture.targets(Some(number)).len());
        assert!(fed.chain([fixture.targets(None).len()]).all(|fed| fed <= FANOUT));
    }
}

#[test]
fn e06_leave_after_rejoin_frees_the_place() {
    let mut seed = seed_tree(2, [2, 3, 2]);
    seed.remove_node(seed_node(2));
    assert_eq!(seed.topology.downstream(seed_node(BROADCASTER)).len(), 1, "one of two, so there is room");
    assert_ne!(seed.add_node(seed_node(4)), seed_node(BROADCASTER), "a ghost has it");

    let config = livestream::Config { star_to_tree_threshold: 1, tree_fanout: 2, ..livestream::Config::default() };
    let mut fixture = SwarmFixture::livestream(config);
    fixture.join_all([2, 3, 2]);
    fixture.leave(2);
    fixture.join(4);
    assert_eq!(fixture.placement(4).parent, Some(node(BROADCASTER)));
}

#[test]
fn e07_leave_reports_the_moved_nodes() {
    let mut fixture = SwarmFixture::with_viewers(100);
    let before: Vec<_> = fixture.members().into_iter().map(|number| (number, fixture.placement(number))).collect();
    let told = moved(&fixture.leave(2));
    let changed = before.into_iter().filter(|(number, place)| *number != 2 && fixture.placement(*number) != *place);
    assert_eq!(told, changed.map(|(number, _)| number).collect());
    assert!(!told.is_empty());
}

#[test]
fn e08_nobody_is_orphaned_when_the_root_goes() {
    let mut seed = seed_tree(FANOUT, 2..12);
    let child = seed.topology.downstream(seed_node(BROADCASTER))[0];
    seed.root = child;
    seed.remove_node(seed_node(BROADCASTER));
    assert!(seed.topology.upstream(child).is_empty(), "the children of who has no parent are left alone");

    let mut fixture = SwarmFixture::with_viewers(60);
    fixture.go(LivestreamCommand::Transfer(by(BROADCASTER), node(7)));
    assert_eq!(
        fixture.swarm().targets(Forwarder::Broadcaster).expect("a livestream has a root").topology,
        Topology::Tree
    );
    for number in fixture.members().into_iter().filter(|number| *number != 7) {
        assert!(fixture.placement(number).parent.is_some());
    }
}

#[test]
fn e09_leave_changes_are_independent_of_size() {
    for viewers in [100, 5_000] {
        let mut fixture = SwarmFixture::with_viewers(viewers);
        assert!(moved(&fixture.leave(2)).len() <= 5 * FANOUT + 7, "{viewers} viewers");
    }
}

#[test]
fn e10_reconnecting_node_is_listed_once() {
    let mut seed = StarTopology::new(seed_node(BROADCASTER));
    (0..1_000).for_each(|_| seed.add_leaf(seed_node(2)));
    assert_eq!(seed.topology.downstream(seed_node(BROADCASTER)).len(), 1_000);

    let mut fixture = SwarmFixture::with_viewers(1);
    fixture.join_all(std::iter::repeat_n(2, 1_000));
    assert_eq!(fixture.targets(None), BTreeSet::from([2]));
    assert_eq!(fixture.as_livestream().viewer_count(), 1);
}

#[test]
fn e11_a_tree_without_fan_out_is_refused() {
    let seed = seed_tree(0, 2..12);
    assert_eq!(seed.topology.downstream(seed_node(BROADCASTER)).len(), 10, "ten of none");

    assert!(std::panic::catch_unwind(|| RelayTree::new(0)).is_err());
    assert!(std::panic::catch_unwind(|| RelayTree::new(1)).is_err());
}

#[test]
fn e12_node_that_cannot_relay_gets_no_children() {
    let mut seed = PropagationTopology::new();
    let mut broken = PropagationEdge::new(seed_node(1), seed_node(2)).with_latency(60_000).with_bandwidth(0);
    broken.active = false;
    seed.add_edge(broken);
    assert_eq!(seed.downstream(seed_node(1)).len(), 1, "an edge that is off is used like any other");

    let mut fixture = SwarmFixture::with_viewers(60);
    let only_watches = Join { can_relay: Some(false), ..fixture.plain_join(100) };
    fixture.go(SharedCommand::Join(only_watches));
    fixture.join_all(101..400);
    assert!(fixture.targets(Some(100)).is_empty());
}

#[test]
fn e13_same_joins_make_the_same_tree() {
    let shape = || {
        let seed = seed_tree(FANOUT, 2..102);
        (2..102).map(|number| seed.topology.upstream(seed_node(number))).collect::<Vec<_>>()
    };
    let first = shape();
    assert!((0..20).any(|_| shape() != first), "the seed's tree depends on the process");

    assert_eq!(SwarmFixture::with_viewers(100).swarm().digest(), SwarmFixture::with_viewers(100).swarm().digest());
}

#[test]
fn e14_mesh_excludes_the_node_itself() {
    let mut seed = MeshTopology::new();
    [1, 2, 1].into_iter().for_each(|number| seed.add_node(seed_node(number)));
    assert!(seed.topology.downstream(seed_node(1)).contains(&seed_node(1)), "the seed's mesh has a loop");

    let mut fixture = SwarmFixture::group(16);
    fixture.join_all([1, 2, 1]);
    assert_eq!(fixture.targets(Some(1)), BTreeSet::from([2]));
}
