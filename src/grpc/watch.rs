//! Watches as streams: what the service sees, in the words of each service.

use std::sync::Arc;

use bytes::Bytes;
use prost_types::Timestamp;
use tokio::sync::Notify;

use super::convert::{group as group_wire, livestream as livestream_wire, timestamp};
use super::set_position;
use super::stream::Source;
use crate::pb::swarm::v1 as shared;
use crate::pb::{group::v1 as group, livestream::v1 as livestream};
use crate::service::watch::{
    CensusItem, CensusWatch, Change, EventItem, EventWatch, ResetReason, SetChange, Step, TargetItem, TargetWatch,
    Watch,
};
use crate::store::log::View;
use starling_core::Event;
use starling_core::id::{NodeId, SwarmKind};

pub(super) struct LivestreamTargets(pub(super) TargetWatch);
pub(super) struct GroupTargets(pub(super) TargetWatch);
pub(super) struct LivestreamEvents {
    pub(super) view: View,
    pub(super) watch: EventWatch,
}
pub(super) struct GroupEvents {
    pub(super) view: View,
    pub(super) watch: EventWatch,
}
pub(super) struct LivestreamCensus(pub(super) CensusWatch);
pub(super) struct GroupCensus(pub(super) CensusWatch);

fn heartbeat(now: Timestamp) -> shared::WatchHeartbeat {
    shared::WatchHeartbeat { server_time: Some(now) }
}

fn reset(reason: ResetReason) -> i32 {
    shared::ResetReason::from(reason).into()
}

macro_rules! target_source {
    ($source:ty, $pb:ident) => {
        impl $source {
            fn message(&self, revision: u64, event: $pb::watch_targets_response::Event) -> $pb::WatchTargetsResponse {
                $pb::WatchTargetsResponse { epoch: self.0.epoch().get(), revision, event: Some(event) }
            }
        }

        impl Source for $source {
            type Message = $pb::WatchTargetsResponse;

            fn changed(&self) -> Arc<Notify> {
                self.0.changed()
            }

            fn step(&mut self) -> Step<Vec<Self::Message>> {
                use $pb::watch_targets_response::Event;
                match self.0.step() {
                    Step::Idle(revision) => Step::Idle(revision),
                    Step::Over(over) => Step::Over(over),
                    Step::Item(TargetItem { revision, change }) => {
                        let event = match change {
                            Change::Snapshot(list) => Event::Snapshot(list.into()),
                            Change::Delta(delta) => Event::Delta(delta.into()),
                        };
                        Step::Item(vec![self.message(revision, event)])
                    }
                }
            }

            fn heartbeat(&self, revision: u64, now: Timestamp) -> Self::Message {
                use $pb::watch_targets_response::Event;
                self.message(revision, Event::Heartbeat(heartbeat(now)))
            }

            fn goodbye(&self, goodbye: shared::Goodbye) -> Self::Message {
                self.message(self.0.revision(), $pb::watch_targets_response::Event::Goodbye(goodbye))
            }
        }
    };
}

target_source!(LivestreamTargets, livestream);
target_source!(GroupTargets, group);

macro_rules! event_source {
    (
        $source:ty, $pb:ident, $Response:ident, $module:ident,
        reset: $Reset:ident { $swarm:ident }, roster: $members:ident($member:path), events: $Events:ident,
        view: $view:path, encode: $encode:path
    ) => {
        impl $source {
            fn message(&self, revision: u64, event: $pb::$module::Event) -> $pb::$Response {
                $pb::$Response { epoch: self.watch.epoch().get(), revision, event: Some(event) }
            }
        }

        impl Source for $source {
            type Message = $pb::$Response;

            fn changed(&self) -> Arc<Notify> {
                self.watch.changed()
            }

            fn step(&mut self) -> Step<Vec<Self::Message>> {
                use $pb::$module::Event as Told;
                let item = match self.watch.step() {
                    Step::Idle(revision) => return Step::Idle(revision),
                    Step::Over(over) => return Step::Over(over),
                    Step::Item(item) => item,
                };
                let (revision, told) = match item {
                    EventItem::Reset { reason, revision, swarm } => {
                        (revision, Told::Reset($pb::$Reset { reason: reset(reason), $swarm: $view(*swarm) }))
                    }
                    EventItem::Roster { revision, members } => {
                        let $members = members.iter().map(|member| $member(member, self.view)).collect();
                        (revision, Told::Roster($pb::RosterPage { $members }))
                    }
                    EventItem::Complete { revision } => {
                        (revision, Told::SnapshotComplete(shared::SnapshotComplete { revision }))
                    }
                    EventItem::Events { revision, wanted } => {
                        let number = revision.number;
                        let encoded = revision.encoded(self.view, |event: &Event| $encode(event, number, self.view));
                        let events = $pb::$Events {
                            events: wanted.into_iter().map(|index| encoded[index].clone()).collect(),
                            event_time: Some(timestamp(revision.origin.at)),
                            actor_node_id: revision.origin.actor.map_or(0, NodeId::get),
                        };
                        (number, Told::Batch(events))
                    }
                };
                Step::Item(vec![self.message(revision, told)])
            }

            fn heartbeat(&self, revision: u64, now: Timestamp) -> Self::Message {
                self.message(revision, $pb::$module::Event::Heartbeat(heartbeat(now)))
            }

            fn goodbye(&self, goodbye: shared::Goodbye) -> Self::Message {
                self.message(self.watch.revision(), $pb::$module::Event::Goodbye(goodbye))
            }
        }
    };
}

event_source!(
    LivestreamEvents, livestream, WatchLivestreamResponse, watch_livestream_response,
    reset: LivestreamReset { livestream }, roster: viewers(livestream_wire::viewer), events: LivestreamEventBatch,
    view: livestream_wire::livestream, encode: livestream_wire::event
);
event_source!(
    GroupEvents, group, WatchGroupResponse, watch_group_response,
    reset: GroupReset { group }, roster: participants(group_wire::participant), events: GroupEventBatch,
    view: group_wire::group, encode: group_wire::event
);

macro_rules! census_source {
    (
        $source:ty, $pb:ident, $Response:ident, $module:ident, $kind:path,
        swarm: $Swarm:ident($summary:path), removed: $removed:path
    ) => {
        impl $source {
            fn message(&self, partition: u32, position: Bytes, event: $pb::$module::Event) -> $pb::$Response {
                $pb::$Response { epoch: self.0.epoch().get(), partition, position, event: Some(event) }
            }

            fn about_all(&self, event: $pb::$module::Event) -> $pb::$Response {
                self.message(0, Bytes::new(), event)
            }
        }

        impl Source for $source {
            type Message = $pb::$Response;

            fn changed(&self) -> Arc<Notify> {
                self.0.changed()
            }

            fn step(&mut self) -> Step<Vec<Self::Message>> {
                use $pb::$module::Event as Told;
                let items = match self.0.step() {
                    Step::Idle(revision) => return Step::Idle(revision),
                    Step::Over(over) => return Step::Over(over),
                    Step::Item(items) => items,
                };
                let message = |item: CensusItem| match item {
                    CensusItem::Opened { shards, resets } => self.about_all(Told::Opened(opened(shards, resets))),
                    CensusItem::InSync(revisions) => self.about_all(Told::InSync(in_sync($kind, revisions))),
                    CensusItem::About { shard, revision, change } => {
                        let told = match change {
                            SetChange::Reset(reason) => Told::Reset(shared::Reset { reason: reset(reason) }),
                            SetChange::Swarm { id, summary, created } => Told::$Swarm($summary(id, &summary, created)),
                            SetChange::Removed { id, summary } => Told::Removed($removed(id, &summary)),
                        };
                        let token = revision.map(|revision| set_position::token($kind, shard, revision));
                        self.message(set_position::partition(shard), token.unwrap_or_default(), told)
                    }
                };
                Step::Item(items.into_iter().map(message).collect())
            }

            fn heartbeat(&self, _revision: u64, now: Timestamp) -> Self::Message {
                self.about_all($pb::$module::Event::Heartbeat(heartbeat(now)))
            }

            fn goodbye(&self, goodbye: shared::Goodbye) -> Self::Message {
                self.about_all($pb::$module::Event::Goodbye(goodbye))
            }
        }
    };
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

census_source!(
    LivestreamCensus, livestream, WatchLivestreamsResponse, watch_livestreams_response, SwarmKind::Livestream,
    swarm: Livestream(livestream_wire::summary), removed: livestream_wire::removed
);
census_source!(
    GroupCensus, group, WatchGroupsResponse, watch_groups_response, SwarmKind::Group,
    swarm: Group(group_wire::summary), removed: group_wire::removed
);
