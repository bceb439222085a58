//! Watches as streams: what the service sees, in the words of each service.

mod kind;

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use prost_types::Timestamp;
use tokio::sync::Notify;

use super::convert::{self, timestamp};
use super::set_position;
use super::stream::Source;
use crate::pb::swarm::v1 as shared;
use crate::service::watch::{
    CensusItem, CensusWatch, Change, EventItem, EventWatch, ResetReason, SetChange, Step, TargetItem, TargetWatch,
    Watch,
};
use kind::{EventMessage, Kind, SetMessage, TargetMessage};
pub(super) use kind::{Group, Livestream};
use starling_core::Event;
use starling_core::id::{NodeId, SwarmKind};
use starling_core::member::View;

/// The targets of a node.
pub(super) struct TargetSource<K> {
    watch: TargetWatch,
    kind: PhantomData<fn() -> K>,
}

/// The events of a swarm.
pub(super) struct EventSource<K> {
    watch: EventWatch,
    view: View,
    kind: PhantomData<fn() -> K>,
}

/// The set of all swarms of a kind.
pub(super) struct SetSource<K> {
    watch: CensusWatch,
    kind: PhantomData<fn() -> K>,
}

fn heartbeat(now: Timestamp) -> shared::WatchHeartbeat {
    shared::WatchHeartbeat { server_time: Some(now) }
}

fn reset(reason: ResetReason) -> i32 {
    shared::ResetReason::from(reason).into()
}

impl<K: Kind> TargetSource<K> {
    pub(super) const fn new(watch: TargetWatch) -> Self {
        Self { watch, kind: PhantomData }
    }

    fn message(&self, revision: u64, message: TargetMessage) -> K::Targets {
        K::targets(self.watch.epoch().get(), revision, message)
    }
}

impl<K: Kind> Source for TargetSource<K> {
    type Message = K::Targets;

    fn changed(&self) -> Arc<Notify> {
        self.watch.changed()
    }

    fn step(&mut self) -> Step<Vec<K::Targets>> {
        match self.watch.step() {
            Step::Idle(revision) => Step::Idle(revision),
            Step::Over(over) => Step::Over(over),
            Step::Item(TargetItem { revision, change }) => {
                let message = match change {
                    Change::Snapshot(list) => TargetMessage::Snapshot(Arc::unwrap_or_clone(list).into()),
                    Change::Delta(delta) => TargetMessage::Delta(delta.into()),
                };
                Step::Item(vec![self.message(revision, message)])
            }
        }
    }

    fn held(&self) -> usize {
        self.watch.told_bytes()
    }

    fn heartbeat(&self, revision: u64, now: Timestamp) -> K::Targets {
        self.message(revision, TargetMessage::Heartbeat(heartbeat(now)))
    }

    fn goodbye(&self, goodbye: shared::Goodbye) -> K::Targets {
        self.message(self.watch.revision(), TargetMessage::Goodbye(goodbye))
    }
}

impl<K: Kind> EventSource<K> {
    pub(super) const fn new(watch: EventWatch, view: View) -> Self {
        Self { watch, view, kind: PhantomData }
    }

    fn message(&self, revision: u64, message: EventMessage) -> K::Events {
        K::events(self.watch.epoch().get(), revision, message)
    }
}

impl<K: Kind> Source for EventSource<K> {
    type Message = K::Events;

    fn changed(&self) -> Arc<Notify> {
        self.watch.changed()
    }

    fn step(&mut self) -> Step<Vec<K::Events>> {
        let item = match self.watch.step() {
            Step::Idle(revision) => return Step::Idle(revision),
            Step::Over(over) => return Step::Over(over),
            Step::Item(item) => item,
        };
        let (revision, message) = match item {
            EventItem::Reset { reason, revision, swarm } => {
                (revision, EventMessage::Reset { reason: reset(reason), swarm })
            }
            EventItem::Roster { revision, members } => (revision, EventMessage::Roster(members, self.view)),
            EventItem::Complete { revision } => {
                (revision, EventMessage::Complete(shared::SnapshotComplete { revision }))
            }
            EventItem::Events { revision, wanted } => {
                let number = revision.number;
                let encoded =
                    revision.encoded(self.view, |event: &Event| convert::event(K::KIND, event, number, self.view));
                let message = EventMessage::Batch {
                    events: wanted.into_iter().map(|index| encoded[index].clone()).collect(),
                    event_time: timestamp(revision.origin.at),
                    actor_node_id: revision.origin.actor.map_or(0, NodeId::get),
                };
                (number, message)
            }
        };
        Step::Item(vec![self.message(revision, message)])
    }

    fn heartbeat(&self, revision: u64, now: Timestamp) -> K::Events {
        self.message(revision, EventMessage::Heartbeat(heartbeat(now)))
    }

    fn goodbye(&self, goodbye: shared::Goodbye) -> K::Events {
        self.message(self.watch.revision(), EventMessage::Goodbye(goodbye))
    }
}

impl<K: Kind> SetSource<K> {
    pub(super) const fn new(watch: CensusWatch) -> Self {
        Self { watch, kind: PhantomData }
    }

    fn message(&self, partition: u32, position: Bytes, message: SetMessage) -> K::Set {
        K::set(self.watch.epoch().get(), partition, position, message)
    }

    /// A message about all partitions.
    fn about_all(&self, message: SetMessage) -> K::Set {
        self.message(0, Bytes::new(), message)
    }

    fn about(&self, shard: usize, revision: Option<u64>, change: SetChange) -> K::Set {
        let message = match change {
            SetChange::Reset(reason) => SetMessage::Reset(shared::Reset { reason: reset(reason) }),
            SetChange::Swarm { id, summary, created } => SetMessage::Swarm { id, summary, created },
            SetChange::Removed { id, summary } => SetMessage::Removed { id, summary },
        };
        let token = revision.map(|revision| set_position::token(K::KIND, shard, revision));
        self.message(set_position::partition(shard), token.unwrap_or_default(), message)
    }
}

impl<K: Kind> Source for SetSource<K> {
    type Message = K::Set;

    fn changed(&self) -> Arc<Notify> {
        self.watch.changed()
    }

    fn step(&mut self) -> Step<Vec<K::Set>> {
        let items = match self.watch.step() {
            Step::Idle(revision) => return Step::Idle(revision),
            Step::Over(over) => return Step::Over(over),
            Step::Item(items) => items,
        };
        let message = |item: CensusItem| match item {
            CensusItem::Opened { shards, resets } => self.about_all(SetMessage::Opened(opened(shards, resets))),
            CensusItem::InSync(revisions) => self.about_all(SetMessage::InSync(in_sync(K::KIND, revisions))),
            CensusItem::About { shard, revision, change } => self.about(shard, revision, change),
        };
        Step::Item(items.into_iter().map(message).collect())
    }

    fn heartbeat(&self, _revision: u64, now: Timestamp) -> K::Set {
        self.about_all(SetMessage::Heartbeat(heartbeat(now)))
    }

    fn goodbye(&self, goodbye: shared::Goodbye) -> K::Set {
        self.about_all(SetMessage::Goodbye(goodbye))
    }
}

fn opened(shards: usize, resets: Vec<(usize, ResetReason)>) -> shared::SetOpened {
    let resets = resets.into_iter().map(|(shard, reason)| shared::PartitionReset {
        partition: set_position::partition(shard),
        reason: reset(reason),
    });
    shared::SetOpened { partitions: u32::try_from(shards).unwrap_or(u32::MAX), resets: resets.collect() }
}

fn in_sync(kind: SwarmKind, revisions: Vec<u64>) -> shared::SetInSync {
    let positions = revisions.into_iter().enumerate().map(|(shard, revision)| shared::PartitionPosition {
        partition: set_position::partition(shard),
        position: set_position::token(kind, shard, revision),
    });
    shared::SetInSync { positions: positions.collect() }
}
