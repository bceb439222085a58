//! Requests of LivestreamService, parsed.
//!
//! Each request is taken apart in full, so that a new field cannot be forgotten;
//! ids come first, then who acts, then the rest; the first fault is told.

use super::Action;
use crate::grpc::fields::{self, InvalidField, Parsed, by, interests, invalid, lease, opaque, swarm_id};
use crate::pb::livestream::v1 as pb;
use crate::pb::swarm::v1::PeerReportReason;
use crate::service::{New, Service};
use starling_core::Command;
use starling_core::command::{Join, SwarmUpdate};
use starling_core::id::{NodeId, SwarmKind};
use starling_core::livestream::Config;
use starling_core::member::ViewerMode;

const KIND: SwarmKind = SwarmKind::Livestream;

/// A livestream to be, and who broadcasts.
#[derive(Debug)]
pub(in crate::grpc) struct NewLivestream {
    pub(in crate::grpc) new: New<Config>,
    pub(in crate::grpc) broadcaster: NodeId,
}

impl TryFrom<pb::CreateLivestreamRequest> for NewLivestream {
    type Error = InvalidField;

    fn try_from(request: pb::CreateLivestreamRequest) -> Parsed<Self> {
        let pb::CreateLivestreamRequest { livestream_id, node_id, config, metadata, request_id, broadcaster_node_id } =
            &request;
        let actor = NodeId::new(*node_id);
        let Some(broadcaster) = NodeId::new(*broadcaster_node_id).or(actor) else {
            return invalid("broadcaster_node_id", "must be given without node_id");
        };
        if *livestream_id == 0 && actor.is_none() && !request_id.is_empty() {
            return invalid("node_id", "must be given with request_id when livestream_id is 0");
        }
        let new = New {
            number: (*livestream_id != 0).then_some(*livestream_id),
            node: actor,
            config: self::config(config.as_ref())?,
            metadata: opaque("metadata", metadata, fields::SWARM_METADATA)?,
            request: fields::request(request_id, &request)?,
        };
        Ok(Self { new, broadcaster })
    }
}

fn config(config: Option<&pb::LivestreamConfig>) -> Parsed<Config> {
    let default = Config::default();
    let Some(config) = config else { return Ok(default) };
    let pb::LivestreamConfig {
        star_to_tree_threshold,
        tree_fanout,
        subscriber_bytes_per_second,
        keyframe_interval,
        max_viewers,
        max_lag,
        broadcaster_timeout,
    } = config;
    let within = |name: &str, value: Option<u32>, default, least, most| {
        fields::within(&format!("config.{name}"), value.unwrap_or(default), least, most)
    };
    let keyframe_interval_ms = fields::millis_or(
        "config.keyframe_interval",
        keyframe_interval.as_ref(),
        100,
        60_000,
        default.keyframe_interval_ms,
    )?;
    Ok(Config {
        star_to_tree_threshold: within(
            "star_to_tree_threshold",
            *star_to_tree_threshold,
            default.star_to_tree_threshold,
            1,
            1_000,
        )?,
        tree_fanout: within("tree_fanout", *tree_fanout, default.tree_fanout, 2, 64)?,
        subscriber_bytes_per_second: fields::within(
            "config.subscriber_bytes_per_second",
            subscriber_bytes_per_second.unwrap_or(default.subscriber_bytes_per_second),
            1_000,
            1_000_000_000,
        )?,
        keyframe_interval_ms,
        max_viewers: within("max_viewers", *max_viewers, default.max_viewers, 1, 10_000_000)?,
        max_lag_ms: fields::millis_or("config.max_lag", max_lag.as_ref(), 100, 600_000, keyframe_interval_ms)?,
        broadcaster_timeout_ms: match broadcaster_timeout {
            None => default.broadcaster_timeout_ms,
            Some(timeout) => fields::millis("config.broadcaster_timeout", timeout, 0, 7 * 86_400_000)?,
        },
    })
}

/// What of a configuration changes in flight.
fn config_update(config: Option<&pb::LivestreamConfig>) -> Parsed<SwarmUpdate> {
    let Some(given) = config else { return Ok(SwarmUpdate::default()) };
    for (present, name) in [
        (given.star_to_tree_threshold.is_some(), "star_to_tree_threshold"),
        (given.tree_fanout.is_some(), "tree_fanout"),
    ] {
        if present {
            return invalid(format!("config.{name}"), "is fixed at creation");
        }
    }
    // Ranges are those of a creation; what is absent says nothing.
    let parsed = self::config(config)?;
    Ok(SwarmUpdate {
        metadata: None,
        subscriber_bytes_per_second: given.subscriber_bytes_per_second.map(|_| parsed.subscriber_bytes_per_second),
        keyframe_interval_ms: given.keyframe_interval.as_ref().map(|_| parsed.keyframe_interval_ms),
        max_lag_ms: given.max_lag.as_ref().map(|_| parsed.max_lag_ms),
        capacity: given.max_viewers.map(|_| parsed.max_viewers),
        broadcaster_timeout_ms: given.broadcaster_timeout.as_ref().map(|_| parsed.broadcaster_timeout_ms),
    })
}

impl TryFrom<pb::JoinLivestreamRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::JoinLivestreamRequest) -> Parsed<Self> {
        let pb::JoinLivestreamRequest {
            livestream_id,
            node_id,
            mode,
            can_relay,
            endpoint,
            metadata,
            interests: wishes,
            lease_ttl,
            request_id,
        } = &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let node = fields::node("node_id", *node_id)?;
        let mode = self::mode(*mode)?;
        if *can_relay == Some(true) && mode == Some(ViewerMode::Lurker) {
            return invalid("can_relay", "must not be true for a LURKER");
        }
        let join = Join {
            node,
            session: Service::draw_session(),
            mode,
            can_relay: *can_relay,
            endpoint: endpoint.as_ref().map(|bytes| opaque("endpoint", bytes, fields::MEMBER_BYTES)).transpose()?,
            metadata: metadata.as_ref().map(|bytes| opaque("metadata", bytes, fields::MEMBER_BYTES)).transpose()?,
            interests: interests(KIND, wishes)?,
            ttl_ms: lease(lease_ttl.as_ref())?,
            request: fields::request(request_id, &request)?,
            listens: None,
        };
        Ok(Self { id, command: Command::Join(join) })
    }
}

fn mode(number: i32) -> Parsed<Option<ViewerMode>> {
    Ok(match pb::ViewerMode::try_from(number) {
        Ok(pb::ViewerMode::Unspecified) => None,
        Ok(pb::ViewerMode::Active) => Some(ViewerMode::Active),
        Ok(pb::ViewerMode::Lurker) => Some(ViewerMode::Lurker),
        Err(_) => return invalid("mode", format!("{number} is no mode")),
    })
}

impl TryFrom<pb::StartLivestreamRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::StartLivestreamRequest) -> Parsed<Self> {
        let pb::StartLivestreamRequest { livestream_id, node_id, session_id, request_id } = &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        Ok(Self { id, command: Command::Start(by) })
    }
}

impl TryFrom<pb::PauseLivestreamRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::PauseLivestreamRequest) -> Parsed<Self> {
        let pb::PauseLivestreamRequest { livestream_id, node_id, session_id, request_id } = &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        Ok(Self { id, command: Command::Pause(by) })
    }
}

impl TryFrom<pb::ResumeLivestreamRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::ResumeLivestreamRequest) -> Parsed<Self> {
        let pb::ResumeLivestreamRequest { livestream_id, node_id, session_id, request_id } = &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        Ok(Self { id, command: Command::Resume(by) })
    }
}

impl TryFrom<pb::EndLivestreamRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::EndLivestreamRequest) -> Parsed<Self> {
        let pb::EndLivestreamRequest { livestream_id, node_id, session_id, request_id } = &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        Ok(Self { id, command: Command::End(by) })
    }
}

impl TryFrom<pb::LeaveLivestreamRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::LeaveLivestreamRequest) -> Parsed<Self> {
        let pb::LeaveLivestreamRequest { livestream_id, node_id, session_id, request_id } = &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        Ok(Self { id, command: Command::Leave(by) })
    }
}

impl TryFrom<pb::UpdateLivestreamRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::UpdateLivestreamRequest) -> Parsed<Self> {
        let pb::UpdateLivestreamRequest { livestream_id, node_id, session_id, metadata, request_id, config } = &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        let metadata = metadata.as_ref().map(|bytes| opaque("metadata", bytes, fields::SWARM_METADATA)).transpose()?;
        let update = SwarmUpdate { metadata, ..config_update(config.as_ref())? };
        if update == SwarmUpdate::default() {
            return invalid("metadata", "or config must say something");
        }
        Ok(Self { id, command: Command::UpdateSwarm(by, update) })
    }
}

impl TryFrom<pb::UpdateViewerRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::UpdateViewerRequest) -> Parsed<Self> {
        let pb::UpdateViewerRequest { livestream_id, node_id, session_id, metadata, request_id, endpoint, can_relay } =
            &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        let update = fields::member_update(metadata.as_ref(), endpoint.as_ref(), *can_relay)?;
        Ok(Self { id, command: Command::UpdateMember(by, update) })
    }
}

impl TryFrom<pb::SetInterestRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::SetInterestRequest) -> Parsed<Self> {
        let pb::SetInterestRequest { livestream_id, node_id, session_id, interests: wishes, request_id } = &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        if wishes.is_empty() {
            return invalid("interests", "must not be empty");
        }
        let wishes = interests(KIND, wishes)?;
        Ok(Self { id, command: Command::SetInterest(by, wishes) })
    }
}

impl TryFrom<pb::AddModeratorRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::AddModeratorRequest) -> Parsed<Self> {
        let pb::AddModeratorRequest { livestream_id, node_id, session_id, viewer_node_id, request_id } = &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        let target = viewer(*viewer_node_id)?;
        Ok(Self { id, command: Command::AddModerator(by, target) })
    }
}

impl TryFrom<pb::RemoveModeratorRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::RemoveModeratorRequest) -> Parsed<Self> {
        let pb::RemoveModeratorRequest { livestream_id, node_id, session_id, viewer_node_id, request_id } = &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        let target = viewer(*viewer_node_id)?;
        Ok(Self { id, command: Command::RemoveModerator(by, target) })
    }
}

impl TryFrom<pb::MuteViewerRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::MuteViewerRequest) -> Parsed<Self> {
        let pb::MuteViewerRequest { livestream_id, node_id, session_id, viewer_node_id, request_id } = &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        let target = viewer(*viewer_node_id)?;
        Ok(Self { id, command: Command::Mute(by, target) })
    }
}

impl TryFrom<pb::UnmuteViewerRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::UnmuteViewerRequest) -> Parsed<Self> {
        let pb::UnmuteViewerRequest { livestream_id, node_id, session_id, viewer_node_id, request_id } = &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        let target = viewer(*viewer_node_id)?;
        Ok(Self { id, command: Command::Unmute(by, target) })
    }
}

impl TryFrom<pb::RemoveViewerRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::RemoveViewerRequest) -> Parsed<Self> {
        let pb::RemoveViewerRequest { livestream_id, node_id, session_id, viewer_node_id, request_id } = &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        let target = viewer(*viewer_node_id)?;
        Ok(Self { id, command: Command::Remove(by, target) })
    }
}

impl TryFrom<pb::TransferBroadcastRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::TransferBroadcastRequest) -> Parsed<Self> {
        let pb::TransferBroadcastRequest { livestream_id, node_id, session_id, viewer_node_id, request_id } = &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let by = by(*node_id, *session_id, request_id, &request)?;
        let target = viewer(*viewer_node_id)?;
        Ok(Self { id, command: Command::Transfer(by, target) })
    }
}

impl TryFrom<pb::ReportPeerRequest> for Action {
    type Error = InvalidField;

    fn try_from(request: pb::ReportPeerRequest) -> Parsed<Self> {
        let pb::ReportPeerRequest { livestream_id, node_id, session_id, peer_node_id, reason } = &request;
        let id = swarm_id(KIND, *livestream_id)?;
        let by = by(*node_id, *session_id, "", &request)?;
        let target = fields::node("peer_node_id", *peer_node_id)?;
        report_reason(*reason)?;
        Ok(Self { id, command: Command::ReportPeer(by, target) })
    }
}

fn viewer(number: u64) -> Parsed<NodeId> {
    fields::node("viewer_node_id", number)
}

/// Reasons are logged, not kept.
pub(super) fn report_reason(number: i32) -> Parsed<PeerReportReason> {
    match PeerReportReason::try_from(number) {
        Ok(PeerReportReason::Unspecified) => invalid("reason", "must be given"),
        Ok(reason) => Ok(reason),
        Err(_) => invalid("reason", format!("{number} is no reason")),
    }
}
