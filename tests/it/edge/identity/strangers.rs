//! Who is granted nothing learns nothing.

use tonic::Code;

use super::fixture::{MISSING, OVER, THERE, World, methods, node, path, permission, picture, request, viewer};
use super::refusal::{Refusal, Row};
use crate::harness::Fault;
use starling::identity::Right;
use starling_core::channel::Channel;

/// What each RPC answers alike of a swarm that is there, one that is over and one that never was.
const STRANGER: Row =
    Row { attack: "each RPC by who is granted nothing, and by who runs other swarms", refusal: Refusal::NOT_GRANTED };
const NOBODY: Row = Row { attack: "each RPC without a token", refusal: Refusal::MISSING };
const GUESSER: Row = Row { attack: "reads of other swarms by a viewer of one", refusal: Refusal::NOT_GRANTED };

pub(super) const fn stranger_row() -> Row {
    STRANGER
}

pub(super) const fn nobody_row() -> Row {
    NOBODY
}

pub(super) const fn guesser_row() -> Row {
    GUESSER
}

fn not_granted() -> Fault {
    STRANGER.refusal.fault()
}

#[tokio::test]
async fn every_rpc_looks_alike_to_strangers() {
    let world = World::new().await;
    // Known, and granted nothing; and one who runs other swarms.
    world.issue("stranger", node(9, Vec::new()));
    world.issue("other", node(9, vec![permission(8..=99, super::fixture::EVERY_RIGHT, &Channel::ALL)]));
    let before = world.seen().await;
    for method in methods() {
        if method.name() == "GetServerInfo" {
            assert_eq!(world.call("stranger", &path(&method), &request(&method, 0, 0)).await.status(), "0");
            continue;
        }
        for token in ["stranger", "other"] {
            let mut pictures = Vec::new();
            for swarm in [THERE, OVER, MISSING] {
                let answer = world.call(token, &path(&method), &request(&method, swarm, 9)).await;
                assert_eq!(answer.fault(), not_granted(), "{} of {swarm}", method.full_name());
                pictures.push(picture(&answer));
            }
            assert!(pictures.windows(2).all(|pair| pair[0] == pair[1]), "{}: {pictures:?}", method.full_name());
        }
    }
    assert!(before == world.seen().await, "no refused call changes anything");
}

#[tokio::test]
async fn viewer_of_one_swarm_finds_no_others() {
    let world = World::new().await;
    let of_no_swarm = ["GetServerInfo", "GetClusterStatus"];
    let gets = |name: &str| name.starts_with("Get") && !of_no_swarm.contains(&name);
    for method in methods().iter().filter(|method| gets(method.name())) {
        let mut pictures = Vec::new();
        for swarm in [OVER, MISSING] {
            let answer = world.call("viewer", &path(method), &request(method, swarm, 2)).await;
            assert_eq!(answer.fault(), GUESSER.refusal.fault(), "{} of {swarm}", method.full_name());
            pictures.push(picture(&answer));
        }
        assert_eq!(pictures[0], pictures[1], "{}", method.full_name());
        let answer = world.call("viewer", &path(method), &request(method, THERE, 2)).await;
        assert_eq!(answer.status(), "0", "{} of its own", method.full_name());
    }
}

#[tokio::test]
async fn nobody_is_served_without_a_token() {
    let world = World::new().await;
    let before = world.seen().await;
    for method in methods() {
        let head = crate::net::rules::raw::Head::path(&path(&method));
        let answer = world.connection.unary(head, &request(&method, THERE, 1)).await;
        let expected = NOBODY.refusal.fault();
        assert_eq!(answer.fault(), expected, "{}", method.full_name());
    }
    assert!(before == world.seen().await, "no refused call changes anything");
}

#[tokio::test]
async fn fields_are_told_before_rights() {
    let world = World::new().await;
    world.issue("stranger", node(9, Vec::new()));
    for method in methods() {
        let has_id = method.input().fields().any(|field| ["livestream_id", "group_id"].contains(&field.name()));
        if !has_id || method.name().starts_with("Create") {
            continue;
        }
        let answer = world.call("stranger", &path(&method), &request(&method, 0, 9)).await;
        assert_eq!(answer.fault().code, Code::InvalidArgument, "{}", method.full_name());
    }
}

#[tokio::test]
async fn a_right_is_for_what_it_says() {
    let world = World::new().await;
    // Each has one right, and no RPC that needs another lets it through.
    let rights = [
        (Right::Create, "create"),
        (Right::Join, "join"),
        (Right::Moderate, "moderate"),
        (Right::Administer, "administer"),
    ];
    for (right, name) in rights {
        world.issue(name, node(9, vec![permission(THERE..=THERE, &[right], &[])]));
    }
    world.issue("publish", node(9, vec![permission(THERE..=THERE, &[], &Channel::ALL)]));
    let mut granted: Vec<(String, Vec<&str>)> = Vec::new();
    for method in methods().into_iter().filter(|method| method.name() != "GetServerInfo") {
        let mut of_this = Vec::new();
        for token in ["create", "join", "moderate", "administer", "publish"] {
            let mut exchange = world.begin(token, &path(&method)).await;
            exchange.send(crate::net::frames::framed(&request(&method, THERE, 9)), true);
            let incoming = exchange.answering().await;
            // A stream that opens says nothing yet.
            let refused = tonic::Status::from_header_map(&incoming.headers).map(|status| Fault::of(&status));
            if refused != Some(not_granted()) {
                of_this.push(token);
            }
        }
        granted.push((method.name().to_owned(), of_this));
    }
    for (method, tokens) in granted {
        // The sets as a whole are nobody's who is granted one swarm; by names they are.
        let of_all =
            ["WatchLivestreams", "WatchGroups", "RevokeTokens", "ListRevocations", "GetClusterStatus", "ActivateLevel"];
        let expected = usize::from(!of_all.contains(&&*method));
        assert_eq!(tokens.len(), expected, "{method}: {tokens:?}");
    }
}

#[tokio::test]
async fn sets_are_for_those_granted_all() {
    let world = World::new().await;
    let everywhere = |rights: &[Right]| permission(0..=u64::MAX, rights, &[]);
    world.issue("operator", node(9, vec![everywhere(&[Right::Administer])]));
    world.issue("joiner", node(9, vec![everywhere(&[Right::Join])]));
    for (service, method) in [(super::fixture::LIVESTREAMS, "ListLivestreams"), (super::fixture::GROUPS, "ListGroups")]
    {
        assert_eq!(world.refused("joiner", service, method, &()).await, not_granted());
        world.done("operator", service, method, &()).await;
    }
    let named = |livestream_ids: &[u64]| starling_client::pb::livestream::v1::ListLivestreamsRequest {
        livestream_ids: livestream_ids.to_vec(),
        ..Default::default()
    };
    let service = super::fixture::LIVESTREAMS;
    world.done("joiner", service, "ListLivestreams", &named(&[THERE, MISSING])).await;
    world.issue("one", viewer(2));
    world.done("one", service, "ListLivestreams", &named(&[THERE])).await;
    assert_eq!(world.refused("one", service, "ListLivestreams", &named(&[THERE, OVER])).await, not_granted());
    world.done("operator", service, "ListLivestreams", &named(&[THERE, OVER])).await;
}
