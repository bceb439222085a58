//! Who was removed, or whose tokens were revoked, and tries to come back by other ways.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use prost_types::Timestamp;
use starling::identity::{IdRanges, Identity, KeyPair, Nodes};
use starling_client::pb::group::v1 as group;
use starling_client::pb::livestream::v1::{self as pb, publish_updates_request::Message};
use starling_client::pb::swarm::v1::{GoodbyeReason, RenewToken, RevokeTokensRequest, UpdateChannel, UpdateDraft};
use starling_core::channel::Channel;

use super::expiry::said;
use super::fixture::{EVERY_RIGHT, GROUPS, LIVESTREAMS, THERE, World, jwt_server, node, permission};
use super::refusal::{Refusal, Row};
use crate::harness::Server;
use crate::net::frames::framed;
use crate::net::rules::raw::{Connection, Exchange, Head, Incoming};

const SERVER: &str = "/starling.swarm.v1.ServerService/";

/// How node 2 tries to come back, to livestream 7 or group 7: what it tries, its token, the call and its request.
struct Return {
    row: Row,
    token: &'static str,
    path: String,
    request: Bytes,
}

fn banned(attack: &'static str, token: &'static str, path: String, request: &impl prost::Message) -> Return {
    let row = Row { attack, refusal: Refusal::BANNED };
    Return { row, token, path, request: framed(request) }
}

fn chat() -> Option<UpdateDraft> {
    let (channel, payload) = (UpdateChannel::Chat.into(), Bytes::from_static(b"x"));
    Some(UpdateDraft { channel, payload, ..Default::default() })
}

/// By `viewer`, the token that it had; `again`, a token that was issued after its removal and may do everything; and
/// `gateway`, a back-end that acts for it. `session` is what it had before.
fn returns(session: u64, participant: u64) -> Vec<Return> {
    let livestream = |method: &str| format!("{LIVESTREAMS}{method}");
    let groups = |method: &str| format!("{GROUPS}{method}");
    let (livestream_id, group_id) = (THERE, THERE);
    let join = pb::JoinLivestreamRequest { livestream_id, ..Default::default() };
    let named = pb::JoinLivestreamRequest { node_id: 2, ..join.clone() };
    let session_id = session;
    let open =
        pb::PublishOpen { livestream_id, session_id, channels: vec![UpdateChannel::Chat.into()], ..Default::default() };
    let open = pb::PublishUpdatesRequest { message: Some(Message::Open(open)) };
    let write = |node_id, session_id| pb::PublishUpdateRequest {
        livestream_id,
        node_id,
        session_id,
        update: chat(),
        ..Default::default()
    };
    let enter = group::JoinGroupRequest { group_id, ..Default::default() };
    let enter_named = group::JoinGroupRequest { node_id: 2, ..enter.clone() };
    let subscribe = pb::SubscribeUpdatesRequest { livestream_id, session_id, ..Default::default() };
    let renew = pb::RenewLeaseRequest { livestream_id, session_id, ..Default::default() };
    let targets = pb::WatchTargetsRequest { livestream_id, of_node_id: 2, session_id, ..Default::default() };
    let unban = pb::UnbanViewerRequest { livestream_id, viewer_node_id: 2, ..Default::default() };
    let listen = group::SubscribeUpdatesRequest { group_id, session_id: participant, ..Default::default() };
    vec![
        banned("a removed node returns with the same token", "viewer", livestream("JoinLivestream"), &join),
        banned("a removed node returns with a new token", "again", livestream("JoinLivestream"), &join),
        banned("a back-end brings a removed node back", "gateway", livestream("JoinLivestream"), &named),
        banned("a removed node renews the lease of its session", "viewer", livestream("RenewLease"), &renew),
        banned("a removed node subscribes with its old session", "viewer", livestream("SubscribeUpdates"), &subscribe),
        banned("a removed node publishes with its old session", "viewer", livestream("PublishUpdates"), &open),
        banned("a removed node writes without a session", "viewer", livestream("PublishUpdate"), &write(0, 0)),
        banned("a back-end writes for a removed node", "gateway", livestream("PublishUpdate"), &write(2, 0)),
        banned("a removed node watches its targets", "viewer", livestream("WatchTargets"), &targets),
        banned("a removed node lifts its own ban", "again", livestream("UnbanViewer"), &unban),
        banned("a removed participant returns with a new token", "again", groups("JoinGroup"), &enter),
        banned("a back-end brings a removed participant back", "gateway", groups("JoinGroup"), &enter_named),
        banned("a removed participant subscribes with its old session", "viewer", groups("SubscribeUpdates"), &listen),
    ]
}

pub(super) fn return_rows() -> Vec<Row> {
    returns(1, 1).into_iter().map(|attempt| attempt.row).collect()
}

#[tokio::test]
async fn banned_node_finds_no_way_back() {
    return_in_every_way(&World::new().await).await;
}

/// All that a removed node tries.
pub(crate) async fn return_in_every_way(world: &World) {
    world.issue("again", node(2, vec![permission(THERE..=THERE, EVERY_RIGHT, &Channel::ALL)]));
    let range: IdRanges = [2..=3].into_iter().collect();
    world.issue("gateway", Identity { nodes: Nodes::Within(range), ..super::fixture::owner() });
    let join = pb::JoinLivestreamRequest { livestream_id: THERE, ..Default::default() };
    let joined = world.done("viewer", LIVESTREAMS, "JoinLivestream", &join).await;
    let session = pb::JoinLivestreamResponse::decode(joined).unwrap().session_id;
    let join = group::JoinGroupRequest { group_id: THERE, ..Default::default() };
    let joined = world.done("viewer", GROUPS, "JoinGroup", &join).await;
    let participant = group::JoinGroupResponse::decode(joined).unwrap().session_id;
    let ban = Some(prost_types::Duration { seconds: 3_600, nanos: 0 });
    let remove = pb::RemoveViewerRequest { livestream_id: THERE, viewer_node_id: 2, ban, ..Default::default() };
    world.done("owner", LIVESTREAMS, "RemoveViewer", &remove).await;
    let remove = group::RemoveParticipantRequest { group_id: THERE, participant_node_id: 2, ban, ..Default::default() };
    world.done("owner", GROUPS, "RemoveParticipant", &remove).await;
    let before = world.seen().await;
    // Over the connection that it had, and over another one.
    let other = Connection::open(world.server.address()).await;
    for connection in [&world.connection, &other] {
        for Return { row: Row { attack, refusal }, token, path, request } in returns(session, participant) {
            let head = Head::path(&path).with("authorization", format!("Bearer {token}"));
            let mut exchange = connection.begin(head, false).await;
            exchange.send(request, true);
            assert_eq!(exchange.answer().await.fault(), refusal.fault(), "{attack}");
            assert!(before == world.seen().await, "it changes nothing: {attack}");
        }
    }
}

/// The same with tokens that were revoked.
const CALL: Row = Row { attack: "a call with a revoked token", refusal: Refusal::REVOKED };
const STREAM: Row = Row { attack: "a stream that a revoked token has opened goes on", refusal: Refusal::REVOKED };
const RENEWED: Row = Row { attack: "renewal by a revoked token", refusal: Refusal::REVOKED };
const BACKDATED: Row = Row { attack: "another token of the same time, for longer", refusal: Refusal::REVOKED };

pub(super) fn revoked_rows() -> Vec<Row> {
    vec![CALL, RENEWED, BACKDATED]
}

pub(super) const fn stream_row() -> Row {
    STREAM
}

async fn begin(connection: &Connection, token: &str, path: &str) -> Exchange {
    connection.begin(Head::path(path).with("authorization", format!("Bearer {token}")), false).await
}

/// A publish stream of livestream 7 on DATA.
async fn publish(connection: &Connection, token: &str) -> (Exchange, Incoming) {
    let open =
        pb::PublishOpen { livestream_id: THERE, channels: vec![UpdateChannel::Data.into()], ..Default::default() };
    let mut exchange = begin(connection, token, &format!("{LIVESTREAMS}PublishUpdates")).await;
    exchange.send(framed(&pb::PublishUpdatesRequest { message: Some(Message::Open(open)) }), false);
    let mut incoming = exchange.answering().await;
    assert!(said(&mut incoming).await.is_some(), "it opens");
    (exchange, incoming)
}

#[tokio::test]
async fn revoked_token_finds_no_way_back() {
    let (server, signer, _keys) =
        jwt_server(|config| config.streams.heartbeat_interval = Duration::from_millis(50)).await;
    use_revoked_tokens([&server, &server], &signer).await;
}

/// What who has revoked tokens tries with the second server; they are revoked by the first one.
pub(crate) async fn use_revoked_tokens([home, server]: [&Server; 2], signer: &KeyPair) {
    let now = starling::clock::Clock::system().wall() / 1_000;
    let minted = |sub: &str, issued: u64, exp: u64, members: serde_json::Value| {
        let may = ["create", "join", "moderate", "administer"];
        let mut claims = serde_json::json!({
            "iss": "us", "aud": "starling", "sub": sub, "iat": issued, "exp": exp,
            "starling": { "grants": [{ "livestreams": "*", "groups": "*", "publish": "*", "may": may }] },
        });
        for (name, value) in members.as_object().unwrap() {
            claims["starling"][name] = value.clone();
        }
        signer.sign(Some("dev"), &claims).unwrap()
    };
    let nothing = || serde_json::json!({});
    let (old, new) = (minted("1", now - 100, now + 600, nothing()), minted("1", now - 10, now + 600, nothing()));
    let operator = minted("operator", now, now + 600, serde_json::json!({ "act_for": "*" }));
    let connection = Connection::open(server.address()).await;
    let homes = Connection::open(home.address()).await;
    let call = async |token: &str, path: &str, request: Bytes| {
        let connection = if token == operator { &homes } else { &connection };
        let mut exchange = begin(connection, token, path).await;
        exchange.send(request, true);
        exchange.answer().await
    };
    let create = pb::CreateLivestreamRequest { livestream_id: THERE, ..Default::default() };
    assert_eq!(call(&old, &format!("{LIVESTREAMS}CreateLivestream"), framed(&create)).await.status(), "0");
    let (_held, opened) = publish(&connection, &old).await;
    let issued_before = Some(Timestamp { seconds: i64::try_from(now).unwrap() - 50, nanos: 0 });
    let revoke = RevokeTokensRequest { subject_node_id: 1, issued_before };
    assert_eq!(call(&operator, &format!("{SERVER}RevokeTokens"), framed(&revoke)).await.status(), "0");

    let seen = async || call(&operator, &format!("{LIVESTREAMS}ListLivestreams"), framed(&())).await.messages;
    let before = seen().await;
    assert_eq!(opened.whole().await.fault(), STREAM.refusal.fault());
    let start = pb::StartLivestreamRequest { livestream_id: THERE, ..Default::default() };
    let longer = minted(
        "1",
        now - 51,
        now + 3_600,
        serde_json::json!({ "grants": [{ "livestreams": "*", "may": ["administer"] }] }),
    );
    for (row, token) in [(CALL, &old), (BACKDATED, &longer)] {
        let answer = call(token, &format!("{LIVESTREAMS}StartLivestream"), framed(&start)).await;
        assert_eq!(answer.fault(), row.refusal.fault(), "{}", row.attack);
    }
    assert!(before == seen().await, "no refused call changes anything");
    let (mut exchange, mut incoming) = publish(&connection, &new).await;
    let before = seen().await;
    let renew = Message::Renew(RenewToken { token: old });
    exchange.send(framed(&pb::PublishUpdatesRequest { message: Some(renew) }), false);
    assert_eq!(said(&mut incoming).await, None);
    assert_eq!(incoming.whole().await.fault(), RENEWED.refusal.fault());
    assert!(before == seen().await, "a refused renewal changes nothing");
    assert_eq!(call(&new, &format!("{LIVESTREAMS}StartLivestream"), framed(&start)).await.status(), "0");
}

const DURING: Row = Row {
    attack: "a removed node goes on with a stream that was open",
    refusal: Refusal::Status(tonic::Code::PermissionDenied, "REMOVED"),
};

pub(super) const fn during_row() -> Row {
    DURING
}

#[tokio::test]
async fn ban_ends_streams_whatever_renews_them() {
    stay_in_spite_of_a_ban(&World::new().await).await;
}

/// What a node tries whose stream is open when it is removed.
pub(crate) async fn stay_in_spite_of_a_ban(world: &World) {
    let open =
        pb::PublishOpen { livestream_id: THERE, channels: vec![UpdateChannel::Chat.into()], ..Default::default() };
    let mut exchange = world.begin("viewer", &format!("{LIVESTREAMS}PublishUpdates")).await;
    exchange.send(framed(&pb::PublishUpdatesRequest { message: Some(Message::Open(open)) }), false);
    let mut incoming = exchange.answering().await;
    assert!(said(&mut incoming).await.is_some(), "it opens");
    let ban = Some(prost_types::Duration { seconds: 3_600, nanos: 0 });
    let remove = pb::RemoveViewerRequest { livestream_id: THERE, viewer_node_id: 2, ban, ..Default::default() };
    world.done("owner", LIVESTREAMS, "RemoveViewer", &remove).await;
    let before = world.seen().await;
    let renew = Message::Renew(RenewToken { token: "viewer".to_owned() });
    exchange.send_if_open(framed(&pb::PublishUpdatesRequest { message: Some(renew) }));
    exchange.send_if_open(framed(&pb::PublishUpdatesRequest { message: chat().map(Message::Update) }));
    loop {
        match said(&mut incoming).await {
            Some(pb::publish_updates_response::Event::Goodbye(goodbye)) => {
                assert_eq!(goodbye.reason(), GoodbyeReason::Removed);
            }
            Some(other) => panic!("nothing is taken any more: {other:?}"),
            None => break,
        }
    }
    assert_eq!(incoming.whole().await.fault(), DURING.refusal.fault());
    assert!(before == world.seen().await, "no refused message changes anything");
}
