//! The messages of watches, which the two services name differently.

use bytes::Bytes;
use prost_types::Timestamp;

use crate::grpc::convert::{group as group_wire, livestream as livestream_wire};
use crate::pb::swarm::v1 as shared;
use crate::pb::{group::v1 as group, livestream::v1 as livestream};
use crate::store::snapshot::SwarmSnapshot;
use starling_core::id::{SwarmId, SwarmKind};
use starling_core::member::{MemberView, View};
use starling_core::summary::Summary;

/// What a watch of targets says.
pub(in crate::grpc) enum TargetMessage {
    Snapshot(shared::TargetList),
    Delta(shared::TargetDelta),
    Heartbeat(shared::WatchHeartbeat),
    Goodbye(shared::Goodbye),
}

/// What a watch of a swarm's events says.
pub(in crate::grpc) enum EventMessage {
    /// Why, as a number of `ResetReason`, and how the swarm looks.
    Reset {
        reason: i32,
        swarm: Box<SwarmSnapshot>,
    },
    Roster(Vec<MemberView>, View),
    Complete(shared::SnapshotComplete),
    /// The wanted events of one revision, encoded.
    Batch {
        events: Vec<Bytes>,
        event_time: Timestamp,
        actor_node_id: u64,
    },
    Heartbeat(shared::WatchHeartbeat),
    Goodbye(shared::Goodbye),
}

/// What a watch of a set of swarms says.
pub(in crate::grpc) enum SetMessage {
    Opened(shared::SetOpened),
    InSync(shared::SetInSync),
    Reset(shared::Reset),
    Swarm { id: SwarmId, summary: Summary, created: bool },
    Removed { id: SwarmId, summary: Summary },
    Heartbeat(shared::WatchHeartbeat),
    Goodbye(shared::Goodbye),
}

/// The messages of one service.
pub(in crate::grpc) trait Kind: 'static {
    /// What it serves.
    const KIND: SwarmKind;
    /// A message of WatchTargets.
    type Targets: Send;
    /// A message of WatchLivestream or WatchGroup.
    type Events: Send;
    /// A message of WatchLivestreams or WatchGroups.
    type Set: Send;

    fn targets(epoch: u64, revision: u64, message: TargetMessage) -> Self::Targets;

    fn events(epoch: u64, revision: u64, message: EventMessage) -> Self::Events;

    fn set(epoch: u64, partition: u32, position: Bytes, message: SetMessage) -> Self::Set;
}

/// LivestreamService.
pub(in crate::grpc) enum Livestream {}

/// GroupService.
pub(in crate::grpc) enum Group {}

impl Kind for Livestream {
    const KIND: SwarmKind = SwarmKind::Livestream;
    type Targets = livestream::WatchTargetsResponse;
    type Events = livestream::WatchLivestreamResponse;
    type Set = livestream::WatchLivestreamsResponse;

    fn targets(epoch: u64, revision: u64, message: TargetMessage) -> Self::Targets {
        use livestream::watch_targets_response::Event;
        let event = match message {
            TargetMessage::Snapshot(list) => Event::Snapshot(list),
            TargetMessage::Delta(delta) => Event::Delta(delta),
            TargetMessage::Heartbeat(heartbeat) => Event::Heartbeat(heartbeat),
            TargetMessage::Goodbye(goodbye) => Event::Goodbye(goodbye),
        };
        livestream::WatchTargetsResponse { epoch, revision, event: Some(event) }
    }

    fn events(epoch: u64, revision: u64, message: EventMessage) -> Self::Events {
        use livestream::watch_livestream_response::Event;
        let event = match message {
            EventMessage::Reset { reason, swarm } => {
                Event::Reset(livestream::LivestreamReset { reason, livestream: livestream_wire::livestream(*swarm) })
            }
            EventMessage::Roster(members, view) => {
                let viewers = members.iter().map(|member| livestream_wire::viewer(member, view)).collect();
                Event::Roster(livestream::RosterPage { viewers })
            }
            EventMessage::Complete(complete) => Event::SnapshotComplete(complete),
            EventMessage::Batch { events, event_time, actor_node_id } => {
                Event::Batch(livestream::LivestreamEventBatch { events, event_time: Some(event_time), actor_node_id })
            }
            EventMessage::Heartbeat(heartbeat) => Event::Heartbeat(heartbeat),
            EventMessage::Goodbye(goodbye) => Event::Goodbye(goodbye),
        };
        livestream::WatchLivestreamResponse { epoch, revision, event: Some(event) }
    }

    fn set(epoch: u64, partition: u32, position: Bytes, message: SetMessage) -> Self::Set {
        use livestream::watch_livestreams_response::Event;
        let event = match message {
            SetMessage::Opened(opened) => Event::Opened(opened),
            SetMessage::InSync(in_sync) => Event::InSync(in_sync),
            SetMessage::Reset(reset) => Event::Reset(reset),
            SetMessage::Swarm { id, summary, created } => {
                Event::Livestream(livestream_wire::summary(id, &summary, created))
            }
            SetMessage::Removed { id, summary } => Event::Removed(livestream_wire::removed(id, &summary)),
            SetMessage::Heartbeat(heartbeat) => Event::Heartbeat(heartbeat),
            SetMessage::Goodbye(goodbye) => Event::Goodbye(goodbye),
        };
        livestream::WatchLivestreamsResponse { epoch, partition, position, event: Some(event) }
    }
}

impl Kind for Group {
    const KIND: SwarmKind = SwarmKind::Group;
    type Targets = group::WatchTargetsResponse;
    type Events = group::WatchGroupResponse;
    type Set = group::WatchGroupsResponse;

    fn targets(epoch: u64, revision: u64, message: TargetMessage) -> Self::Targets {
        use group::watch_targets_response::Event;
        let event = match message {
            TargetMessage::Snapshot(list) => Event::Snapshot(list),
            TargetMessage::Delta(delta) => Event::Delta(delta),
            TargetMessage::Heartbeat(heartbeat) => Event::Heartbeat(heartbeat),
            TargetMessage::Goodbye(goodbye) => Event::Goodbye(goodbye),
        };
        group::WatchTargetsResponse { epoch, revision, event: Some(event) }
    }

    fn events(epoch: u64, revision: u64, message: EventMessage) -> Self::Events {
        use group::watch_group_response::Event;
        let event = match message {
            EventMessage::Reset { reason, swarm } => {
                Event::Reset(group::GroupReset { reason, group: group_wire::group(*swarm) })
            }
            EventMessage::Roster(members, view) => {
                let participants = members.iter().map(|member| group_wire::participant(member, view)).collect();
                Event::Roster(group::RosterPage { participants })
            }
            EventMessage::Complete(complete) => Event::SnapshotComplete(complete),
            EventMessage::Batch { events, event_time, actor_node_id } => {
                Event::Batch(group::GroupEventBatch { events, event_time: Some(event_time), actor_node_id })
            }
            EventMessage::Heartbeat(heartbeat) => Event::Heartbeat(heartbeat),
            EventMessage::Goodbye(goodbye) => Event::Goodbye(goodbye),
        };
        group::WatchGroupResponse { epoch, revision, event: Some(event) }
    }

    fn set(epoch: u64, partition: u32, position: Bytes, message: SetMessage) -> Self::Set {
        use group::watch_groups_response::Event;
        let event = match message {
            SetMessage::Opened(opened) => Event::Opened(opened),
            SetMessage::InSync(in_sync) => Event::InSync(in_sync),
            SetMessage::Reset(reset) => Event::Reset(reset),
            SetMessage::Swarm { id, summary, created } => Event::Group(group_wire::summary(id, &summary, created)),
            SetMessage::Removed { id, summary } => Event::Removed(group_wire::removed(id, &summary)),
            SetMessage::Heartbeat(heartbeat) => Event::Heartbeat(heartbeat),
            SetMessage::Goodbye(goodbye) => Event::Goodbye(goodbye),
        };
        group::WatchGroupsResponse { epoch, partition, position, event: Some(event) }
    }
}
