//! Places in the relay tree, the switch between star and tree, and target lists.

use super::Livestream;
use crate::base::{Base, Transaction};
use crate::event::LivestreamEvent;
use crate::id::{MemberKey, NodeId};
use crate::role::Role;
use crate::topology::relay_tree::{Before, Parent};
use crate::topology::{Forwarder, Peer, Placement, Target, TargetList, Topology};

impl Livestream {
    /// Puts a viewer into the tree, as a relay if its role says so.
    pub(super) fn enter_tree(&mut self, tx: &mut Transaction<'_>, key: MemberKey) {
        let relays = matches!(tx.base.roster.at(key).role, Role::Viewer { can_relay: true, .. });
        let before = self.tree.before_insert(key, relays);
        self.tree.insert(key, relays);
        self.note_moved(tx, &before);
        self.touch_around(tx, key);
    }

    pub(super) fn leave_tree(&mut self, tx: &mut Transaction<'_>, key: MemberKey) {
        // Before it goes: afterwards nobody knows who fed it.
        self.touch_around(tx, key);
        let before = self.tree.before_remove(key);
        self.tree.remove(key);
        self.note_moved(tx, &before);
    }

    /// Notes whose place changed. In the star nobody else's does.
    fn note_moved(&self, tx: &mut Transaction<'_>, before: &Before) {
        if self.topology == Topology::Star {
            // The tree is kept in the star too, so that the switch is a change of one field.
            tx.applied.touched.root = true;
            return;
        }
        let from = tx.moved.len();
        // A list and no set: a join or leave knows a dozen parents at most.
        let mut parents: Vec<Option<Parent>> = Vec::new();
        self.tree.moved_since(before, |key, old, new| {
            if old.parent != new.parent {
                // Who was edge-served had no parent to lose.
                tx.base.stats.reparentings += u64::from(old.parent.is_some());
                for parent in [old.parent, new.parent] {
                    if !parents.contains(&parent) {
                        parents.push(parent);
                    }
                }
            }
            tx.moved.push((key, Some(old)));
        });
        let moved = tx.moved[from..].iter().map(|(key, _)| tx.base.roster.at(*key).node);
        tx.applied.touched.nodes.extend(moved);
        for parent in parents {
            self.touch_feeder(tx, parent);
        }
    }

    /// A node's list changed, and with it perhaps what its parent must send it.
    fn touch_feeder(&self, tx: &mut Transaction<'_>, parent: Option<Parent>) {
        let touched = &mut tx.applied.touched;
        match parent {
            None => {}
            Some(Parent::Root) => touched.root = true,
            Some(Parent::Relay(key)) => {
                touched.nodes.extend(tx.base.roster.get(key).map(|member| member.node));
                // One level up as well: a relay with children is sent the media at HIGH at least
                // (`Target::interests`), so whether it has any changes its own parent's list.
                match self.tree.place(key).and_then(|place| place.parent) {
                    Some(Parent::Relay(above)) => {
                        touched.nodes.extend(tx.base.roster.get(above).map(|member| member.node))
                    }
                    Some(Parent::Root) => touched.root = true,
                    None => {}
                }
            }
        }
    }

    /// The lists of `key` and of those that feed it may have changed.
    pub(super) fn touch_around(&self, tx: &mut Transaction<'_>, key: MemberKey) {
        tx.applied.touched.nodes.push(tx.base.roster.at(key).node);
        match self.topology {
            Topology::Star | Topology::Mesh => tx.applied.touched.root = true,
            Topology::Tree => self.touch_feeder(tx, self.tree.place(key).and_then(|place| place.parent)),
        }
    }

    /// Those that receive from a node, or turn to it when their parent fails, are told another
    /// session or endpoint of it. O(fan-out); in the star, when it is the root, everybody.
    pub(super) fn touch_served(&self, tx: &mut Transaction<'_>, by: Parent) {
        let touched = &mut tx.applied.touched;
        let (children, backed) = match (self.topology, by) {
            (Topology::Tree, Parent::Root) => (self.tree.root_children(), self.tree.backed_by_root()),
            (Topology::Tree, Parent::Relay(key)) => (self.tree.children(key), self.tree.backed_by(key)),
            (_, Parent::Root) => {
                touched.all = true;
                return;
            }
            (_, Parent::Relay(_)) => return,
        };
        touched.nodes.extend(children.iter().chain(backed).map(|key| tx.base.roster.at(*key).node));
    }

    /// Another node is the root: the place of everyone who receives from it changed.
    pub(super) fn root_moved(&self, tx: &mut Transaction<'_>) {
        match self.topology {
            // Their place in the tree is the same, and their parent another node: `None` tells them for certain.
            Topology::Star | Topology::Mesh => tx.moved.extend(self.tree.keys().iter().map(|key| (*key, None))),
            Topology::Tree => {
                let served = self.tree.root_children().iter().chain(self.tree.backed_by_root());
                tx.moved.extend(served.map(|key| (*key, None)));
            }
        }
    }

    /// Switches between star and tree when the number of viewers says so, with
    /// hysteresis; else tells where the moved viewers stand now.
    pub(super) fn tell_moves(&mut self, tx: &mut Transaction<'_>) {
        let (viewers, threshold) = (self.tree.len(), self.config().star_to_tree_threshold as usize);
        let topology = match self.topology {
            Topology::Star if viewers > threshold => Topology::Tree,
            // A fifth below: viewers who come and go about the threshold must not switch everybody each time.
            Topology::Tree if 5 * viewers <= 4 * threshold => Topology::Star,
            unchanged => unchanged,
        };
        if topology != self.topology {
            // One event for all: thousands of placements would say no more than that everybody looks again.
            self.topology = topology;
            tx.applied.touched.all = true;
            tx.event(LivestreamEvent::TopologySwitched { topology });
            return;
        }
        let mut moved = std::mem::take(&mut tx.moved);
        // A command may move a viewer there and back: its first place is what counts.
        moved.sort_by_key(|(key, before)| (*key, before.is_some()));
        moved.dedup_by_key(|(key, _)| *key);
        moved.retain(|(key, before)| before.is_none() || *before != self.tree.place(*key));
        for (key, _) in moved {
            if let (Some(member), Some(placement)) = (tx.base.roster.get(key), self.placement(tx.base, key)) {
                tx.event(LivestreamEvent::PlacementChanged { key, node: member.node, placement });
            }
        }
    }

    /// Where a viewer stands; `None` when the slot holds no viewer. O(1).
    pub(super) fn placement(&self, base: &Base, key: MemberKey) -> Option<Placement> {
        let place = self.tree.place(key)?;
        let can_relay = self.tree.is_relay(key);
        let node = |parent| match parent {
            Parent::Root => self.broadcaster,
            Parent::Relay(key) => base.roster.at(key).node,
        };
        Some(match self.topology {
            Topology::Star | Topology::Mesh => {
                Placement { parent: Some(self.broadcaster), backup: None, depth: 1, can_relay }
            }
            Topology::Tree => Placement {
                parent: place.parent.map(node),
                backup: place.backup.map(node),
                depth: place.depth,
                can_relay,
            },
        })
    }

    /// Whom a node forwards to: the broadcaster for `None`, else a viewer.
    /// `None` when that is no member. O(targets).
    pub(super) fn target_list(&self, base: &Base, of: Forwarder) -> Option<TargetList> {
        let (children, placement) = match of {
            Forwarder::Node(node) if node != self.broadcaster => {
                let key = base.roster.key(node)?;
                let children = if self.topology == Topology::Star { &[] } else { self.tree.children(key) };
                (children, self.placement(base, key))
            }
            _ if self.topology == Topology::Star => (self.tree.keys(), None),
            _ => (self.tree.root_children(), None),
        };
        let targets = children.iter().map(|key| self.target(base, *key)).collect();
        let peer = |node: NodeId| {
            let member = base.roster.find(node);
            Peer {
                node,
                session: member.map(|member| member.session),
                endpoint: member.map(|member| member.endpoint.clone()).unwrap_or_default(),
            }
        };
        let place = placement.as_ref();
        let parent = place.and_then(|place| place.parent).map(peer);
        let backup = place.and_then(|place| place.backup).map(peer);
        Some(TargetList { topology: self.topology, placement, parent, backup, targets })
    }

    fn target(&self, base: &Base, key: MemberKey) -> Target {
        let member = base.roster.at(key);
        let feeds = self.topology == Topology::Tree && self.tree.feeds(key);
        Target {
            node: member.node,
            session: member.session,
            endpoint: member.endpoint.clone(),
            can_relay: self.tree.is_relay(key),
            interests: Target::interests(member.levels(), feeds),
        }
    }
}
