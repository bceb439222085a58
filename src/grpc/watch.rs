//! Watches as streams: what the service sees, in the words of each service.

use std::sync::Arc;

use bytes::Bytes;
use prost_types::Timestamp;
use tokio::sync::Notify;

use super::convert::{group as group_wire, livestream as livestream_wire, timestamp};
use super::stream::Source;
use crate::pb::swarm::v1 as shared;
use crate::pb::{group::v1 as group, livestream::v1 as livestream};
use crate::service::watch::{
    CensusItem, CensusWatch, Change, EventItem, EventWatch, Step, TargetItem, TargetWatch, Watch,
};
use crate::swarm::id::{NodeId, SwarmId};
use crate::swarm::{Event, Swarm};

pub(super) struct LivestreamTargets(pub(super) TargetWatch);
pub(super) struct GroupTargets(pub(super) TargetWatch);
pub(super) struct LivestreamEvents {
    pub(super) id: SwarmId,
    pub(super) watch: EventWatch,
}
pub(super) struct GroupEvents {
    pub(super) id: SwarmId,
    pub(super) watch: EventWatch,
}
pub(super) struct LivestreamCensus(pub(super) CensusWatch);
pub(super) struct GroupCensus(pub(super) CensusWatch);

fn heartbeat(epoch: u64, revision: u64, now: Timestamp) -> shared::Heartbeat {
    shared::Heartbeat { epoch, revision, heads: Vec::new(), server_time: Some(now) }
}

fn reset(reason: crate::service::watch::ResetReason) -> i32 {
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

            fn bell(&self) -> Arc<Notify> {
                self.0.bell()
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
                self.message(revision, Event::Heartbeat(heartbeat(self.0.epoch().get(), revision, now)))
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
        reset: $Reset:ident { $swarm:ident }, roster: $members:ident,
        view: $kind:path => $view:path, encode: $encode:path
    ) => {
        impl $source {
            fn message(
                &self,
                revision: u64,
                events: Vec<Bytes>,
                control: Option<$pb::$module::Control>,
            ) -> $pb::$Response {
                $pb::$Response { epoch: self.watch.epoch().get(), revision, events, control, ..Default::default() }
            }
        }

        impl Source for $source {
            type Message = $pb::$Response;

            fn bell(&self) -> Arc<Notify> {
                self.watch.bell()
            }

            fn step(&mut self) -> Step<Vec<Self::Message>> {
                use $pb::$module::Control;
                let id = self.id;
                let view = |swarm: &Swarm| match swarm {
                    $kind(swarm) => Some($view(id, swarm)),
                    // Ids of one kind name nothing of the other.
                    _ => None,
                };
                let item = match self.watch.step(view) {
                    Step::Idle(revision) => return Step::Idle(revision),
                    Step::Over(over) => return Step::Over(over),
                    Step::Item(item) => item,
                };
                Step::Item(vec![match item {
                    EventItem::Reset { reason, revision, swarm } => {
                        let reset = $pb::$Reset { reason: reset(reason), $swarm: swarm };
                        self.message(revision, Vec::new(), Some(Control::Reset(reset)))
                    }
                    EventItem::Roster { revision, members } => {
                        let page = $pb::RosterPage { $members: members.iter().map(Into::into).collect() };
                        self.message(revision, Vec::new(), Some(Control::Roster(page)))
                    }
                    EventItem::Complete { revision } => {
                        let complete = shared::SnapshotComplete { revision };
                        self.message(revision, Vec::new(), Some(Control::SnapshotComplete(complete)))
                    }
                    EventItem::Events { revision, wanted } => {
                        let number = revision.number;
                        let encoded = revision.encoded(|event: &Event| $encode(event, number));
                        let events = wanted.into_iter().map(|index| encoded[index].clone()).collect();
                        $pb::$Response {
                            event_time: Some(timestamp(revision.origin.at)),
                            actor_node_id: revision.origin.actor.map_or(0, NodeId::get),
                            ..self.message(number, events, None)
                        }
                    }
                }])
            }

            fn heartbeat(&self, revision: u64, now: Timestamp) -> Self::Message {
                let sign = heartbeat(self.watch.epoch().get(), revision, now);
                self.message(revision, Vec::new(), Some($pb::$module::Control::Heartbeat(sign)))
            }

            fn goodbye(&self, goodbye: shared::Goodbye) -> Self::Message {
                self.message(self.watch.revision(), Vec::new(), Some($pb::$module::Control::Goodbye(goodbye)))
            }
        }
    };
}

event_source!(
    LivestreamEvents, livestream, WatchLivestreamResponse, watch_livestream_response,
    reset: LivestreamReset { livestream }, roster: viewers,
    view: Swarm::Livestream => livestream_wire::livestream, encode: livestream_wire::event
);
event_source!(
    GroupEvents, group, WatchGroupResponse, watch_group_response,
    reset: GroupReset { group }, roster: participants,
    view: Swarm::Group => group_wire::group, encode: group_wire::event
);

macro_rules! census_source {
    (
        $source:ty, $pb:ident, $Response:ident, $module:ident,
        swarm: $Swarm:ident($summary:path), removed: $removed:path
    ) => {
        impl $source {
            fn message(&self, shard: u32, revision: u64, event: $pb::$module::Event) -> $pb::$Response {
                $pb::$Response { epoch: self.0.epoch().get(), shard, revision, event: Some(event) }
            }
        }

        impl Source for $source {
            type Message = $pb::$Response;

            fn bell(&self) -> Arc<Notify> {
                self.0.bell()
            }

            fn step(&mut self) -> Step<Vec<Self::Message>> {
                use $pb::$module::Event;
                let items = match self.0.step() {
                    Step::Idle(revision) => return Step::Idle(revision),
                    Step::Over(over) => return Step::Over(over),
                    Step::Item(items) => items,
                };
                let message = |(shard, revision, item): (u32, u64, CensusItem)| {
                    let event = match item {
                        CensusItem::Reset(reason) => Event::Reset(shared::Reset { reason: reset(reason) }),
                        CensusItem::Swarm { id, summary, created } => Event::$Swarm($summary(id, &summary, created)),
                        CensusItem::Removed { id, summary } => Event::Removed($removed(id, &summary)),
                        CensusItem::Complete => Event::SnapshotComplete(shared::SnapshotComplete { revision }),
                    };
                    self.message(shard, revision, event)
                };
                Step::Item(items.into_iter().map(message).collect())
            }

            fn heartbeat(&self, revision: u64, now: Timestamp) -> Self::Message {
                let sign = heartbeat(self.0.epoch().get(), revision, now);
                self.message(0, 0, $pb::$module::Event::Heartbeat(sign))
            }

            fn goodbye(&self, goodbye: shared::Goodbye) -> Self::Message {
                self.message(0, 0, $pb::$module::Event::Goodbye(goodbye))
            }
        }
    };
}

census_source!(
    LivestreamCensus, livestream, WatchLivestreamsResponse, watch_livestreams_response,
    swarm: Livestream(livestream_wire::summary), removed: livestream_wire::removed
);
census_source!(
    GroupCensus, group, WatchGroupsResponse, watch_groups_response,
    swarm: Group(group_wire::summary), removed: group_wire::removed
);
