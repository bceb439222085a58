//! What holds of a swarm after every command, read through its public answers.

use std::collections::{BTreeMap, BTreeSet};

use starling_core::member::{MemberView, Role};
use starling_core::topology::{Placement, Target, TargetList, Topology};
use starling_core::{Livestream, NodeId, Rules, Swarm};

/// Target lists by node; the broadcaster's under `None`.
pub(crate) type Lists = BTreeMap<Option<NodeId>, TargetList>;

/// The lists of these nodes, as far as they are members; the broadcaster's only
/// under `None`.
pub(crate) fn lists_of(swarm: &Swarm, nodes: impl IntoIterator<Item = Option<NodeId>>) -> Lists {
    let root = swarm.broadcaster();
    let nodes = nodes.into_iter().filter(|node| node.is_none() || *node != root);
    nodes.filter_map(|node| Some((node, swarm.targets(node.into())?))).collect()
}

/// Everybody's list.
pub(crate) fn all_lists(swarm: &Swarm) -> Lists {
    let members = swarm.roster().iter().map(|(_, member)| Some(member.node));
    lists_of(swarm, members.chain([None]))
}

/// The least depth at which an f-ary tree holds `attached` nodes under the root.
pub(crate) fn optimal_depth(attached: usize, fanout: usize) -> u32 {
    let (mut depth, mut level, mut slots) = (0, 1, 0);
    while slots < attached {
        level *= fanout;
        slots += level;
        depth += 1;
    }
    depth
}

/// Panics unless who forwards to whom is what the design says. O(n).
///
/// `tree_slots` is the array that the tree is made of, as far as the events tell.
pub(crate) fn check_forwarding(swarm: &Swarm, lists: &Lists, tree_slots: &[NodeId]) {
    match swarm.rules() {
        Rules::Livestream(livestream) => match livestream.topology() {
            Topology::Star => check_star(swarm, livestream, lists),
            Topology::Tree => TreeCheck::of(swarm, livestream, lists).run(tree_slots),
            Topology::Mesh => panic!("a livestream is no mesh"),
        },
        Rules::Group(_) => check_mesh(swarm, lists),
    }
}

fn check_star(swarm: &Swarm, livestream: &Livestream, lists: &Lists) {
    let root = livestream.broadcaster();
    let viewers = viewers(swarm);
    let fed: BTreeSet<NodeId> = lists[&None].targets.iter().map(|target| target.node).collect();
    assert!(fed.iter().eq(viewers.keys()), "the broadcaster of a star feeds every viewer");
    assert_eq!(fed.len(), lists[&None].targets.len(), "nobody is listed twice");
    for (node, (view, placement)) in &viewers {
        assert_eq!((placement.parent, placement.backup, placement.depth), (Some(root), None, 1));
        let list = &lists[&Some(*node)];
        assert_eq!((list.targets.len(), list.placement, list.topology), (0, Some(*placement), Topology::Star));
        assert_relays_as_it_said(view, placement);
    }
    for target in &lists[&None].targets {
        check_target(target, &viewers[&target.node], false);
    }
    assert_eq!(livestream.depth(), u32::from(!viewers.is_empty()));
}

fn check_mesh(group: &Swarm, lists: &Lists) {
    assert!(group.targets(NodeId::new(u64::MAX).into()).is_none());
    let all = group.roster().iter().map(|(_, member)| member);
    let (listeners, members): (Vec<_>, Vec<_>) = all.partition(|member| member.is_listener());
    for listener in listeners {
        let list = &lists[&Some(listener.node)];
        assert!(list.targets.is_empty(), "a listener feeds nobody");
    }
    let members: BTreeSet<NodeId> = members.into_iter().map(|member| member.node).collect();
    for node in &members {
        let list = &lists[&Some(*node)];
        assert_eq!((list.topology, list.placement), (Topology::Mesh, None));
        let fed: BTreeSet<NodeId> = list.targets.iter().map(|target| target.node).collect();
        assert_eq!(list.targets.len(), members.len() - 1);
        assert!(fed.iter().eq(members.iter().filter(|other| *other != node)), "each participant feeds all others");
        for target in &list.targets {
            let member = group.roster().find(target.node).expect("a target is a member");
            assert_eq!((target.session, &target.endpoint), (member.session, &member.endpoint));
            let wanted = starling_core::channel::PerChannel::from_fn(|c| member.interests.level(Some(*node), c));
            assert_eq!(target.interests, wanted, "a source is told what is wanted of it");
        }
    }
}

fn viewers(swarm: &Swarm) -> BTreeMap<NodeId, (MemberView, Placement)> {
    let mut viewers = BTreeMap::new();
    for (key, member) in swarm.roster().iter() {
        let view = swarm.view(key).expect("a member has a view");
        match view.placement {
            Some(placement) => {
                viewers.insert(member.node, (view, placement));
            }
            None => assert_eq!(Some(member.node), swarm.broadcaster(), "every viewer stands somewhere"),
        }
    }
    viewers
}

fn assert_relays_as_it_said(view: &MemberView, placement: &Placement) {
    let Role::Viewer { can_relay, .. } = view.role else { panic!("a viewer has a viewer's role") };
    assert_eq!(placement.can_relay, can_relay);
}

fn check_target(target: &Target, (view, placement): &(MemberView, Placement), feeds: bool) {
    assert_eq!((target.session, &target.endpoint), (view.session, &view.endpoint));
    assert_eq!(target.can_relay, placement.can_relay);
    assert_eq!(target.interests, Target::interests(view.interests.levels(), feeds));
}

/// The tree, put together from what each node is told.
struct TreeCheck<'a> {
    livestream: &'a Livestream,
    lists: &'a Lists,
    viewers: BTreeMap<NodeId, (MemberView, Placement)>,
    /// The attached viewers in breadth-first order: the array of the design.
    order: Vec<NodeId>,
    slots: BTreeMap<NodeId, usize>,
    fanout: usize,
    relays: usize,
}

impl<'a> TreeCheck<'a> {
    fn of(swarm: &Swarm, livestream: &'a Livestream, lists: &'a Lists) -> Self {
        let viewers = viewers(swarm);
        let mut order: Vec<NodeId> = lists[&None].targets.iter().map(|target| target.node).collect();
        let mut next = 0;
        while let Some(node) = order.get(next) {
            order.extend(lists[&Some(*node)].targets.iter().map(|target| target.node));
            next += 1;
            assert!(order.len() <= viewers.len(), "nobody is listed twice, so there is no cycle");
        }
        let slots = order.iter().enumerate().map(|(slot, node)| (*node, slot)).collect();
        let relays = viewers.values().filter(|(_, placement)| placement.can_relay).count();
        Self { livestream, lists, viewers, order, slots, fanout: livestream.config().tree_fanout as usize, relays }
    }

    fn run(&self, tree_slots: &[NodeId]) {
        let attached = self.viewers.len().min(self.fanout * (self.relays + 1));
        assert_eq!(self.slots.len(), attached, "as many reach the root as relays can feed");
        assert_eq!(self.order, tree_slots[..attached], "everyone is where the design puts it");
        assert_eq!(tree_slots.len(), self.viewers.len());
        assert!(lists_nobody_over(self.lists, self.fanout), "nobody is over the fan-out");
        assert_eq!(self.livestream.depth(), optimal_depth(attached, self.fanout));
        let deepest = self.viewers.values().map(|(_, placement)| placement.depth).max();
        assert_eq!(deepest.unwrap_or(0), optimal_depth(attached, self.fanout));
        for (node, (view, placement)) in &self.viewers {
            assert_relays_as_it_said(view, placement);
            let list = &self.lists[&Some(*node)];
            assert_eq!((list.topology, list.placement), (Topology::Tree, Some(*placement)));
            assert!(placement.can_relay || list.targets.is_empty(), "only relays forward");
            match self.slots.get(node) {
                Some(slot) => self.check_attached(*node, *slot, placement),
                None => assert_eq!((placement.parent, placement.backup, placement.depth), (None, None, 0)),
            }
        }
        for (feeder, list) in self.lists {
            let feeder = feeder.unwrap_or(self.livestream.broadcaster());
            for target in &list.targets {
                let viewer = &self.viewers[&target.node];
                assert_eq!(viewer.1.parent, Some(feeder), "who is listed names its feeder as parent");
                let feeds = !self.lists[&Some(target.node)].targets.is_empty();
                check_target(target, viewer, feeds);
            }
        }
    }

    fn check_attached(&self, node: NodeId, slot: usize, placement: &Placement) {
        let root = self.livestream.broadcaster();
        let Some(parent) = (slot / self.fanout).checked_sub(1) else {
            assert_eq!((placement.parent, placement.backup, placement.depth), (Some(root), None, 1));
            return;
        };
        assert_eq!(placement.parent, Some(self.order[parent]));
        assert_eq!(placement.depth, 1 + self.viewers[&self.order[parent]].1.depth);
        let backup = if self.relays == 1 { root } else { self.order[(parent + 1) % self.relays] };
        assert_eq!(placement.backup, Some(backup), "the backup is the relay after the parent");
        let mut above = Some(backup);
        while let Some(ancestor) = above.filter(|ancestor| *ancestor != root) {
            assert_ne!(ancestor, node, "the backup is not in the node's own subtree");
            above = self.viewers[&ancestor].1.parent;
        }
    }
}

fn lists_nobody_over(lists: &Lists, fanout: usize) -> bool {
    lists.values().all(|list| list.targets.len() <= fanout)
}
