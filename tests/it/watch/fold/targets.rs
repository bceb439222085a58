//! A target list, from a snapshot and deltas.

use std::collections::BTreeMap;

use starling_client::pb::swarm::v1 as shared;
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};

/// A target list, whatever the order of its targets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Targets {
    pub(crate) topology: shared::Topology,
    pub(crate) placement: Option<shared::Placement>,
    pub(crate) parent: Option<shared::Peer>,
    pub(crate) backup_parent: Option<shared::Peer>,
    pub(crate) targets: BTreeMap<u64, shared::Target>,
}

/// What a watch has told so far.
#[derive(Clone, Debug)]
pub(crate) struct TargetFold {
    pub(crate) epoch: u64,
    pub(crate) revision: u64,
    pub(crate) now: Targets,
    pub(crate) deltas: usize,
    /// Who was told to be no target any more, and why, in order.
    pub(crate) removed: Vec<(u64, shared::TargetRemovalReason)>,
}

/// What is in a message of either service.
#[derive(Debug)]
pub(crate) enum Content {
    Snapshot(shared::TargetList),
    Delta(shared::TargetDelta),
    Heartbeat(shared::WatchHeartbeat),
    Goodbye(shared::Goodbye),
}

/// A message of either service.
pub(crate) trait Message {
    fn parts(self) -> (u64, u64, Content);
}

macro_rules! message {
    ($service:ident) => {
        impl Message for $service::WatchTargetsResponse {
            fn parts(self) -> (u64, u64, Content) {
                use $service::watch_targets_response::Event;
                let Self { epoch, revision, event } = self;
                let content = match event.expect("every message says something") {
                    Event::Snapshot(list) => Content::Snapshot(list),
                    Event::Delta(delta) => Content::Delta(delta),
                    Event::Heartbeat(heartbeat) => Content::Heartbeat(heartbeat),
                    Event::Goodbye(goodbye) => Content::Goodbye(goodbye),
                };
                (epoch, revision, content)
            }
        }
    };
}

message!(livestream);
message!(group);

impl From<shared::TargetList> for Targets {
    fn from(list: shared::TargetList) -> Self {
        let topology = list.topology();
        let shared::TargetList { placement, targets, parent, backup_parent, .. } = list;
        let count = targets.len();
        let targets: BTreeMap<u64, shared::Target> =
            targets.into_iter().map(|target| (target.node_id, target)).collect();
        assert_eq!(targets.len(), count, "each target is listed once");
        let id = |peer: &Option<shared::Peer>| peer.as_ref().map_or(0, |peer| peer.node_id);
        let place = placement.unwrap_or_default();
        assert_eq!((id(&parent), id(&backup_parent)), (place.parent_node_id, place.backup_parent_node_id));
        Self { topology, placement, parent, backup_parent, targets }
    }
}

impl Targets {
    pub(crate) fn nodes(&self) -> Vec<u64> {
        self.targets.keys().copied().collect()
    }
}

impl TargetFold {
    /// Begins with the first message, which is the whole list.
    pub(crate) fn begin(message: impl Message) -> Self {
        let (epoch, revision, content) = message.parts();
        let Content::Snapshot(list) = content else { panic!("a watch begins with a snapshot, not with {content:?}") };
        assert_ne!((epoch, revision), (0, 0));
        Self { epoch, revision, now: list.into(), deltas: 0, removed: Vec::new() }
    }

    /// Takes a message; a goodbye is handed back.
    pub(crate) fn take(&mut self, message: impl Message) -> Option<shared::Goodbye> {
        let (epoch, revision, content) = message.parts();
        assert_eq!(epoch, self.epoch, "a watch is of one incarnation");
        match content {
            Content::Snapshot(_) => panic!("only the first message is a snapshot"),
            Content::Delta(delta) => {
                assert!(revision > self.revision, "a delta leads on from {} to {revision}", self.revision);
                self.deltas += 1;
                self.apply(delta);
            }
            Content::Heartbeat(heartbeat) => {
                assert!(heartbeat.server_time.is_some());
                assert!(revision >= self.revision, "the state is current up to what was told at least");
            }
            Content::Goodbye(goodbye) => {
                assert!(revision >= self.revision, "a goodbye names what was told");
                return Some(goodbye);
            }
        }
        self.revision = revision;
        None
    }

    fn apply(&mut self, delta: shared::TargetDelta) {
        let before = self.now.clone();
        self.now.topology = delta.topology();
        let shared::TargetDelta { placement, added, updated, removed, parent, backup_parent, .. } = delta;
        (self.now.placement, self.now.parent, self.now.backup_parent) = (placement, parent, backup_parent);
        for gone in removed {
            let known = self.now.targets.remove(&gone.node_id);
            assert!(known.is_some(), "what is removed was a target: {gone:?}");
            self.removed.push((gone.node_id, gone.reason()));
        }
        for target in added {
            let known = self.now.targets.insert(target.node_id, target);
            assert_eq!(known, None, "what is added was no target");
        }
        for target in updated {
            let now = target.clone();
            let known = self.now.targets.insert(target.node_id, target).expect("what is updated was a target");
            assert_ne!(known, now, "what is updated is another one");
        }
        assert_ne!(self.now, before, "a delta changes something");
    }
}
