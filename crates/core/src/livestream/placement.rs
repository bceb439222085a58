//! Seats in the relay tree, the switch between star and tree, and target lists.

use super::{Change, Livestream};
use crate::event::Event;
use crate::id::NodeId;
use crate::roster::Key;
use crate::topology::relay_tree::{Before, Parent};
use crate::topology::{Peer, Placement, Target, TargetList, Topology};

impl Livestream {
    pub(super) fn seat(&mut self, key: Key, can_relay: bool, change: &mut Change) {
        let before = self.tree.before_insert(key, can_relay);
        self.tree.insert(key, can_relay);
        self.note_moved(&before, change);
        self.touch_around(key, change);
    }

    pub(super) fn unseat(&mut self, key: Key, change: &mut Change) {
        self.touch_around(key, change);
        let before = self.tree.before_remove(key);
        self.tree.remove(key);
        self.note_moved(&before, change);
    }

    /// Notes whose place changed. In the star nobody else's does.
    fn note_moved(&mut self, before: &Before, change: &mut Change) {
        if self.topology == Topology::Star {
            change.applied.touched.root = true;
            return;
        }
        let (tree, stats) = (&self.tree, &mut self.stats);
        let from = change.moved.len();
        let mut parents: Vec<Option<Parent>> = Vec::new();
        tree.moved_since(before, |key, old, new| {
            if old.parent != new.parent {
                stats.reparentings += u64::from(old.parent.is_some());
                for parent in [old.parent, new.parent] {
                    if !parents.contains(&parent) {
                        parents.push(parent);
                    }
                }
            }
            change.moved.push((key, Some(old)));
        });
        let moved = &change.moved[from..];
        change.applied.touched.nodes.extend(moved.iter().map(|(key, _)| self.roster.at(*key).node));
        for parent in parents {
            self.touch_feeder(parent, change);
        }
    }

    /// A node's list changed, and with it perhaps what its parent must send it.
    fn touch_feeder(&self, parent: Option<Parent>, change: &mut Change) {
        let touched = &mut change.applied.touched;
        match parent {
            None => {}
            Some(Parent::Root) => touched.root = true,
            Some(Parent::Relay(key)) => {
                touched.nodes.extend(self.roster.get(key).map(|member| member.node));
                match self.tree.place(key).and_then(|place| place.parent) {
                    Some(Parent::Relay(above)) => {
                        touched.nodes.extend(self.roster.get(above).map(|member| member.node))
                    }
                    Some(Parent::Root) => touched.root = true,
                    None => {}
                }
            }
        }
    }

    /// The lists of `key` and of those that feed it may have changed.
    pub(super) fn touch_around(&self, key: Key, change: &mut Change) {
        change.applied.touched.nodes.push(self.roster.at(key).node);
        match self.topology {
            Topology::Star | Topology::Mesh => change.applied.touched.root = true,
            Topology::Tree => self.touch_feeder(self.tree.place(key).and_then(|place| place.parent), change),
        }
    }

    /// Those that receive from a node, or turn to it when their parent fails, are told another
    /// session or endpoint of it. O(fan-out); in the star, when it is the root, everybody.
    pub(super) fn touch_served(&self, by: Parent, change: &mut Change) {
        let touched = &mut change.applied.touched;
        let (children, backed) = match (self.topology, by) {
            (Topology::Tree, Parent::Root) => (self.tree.root_children(), self.tree.backed_by_root()),
            (Topology::Tree, Parent::Relay(key)) => (self.tree.children(key), self.tree.backed_by(key)),
            (_, Parent::Root) => {
                touched.all = true;
                return;
            }
            (_, Parent::Relay(_)) => return,
        };
        touched.nodes.extend(children.iter().chain(backed).map(|key| self.roster.at(*key).node));
    }

    /// Another node is the root: the place of everyone who hangs on it changed.
    pub(super) fn root_moved(&self, change: &mut Change) {
        match self.topology {
            Topology::Star | Topology::Mesh => change.moved.extend(self.tree.keys().iter().map(|key| (*key, None))),
            Topology::Tree => {
                let served = self.tree.root_children().iter().chain(self.tree.backed_by_root());
                change.moved.extend(served.map(|key| (*key, None)));
            }
        }
    }

    /// Switches between star and tree when the number of viewers says so, with
    /// hysteresis; else tells where the moved viewers stand now.
    pub(super) fn settle(&mut self, change: &mut Change) {
        let (viewers, threshold) = (self.tree.len(), self.config.star_to_tree_threshold as usize);
        let topology = match self.topology {
            Topology::Star if viewers > threshold => Topology::Tree,
            Topology::Tree if 5 * viewers <= 4 * threshold => Topology::Star,
            unchanged => unchanged,
        };
        if topology != self.topology {
            self.topology = topology;
            change.applied.touched.all = true;
            change.event(Event::TopologySwitched { topology });
            return;
        }
        let mut moved = std::mem::take(&mut change.moved);
        // A command may move a viewer there and back: its first place is what counts.
        moved.sort_by_key(|(key, before)| (*key, before.is_some()));
        moved.dedup_by_key(|(key, _)| *key);
        moved.retain(|(key, before)| before.is_none() || *before != self.tree.place(*key));
        for (key, _) in moved {
            if let (Some(member), Some(placement)) = (self.roster.get(key), self.placement(key)) {
                change.event(Event::PlacementChanged { key, node: member.node, placement });
            }
        }
    }

    /// Where a viewer stands; `None` when the slot holds no viewer. O(1).
    pub fn placement(&self, key: Key) -> Option<Placement> {
        let place = self.tree.place(key)?;
        let can_relay = self.tree.is_relay(key);
        let node = |parent| match parent {
            Parent::Root => self.broadcaster,
            Parent::Relay(key) => self.roster.at(key).node,
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
    pub fn targets(&self, node: Option<NodeId>) -> Option<TargetList> {
        let node = node.filter(|node| *node != self.broadcaster);
        let (children, placement) = match node {
            None if self.topology == Topology::Star => (self.tree.keys(), None),
            None => (self.tree.root_children(), None),
            Some(node) => {
                let key = self.roster.key(node)?;
                let children = if self.topology == Topology::Star { &[] } else { self.tree.children(key) };
                (children, self.placement(key))
            }
        };
        let targets = children.iter().map(|key| self.target(*key)).collect();
        let peer = |node: NodeId| {
            let member = self.roster.find(node);
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

    fn target(&self, key: Key) -> Target {
        let member = self.roster.at(key);
        let feeds = self.topology == Topology::Tree && !self.tree.children(key).is_empty();
        Target {
            node: member.node,
            session: member.session,
            endpoint: member.endpoint.clone(),
            can_relay: self.tree.is_relay(key),
            interests: Target::interests(member.levels(), feeds),
        }
    }
}
