//! A group on the wire.

use bytes::Bytes;
use prost::Message;

use super::{
    authority_granted, ban_changed, duration, end_reason, interest_changed, interests, member_left, timestamp,
};
use crate::pb::group::v1 as pb;
use crate::pb::group::v1::group_event::Change as On;
use crate::pb::swarm::v1::{self as shared};
use crate::store::snapshot::{SwarmDetail, SwarmSnapshot};
use starling_core::event::{EndReason, EventKind};
use starling_core::group::Config;
use starling_core::id::{NodeId, SwarmId};
use starling_core::member::{MemberView, Role, View};
use starling_core::summary::Summary;
use starling_core::{GroupEvent, SharedEvent};

impl From<&Config> for pb::GroupConfig {
    fn from(config: &Config) -> Self {
        let Config { max_participants, subscriber_bytes_per_second, keyframe_interval_ms, max_lag_ms } = *config;
        Self {
            max_participants: Some(max_participants),
            subscriber_bytes_per_second: Some(subscriber_bytes_per_second),
            keyframe_interval: Some(duration(keyframe_interval_ms)),
            max_lag: Some(duration(max_lag_ms)),
        }
    }
}

const fn state(ended: Option<(u64, EndReason)>) -> pb::GroupState {
    if ended.is_some() { pb::GroupState::Ended } else { pb::GroupState::Active }
}

/// `None` for a livestream; ids of groups name nothing else.
pub(in crate::grpc) fn group(swarm: SwarmSnapshot) -> Option<pb::Group> {
    let SwarmSnapshot { id, epoch, revision, metadata, created_at, ended, banned, detail } = swarm;
    let SwarmDetail::Group(detail) = detail else { return None };
    Some(pb::Group {
        group_id: id.get(),
        epoch: epoch.get(),
        revision,
        state: state(ended).into(),
        owner_node_id: detail.owner.map_or(0, NodeId::get),
        config: Some((&detail.config).into()),
        metadata: metadata.into(),
        participant_count: detail.participants,
        listener_count: detail.listeners,
        screen_share_node_id: detail.sharing.map_or(0, NodeId::get),
        create_time: Some(timestamp(created_at)),
        end_time: ended.map(|(at, _)| timestamp(at)),
        end_reason: end_reason(ended),
        banned_count: u32::try_from(banned).unwrap_or(u32::MAX),
    })
}

pub(in crate::grpc) fn summary(id: SwarmId, summary: &Summary, created: bool) -> pb::GroupSummary {
    pb::GroupSummary {
        group_id: id.get(),
        epoch: summary.epoch.get(),
        state: state(summary.ended).into(),
        metadata: Bytes::copy_from_slice(&summary.metadata),
        created,
        end_reason: end_reason(summary.ended),
        create_time: Some(timestamp(summary.created_at)),
        end_time: summary.ended.map(|(at, _)| timestamp(at)),
        revision: summary.revision,
    }
}

pub(in crate::grpc) fn removed(id: SwarmId, summary: &Summary) -> pb::GroupRemoved {
    pb::GroupRemoved {
        group_id: id.get(),
        epoch: summary.epoch.get(),
        end_reason: end_reason(summary.ended),
        end_time: summary.ended.map(|(at, _)| timestamp(at)),
        state: state(summary.ended).into(),
    }
}

/// A participant as a member sees itself.
pub(in crate::grpc) fn own_participant(member: &MemberView) -> pb::Participant {
    participant(member, View::Full)
}

pub(in crate::grpc) fn participant(member: &MemberView, view: View) -> pb::Participant {
    let (audio_enabled, video_enabled) = match member.role {
        Role::Participant(media) => (media.audio, media.video),
        Role::Listener | Role::Broadcaster { .. } | Role::Viewer { .. } => (false, false),
    };
    let listens = member.role == Role::Listener;
    let mode = if listens { pb::ParticipantMode::Listener } else { pb::ParticipantMode::Active };
    let basic = pb::Participant {
        node_id: member.node.get(),
        session_id: member.session.get(),
        audio_enabled,
        video_enabled,
        sharing_screen: member.sharing,
        mode: mode.into(),
        metadata: Bytes::copy_from_slice(&member.metadata),
        attached: member.attached,
        join_time: Some(timestamp(member.joined_at)),
        ..Default::default()
    };
    match view {
        View::Basic => basic,
        View::Full => pb::Participant {
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
            On::ParticipantJoined(pb::ParticipantJoined { participant: Some(participant(member, view)) })
        }
        SharedEvent::Left { key: _, node, session, reason } => {
            On::ParticipantLeft(member_left(*node, *session, *reason))
        }
        SharedEvent::BanChanged { node, until } => On::BanChanged(ban_changed(*node, *until)),
        SharedEvent::AuthorityGranted { node, channels } => {
            On::AuthorityGranted(authority_granted(*node, *channels, revision))
        }
        SharedEvent::InterestChanged { key: _, node, updates } => On::InterestChanged(interest_changed(*node, updates)),
        SharedEvent::MemberUpdated { key: _, member } => {
            On::ParticipantUpdated(pb::ParticipantUpdated { participant: Some(participant(member, view)) })
        }
    }
}

/// An event that only groups know.
pub(super) fn group_event(event: &GroupEvent) -> On {
    match event {
        GroupEvent::Ended { reason } => On::StateChanged(pb::StateChanged {
            state: pb::GroupState::Ended.into(),
            end_reason: shared::EndReason::from(*reason).into(),
        }),
        GroupEvent::Updated { metadata, config } => On::GroupUpdated(pb::GroupUpdated {
            metadata: Bytes::copy_from_slice(metadata),
            config: Some(config.as_ref().into()),
        }),
        GroupEvent::OwnerChanged { owner } => {
            On::OwnerChanged(pb::OwnerChanged { owner_node_id: owner.map_or(0, NodeId::get) })
        }
        GroupEvent::MediaChanged { key: _, node, media } => On::MediaChanged(pb::MediaChanged {
            node_id: node.get(),
            audio_enabled: media.audio,
            video_enabled: media.video,
        }),
        GroupEvent::ShareStarted { node } => On::ScreenShareStarted(pb::ScreenShareStarted { node_id: node.get() }),
        GroupEvent::ShareStopped { node } => On::ScreenShareStopped(pb::ScreenShareStopped { node_id: node.get() }),
    }
}

/// The bytes of an event.
pub(super) fn encoded(change: On) -> Bytes {
    pb::GroupEvent { change: Some(change) }.encode_to_vec().into()
}

/// The kind of events that a number stands for; `None` for an unknown one.
pub(in crate::grpc) fn event_kind(number: i32) -> Option<EventKind> {
    Some(match pb::GroupEventKind::try_from(number).ok()? {
        pb::GroupEventKind::Unspecified => return None,
        pb::GroupEventKind::Membership => EventKind::Membership,
        pb::GroupEventKind::Lifecycle => EventKind::Lifecycle,
        pb::GroupEventKind::Media => EventKind::Media,
        pb::GroupEventKind::ScreenShare => EventKind::Share,
        pb::GroupEventKind::Ownership => EventKind::Ownership,
        pb::GroupEventKind::Authority => EventKind::Authority,
        pb::GroupEventKind::Interest => EventKind::Interest,
        pb::GroupEventKind::Moderation => EventKind::Moderation,
    })
}
