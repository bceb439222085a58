//! Whom a node forwards to, as it changes.
//!
//! Conflating: the watch remembers what it told last, and tells the smallest
//! change to the state of now. A slow watcher gets one merged delta; a removal
//! cannot be lost. The lists are shared: those who watch the same node, and have come as far, hold one.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::{Over, Step, Watch};
use crate::service::{Service, ServiceError};
use crate::store::Store;
use starling_core::Rejection;
use starling_core::id::{Epoch, NodeId, SwarmId};
use starling_core::topology::{Forwarder, Peer, Placement, Target, TargetList, Topology};

/// Why a target is no target any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It left the swarm.
    Gone,
    /// Another node feeds it now.
    Reassigned,
}

/// The smallest change from one target list to another.
#[derive(Debug, PartialEq, Eq)]
pub struct TargetDelta {
    /// The shape now.
    pub topology: Topology,
    /// The node's own place now.
    pub placement: Option<Placement>,
    /// Whom it receives from now.
    pub parent: Option<Peer>,
    /// Whom it turns to when that fails.
    pub backup: Option<Peer>,
    /// New targets.
    pub added: Vec<Target>,
    /// Targets that are not what they were.
    pub updated: Vec<Target>,
    /// Former targets.
    pub removed: Vec<(NodeId, Removal)>,
}

/// A list, or a change of it.
#[derive(Debug)]
pub enum Change {
    /// The whole list; the first item.
    Snapshot(Arc<TargetList>),
    /// What changed since the last item.
    Delta(TargetDelta),
}

/// What a watcher of targets gets.
#[derive(Debug)]
pub struct TargetItem {
    /// The revision that it leads to.
    pub revision: u64,
    /// What to do.
    pub change: Change,
}

/// What was told last.
#[derive(Debug)]
struct Told {
    /// The list is the same up to here.
    revision: u64,
    list: Arc<TargetList>,
    /// What the list takes.
    bytes: usize,
}

/// A watch of one node's targets.
#[derive(Debug)]
pub struct TargetWatch {
    store: Arc<Store>,
    id: SwarmId,
    of: Forwarder,
    epoch: Epoch,
    told: Option<Told>,
    changed: Arc<Notify>,
}

impl Service {
    /// Watches whom it forwards to.
    ///
    /// # Errors
    ///
    /// When there is no such swarm, it has ended, or the node is no member.
    pub fn watch_targets(&self, id: SwarmId, of: Forwarder) -> Result<TargetWatch, ServiceError> {
        let (store, now) = (Arc::clone(self.log.store()), self.log.now(id));
        let found = store.watchers(id, |entry| {
            let swarm = entry.swarm();
            if swarm.is_over() {
                return Err(Rejection::Ended);
            }
            if let Forwarder::Node(node) = of
                && swarm.targets(of).is_none()
            {
                return Err(swarm.absence(node, now));
            }
            let epoch = swarm.epoch();
            Ok((epoch, entry.watch_targets(of)))
        });
        let (epoch, changed) = found.ok_or(Rejection::NoSuchSwarm)??;
        Ok(TargetWatch { store, id, of, epoch, told: None, changed })
    }

    /// Whom it forwards to now.
    ///
    /// # Errors
    ///
    /// When there is no such swarm, it has ended, or the node is no member.
    pub fn targets(&self, id: SwarmId, of: Forwarder) -> Result<(Epoch, u64, TargetList), ServiceError> {
        let now = self.log.now(id);
        let found = self.read(id, |swarm| {
            if swarm.is_over() {
                return Err(Rejection::Ended);
            }
            let targets = match (swarm.targets(of), of) {
                (Some(targets), _) => targets,
                (None, Forwarder::Node(node)) => return Err(swarm.absence(node, now)),
                // There is no livestream of this id.
                (None, Forwarder::Broadcaster) => return Err(Rejection::NoSuchSwarm),
            };
            Ok((swarm.epoch(), swarm.revision(), targets))
        })?;
        Ok(found?)
    }
}

impl TargetWatch {
    /// The incarnation that is watched.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The revision up to which all is told.
    pub fn revision(&self) -> u64 {
        self.told.as_ref().map_or(0, |told| told.revision)
    }

    /// Bytes of the list that was told last. It is shared with all who watch the node and have come as far; who
    /// does not read may be the last to hold it.
    pub fn told_bytes(&self) -> usize {
        self.told.as_ref().map_or(0, |told| told.bytes)
    }

    /// Brings what is new.
    pub fn step(&mut self) -> Step<TargetItem> {
        let found = self.store.read(self.id, |entry| {
            let swarm = entry.swarm();
            if swarm.is_over() || swarm.epoch() != self.epoch {
                return Err(Over::SwarmEnded);
            }
            Ok((swarm.revision(), entry.targets(self.of).ok_or(Over::NodeLeft)?))
        });
        // The comparison comes after the lock.
        let (revision, list) = match found.unwrap_or(Err(Over::SwarmEnded)) {
            Ok(found) => found,
            Err(over) => return Step::Over(over),
        };
        let change = match &mut self.told {
            None => Some(Change::Snapshot(Arc::clone(&list))),
            Some(told) => {
                told.revision = revision;
                if Arc::ptr_eq(&told.list, &list) { None } else { self.delta(&list).map(Change::Delta) }
            }
        };
        let same = self.told.as_ref().filter(|told| Arc::ptr_eq(&told.list, &list)).map(|told| told.bytes);
        let bytes = same.unwrap_or_else(|| bytes(&list));
        self.told = Some(Told { revision, list, bytes });
        change.map_or(Step::Idle(revision), |change| Step::Item(TargetItem { revision, change }))
    }

    /// What became of the list that was told; `None` = nothing. O(targets), without a lock but for the reasons
    /// of removals.
    fn delta(&self, list: &TargetList) -> Option<TargetDelta> {
        let told = &self.told.as_ref()?.list;
        let mut before: BTreeMap<NodeId, &Target> = told.targets.iter().map(|target| (target.node, target)).collect();
        let (mut added, mut updated) = (Vec::new(), Vec::new());
        for target in &list.targets {
            match before.remove(&target.node) {
                None => added.push(target.clone()),
                Some(before) if before != target => updated.push(target.clone()),
                Some(_) => {}
            }
        }
        let removed = self.removals(before.into_keys().collect());
        let same_place = told.topology == list.topology && told.placement == list.placement;
        let same_peers = told.parent == list.parent && told.backup == list.backup;
        let nothing = added.is_empty() && updated.is_empty() && removed.is_empty() && same_place && same_peers;
        let (parent, backup) = (list.parent.clone(), list.backup.clone());
        let TargetList { topology, placement, .. } = *list;
        (!nothing).then_some(TargetDelta { topology, placement, parent, backup, added, updated, removed })
    }

    /// Why these are no targets any more: whether they are still in, as of now. O(nodes) under the lock.
    fn removals(&self, nodes: Vec<NodeId>) -> Vec<(NodeId, Removal)> {
        if nodes.is_empty() {
            return Vec::new();
        }
        let is_in = self.store.read(self.id, |entry| {
            let swarm = Some(entry.swarm()).filter(|swarm| swarm.epoch() == self.epoch);
            let is_in = |node: &NodeId| swarm.is_some_and(|swarm| swarm.roster().key(*node).is_some());
            nodes.iter().map(is_in).collect::<Vec<_>>()
        });
        let is_in = is_in.unwrap_or_default().into_iter().chain(std::iter::repeat(false));
        let why = |is_in| if is_in { Removal::Reassigned } else { Removal::Gone };
        nodes.into_iter().zip(is_in.map(why)).collect()
    }
}

/// What a list takes. O(targets).
fn bytes(list: &TargetList) -> usize {
    list.targets.iter().map(|target| size_of::<Target>() + target.endpoint.len()).sum()
}

impl Watch for TargetWatch {
    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }
}

impl Drop for TargetWatch {
    fn drop(&mut self) {
        let (of, epoch) = (self.of, self.epoch);
        self.store.watchers(self.id, |entry| {
            if entry.swarm().epoch() == epoch {
                entry.unwatch_targets(of);
            }
        });
    }
}
