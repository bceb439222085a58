//! What callers try who are known, and who are not granted what they ask for.

use prost::Message;
use starling::identity::{IdRanges, Identity, Nodes, Permission, Right};
use starling_client::pb::swarm::v1::{ListRevocationsRequest, RevokeTokensRequest, UpdateChannel, UpdateDraft};
use starling_client::pb::{group::v1 as group, livestream::v1 as pb};
use starling_core::channel::Channel;
use tonic::Code;

use super::fixture::{EVERY_RIGHT, GROUPS, LIVESTREAMS, THERE, World, node, permission, viewer};
use super::refusal::{Refusal, Row};
use crate::edge::signatures::key;

/// A call, by whom, and what must become of it.
struct Attack {
    what: &'static str,
    token: &'static str,
    path: String,
    request: Vec<u8>,
    refusal: Refusal,
}

const NOT_GRANTED: Refusal = Refusal::NOT_GRANTED;
const NOT_YOUR_NODE: Refusal = Refusal::NOT_YOUR_NODE;
const SERVER: &str = "/starling.swarm.v1.ServerService/";

fn attack(
    what: &'static str,
    token: &'static str,
    (service, method): (&str, &str),
    request: &impl Message,
    refusal: Refusal,
) -> Attack {
    Attack { what, token, path: format!("{service}{method}"), request: request.encode_to_vec(), refusal }
}

fn update(channel: UpdateChannel) -> Option<UpdateDraft> {
    Some(UpdateDraft { channel: channel.into(), payload: bytes::Bytes::from_static(b"x"), ..Default::default() })
}

fn publish(livestream_id: u64, channel: UpdateChannel) -> pb::PublishUpdateRequest {
    pb::PublishUpdateRequest { livestream_id, update: update(channel), ..Default::default() }
}

fn open(livestream_id: u64, channels: &[UpdateChannel]) -> pb::PublishUpdatesRequest {
    let channels = channels.iter().map(|channel| i32::from(*channel)).collect();
    let open = pb::PublishOpen { livestream_id, channels, ..Default::default() };
    pb::PublishUpdatesRequest { message: Some(pb::publish_updates_request::Message::Open(open)) }
}

/// Of livestream 7.
macro_rules! of_it {
    ($Request:ident {}) => { pb::$Request { livestream_id: THERE, ..Default::default() } };
    ($Request:ident { $($field:ident: $value:expr),* }) => {
        pb::$Request { livestream_id: THERE, $($field: $value,)* ..Default::default() }
    };
}

fn attacks() -> Vec<Attack> {
    let on = |method| (LIVESTREAMS, method);
    let of = |method| (GROUPS, method);
    let one = publish(THERE, UpdateChannel::Visual);
    let chat = publish(THERE, UpdateChannel::Chat);
    let by_broadcaster = pb::PublishUpdateRequest { node_id: 1, ..chat.clone() };
    vec![
        attack("a viewer publishes a picture", "viewer", on("PublishUpdate"), &one, NOT_GRANTED),
        attack(
            "a viewer opens a stream of pictures",
            "viewer",
            on("PublishUpdates"),
            &open(THERE, &[UpdateChannel::Visual]),
            NOT_GRANTED,
        ),
        attack(
            "a viewer opens CHAT with a picture beside it",
            "viewer",
            on("PublishUpdates"),
            &open(THERE, &[UpdateChannel::Chat, UpdateChannel::Visual]),
            NOT_GRANTED,
        ),
        attack(
            "a viewer with all channels takes the broadcaster's",
            "publisher",
            on("PublishUpdates"),
            &open(THERE, &[UpdateChannel::Visual]),
            Refusal::Status(Code::PermissionDenied, "NOT_BROADCASTER"),
        ),
        attack(
            "a muted one chats",
            "muted",
            on("PublishUpdate"),
            &chat,
            Refusal::Status(Code::FailedPrecondition, "MUTED"),
        ),
        attack("who may only watch chats", "silent", on("PublishUpdate"), &chat, NOT_GRANTED),
        attack("a viewer chats as the broadcaster", "viewer", on("PublishUpdate"), &by_broadcaster, NOT_YOUR_NODE),
        attack("another swarm's owner publishes", "elsewhere", on("PublishUpdate"), &one, NOT_GRANTED),
        attack(
            "another swarm's owner joins",
            "elsewhere",
            on("JoinLivestream"),
            &of_it!(JoinLivestreamRequest { request_id: String::new() }),
            NOT_GRANTED,
        ),
        attack("another swarm's owner looks", "elsewhere", on("GetStats"), &of_it!(GetStatsRequest {}), NOT_GRANTED),
        attack(
            "another swarm's owner ends it",
            "elsewhere",
            on("EndLivestream"),
            &of_it!(EndLivestreamRequest { request_id: String::new() }),
            NOT_GRANTED,
        ),
        attack(
            "a group's member looks at the livestream of its number",
            "of-groups",
            on("GetLivestream"),
            &of_it!(GetLivestreamRequest {}),
            NOT_GRANTED,
        ),
        attack(
            "a viewer ends it",
            "viewer",
            on("EndLivestream"),
            &of_it!(EndLivestreamRequest { request_id: String::new() }),
            NOT_GRANTED,
        ),
        attack(
            "a viewer pauses it",
            "viewer",
            on("PauseLivestream"),
            &of_it!(PauseLivestreamRequest { request_id: String::new() }),
            NOT_GRANTED,
        ),
        attack(
            "a viewer makes itself a moderator",
            "viewer",
            on("AddModerator"),
            &of_it!(AddModeratorRequest { viewer_node_id: 2 }),
            NOT_GRANTED,
        ),
        attack(
            "a viewer takes the broadcast",
            "viewer",
            on("TransferBroadcast"),
            &of_it!(TransferBroadcastRequest { viewer_node_id: 2 }),
            NOT_GRANTED,
        ),
        attack(
            "who may administer takes the broadcast",
            "administrator",
            on("TransferBroadcast"),
            &of_it!(TransferBroadcastRequest { viewer_node_id: 2 }),
            Refusal::Status(Code::PermissionDenied, "NOT_BROADCASTER"),
        ),
        attack(
            "who may administer says it is the broadcaster",
            "administrator",
            on("EndLivestream"),
            &of_it!(EndLivestreamRequest { node_id: 1 }),
            NOT_YOUR_NODE,
        ),
        attack(
            "a viewer removes another",
            "viewer",
            on("RemoveViewer"),
            &of_it!(RemoveViewerRequest { viewer_node_id: 3 }),
            NOT_GRANTED,
        ),
        attack(
            "who may moderate and is no moderator mutes",
            "administrator",
            on("MuteViewer"),
            &of_it!(MuteViewerRequest { viewer_node_id: 3 }),
            Refusal::Status(Code::PermissionDenied, "NOT_MODERATOR"),
        ),
        attack(
            "a muted one lifts its mute",
            "muted",
            on("UnmuteViewer"),
            &of_it!(UnmuteViewerRequest { viewer_node_id: 3 }),
            NOT_GRANTED,
        ),
        attack(
            "a viewer leaves for another",
            "viewer",
            on("LeaveLivestream"),
            &of_it!(LeaveLivestreamRequest { node_id: 3 }),
            NOT_YOUR_NODE,
        ),
        attack(
            "a viewer joins as another",
            "viewer",
            on("JoinLivestream"),
            &of_it!(JoinLivestreamRequest { node_id: 3 }),
            NOT_YOUR_NODE,
        ),
        attack(
            "a viewer reads as another",
            "viewer",
            on("SubscribeUpdates"),
            &of_it!(SubscribeUpdatesRequest { node_id: 3 }),
            NOT_YOUR_NODE,
        ),
        attack(
            "a viewer watches as another",
            "viewer",
            on("WatchLivestream"),
            &of_it!(WatchLivestreamRequest { node_id: 3 }),
            NOT_YOUR_NODE,
        ),
        attack(
            "a viewer asks as another",
            "viewer",
            on("GetTargets"),
            &of_it!(GetTargetsRequest { node_id: 3 }),
            NOT_YOUR_NODE,
        ),
        attack(
            "a viewer lists all",
            "viewer",
            on("ListLivestreams"),
            &pb::ListLivestreamsRequest::default(),
            NOT_GRANTED,
        ),
        attack(
            "a viewer watches all",
            "viewer",
            on("WatchLivestreams"),
            &pb::WatchLivestreamsRequest::default(),
            NOT_GRANTED,
        ),
        attack(
            "an owner lists all",
            "owner",
            on("ListLivestreams"),
            &pb::ListLivestreamsRequest::default(),
            NOT_GRANTED,
        ),
        attack(
            "a viewer guesses at numbers",
            "viewer",
            on("ListLivestreams"),
            &pb::ListLivestreamsRequest { livestream_ids: (THERE..THERE + 1_000).collect(), ..Default::default() },
            NOT_GRANTED,
        ),
        attack(
            "a viewer makes a livestream",
            "viewer",
            on("CreateLivestream"),
            &of_it!(CreateLivestreamRequest { request_id: String::new() }),
            NOT_GRANTED,
        ),
        attack(
            "an owner makes one of a number that is drawn",
            "owner",
            on("CreateLivestream"),
            &pb::CreateLivestreamRequest::default(),
            NOT_GRANTED,
        ),
        attack(
            "an owner makes one for another",
            "owner",
            on("CreateLivestream"),
            &of_it!(CreateLivestreamRequest { broadcaster_node_id: 2 }),
            NOT_YOUR_NODE,
        ),
        attack(
            "a participant ends the group",
            "viewer",
            of("EndGroup"),
            &group::EndGroupRequest { group_id: THERE, ..Default::default() },
            NOT_GRANTED,
        ),
        attack(
            "who may administer ends another's group",
            "administrator",
            of("EndGroup"),
            &group::EndGroupRequest { group_id: THERE, ..Default::default() },
            Refusal::Status(Code::PermissionDenied, "NOT_OWNER"),
        ),
        attack(
            "a participant removes another",
            "viewer",
            of("RemoveParticipant"),
            &group::RemoveParticipantRequest { group_id: THERE, participant_node_id: 3, ..Default::default() },
            NOT_GRANTED,
        ),
        attack(
            "a participant switches another's camera off",
            "viewer",
            of("SetMedia"),
            &group::SetMediaRequest { group_id: THERE, node_id: 3, video_enabled: Some(false), ..Default::default() },
            NOT_YOUR_NODE,
        ),
        attack(
            "a participant speaks without being granted to",
            "viewer",
            of("PublishUpdate"),
            &group::PublishUpdateRequest {
                group_id: THERE,
                update: update(UpdateChannel::Audio),
                ..Default::default()
            },
            NOT_GRANTED,
        ),
        attack(
            "a viewer hides a picture behind five chats",
            "viewer",
            on("PublishUpdates"),
            &open(THERE, &[[UpdateChannel::Chat; 5].as_slice(), &[UpdateChannel::Visual]].concat()),
            Refusal::Field("open.channels"),
        ),
        attack(
            "a viewer bans another",
            "viewer",
            on("RemoveViewer"),
            &of_it!(RemoveViewerRequest {
                viewer_node_id: 3,
                ban: Some(prost_types::Duration { seconds: 60, nanos: 0 })
            }),
            NOT_GRANTED,
        ),
        attack(
            "a viewer lifts a ban",
            "viewer",
            on("UnbanViewer"),
            &of_it!(UnbanViewerRequest { viewer_node_id: 4 }),
            NOT_GRANTED,
        ),
        attack(
            "a viewer asks for a keyframe as another",
            "viewer",
            on("RequestKeyframe"),
            &of_it!(RequestKeyframeRequest { node_id: 3, channel: UpdateChannel::Visual.into() }),
            NOT_YOUR_NODE,
        ),
        attack(
            "an owner revokes tokens",
            "owner",
            (SERVER, "RevokeTokens"),
            &RevokeTokensRequest { subject_node_id: 2, issued_before: None },
            NOT_GRANTED,
        ),
        attack(
            "who administers all livestreams and no groups revokes tokens",
            "half",
            (SERVER, "RevokeTokens"),
            &RevokeTokensRequest { subject_node_id: 2, issued_before: None },
            NOT_GRANTED,
        ),
        attack(
            "who may do everything but administer lists revocations",
            "half",
            (SERVER, "ListRevocations"),
            &ListRevocationsRequest::default(),
            NOT_GRANTED,
        ),
        attack(
            "a back-end acts for a node that is not its own",
            "gateway",
            on("JoinLivestream"),
            &of_it!(JoinLivestreamRequest { node_id: 3 }),
            NOT_YOUR_NODE,
        ),
        attack(
            "a back-end acts for no node",
            "gateway",
            on("JoinLivestream"),
            &of_it!(JoinLivestreamRequest { node_id: 0 }),
            Refusal::Field("node_id"),
        ),
        attack(
            "a back-end makes a livestream for a node that is not its own",
            "gateway",
            on("CreateLivestream"),
            &of_it!(CreateLivestreamRequest { node_id: 100, broadcaster_node_id: 2 }),
            NOT_YOUR_NODE,
        ),
        attack(
            "a livestream is made with somebody else's key",
            "owner",
            on("CreateLivestream"),
            &of_it!(CreateLivestreamRequest { broadcaster_public_key: key(1).public_key().bytes().to_vec().into() }),
            Refusal::Field("broadcaster_public_key"),
        ),
        attack(
            "a livestream's member looks at the group of its number",
            "of-livestreams",
            of("GetGroup"),
            &group::GetGroupRequest { group_id: THERE, ..Default::default() },
            NOT_GRANTED,
        ),
    ]
}

pub(super) fn rows() -> Vec<Row> {
    attacks().into_iter().map(|Attack { what, refusal, .. }| Row { attack: what, refusal }).collect()
}

#[tokio::test]
async fn attacks_are_refused_and_leave_no_trace() {
    attempt_all(&World::new().await).await;
}

/// All attacks of the table.
pub(crate) async fn attempt_all(world: &World) {
    let here = |rights: &[Right], channels: &[Channel]| permission(THERE..=THERE, rights, channels);
    world.issue("muted", viewer(3));
    world.issue("silent", node(2, vec![here(&[Right::Join], &[])]));
    world.issue("publisher", node(2, vec![here(&[Right::Join], &Channel::ALL)]));
    world.issue("administrator", node(2, vec![here(EVERY_RIGHT, &Channel::ALL)]));
    let range: IdRanges = [100..=200].into_iter().collect();
    world.issue("gateway", Identity { nodes: Nodes::Within(range), ..super::fixture::owner() });
    let all_livestreams = Permission { groups: IdRanges::default(), ..permission(0..=u64::MAX, EVERY_RIGHT, &[]) };
    world.issue("half", node(2, vec![all_livestreams]));
    world.issue("elsewhere", node(2, vec![permission(8..=8, EVERY_RIGHT, &Channel::ALL)]));
    let mut of_groups = here(EVERY_RIGHT, &Channel::ALL);
    of_groups.livestreams = [8..=8].into_iter().collect();
    world.issue("of-groups", node(2, vec![of_groups]));
    let mut of_livestreams = here(EVERY_RIGHT, &Channel::ALL);
    of_livestreams.groups = [8..=8].into_iter().collect();
    world.issue("of-livestreams", node(2, vec![of_livestreams]));
    let before = world.seen().await;
    for Attack { what, token, path, request, refusal } in attacks() {
        let mut exchange = world.begin(token, &path).await;
        let prefix = [&[0][..], &u32::try_from(request.len()).unwrap().to_be_bytes()].concat();
        exchange.send([prefix, request].concat(), true);
        let answer = exchange.answer().await;
        assert_ne!(answer.status(), "0", "{what}");
        assert_eq!(answer.fault(), refusal.fault(), "{what}");
        assert!(before == world.seen().await, "it changes nothing when {what}");
    }
}
