//! Requests of GroupService, parsed; see [`super::livestream_requests`].

use super::Action;
use super::livestream_requests::report_reason;
use crate::grpc::fields::{self, InvalidField, Parsed, by, interests, invalid, lease, opaque, swarm_id};
use crate::pb::group::v1 as pb;
use crate::service::{New, Service};
use starling_core::Command;
use starling_core::command::{Join, SwarmUpdate};
use starling_core::group::Config;
use starling_core::id::{NodeId, SwarmKind};

const KIND: SwarmKind = SwarmKind::Group;

/// A group to be, and who owns it.
#[derive(Debug)]
pub(in crate::grpc) struct NewGroup {
    pub(in crate::grpc) new: New<Config>,
    pub(in crate::grpc) owner: Option<NodeId>,
}

impl TryFrom<pb::CreateGroupRequest> for NewGroup {
    type Error = InvalidField;

    fn try_from(request: pb::CreateGroupRequest) -> Parsed<Self> {
        let pb::CreateGroupRequest { group_id, node_id, owner_node_id, config, metadata, request_id } = &request;
        if *group_id == 0 && *node_id == 0 && !request_id.is_empty() {
            return invalid("node_id", "must be given with request_id when group_id is 0");
        }
        let new = New {
            number: (*group_id != 0).then_some(*group_id),
            node: NodeId::new(*node_id),
            config: self::config(config.as_ref())?,
            metadata: opaque("metadata", metadata, fields::SWARM_METADATA)?,
            request: fields::request(request_id, &request)?,
        };
        Ok(Self { new, owner: NodeId::new(*owner_node_id) })
    }
}

fn config(config: Option<&pb::GroupConfig>) -> Parsed<Config> {
    let default = Config::default();
    let Some(config) = config else { return Ok(default) };
    let pb::GroupConfig { max_participants, subscriber_bytes_per_second, keyframe_interval, max_lag } = config;
    let participants = max_participants.unwrap_or(default.max_participants);
    let bandwidth = subscriber_bytes_per_second.unwrap_or(default.subscriber_bytes_per_second);
    let keyframe_interval_ms = fields::millis_or(
        "config.keyframe_interval",
        keyframe_interval.as_ref(),
        100,
        60_000,
        default.keyframe_interval_ms,
    )?;
    Ok(Config {
        max_participants: fields::within("config.max_participants", participants, 1, 256)?,
        subscriber_bytes_per_second: fields::within(
            "config.subscriber_bytes_per_second",
            bandwidth,
            1_000,
            1_000_000_000,
        )?,
        keyframe_interval_ms,
        max_lag_ms: fields::millis_or("config.max_lag", max_lag.as_ref(), 100, 600_000, keyframe_interval_ms)?,
    })
}

impl TryFrom<pb::JoinGroupRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::JoinGroupRequest) -> Parsed<Self> {
        let pb::JoinGroupRequest {
            group_id,
            node_id,
            endpoint,
            metadata,
            interests: wishes,
            lease_ttl,
            request_id,
            mode,
        } = &request;
        let id = swarm_id(KIND, *group_id)?;
        let join = Join {
            node: fields::node("node_id", *node_id)?,
            session: Service::draw_session(),
            mode: None,
            can_relay: None,
            endpoint: endpoint.as_ref().map(|bytes| opaque("endpoint", bytes, fields::MEMBER_BYTES)).transpose()?,
            metadata: metadata.as_ref().map(|bytes| opaque("metadata", bytes, fields::MEMBER_BYTES)).transpose()?,
            interests: interests(KIND, wishes)?,
            ttl_ms: lease(lease_ttl.as_ref())?,
            request: fields::request(request_id, &request)?,
            listens: match pb::ParticipantMode::try_from(*mode) {
                Ok(pb::ParticipantMode::Unspecified) => None,
                Ok(pb::ParticipantMode::Active) => Some(false),
                Ok(pb::ParticipantMode::Listener) => Some(true),
                Err(_) => return invalid("mode", format!("{mode} is no mode")),
            },
        };
        Ok(Self { id, command: Command::Join(join) })
    }
}

impl TryFrom<pb::EndGroupRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::EndGroupRequest) -> Parsed<Self> {
        let pb::EndGroupRequest { group_id, node_id, session_id, request_id } = &request;
        let id = swarm_id(KIND, *group_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        Ok(Self { id, command: Command::End(by) })
    }
}

impl TryFrom<pb::LeaveGroupRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::LeaveGroupRequest) -> Parsed<Self> {
        let pb::LeaveGroupRequest { group_id, node_id, session_id, request_id } = &request;
        let id = swarm_id(KIND, *group_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        Ok(Self { id, command: Command::Leave(by) })
    }
}

impl TryFrom<pb::StartScreenShareRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::StartScreenShareRequest) -> Parsed<Self> {
        let pb::StartScreenShareRequest { group_id, node_id, session_id, request_id } = &request;
        let id = swarm_id(KIND, *group_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        Ok(Self { id, command: Command::StartShare(by) })
    }
}

impl TryFrom<pb::StopScreenShareRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::StopScreenShareRequest) -> Parsed<Self> {
        let pb::StopScreenShareRequest { group_id, node_id, session_id, request_id } = &request;
        let id = swarm_id(KIND, *group_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        Ok(Self { id, command: Command::StopShare(by) })
    }
}

impl TryFrom<pb::UpdateGroupRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::UpdateGroupRequest) -> Parsed<Self> {
        let pb::UpdateGroupRequest { group_id, node_id, session_id, metadata, request_id, config } = &request;
        let id = swarm_id(KIND, *group_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        let metadata = metadata.as_ref().map(|bytes| opaque("metadata", bytes, fields::SWARM_METADATA)).transpose()?;
        let update = SwarmUpdate { metadata, ..config_update(config.as_ref())? };
        if update == SwarmUpdate::default() {
            return invalid("metadata", "or config must say something");
        }
        Ok(Self { id, command: Command::UpdateSwarm(by, update) })
    }
}

/// What of a configuration changes. Ranges are those of a creation; what is absent says nothing.
fn config_update(config: Option<&pb::GroupConfig>) -> Parsed<SwarmUpdate> {
    let Some(given) = config else { return Ok(SwarmUpdate::default()) };
    let parsed = self::config(config)?;
    Ok(SwarmUpdate {
        metadata: None,
        subscriber_bytes_per_second: given.subscriber_bytes_per_second.map(|_| parsed.subscriber_bytes_per_second),
        keyframe_interval_ms: given.keyframe_interval.as_ref().map(|_| parsed.keyframe_interval_ms),
        max_lag_ms: given.max_lag.as_ref().map(|_| parsed.max_lag_ms),
        capacity: given.max_participants.map(|_| parsed.max_participants),
        broadcaster_timeout_ms: None,
    })
}

impl TryFrom<pb::UpdateParticipantRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::UpdateParticipantRequest) -> Parsed<Self> {
        let pb::UpdateParticipantRequest { group_id, node_id, session_id, metadata, request_id, endpoint } = &request;
        let id = swarm_id(KIND, *group_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        let update = fields::member_update(metadata.as_ref(), endpoint.as_ref(), None)?;
        Ok(Self { id, command: Command::UpdateMember(by, update) })
    }
}

impl TryFrom<pb::SetInterestRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::SetInterestRequest) -> Parsed<Self> {
        let pb::SetInterestRequest { group_id, node_id, session_id, interests: wishes, request_id } = &request;
        let id = swarm_id(KIND, *group_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        if wishes.is_empty() {
            return invalid("interests", "must not be empty");
        }
        let wishes = interests(KIND, wishes)?;
        Ok(Self { id, command: Command::SetInterest(by, wishes) })
    }
}

impl TryFrom<pb::SetMediaRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::SetMediaRequest) -> Parsed<Self> {
        let pb::SetMediaRequest { group_id, node_id, session_id, audio_enabled, video_enabled, request_id } = &request;
        let id = swarm_id(KIND, *group_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        Ok(Self { id, command: Command::SetMedia { by, audio: *audio_enabled, video: *video_enabled } })
    }
}

impl TryFrom<pb::RemoveParticipantRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::RemoveParticipantRequest) -> Parsed<Self> {
        let pb::RemoveParticipantRequest { group_id, node_id, session_id, participant_node_id, request_id } = &request;
        let id = swarm_id(KIND, *group_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        let target = fields::node("participant_node_id", *participant_node_id)?;
        Ok(Self { id, command: Command::Remove(by, target) })
    }
}

impl TryFrom<pb::ReportPeerRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::ReportPeerRequest) -> Parsed<Self> {
        let pb::ReportPeerRequest { group_id, node_id, session_id, peer_node_id, reason } = &request;
        let id = swarm_id(KIND, *group_id)?;
        let by = by(*node_id, *session_id, "", &request)?;
        let target = fields::node("peer_node_id", *peer_node_id)?;
        report_reason(*reason)?;
        Ok(Self { id, command: Command::ReportPeer(by, target) })
    }
}
