//! A livestream on the wire.

use bytes::Bytes;
use prost::Message;

use super::{
    authority_granted, ban_changed, duration, end_reason, interest_changed, interests, member_left, timestamp,
};
use crate::pb::livestream::v1 as pb;
use crate::pb::livestream::v1::livestream_event::Change as On;
use crate::pb::swarm::v1::{self as shared};
use crate::store::snapshot::{SwarmDetail, SwarmSnapshot};
use starling_core::event::EventKind;
use starling_core::id::SwarmId;
use starling_core::key::BroadcasterKey;
use starling_core::livestream::{Config, State};
use starling_core::member::{MemberView, Role, View, ViewerMode};
use starling_core::summary::{Detail, Summary};
use starling_core::{LivestreamEvent, SharedEvent};

impl From<State> for pb::LivestreamState {
    fn from(state: State) -> Self {
        match state {
            State::Initializing => Self::Initializing,
            State::Active => Self::Active,
            State::Paused => Self::Paused,
            State::Ended => Self::Ended,
        }
    }
}

impl From<&Config> for pb::LivestreamConfig {
    fn from(config: &Config) -> Self {
        let Config {
            star_to_tree_threshold,
            tree_fanout,
            subscriber_bytes_per_second,
            keyframe_interval_ms,
            max_viewers,
            max_lag_ms,
            broadcaster_timeout_ms,
        } = *config;
        Self {
            star_to_tree_threshold: Some(star_to_tree_threshold),
            tree_fanout: Some(tree_fanout),
            subscriber_bytes_per_second: Some(subscriber_bytes_per_second),
            keyframe_interval: Some(duration(keyframe_interval_ms)),
            max_viewers: Some(max_viewers),
            max_lag: Some(duration(max_lag_ms)),
            broadcaster_timeout: Some(duration(broadcaster_timeout_ms)),
        }
    }
}

/// `None` for a group; ids of livestreams name nothing else.
pub(in crate::grpc) fn livestream(swarm: SwarmSnapshot) -> Option<pb::Livestream> {
    let SwarmSnapshot { id, epoch, revision, metadata, created_at, ended, banned, detail } = swarm;
    let SwarmDetail::Livestream(detail) = detail else { return None };
    Some(pb::Livestream {
        livestream_id: id.get(),
        epoch: epoch.get(),
        revision,
        state: pb::LivestreamState::from(detail.state).into(),
        broadcaster_node_id: detail.broadcaster.get(),
        broadcaster_present: detail.broadcaster_present,
        config: Some((&detail.config).into()),
        metadata: metadata.into(),
        viewer_count: detail.viewers as u64,
        topology: shared::Topology::from(detail.topology).into(),
        moderator_node_ids: detail.moderators.iter().map(|node| node.get()).collect(),
        muted_count: u32::try_from(detail.muted).unwrap_or(u32::MAX),
        create_time: Some(timestamp(created_at)),
        start_time: detail.started_at.map(timestamp),
        end_time: ended.map(|(at, _)| timestamp(at)),
        end_reason: end_reason(ended),
        banned_count: u32::try_from(banned).unwrap_or(u32::MAX),
        broadcaster_public_key: detail.key.as_ref().map_or_else(Bytes::new, key_bytes),
    })
}

fn key_bytes(key: &BroadcasterKey) -> Bytes {
    Bytes::copy_from_slice(key.bytes())
}

pub(in crate::grpc) fn summary(id: SwarmId, summary: &Summary, created: bool) -> pb::LivestreamSummary {
    let (state, broadcaster) = state_of(summary);
    pb::LivestreamSummary {
        livestream_id: id.get(),
        epoch: summary.epoch.get(),
        state: state.into(),
        broadcaster_node_id: broadcaster,
        metadata: Bytes::copy_from_slice(&summary.metadata),
        created,
        end_reason: end_reason(summary.ended),
        create_time: Some(timestamp(summary.created_at)),
        end_time: summary.ended.map(|(at, _)| timestamp(at)),
        revision: summary.revision,
    }
}

pub(in crate::grpc) fn removed(id: SwarmId, summary: &Summary) -> pb::LivestreamRemoved {
    pb::LivestreamRemoved {
        livestream_id: id.get(),
        epoch: summary.epoch.get(),
        end_reason: end_reason(summary.ended),
        end_time: summary.ended.map(|(at, _)| timestamp(at)),
        state: state_of(summary).0.into(),
    }
}

/// Its state, and who broadcasts.
fn state_of(summary: &Summary) -> (pb::LivestreamState, u64) {
    match summary.detail {
        Detail::Livestream { state, broadcaster } => (state.into(), broadcaster.get()),
        Detail::Group => (pb::LivestreamState::Unspecified, 0),
    }
}

/// A viewer as a member sees itself.
pub(in crate::grpc) fn own_viewer(member: &MemberView) -> pb::Viewer {
    viewer(member, View::Full)
}

pub(in crate::grpc) fn viewer(member: &MemberView, view: View) -> pb::Viewer {
    let mode = match member.role {
        Role::Viewer { mode: ViewerMode::Active, .. } => pb::ViewerMode::Active,
        Role::Viewer { mode: ViewerMode::Lurker, .. } => pb::ViewerMode::Lurker,
        Role::Broadcaster { .. } | Role::Participant(_) | Role::Listener => pb::ViewerMode::Unspecified,
    };
    let basic = pb::Viewer {
        node_id: member.node.get(),
        session_id: member.session.get(),
        mode: mode.into(),
        metadata: Bytes::copy_from_slice(&member.metadata),
        placement: member.placement.map(Into::into),
        moderator: member.moderator,
        muted: member.muted,
        attached: member.attached,
        join_time: Some(timestamp(member.joined_at)),
        ..Default::default()
    };
    match view {
        View::Basic => basic,
        View::Full => pb::Viewer {
            endpoint: Bytes::copy_from_slice(&member.endpoint),
            interests: interests(&member.interests),
            lease_ttl: Some(duration(member.ttl_ms)),
            ..basic
        },
    }
}

/// An event of a swarm of either kind.
pub(super) fn shared_event(event: &SharedEvent, revision: u64, view: View) -> On {
    match event {
        SharedEvent::Joined { key: _, member } => {
            On::ViewerJoined(pb::ViewerJoined { viewer: Some(viewer(member, view)) })
        }
        SharedEvent::Left { key: _, node, session, reason } => On::ViewerLeft(member_left(*node, *session, *reason)),
        SharedEvent::BanChanged { node, until } => On::BanChanged(ban_changed(*node, *until)),
        SharedEvent::AuthorityGranted { node, channels } => {
            On::AuthorityGranted(authority_granted(*node, *channels, revision))
        }
        SharedEvent::InterestChanged { key: _, node, updates } => On::InterestChanged(interest_changed(*node, updates)),
        SharedEvent::MemberUpdated { key: _, member } => {
            On::ViewerUpdated(pb::ViewerUpdated { viewer: Some(viewer(member, view)) })
        }
    }
}

/// An event that only livestreams know.
pub(super) fn livestream_event(event: &LivestreamEvent, view: View) -> On {
    match event {
        LivestreamEvent::StateChanged { state, reason } => On::StateChanged(pb::StateChanged {
            state: pb::LivestreamState::from(*state).into(),
            end_reason: reason.map_or(shared::EndReason::Unspecified, Into::into).into(),
        }),
        LivestreamEvent::Updated { metadata, config } => On::LivestreamUpdated(pb::LivestreamUpdated {
            metadata: Bytes::copy_from_slice(metadata),
            config: Some(config.as_ref().into()),
        }),
        LivestreamEvent::BroadcasterJoined { node, session } => {
            On::BroadcasterJoined(pb::BroadcasterJoined { node_id: node.get(), session_id: session.get() })
        }
        LivestreamEvent::BroadcasterLost { node, session, reason } => On::BroadcasterLost(pb::BroadcasterLost {
            node_id: node.get(),
            session_id: session.get(),
            reason: shared::LeaveReason::from(*reason).into(),
        }),
        LivestreamEvent::Transferred { from, to, to_key: _, viewer: old, key } => {
            On::BroadcastTransferred(pb::BroadcastTransferred {
                from_node_id: from.get(),
                to_node_id: to.get(),
                viewer: old.as_ref().map(|(_, old)| viewer(old, view)),
                broadcaster_public_key: key.as_deref().map_or_else(Bytes::new, key_bytes),
            })
        }
        LivestreamEvent::ModeratorChanged { node, moderator } => {
            On::ModeratorChanged(pb::ModeratorChanged { node_id: node.get(), moderator: *moderator })
        }
        LivestreamEvent::MuteChanged { node, muted } => {
            On::MuteChanged(pb::MuteChanged { node_id: node.get(), muted: *muted })
        }
        LivestreamEvent::TopologySwitched { topology } => {
            On::TopologySwitched(pb::TopologySwitched { topology: shared::Topology::from(*topology).into() })
        }
        LivestreamEvent::PlacementChanged { key: _, node, placement } => {
            On::PlacementChanged(pb::PlacementChanged { node_id: node.get(), placement: Some((*placement).into()) })
        }
    }
}

/// The bytes of an event.
pub(super) fn encoded(change: On) -> Bytes {
    pb::LivestreamEvent { change: Some(change) }.encode_to_vec().into()
}

/// The kind of events that a number stands for; `None` for an unknown one.
pub(in crate::grpc) fn event_kind(number: i32) -> Option<EventKind> {
    Some(match pb::LivestreamEventKind::try_from(number).ok()? {
        pb::LivestreamEventKind::Unspecified => return None,
        pb::LivestreamEventKind::Membership => EventKind::Membership,
        pb::LivestreamEventKind::Lifecycle => EventKind::Lifecycle,
        pb::LivestreamEventKind::Broadcaster => EventKind::Broadcaster,
        pb::LivestreamEventKind::Moderation => EventKind::Moderation,
        pb::LivestreamEventKind::Topology => EventKind::Topology,
        pb::LivestreamEventKind::Authority => EventKind::Authority,
        pb::LivestreamEventKind::Interest => EventKind::Interest,
        pb::LivestreamEventKind::Placement => EventKind::Placement,
    })
}
