//! A second opinion on who owns a group: whoever was named, else the first who came;
//! when the owner leaves, the longest-joined owns it, and whoever was named when nobody is in and it is not banned.

use std::collections::{BTreeMap, BTreeSet};

use starling_core::NodeId;
use starling_core::member::Role;

use crate::bans::Bans;

/// Who owns the group, and who would next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ownership {
    named: Option<NodeId>,
    owner: Option<NodeId>,
    /// The revision at which each member took its place; kept when it joins again.
    places: BTreeMap<NodeId, u64>,
    /// Those of them who never own it.
    listeners: BTreeSet<NodeId>,
}

impl Ownership {
    /// A group that nobody has joined, and whom its Create named.
    pub(crate) fn of(named: Option<NodeId>) -> Self {
        Self { named, owner: named, ..Self::default() }
    }

    /// Who owns the group now.
    pub(crate) fn owner(&self) -> Option<NodeId> {
        self.owner
    }

    pub(crate) fn join(&mut self, node: NodeId, role: Role, revision: u64) {
        self.places.entry(node).or_insert(revision);
        if role == Role::Listener {
            self.listeners.insert(node);
        } else {
            self.listeners.remove(&node);
            self.owner.get_or_insert(node);
        }
    }

    pub(crate) fn leave(&mut self, node: NodeId, bans: &Bans) {
        self.places.remove(&node);
        self.listeners.remove(&node);
        if self.owner == Some(node) {
            let participants = self.places.iter().filter(|(node, _)| !self.listeners.contains(node));
            let longest = participants.min_by_key(|(_, place)| **place).map(|(node, _)| *node);
            self.owner = longest.or_else(|| self.named.filter(|named| bans.end(*named).is_none()));
        }
    }
}
