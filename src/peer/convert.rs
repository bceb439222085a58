//! What goes between servers, as messages and as what they mean.

use starling_cluster::peers::PodReport;
use starling_replica::batch::{LogId, PodIncarnation};
use starling_replica::output::PeerReport;
use tonic::Status;

use crate::clock::Micros;
use crate::feed::{
    Accepted, AppendError, Demand, Draft, LaneUpdate, LeftOut, Position, Proof, Rejected, Seal, TermSeq, Timestamp,
};
use crate::pb::peer::v1 as pb;
use crate::service::cascade::ForwardedUpdate;
use starling_core::channel::Channel;
use starling_core::command::By;
use starling_core::event::Gate;
use starling_core::id::{Epoch, NodeId, PodId, SessionId, SwarmId, SwarmKind};
use starling_core::interest::Interest;

/// Peers are of one build or the next: what they cannot mean is a fault.
fn malformed(what: &'static str) -> Status {
    Status::invalid_argument(what)
}

pub(super) fn swarm_name(id: SwarmId, epoch: Epoch) -> pb::SwarmName {
    pb::SwarmName { is_group: id.kind == SwarmKind::Group, id: id.get(), epoch: epoch.get() }
}

pub(super) fn swarm(name: Option<pb::SwarmName>) -> Result<(SwarmId, Epoch), Status> {
    let name = name.ok_or_else(|| malformed("swarm"))?;
    let kind = if name.is_group { SwarmKind::Group } else { SwarmKind::Livestream };
    let id = SwarmId::new(kind, name.id).ok_or_else(|| malformed("swarm.id"))?;
    Ok((id, Epoch::new(name.epoch).ok_or_else(|| malformed("swarm.epoch"))?))
}

pub(super) fn reports(report: &PodReport) -> Vec<pb::PartitionReport> {
    let one = |(partition, report): &(usize, PeerReport)| pb::PartitionReport {
        partition: u32::try_from(*partition).unwrap_or(u32::MAX),
        incarnation: report.incarnation.0,
        log: report.log.0,
        applied: report.applied,
        holds: report.holds,
    };
    report.iter().map(one).collect()
}

/// What a peer tells; at most one report for each of so many partitions.
pub(super) fn pod_report(reports: &[pb::PartitionReport]) -> PodReport {
    let one = |report: &pb::PartitionReport| {
        let pb::PartitionReport { partition, incarnation, log, applied, holds } = *report;
        let told = PeerReport { incarnation: PodIncarnation(incarnation), log: LogId(log), applied, holds };
        (partition as usize, told)
    };
    reports.iter().take(crate::cluster::partition_state::PARTITIONS).map(one).collect()
}

pub(super) fn channel_number(channel: Channel) -> u32 {
    channel as u32 + 1
}

fn channel(number: u32) -> Result<Channel, Status> {
    let at = number.checked_sub(1).and_then(|at| usize::try_from(at).ok());
    at.and_then(|at| Channel::ALL.get(at).copied()).ok_or_else(|| malformed("channel"))
}

/// A lane of one source.
pub(super) fn lane(source: u64, number: u32) -> Result<(NodeId, Channel), Status> {
    Ok((NodeId::new(source).ok_or_else(|| malformed("source_node_id"))?, channel(number)?))
}

pub(super) const fn point((term, sequence): TermSeq) -> pb::Point {
    pb::Point { term, sequence }
}

pub(super) const fn term_seq(point: pb::Point) -> TermSeq {
    (point.term, point.sequence)
}

pub(super) fn demand(highest: u32, subscribers: u64) -> Demand {
    let highest = usize::try_from(highest).ok().and_then(|at| Interest::ALL.get(at).copied());
    match highest {
        Some(highest) if subscribers > 0 => Demand { highest, subscribers },
        Some(_) | None => Demand::default(),
    }
}

pub(super) fn update_message(update: LaneUpdate) -> pb::LaneUpdate {
    let left_out = |LeftOut { updates, keyframes, tops }| pb::LeftOut { updates, keyframes, tops };
    pb::LaneUpdate {
        source_node_id: update.position.source.map_or(0, NodeId::get),
        channel: channel_number(update.position.channel),
        position: Some(point(update.position.point())),
        session_id: update.session.map_or(0, SessionId::get),
        publisher_sequence: update.publisher_sequence,
        counted: update.counted,
        previous: update.previous.map(point),
        granted_at: update.granted_at,
        layers: update.layers,
        begins_anew: update.begins_anew,
        keyframe: update.keyframe,
        top: update.top,
        urgent: update.urgent,
        left_out: update.left_out.map(left_out),
        history: update.history,
        age_us: update.age.get(),
        message: update.message,
    }
}

pub(super) fn lane_update(update: pb::LaneUpdate) -> Result<LaneUpdate, Status> {
    let (source, channel) = lane(update.source_node_id, update.channel)?;
    let pb::Point { term, sequence } = update.position.ok_or_else(|| malformed("position"))?;
    let left_out = |pb::LeftOut { updates, keyframes, tops }| LeftOut { updates, keyframes, tops };
    Ok(LaneUpdate {
        position: Position { source: Some(source), channel, term, sequence },
        session: SessionId::new(update.session_id),
        publisher_sequence: update.publisher_sequence,
        counted: update.counted,
        previous: update.previous.map(term_seq),
        granted_at: update.granted_at,
        layers: update.layers.max(1),
        begins_anew: update.begins_anew,
        keyframe: update.keyframe,
        top: update.top,
        urgent: update.urgent,
        left_out: update.left_out.map(left_out),
        history: update.history,
        age: Micros::new(update.age_us),
        message: update.message,
    })
}

pub(super) fn seal_message((source, channel): (NodeId, Channel), seal: &Seal) -> pb::LaneSeal {
    pb::LaneSeal {
        source_node_id: source.get(),
        channel: channel_number(channel),
        last: Some(point((seal.term, seal.last))),
        publisher_sequence: seal.publisher_sequence,
        session_id: seal.session.map_or(0, SessionId::get),
    }
}

/// A seal by this home.
pub(super) fn seal(home: PodId, seal: pb::LaneSeal) -> Result<(NodeId, Channel, Seal), Status> {
    let (source, channel) = lane(seal.source_node_id, seal.channel)?;
    let (term, last) = term_seq(seal.last.ok_or_else(|| malformed("last"))?);
    let (publisher_sequence, session) = (seal.publisher_sequence, SessionId::new(seal.session_id));
    Ok((source, channel, Seal { home, term, last, publisher_sequence, session }))
}

pub(super) fn publish_request(incarnation: u64, update: ForwardedUpdate) -> pb::PublishRequest {
    let ForwardedUpdate { id, epoch, by, term, draft } = update;
    let time = |Timestamp { seconds, nanos }| pb::PublishTime { seconds, nanos };
    pb::PublishRequest {
        swarm: Some(swarm_name(id, epoch)),
        incarnation,
        term,
        source_node_id: by.node.get(),
        session_id: by.session.map_or(0, SessionId::get),
        channel: channel_number(draft.channel),
        payload: draft.payload,
        keyframe: draft.keyframe,
        urgent: draft.urgent,
        temporal_layer: draft.temporal_layer,
        publisher_sequence: draft.publisher_sequence,
        publish_time: draft.publish_time.map(time),
        accept_time: Some(time(draft.accept_time)),
        signature: draft.proof.map(|proof| proof.signature.to_vec().into()).unwrap_or_default(),
    }
}

pub(super) fn forwarded_update(request: pb::PublishRequest) -> Result<ForwardedUpdate, Status> {
    let (id, epoch) = swarm(request.swarm)?;
    let (node, channel) = lane(request.source_node_id, request.channel)?;
    let time = |pb::PublishTime { seconds, nanos }| Timestamp { seconds, nanos };
    // Nobody's word for it counts: the home verifies it.
    let proof = match request.signature.is_empty() {
        true => None,
        false => {
            let signature = request.signature[..].try_into().map_err(|_| malformed("signature"))?;
            Some(Box::new(Proof { signature, verified: None }))
        }
    };
    let draft = Draft {
        channel,
        payload: request.payload,
        keyframe: request.keyframe,
        urgent: request.urgent,
        temporal_layer: request.temporal_layer,
        publisher_sequence: request.publisher_sequence,
        publish_time: request.publish_time.map(time),
        accept_time: request.accept_time.map(time).unwrap_or_default(),
        proof,
    };
    let by = By { node, session: SessionId::new(request.session_id), request: None };
    Ok(ForwardedUpdate { id, epoch, by, term: request.term, draft })
}

pub(super) fn accepted_message(accepted: &Accepted) -> pb::PublishResponse {
    let Accepted { position, publisher_sequence, duplicate, keyframe_wanted } = *accepted;
    let position = Some(point(position.point()));
    pb::PublishResponse { position, refusal: 0, gate: 0, publisher_sequence, duplicate, keyframe_wanted }
}

/// The reasons for which a feed takes no update, by their numbers on the wire, from 1.
const REFUSALS: [AppendError; 9] = [
    AppendError::StaleTerm,
    AppendError::Closed(Gate::NotActive),
    AppendError::Muted,
    AppendError::Quota,
    AppendError::Memory,
    AppendError::OutOfOrder,
    AppendError::OutcomeUnknown,
    AppendError::Unsigned,
    AppendError::BadSignature,
];

pub(super) fn rejected_message(rejected: Rejected) -> pb::PublishResponse {
    let gate = match rejected.refusal {
        AppendError::Closed(Gate::NotActive) => 1,
        AppendError::Closed(Gate::Paused) => 2,
        AppendError::Closed(Gate::Off | Gate::Open) => 3,
        _ => 0,
    };
    let is_same = |known: &AppendError| std::mem::discriminant(known) == std::mem::discriminant(&rejected.refusal);
    let at = REFUSALS.iter().position(is_same).unwrap_or_default();
    pb::PublishResponse {
        refusal: u32::try_from(at).unwrap_or_default() + 1,
        gate,
        publisher_sequence: rejected.publisher_sequence,
        ..Default::default()
    }
}

/// What a home has answered; `None` when it makes no sense.
pub(super) fn outcome(
    source: NodeId,
    channel: Channel,
    response: pb::PublishResponse,
) -> Option<Result<Accepted, Rejected>> {
    let publisher_sequence = response.publisher_sequence;
    if response.refusal == 0 {
        let pb::Point { term, sequence } = response.position?;
        let position = Position { source: Some(source), channel, term, sequence };
        let (duplicate, keyframe_wanted) = (response.duplicate, response.keyframe_wanted);
        return Some(Ok(Accepted { position, publisher_sequence, duplicate, keyframe_wanted }));
    }
    let refusal = *REFUSALS.get(usize::try_from(response.refusal).ok()? - 1)?;
    let refusal = match (refusal, response.gate) {
        (AppendError::Closed(_), 2) => AppendError::Closed(Gate::Paused),
        (AppendError::Closed(_), 3) => AppendError::Closed(Gate::Off),
        (refusal, _) => refusal,
    };
    Some(Err(Rejected { publisher_sequence, refusal }))
}
