//! Requests of LivestreamService, parsed; see [`Action`].

use bytes::Bytes;

use super::{duration, livestream as wire};
use crate::grpc::action::{Action, ParsedAction, actions};
use crate::grpc::fields::{self, InvalidField, Parsed, by, interests, invalid, lease, opaque, swarm_id};
use crate::pb::livestream::v1 as pb;
use crate::pb::swarm::v1::PeerReportReason;
use crate::service::New;
use crate::service::mutation::{Mutation, NewSession};
use crate::store::snapshot::{Outcome, Projection};
use starling_core::command::{By, SwarmUpdate};
use starling_core::id::{NodeId, SessionId, SwarmId, SwarmKind};
use starling_core::key::BroadcasterKey;
use starling_core::livestream::Config;
use starling_core::member::{View, ViewerMode};
use starling_core::{LivestreamCommand, SharedCommand};
use starling_signing::PublicKey;

const KIND: SwarmKind = SwarmKind::Livestream;

/// A livestream to be, and who broadcasts.
#[derive(Debug)]
pub(in crate::grpc) struct NewLivestream {
    pub(in crate::grpc) new: New<Config>,
    pub(in crate::grpc) broadcaster: NodeId,
    /// By which the broadcaster signs.
    pub(in crate::grpc) key: Option<BroadcasterKey>,
}

impl TryFrom<pb::CreateLivestreamRequest> for NewLivestream {
    type Error = InvalidField;

    fn try_from(request: pb::CreateLivestreamRequest) -> Parsed<Self> {
        let pb::CreateLivestreamRequest {
            livestream_id,
            node_id,
            config,
            metadata,
            request_id,
            broadcaster_node_id,
            broadcaster_public_key,
        } = &request;
        let actor = NodeId::new(*node_id);
        let signer = public_key(broadcaster_public_key)?;
        let own = signer.as_ref().and_then(|(_, node)| NodeId::new(*node));
        let Some(broadcaster) = NodeId::new(*broadcaster_node_id).or(actor).or(own) else {
            return invalid("broadcaster_node_id", "must be given without node_id");
        };
        let key = signer.map(|signer| key_of(signer, broadcaster)).transpose()?;
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
        Ok(Self { new, broadcaster, key })
    }
}

/// A key by which a broadcaster signs, and the node that this is.
fn public_key(bytes: &Bytes) -> Parsed<Option<(BroadcasterKey, u64)>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    match PublicKey::new(bytes) {
        Ok(key) => Ok(Some((BroadcasterKey::new(key.bytes()), key.node_id()))),
        Err(problem) => invalid("broadcaster_public_key", problem.to_string()),
    }
}

/// The key, if this node is the one that it belongs to.
fn key_of((key, node): (BroadcasterKey, u64), broadcaster: NodeId) -> Parsed<BroadcasterKey> {
    if node == broadcaster.get() {
        return Ok(key);
    }
    invalid("broadcaster_public_key", format!("is the key of node {node}, not of {broadcaster}"))
}

/// Hands authority over, with the key of the next broadcaster if there is one.
fn transfer(by: By, to: u64, key: &Bytes) -> Parsed<LivestreamCommand> {
    let to = target(to)?;
    Ok(match public_key(key)? {
        Some(signer) => LivestreamCommand::TransferSigned(by, to, key_of(signer, to)?),
        None => LivestreamCommand::Transfer(by, to),
    })
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

impl Action for pb::JoinLivestreamRequest {
    type Response = pb::JoinLivestreamResponse;

    fn parse(&self) -> Parsed<ParsedAction> {
        let Self {
            livestream_id,
            node_id,
            mode,
            can_relay,
            endpoint,
            metadata,
            interests: changes,
            lease_ttl,
            request_id,
        } = self;
        let id = swarm_id(KIND, *livestream_id)?;
        let node = fields::node("node_id", *node_id)?;
        let mode = self::mode(*mode)?;
        if *can_relay == Some(true) && mode == Some(ViewerMode::Lurker) {
            return invalid("can_relay", "must not be true for a LURKER");
        }
        let session = NewSession {
            node,
            mode,
            can_relay: *can_relay,
            endpoint: endpoint.as_ref().map(|bytes| opaque("endpoint", bytes, fields::MEMBER_BYTES)).transpose()?,
            metadata: metadata.as_ref().map(|bytes| opaque("metadata", bytes, fields::MEMBER_BYTES)).transpose()?,
            interests: interests(KIND, changes)?,
            ttl_ms: lease(lease_ttl.as_ref())?,
            request: fields::request(request_id, self)?,
            listens: None,
        };
        let projection = Projection { swarm: true, member: Some(node), joined: true, members: 0 };
        Ok(ParsedAction::new(id, Mutation::Join(session), projection))
    }

    fn respond(mut outcome: Outcome) -> pb::JoinLivestreamResponse {
        pb::JoinLivestreamResponse {
            session_id: outcome.session.map_or(0, SessionId::get),
            lease_ttl: outcome.ttl_ms.map(duration),
            epoch: outcome.epoch.get(),
            revision: outcome.revision,
            viewer: own_viewer(&mut outcome),
            livestream: livestream(&mut outcome),
            targets: outcome.targets.map(Into::into),
        }
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

impl Action for pb::ReportPeerRequest {
    type Response = pb::ReportPeerResponse;

    fn parse(&self) -> Parsed<ParsedAction> {
        let Self { livestream_id, node_id, session_id, peer_node_id, reason } = self;
        let id = swarm_id(KIND, *livestream_id)?;
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
    pb, KIND, livestream_id, |by|;
    StartLivestreamRequest {} => StartLivestreamResponse { livestream: livestream },
    projection: Projection::SWARM, command: LivestreamCommand::Start(by);
    PauseLivestreamRequest {} => PauseLivestreamResponse { livestream: livestream },
    projection: Projection::SWARM, command: LivestreamCommand::Pause(by);
    ResumeLivestreamRequest {} => ResumeLivestreamResponse { livestream: livestream },
    projection: Projection::SWARM, command: LivestreamCommand::Resume(by);
    EndLivestreamRequest {} => EndLivestreamResponse { livestream: livestream },
    projection: Projection::SWARM, command: SharedCommand::End(by);
    LeaveLivestreamRequest {} => LeaveLivestreamResponse { livestream: livestream },
    projection: Projection::SWARM, command: SharedCommand::Leave(by);
    UpdateLivestreamRequest { metadata, config } => UpdateLivestreamResponse { livestream: livestream },
    projection: Projection::SWARM, command: SharedCommand::UpdateSwarm(by, update(metadata.as_ref(), config.as_ref())?);
    UpdateViewerRequest { metadata, endpoint, can_relay } => UpdateViewerResponse { viewer: own_viewer },
    projection: Projection::member(by.node),
    command: SharedCommand::UpdateMember(by, fields::member_update(metadata.as_ref(), endpoint.as_ref(), *can_relay)?);
    SetInterestRequest { interests } => SetInterestResponse { viewer: own_viewer },
    projection: Projection::member(by.node), command: SharedCommand::SetInterest(by, fields::some_interests(KIND, interests)?);
    AddModeratorRequest { viewer_node_id } => AddModeratorResponse { livestream: livestream, viewer: viewer },
    projection: about(*viewer_node_id)?, command: LivestreamCommand::AddModerator(by, target(*viewer_node_id)?);
    RemoveModeratorRequest { viewer_node_id } => RemoveModeratorResponse { livestream: livestream, viewer: viewer },
    projection: about(*viewer_node_id)?, command: LivestreamCommand::RemoveModerator(by, target(*viewer_node_id)?);
    MuteViewerRequest { viewer_node_id } => MuteViewerResponse { livestream: livestream, viewer: viewer },
    projection: about(*viewer_node_id)?, command: LivestreamCommand::Mute(by, target(*viewer_node_id)?);
    UnmuteViewerRequest { viewer_node_id } => UnmuteViewerResponse { livestream: livestream, viewer: viewer },
    projection: about(*viewer_node_id)?, command: LivestreamCommand::Unmute(by, target(*viewer_node_id)?);
    RemoveViewerRequest { viewer_node_id, ban } => RemoveViewerResponse { livestream: livestream },
    projection: Projection::SWARM, command: fields::removal(by, target(*viewer_node_id)?, ban.as_ref())?;
    UnbanViewerRequest { viewer_node_id } => UnbanViewerResponse { livestream: livestream },
    projection: Projection::SWARM, command: SharedCommand::Unban(by, target(*viewer_node_id)?);
    TransferBroadcastRequest { viewer_node_id, broadcaster_public_key } =>
        TransferBroadcastResponse { livestream: livestream },
    projection: Projection::SWARM, command: transfer(by, *viewer_node_id, broadcaster_public_key)?;
}

/// The viewer that a request is about.
fn target(number: u64) -> Parsed<NodeId> {
    fields::node("viewer_node_id", number)
}

/// The livestream, and the viewer that a request is about.
fn about(number: u64) -> Parsed<Projection> {
    Ok(Projection { member: Some(target(number)?), ..Projection::SWARM })
}

fn livestream(outcome: &mut Outcome) -> Option<pb::Livestream> {
    outcome.swarm.take().and_then(wire::livestream)
}

/// The acting viewer, as it sees itself; `None` for the broadcaster.
fn own_viewer(outcome: &mut Outcome) -> Option<pb::Viewer> {
    outcome.member.as_ref().map(wire::own_viewer)
}

/// The viewer that a request is about, as others see it; `None` when it has left.
fn viewer(outcome: &mut Outcome) -> Option<pb::Viewer> {
    outcome.member.as_ref().map(|member| wire::viewer(member, View::Basic))
}

fn update(metadata: Option<&Bytes>, config: Option<&pb::LivestreamConfig>) -> Parsed<SwarmUpdate> {
    let metadata = metadata.map(|bytes| opaque("metadata", bytes, fields::SWARM_METADATA)).transpose()?;
    fields::some_update(SwarmUpdate { metadata, ..config_update(config)? })
}

/// Logs that a peer was reported.
pub(super) fn log_report(id: SwarmId, node: u64, target: u64, reason: PeerReportReason) {
    tracing::info!(%id, node, target, reason = reason.as_str_name(), "a peer was reported");
}

/// Reasons are logged, not kept.
pub(super) fn report_reason(number: i32) -> Parsed<PeerReportReason> {
    match PeerReportReason::try_from(number) {
        Ok(PeerReportReason::Unspecified) => invalid("reason", "must be given"),
        Ok(reason) => Ok(reason),
        Err(_) => invalid("reason", format!("{number} is no reason")),
    }
}
