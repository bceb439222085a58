//! Every method, and what must hold of a request that it accepts.

use prost::Message;

use super::limits::beyond_limits;
use crate::feed::MAX_GIVEN;
use crate::grpc::action::{Action, ParsedAction};
use crate::grpc::convert::group_requests::NewGroup;
use crate::grpc::convert::livestream_requests::NewLivestream;
use crate::grpc::{Edge, fields};
use crate::pb::{group::v1 as group, livestream::v1 as livestream, swarm::v1 as shared};
use crate::service::New;
use starling_core::command::{CreateGroup, CreateLivestream};
use starling_core::id::{Epoch, SessionId, SwarmId, SwarmKind};
use starling_core::{Command, wire};

/// Judges a request of one method, in protobuf.
type Judge = fn(&Edge, &[u8]);

/// Every method by its path, in the order of the schema: the inputs of the fuzz targets name them by their places here,
/// so that a new one goes to the end.
pub const METHODS: &[(&str, Judge)] = &[
    ("starling.livestream.v1.LivestreamService/CreateLivestream", create_livestream),
    ("starling.livestream.v1.LivestreamService/GetLivestream", any),
    ("starling.livestream.v1.LivestreamService/ListLivestreams", any),
    ("starling.livestream.v1.LivestreamService/WatchLivestreams", any),
    ("starling.livestream.v1.LivestreamService/UpdateLivestream", action::<livestream::UpdateLivestreamRequest>),
    ("starling.livestream.v1.LivestreamService/StartLivestream", action::<livestream::StartLivestreamRequest>),
    ("starling.livestream.v1.LivestreamService/PauseLivestream", action::<livestream::PauseLivestreamRequest>),
    ("starling.livestream.v1.LivestreamService/ResumeLivestream", action::<livestream::ResumeLivestreamRequest>),
    ("starling.livestream.v1.LivestreamService/EndLivestream", action::<livestream::EndLivestreamRequest>),
    ("starling.livestream.v1.LivestreamService/JoinLivestream", action::<livestream::JoinLivestreamRequest>),
    ("starling.livestream.v1.LivestreamService/LeaveLivestream", action::<livestream::LeaveLivestreamRequest>),
    ("starling.livestream.v1.LivestreamService/RenewLease", any),
    ("starling.livestream.v1.LivestreamService/GetViewer", any),
    ("starling.livestream.v1.LivestreamService/ListViewers", any),
    ("starling.livestream.v1.LivestreamService/SetInterest", action::<livestream::SetInterestRequest>),
    ("starling.livestream.v1.LivestreamService/UpdateViewer", action::<livestream::UpdateViewerRequest>),
    ("starling.livestream.v1.LivestreamService/AddModerator", action::<livestream::AddModeratorRequest>),
    ("starling.livestream.v1.LivestreamService/RemoveModerator", action::<livestream::RemoveModeratorRequest>),
    ("starling.livestream.v1.LivestreamService/MuteViewer", action::<livestream::MuteViewerRequest>),
    ("starling.livestream.v1.LivestreamService/UnmuteViewer", action::<livestream::UnmuteViewerRequest>),
    ("starling.livestream.v1.LivestreamService/ListMutedNodes", any),
    ("starling.livestream.v1.LivestreamService/RemoveViewer", action::<livestream::RemoveViewerRequest>),
    ("starling.livestream.v1.LivestreamService/UnbanViewer", action::<livestream::UnbanViewerRequest>),
    ("starling.livestream.v1.LivestreamService/ListBans", any),
    ("starling.livestream.v1.LivestreamService/TransferBroadcast", action::<livestream::TransferBroadcastRequest>),
    ("starling.livestream.v1.LivestreamService/GetTargets", any),
    ("starling.livestream.v1.LivestreamService/WatchTargets", any),
    ("starling.livestream.v1.LivestreamService/ReportPeer", action::<livestream::ReportPeerRequest>),
    ("starling.livestream.v1.LivestreamService/PublishUpdate", update::<livestream::PublishUpdateRequest>),
    ("starling.livestream.v1.LivestreamService/PublishUpdates", any),
    ("starling.livestream.v1.LivestreamService/SubscribeUpdates", any),
    ("starling.livestream.v1.LivestreamService/RequestKeyframe", any),
    ("starling.livestream.v1.LivestreamService/WatchLivestream", any),
    ("starling.livestream.v1.LivestreamService/GetStats", any),
    ("starling.group.v1.GroupService/CreateGroup", create_group),
    ("starling.group.v1.GroupService/GetGroup", any),
    ("starling.group.v1.GroupService/ListGroups", any),
    ("starling.group.v1.GroupService/WatchGroups", any),
    ("starling.group.v1.GroupService/UpdateGroup", action::<group::UpdateGroupRequest>),
    ("starling.group.v1.GroupService/EndGroup", action::<group::EndGroupRequest>),
    ("starling.group.v1.GroupService/JoinGroup", action::<group::JoinGroupRequest>),
    ("starling.group.v1.GroupService/LeaveGroup", action::<group::LeaveGroupRequest>),
    ("starling.group.v1.GroupService/RenewLease", any),
    ("starling.group.v1.GroupService/GetParticipant", any),
    ("starling.group.v1.GroupService/ListParticipants", any),
    ("starling.group.v1.GroupService/UpdateParticipant", action::<group::UpdateParticipantRequest>),
    ("starling.group.v1.GroupService/SetMedia", action::<group::SetMediaRequest>),
    ("starling.group.v1.GroupService/StartScreenShare", action::<group::StartScreenShareRequest>),
    ("starling.group.v1.GroupService/StopScreenShare", action::<group::StopScreenShareRequest>),
    ("starling.group.v1.GroupService/SetInterest", action::<group::SetInterestRequest>),
    ("starling.group.v1.GroupService/RemoveParticipant", action::<group::RemoveParticipantRequest>),
    ("starling.group.v1.GroupService/UnbanParticipant", action::<group::UnbanParticipantRequest>),
    ("starling.group.v1.GroupService/ListBans", any),
    ("starling.group.v1.GroupService/GetTargets", any),
    ("starling.group.v1.GroupService/WatchTargets", any),
    ("starling.group.v1.GroupService/ReportPeer", action::<group::ReportPeerRequest>),
    ("starling.group.v1.GroupService/PublishUpdate", update::<group::PublishUpdateRequest>),
    ("starling.group.v1.GroupService/PublishUpdates", any),
    ("starling.group.v1.GroupService/SubscribeUpdates", any),
    ("starling.group.v1.GroupService/RequestKeyframe", any),
    ("starling.group.v1.GroupService/WatchGroup", any),
    ("starling.group.v1.GroupService/GetStats", any),
    ("starling.swarm.v1.ServerService/GetServerInfo", any),
    ("starling.swarm.v1.ServerService/RevokeTokens", any),
    ("starling.swarm.v1.ServerService/ListRevocations", any),
    ("starling.swarm.v1.ServerService/GetClusterStatus", any),
    ("starling.swarm.v1.ServerService/ActivateLevel", any),
];

/// A request whose fields its method alone can read.
fn any(_: &Edge, _: &[u8]) {}

/// A request that changes a swarm.
fn action<A: Action + Default>(edge: &Edge, bytes: &[u8]) {
    let Ok(request) = A::decode(bytes) else { return };
    let Ok(ParsedAction { id, mutation, .. }) = request.parse() else { return };
    if edge.settings.allows_ids(id.kind, &mutation).is_ok() {
        accepted(id, mutation.into_command(|| SessionId::drawn(1)));
    }
}

fn create_livestream(_: &Edge, bytes: &[u8]) {
    let Ok(request) = livestream::CreateLivestreamRequest::decode(bytes) else { return };
    let Ok(NewLivestream { new, broadcaster, key }) = request.try_into() else { return };
    let New { number, config, metadata, .. } = new;
    let create = CreateLivestream { epoch: Epoch::drawn(1), broadcaster, config, metadata, retention_ms: 0 };
    accepted(
        swarm(SwarmKind::Livestream, number),
        match key {
            Some(key) => Command::CreateSignedLivestream(create, key),
            None => Command::CreateLivestream(create),
        },
    );
}

fn create_group(_: &Edge, bytes: &[u8]) {
    let Ok(request) = group::CreateGroupRequest::decode(bytes) else { return };
    let Ok(NewGroup { new, owner }) = request.try_into() else { return };
    let New { number, config, metadata, .. } = new;
    let create = CreateGroup { epoch: Epoch::drawn(1), owner, config, metadata, retention_ms: 0, empty_ms: 0 };
    accepted(swarm(SwarmKind::Group, number), Command::CreateGroup(create));
}

fn swarm(kind: SwarmKind, number: Option<u64>) -> SwarmId {
    number.and_then(|number| SwarmId::new(kind, number)).unwrap_or_else(|| SwarmId::first(kind))
}

/// What reaches the log is within the limits, and reads there as it was written.
fn accepted(id: SwarmId, command: Command) {
    assert_eq!(beyond_limits(id.kind, &command), None, "{command:?}");
    assert_eq!(wire::decode(&wire::encode(id, 1, &command)), Ok((id, 1, command)));
}

/// A request that brings one update.
trait BringsUpdate: Message + Default {
    fn update(self) -> Option<shared::UpdateDraft>;
}

impl BringsUpdate for livestream::PublishUpdateRequest {
    fn update(self) -> Option<shared::UpdateDraft> {
        self.update
    }
}

impl BringsUpdate for group::PublishUpdateRequest {
    fn update(self) -> Option<shared::UpdateDraft> {
        self.update
    }
}

fn update<R: BringsUpdate>(edge: &Edge, bytes: &[u8]) {
    let Ok(request) = R::decode(bytes) else { return };
    let Ok(draft) = fields::single_draft(request.update(), &edge.settings, 1) else { return };
    assert!(draft.payload.len() <= edge.settings.max_payload(draft.channel), "the payload is too large");
    assert!(draft.temporal_layer < 8 && draft.publisher_sequence <= MAX_GIVEN, "a number is out of its range");
    assert!(draft.proof.is_none() || draft.publisher_sequence > 0, "a signature holds for a number");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::pb::DESCRIPTORS;

    #[test]
    fn every_method_is_reached() {
        let schema = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let services =
            schema.file.iter().flat_map(|file| file.service.iter().map(move |found| (file.package(), found)));
        let methods = services.flat_map(|(package, service)| {
            service.method.iter().map(move |method| format!("{package}.{}/{}", service.name(), method.name()))
        });
        let listed: BTreeSet<String> = METHODS.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(listed, methods.collect());
    }
}
