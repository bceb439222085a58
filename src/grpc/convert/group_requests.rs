//! Requests of GroupService, parsed; see [`Action`].

use bytes::Bytes;

use super::livestream_requests::{log_report, report_reason};
use super::{duration, group as wire};
use crate::grpc::action::{Action, ParsedAction, actions};
use crate::grpc::fields::{self, InvalidField, Parsed, by, interests, invalid, lease, opaque, swarm_id};
use crate::pb::group::v1 as pb;
use crate::service::New;
use crate::service::mutation::{Mutation, NewSession};
use crate::store::snapshot::{Outcome, Projection};
use starling_core::command::SwarmUpdate;
use starling_core::group::Config;
use starling_core::id::{NodeId, SessionId, SwarmId, SwarmKind};
use starling_core::member::View;
use starling_core::{GroupCommand, SharedCommand};

const KIND: SwarmKind = SwarmKind::Group;

/// How many of those who are in a Join shows: all of the largest group.
const SHOWN: usize = 256;

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

impl Action for pb::JoinGroupRequest {
    type Response = pb::JoinGroupResponse;

    fn parse(&self) -> Parsed<ParsedAction> {
        let Self { group_id, node_id, endpoint, metadata, interests: changes, lease_ttl, request_id, mode } = self;
        let id = swarm_id(KIND, *group_id)?;
        let node = fields::node("node_id", *node_id)?;
        let session = NewSession {
            node,
            mode: None,
            can_relay: None,
            endpoint: endpoint.as_ref().map(|bytes| opaque("endpoint", bytes, fields::MEMBER_BYTES)).transpose()?,
            metadata: metadata.as_ref().map(|bytes| opaque("metadata", bytes, fields::MEMBER_BYTES)).transpose()?,
            interests: interests(KIND, changes)?,
            ttl_ms: lease(lease_ttl.as_ref())?,
            request: fields::request(request_id, self)?,
            listens: match pb::ParticipantMode::try_from(*mode) {
                Ok(pb::ParticipantMode::Unspecified) => None,
                Ok(pb::ParticipantMode::Active) => Some(false),
                Ok(pb::ParticipantMode::Listener) => Some(true),
                Err(_) => return invalid("mode", format!("{mode} is no mode")),
            },
        };
        let projection = Projection { swarm: true, member: Some(node), joined: true, members: SHOWN };
        Ok(ParsedAction::new(id, Mutation::Join(session), projection))
    }

    fn respond(mut outcome: Outcome) -> pb::JoinGroupResponse {
        pb::JoinGroupResponse {
            session_id: outcome.session.map_or(0, SessionId::get),
            lease_ttl: outcome.ttl_ms.map(duration),
            epoch: outcome.epoch.get(),
            revision: outcome.revision,
            participant: own_participant(&mut outcome),
            group: group(&mut outcome),
            participants: outcome.members.iter().map(|member| wire::participant(member, View::Basic)).collect(),
            targets: outcome.targets.map(Into::into),
        }
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

impl Action for pb::ReportPeerRequest {
    type Response = pb::ReportPeerResponse;

    fn parse(&self) -> Parsed<ParsedAction> {
        let Self { group_id, node_id, session_id, peer_node_id, reason } = self;
        let id = swarm_id(KIND, *group_id)?;
        let by = by(*node_id, *session_id, "", self)?;
        let target = fields::node("peer_node_id", *peer_node_id)?;
        report_reason(*reason)?;
        Ok(ParsedAction::new(id, SharedCommand::ReportPeer(by, target), Projection::NOTHING))
    }

    fn respond(outcome: Outcome) -> pb::ReportPeerResponse {
        pb::ReportPeerResponse { epoch: outcome.epoch.get(), revision: outcome.revision }
    }

    fn log(&self, id: SwarmId) {
        log_report(id, self.node_id, self.peer_node_id, self.reason());
    }
}

actions! {
    pb, KIND, group_id, |by|;
    EndGroupRequest {} => EndGroupResponse { group: group },
    projection: Projection::SWARM, command: SharedCommand::End(by);
    LeaveGroupRequest {} => LeaveGroupResponse { group: group },
    projection: Projection::SWARM, command: SharedCommand::Leave(by);
    StartScreenShareRequest {} => StartScreenShareResponse { group: group },
    projection: Projection::SWARM, command: GroupCommand::StartShare(by);
    StopScreenShareRequest {} => StopScreenShareResponse { group: group },
    projection: Projection::SWARM, command: GroupCommand::StopShare(by);
    UpdateGroupRequest { metadata, config } => UpdateGroupResponse { group: group },
    projection: Projection::SWARM, command: SharedCommand::UpdateSwarm(by, update(metadata.as_ref(), config.as_ref())?);
    UpdateParticipantRequest { metadata, endpoint } => UpdateParticipantResponse { participant: own_participant },
    projection: Projection::member(by.node),
    command: SharedCommand::UpdateMember(by, fields::member_update(metadata.as_ref(), endpoint.as_ref(), None)?);
    SetInterestRequest { interests } => SetInterestResponse { participant: own_participant },
    projection: Projection::member(by.node), command: SharedCommand::SetInterest(by, fields::some_interests(KIND, interests)?);
    SetMediaRequest { audio_enabled, video_enabled } => SetMediaResponse { participant: own_participant },
    projection: Projection::member(by.node), command: GroupCommand::SetMedia { by, audio: *audio_enabled, video: *video_enabled };
    RemoveParticipantRequest { participant_node_id, ban } => RemoveParticipantResponse { group: group },
    projection: Projection::SWARM, command: fields::removal(by, target(*participant_node_id)?, ban.as_ref())?;
    UnbanParticipantRequest { participant_node_id } => UnbanParticipantResponse { group: group },
    projection: Projection::SWARM, command: SharedCommand::Unban(by, target(*participant_node_id)?);
}

/// The node that a request is about.
fn target(number: u64) -> Parsed<NodeId> {
    fields::node("participant_node_id", number)
}

fn group(outcome: &mut Outcome) -> Option<pb::Group> {
    outcome.swarm.take().and_then(wire::group)
}

/// The acting participant, as it sees itself.
fn own_participant(outcome: &mut Outcome) -> Option<pb::Participant> {
    outcome.member.as_ref().map(wire::own_participant)
}

fn update(metadata: Option<&Bytes>, config: Option<&pb::GroupConfig>) -> Parsed<SwarmUpdate> {
    let metadata = metadata.map(|bytes| opaque("metadata", bytes, fields::SWARM_METADATA)).transpose()?;
    fields::some_update(SwarmUpdate { metadata, ..config_update(config)? })
}
