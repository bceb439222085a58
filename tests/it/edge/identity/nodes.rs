//! A caller acts as its own node.

use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use starling::identity::{IdRanges, Identity, Nodes};
use starling_client::pb::{group::v1 as group, livestream::v1 as pb};
use starling_core::channel::Channel;
use tonic::{Code, Status};

use super::fixture::{
    EVERY_RIGHT, GROUPS, LIVESTREAMS, THERE, World, methods, node, path, permission, request, viewer,
};
use super::refusal::{Refusal, Row};
use crate::harness::Fault;
use crate::net::frames::framed;

/// More than 35 of them.
const ANOTHER_NODE: Row = Row { attack: "each RPC in another node's name", refusal: Refusal::NOT_YOUR_NODE };
const REPEAT: Row =
    Row { attack: "the repeat of another's request by its request_id", refusal: Refusal::NOT_YOUR_NODE };

pub(super) const fn another_node_row() -> Row {
    ANOTHER_NODE
}

pub(super) const fn repeat_row() -> Row {
    REPEAT
}

fn not_your_node() -> Fault {
    ANOTHER_NODE.refusal.fault()
}

/// Whether a request names who acts.
fn acts(method: &MethodDescriptor) -> bool {
    let names = |message: &prost_reflect::MessageDescriptor| message.get_field_by_name("node_id").is_some();
    names(&method.input()) || method.name() == "PublishUpdates"
}

/// The first answer to a request, or why there is none.
async fn first(world: &World, token: &str, method: &MethodDescriptor, request: &DynamicMessage) -> Option<Fault> {
    let mut exchange = world.begin(token, &path(method)).await;
    exchange.send(framed(request), true);
    let incoming = exchange.answering().await;
    Status::from_header_map(&incoming.headers).map(|status| Fault::of(&status))
}

#[tokio::test]
async fn every_rpc_refuses_another_node() {
    let world = World::new().await;
    let before = world.seen().await;
    let mut refused = 0;
    for method in methods().iter().filter(|method| acts(method)) {
        // Node 1 may do all of this as itself.
        let answer = world.call("owner", &path(method), &request(method, THERE, 2)).await;
        assert_eq!(answer.fault(), not_your_node(), "{}", method.full_name());
        refused += 1;
    }
    assert!(refused > 35, "{refused}");
    assert!(before == world.seen().await, "no refused call changes anything");
}

#[tokio::test]
async fn own_node_may_be_left_out() {
    let world = World::new().await;
    for method in methods().iter().filter(|method| acts(method)) {
        // What becomes of it depends on the calls before; of whom it is told first.
        let fault = first(&world, "owner", method, &request(method, THERE, 0)).await;
        let bad = |fault: &Fault| fault.field.is_some() || ["NOT_YOUR_NODE", "NOT_GRANTED"].contains(&&*fault.reason);
        assert!(!fault.as_ref().is_some_and(bad), "{}: {fault:?}", method.full_name());
    }
}

#[tokio::test]
async fn joining_without_a_name_joins_as_oneself() {
    let world = World::new().await;
    world.issue("fourth", viewer(4));
    let join = pb::JoinLivestreamRequest { livestream_id: THERE, ..Default::default() };
    let joined = world.done("fourth", LIVESTREAMS, "JoinLivestream", &join).await;
    let joined = pb::JoinLivestreamResponse::decode(joined).unwrap();
    assert_eq!(joined.viewer.unwrap().node_id, 4);
    let join = group::JoinGroupRequest { group_id: THERE, ..Default::default() };
    let joined = group::JoinGroupResponse::decode(world.done("fourth", GROUPS, "JoinGroup", &join).await).unwrap();
    assert_eq!(joined.participant.unwrap().node_id, 4);
    // With the session alone a watch belongs to its node.
    let watch = group::WatchGroupRequest { group_id: THERE, session_id: joined.session_id, ..Default::default() };
    let mut exchange = world.begin("fourth", &format!("{GROUPS}WatchGroup")).await;
    exchange.send(framed(&watch), true);
    assert!(exchange.answering().await.message().await.is_some());
}

#[tokio::test]
async fn watchers_need_not_be_members() {
    let world = World::new().await;
    world.issue("observer", node(9, vec![permission(THERE..=THERE, &[starling::identity::Right::Join], &[])]));
    for method in methods().iter().filter(|method| ["WatchLivestream", "WatchGroup"].contains(&method.name())) {
        assert_eq!(first(&world, "observer", method, &request(method, THERE, 0)).await, None, "{}", method.name());
    }
}

#[tokio::test]
async fn swarms_are_made_for_oneself() {
    let world = World::new().await;
    world.issue("maker", node(4, vec![permission(100..=199, EVERY_RIGHT, &Channel::ALL)]));
    let create = |livestream_id, node_id, broadcaster_node_id| pb::CreateLivestreamRequest {
        livestream_id,
        node_id,
        broadcaster_node_id,
        ..Default::default()
    };
    for request in [create(100, 4, 5), create(100, 0, 5), create(100, 5, 4), create(100, 5, 0)] {
        assert_eq!(world.refused("maker", LIVESTREAMS, "CreateLivestream", &request).await, not_your_node());
    }
    let not_granted = Fault::new(Code::PermissionDenied, "NOT_GRANTED");
    // A number that the server draws may be any.
    for request in [create(200, 4, 0), create(0, 4, 0)] {
        assert_eq!(world.refused("maker", LIVESTREAMS, "CreateLivestream", &request).await, not_granted);
    }
    let made = world.done("maker", LIVESTREAMS, "CreateLivestream", &create(100, 0, 0)).await;
    let made = pb::CreateLivestreamResponse::decode(made).unwrap().livestream.unwrap();
    assert_eq!((made.livestream_id, made.broadcaster_node_id), (100, 4));

    let create = |owner_node_id| group::CreateGroupRequest { group_id: 100, owner_node_id, ..Default::default() };
    assert_eq!(world.refused("maker", GROUPS, "CreateGroup", &create(5)).await, not_your_node());
    world.done("maker", GROUPS, "CreateGroup", &create(4)).await;
}

#[tokio::test]
async fn back_end_acts_for_its_nodes() {
    let world = World::new().await;
    let nodes: IdRanges = [100..=200].into_iter().collect();
    world.issue("back-end", Identity { nodes: Nodes::Within(nodes), ..super::fixture::owner() });
    let join = |node_id| pb::JoinLivestreamRequest { livestream_id: THERE, node_id, ..Default::default() };
    world.done("back-end", LIVESTREAMS, "JoinLivestream", &join(100)).await;
    world.done("back-end", LIVESTREAMS, "JoinLivestream", &join(200)).await;
    for other in [1, 99, 201] {
        let refused = world.refused("back-end", LIVESTREAMS, "JoinLivestream", &join(other)).await;
        assert_eq!(refused, not_your_node(), "{other}");
    }
    // It is no node itself.
    assert_eq!(world.refused("back-end", LIVESTREAMS, "JoinLivestream", &join(0)).await, Fault::field("node_id"));
}

#[tokio::test]
async fn a_repeat_is_the_callers_own() {
    let world = World::new().await;
    let join = |node_id| pb::JoinLivestreamRequest {
        livestream_id: THERE,
        node_id,
        request_id: "again".to_owned(),
        ..Default::default()
    };
    let session = |answer: bytes::Bytes| pb::JoinLivestreamResponse::decode(answer).unwrap().session_id;
    let named = session(world.done("viewer", LIVESTREAMS, "JoinLivestream", &join(2)).await);
    // Who leaves itself out says the same.
    assert_eq!(session(world.done("viewer", LIVESTREAMS, "JoinLivestream", &join(0)).await), named);
    world.issue("other", viewer(9));
    let before = world.seen().await;
    assert_eq!(world.refused("other", LIVESTREAMS, "JoinLivestream", &join(2)).await, REPEAT.refusal.fault());
    assert!(before == world.seen().await, "it changes nothing");
}
