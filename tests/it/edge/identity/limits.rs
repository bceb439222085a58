//! What one identity may do, and that others notice nothing of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use starling::config::Config;
use starling::identity::TokenRefused;
use starling_client::pb::group::v1 as group;
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::livestream::v1::{self as pb, publish_updates_request};
use starling_client::pb::swarm::v1::{RenewToken, UpdateChannel, UpdateDraft};
use starling_core::channel::Channel;
use tonic::Code::ResourceExhausted;
use tonic_types::StatusExt;

use super::expiry::{publish, said, update};
use super::fixture::{
    EVERY_RIGHT, GROUPS, LIVESTREAMS, THERE, World, jwt_server, methods, node, path, permission, request,
};
use crate::admin::scrape::Scrape;
use crate::harness::{Fault, soon};
use crate::net::frames::framed;
use crate::net::rules::raw::{Answer, Connection, Exchange, Head};

/// What a refusal says: its reason, the setting, and how long to wait.
#[derive(Debug, PartialEq)]
struct Refused {
    reason: String,
    limit: String,
    max: String,
    wait: Duration,
}

#[track_caller]
fn refused(answer: &Answer) -> Refused {
    let status = tonic::Status::from_header_map(answer.last()).expect("a status");
    assert_eq!(status.code(), ResourceExhausted, "{status:?}");
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    let said = |key: &str| info.metadata.get(key).cloned().unwrap_or_default();
    Refused {
        reason: info.reason.clone(),
        limit: said("limit"),
        max: said("max"),
        wait: details.retry_info().and_then(|info| info.retry_delay).expect("a RetryInfo"),
    }
}

#[track_caller]
fn assert_count(answer: &Answer, limit: &str, max: u64) {
    let (reason, limit, max) = ("CLIENT_LIMIT".to_owned(), format!("limits.{limit}"), max.to_string());
    assert_eq!(refused(answer), Refused { reason, limit, max, wait: Duration::from_secs(1) });
}

/// Calls again and again until it is refused for a rate of one in a second, of which two come at once.
async fn until_limited(limit: &str, mut call: impl AsyncFnMut() -> Answer) -> usize {
    for calls in 0..100 {
        let answer = call().await;
        if answer.status() != "0" {
            let Refused { reason, limit: setting, max, wait } = refused(&answer);
            assert_eq!((&*reason, setting, &*max), ("RATE_LIMITED", format!("limits.{limit}"), "1"));
            assert!(!wait.is_zero() && wait <= Duration::from_secs(1), "{wait:?}");
            return calls;
        }
    }
    panic!("it is never refused")
}

/// Two nodes that may do everything with all swarms, beside those of the world.
async fn world(configure: impl FnOnce(&mut Config)) -> World {
    let world = World::with(configure).await;
    for (token, number) in [("first", 11), ("second", 12)] {
        world.issue(token, node(number, vec![permission(0..=u64::MAX, EVERY_RIGHT, &Channel::ALL)]));
    }
    world
}

fn join_livestream() -> pb::JoinLivestreamRequest {
    pb::JoinLivestreamRequest { livestream_id: THERE, ..Default::default() }
}

fn join_group() -> group::JoinGroupRequest {
    group::JoinGroupRequest { group_id: THERE, ..Default::default() }
}

/// Opens a stream that says something at once.
async fn watch(connection: &Connection, token: &str) -> Result<Exchange, Answer> {
    let head = Head::path(&format!("{LIVESTREAMS}WatchLivestreams")).with("authorization", format!("Bearer {token}"));
    let mut exchange = connection.begin(head, false).await;
    exchange.send(framed(&pb::WatchLivestreamsRequest::default()), true);
    let mut incoming = exchange.answering().await;
    match incoming.message().await {
        Some(_) => Ok(exchange),
        None => Err(incoming.whole().await),
    }
}

/// Opens a stream as soon as that is possible.
async fn watch_soon(connection: &Connection, token: &str) -> Exchange {
    soon(async {
        loop {
            if let Ok(exchange) = watch(connection, token).await {
                return exchange;
            }
        }
    })
    .await
}

#[tokio::test]
async fn joins_of_one_identity_are_limited() {
    let world = world(|config| config.limits.identity_joins_per_second = 1).await;
    let mut groups = false;
    let joined = until_limited("identity_joins_per_second", async || {
        groups = !groups;
        match groups {
            true => world.call("first", &format!("{GROUPS}JoinGroup"), &join_group()).await,
            false => world.call("first", &format!("{LIVESTREAMS}JoinLivestream"), &join_livestream()).await,
        }
    })
    .await;
    assert!(joined >= 2, "two come at once, of both services together");
    // Others of the same address, and over the same connection.
    world.done("second", LIVESTREAMS, "JoinLivestream", &join_livestream()).await;
    world.done("second", GROUPS, "JoinGroup", &join_group()).await;
    world
        .done("first", LIVESTREAMS, "GetStats", &pb::GetStatsRequest { livestream_id: THERE, ..Default::default() })
        .await;
}

#[tokio::test]
async fn refused_join_changes_nothing() {
    let world = world(|config| config.limits.identity_joins_per_second = 1).await;
    let joins = async || {
        let stats = pb::GetStatsRequest { livestream_id: THERE, ..Default::default() };
        let stats = world.done("admin", LIVESTREAMS, "GetStats", &stats).await;
        pb::GetStatsResponse::decode(stats).unwrap().stats.unwrap().joins
    };
    let before = joins().await;
    let mut done = 0;
    for _ in 0..20 {
        let answer = world.call("first", &format!("{LIVESTREAMS}JoinLivestream"), &join_livestream()).await;
        done += u64::from(answer.status() == "0");
    }
    assert!(done < 20, "some are refused");
    assert_eq!(joins().await, before + done, "a session for each that was answered");
}

#[tokio::test]
async fn streams_of_one_identity_are_limited() {
    let world = world(|config| config.limits.identity_streams = 1).await;
    world.done("first", LIVESTREAMS, "JoinLivestream", &join_livestream()).await;
    world.done("first", GROUPS, "JoinGroup", &join_group()).await;
    let mut held = watch(&world.connection, "first").await.expect("it is the first");
    for method in methods().into_iter().filter(prost_reflect::MethodDescriptor::is_server_streaming) {
        let answer = world.call("first", &path(&method), &request(&method, THERE, 11)).await;
        assert_count(&answer, "identity_streams", 1);
    }
    world
        .done("first", LIVESTREAMS, "GetStats", &pb::GetStatsRequest { livestream_id: THERE, ..Default::default() })
        .await;
    let second = watch(&world.connection, "second").await;
    assert!(second.is_ok(), "another identity has streams of its own");
    held.reset(h2::Reason::CANCEL);
    let held = watch_soon(&world.connection, "first").await;
    // Cut with its connection.
    drop(held);
    let connection = Connection::open(world.server.address()).await;
    let held = watch_soon(&connection, "first").await;
    drop((held, connection));
    watch_soon(&world.connection, "first").await;
}

#[tokio::test]
async fn every_stream_counts_until_it_ends() {
    let world = world(|config| config.limits.identity_streams = 1).await;
    world.issue("broadcaster", node(1, vec![permission(0..=u64::MAX, EVERY_RIGHT, &Channel::ALL)]));
    let streams: Vec<_> = methods().into_iter().filter(prost_reflect::MethodDescriptor::is_server_streaming).collect();
    assert_eq!(streams.len(), 10);
    for method in streams {
        let mut exchange = soon(async {
            loop {
                let mut exchange = world.begin("broadcaster", &path(&method)).await;
                exchange.send(framed(&request(&method, THERE, 1)), !method.is_client_streaming());
                let mut incoming = exchange.answering().await;
                if incoming.message().await.is_some() {
                    return exchange;
                }
                // The stream before may still be ending.
                assert_eq!(incoming.whole().await.fault().reason, "CLIENT_LIMIT", "{}", method.full_name());
            }
        })
        .await;
        let refused = watch(&world.connection, "broadcaster").await.expect_err("one is open");
        assert_count(&refused, "identity_streams", 1);
        exchange.reset(h2::Reason::CANCEL);
    }
}

#[tokio::test]
async fn stream_that_is_refused_later_counts_no_more() {
    let world = world(|config| config.limits.identity_streams = 1).await;
    for _ in 0..5 {
        let watch = pb::WatchLivestreamRequest { livestream_id: 4_711, ..Default::default() };
        let answer = soon(async {
            loop {
                let answer = world.call("first", &format!("{LIVESTREAMS}WatchLivestream"), &watch).await;
                if answer.fault().reason != "CLIENT_LIMIT" {
                    return answer;
                }
            }
        })
        .await;
        assert_eq!(answer.fault().reason, "LIVESTREAM_NOT_FOUND");
    }
}

#[tokio::test]
async fn connections_of_one_identity_are_limited() {
    let world = world(|config| config.limits.identity_connections = 1).await;
    let mut held = watch(&world.connection, "first").await.expect("it is the first");
    let other = Connection::open(world.server.address()).await;
    let stats = async |token: &str, connection: &Connection| {
        let head = Head::path(&format!("{LIVESTREAMS}GetStats")).with("authorization", format!("Bearer {token}"));
        connection.unary(head, &pb::GetStatsRequest { livestream_id: THERE, ..Default::default() }).await
    };
    assert_count(&stats("first", &other).await, "identity_connections", 1);
    assert_count(&watch(&other, "first").await.unwrap_err(), "identity_connections", 1);
    assert_eq!(stats("first", &world.connection).await.status(), "0", "the one that it has takes more");
    assert_eq!(stats("second", &other).await.status(), "0", "another identity has its own");
    held.reset(h2::Reason::CANCEL);
    watch_soon(&other, "first").await;
}

#[tokio::test]
async fn swarms_of_one_identity_are_limited() {
    let world = world(|config| config.limits.identity_swarms = 2).await;
    let create = |livestream_id| pb::CreateLivestreamRequest { livestream_id, ..Default::default() };
    let create_group = |group_id| group::CreateGroupRequest { group_id, ..Default::default() };
    world.done("first", LIVESTREAMS, "CreateLivestream", &create(20)).await;
    world.done("first", GROUPS, "CreateGroup", &create_group(20)).await;
    for (path, request) in [
        (format!("{LIVESTREAMS}CreateLivestream"), create(21).encode_to_vec()),
        (format!("{LIVESTREAMS}CreateLivestream"), create(0).encode_to_vec()),
        (format!("{GROUPS}CreateGroup"), create_group(21).encode_to_vec()),
    ] {
        let mut exchange = world.begin("first", &path).await;
        exchange.send(framed_bytes(&request), true);
        assert_count(&exchange.answer().await, "identity_swarms", 2);
    }
    // What is there is answered, and others make their own.
    let again = world.done("first", LIVESTREAMS, "CreateLivestream", &create(20)).await;
    assert!(!pb::CreateLivestreamResponse::decode(again).unwrap().created);
    world.done("second", LIVESTREAMS, "CreateLivestream", &create(21)).await;
    // One of its own that has ended makes room.
    let end = pb::EndLivestreamRequest { livestream_id: 20, ..Default::default() };
    world.done("first", LIVESTREAMS, "EndLivestream", &end).await;
    world.done("first", LIVESTREAMS, "CreateLivestream", &create(22)).await;
    let get = pb::GetLivestreamRequest { livestream_id: 20, ..Default::default() };
    let gone = world.refused("first", LIVESTREAMS, "GetLivestream", &get).await;
    assert_eq!(gone.reason, "LIVESTREAM_NOT_FOUND");
    let answer = world.call("first", &format!("{GROUPS}CreateGroup"), &create_group(23)).await;
    assert_count(&answer, "identity_swarms", 2);
}

fn framed_bytes(message: &[u8]) -> Bytes {
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    framed.into()
}

#[tokio::test]
async fn ended_swarm_of_another_counts_when_replaced() {
    let world = world(|config| config.limits.identity_swarms = 1).await;
    let create = |livestream_id| pb::CreateLivestreamRequest { livestream_id, ..Default::default() };
    world.done("first", LIVESTREAMS, "CreateLivestream", &create(20)).await;
    world.done("second", LIVESTREAMS, "CreateLivestream", &create(30)).await;
    let end = pb::EndLivestreamRequest { livestream_id: 30, ..Default::default() };
    world.done("second", LIVESTREAMS, "EndLivestream", &end).await;
    let answer = world.call("first", &format!("{LIVESTREAMS}CreateLivestream"), &create(30)).await;
    assert_count(&answer, "identity_swarms", 1);
    world.done("second", LIVESTREAMS, "CreateLivestream", &create(30)).await;
    let answer = world.call("second", &format!("{LIVESTREAMS}CreateLivestream"), &create(31)).await;
    assert_count(&answer, "identity_swarms", 1);
}

fn draft(channel: UpdateChannel, payload: usize) -> Option<UpdateDraft> {
    Some(UpdateDraft { channel: channel.into(), payload: vec![7; payload].into(), ..Default::default() })
}

#[tokio::test]
async fn updates_that_come_alone_are_limited() {
    let world = world(|config| config.limits.identity_publishes_per_second = 1).await;
    let mut groups = false;
    until_limited("identity_publishes_per_second", async || {
        groups = !groups;
        let update = draft(UpdateChannel::Data, 8);
        match groups {
            true => {
                let one = group::PublishUpdateRequest { group_id: THERE, update, ..Default::default() };
                world.call("owner", &format!("{GROUPS}PublishUpdate"), &one).await
            }
            false => {
                let one = pb::PublishUpdateRequest { livestream_id: THERE, update, ..Default::default() };
                world.call("owner", &format!("{LIVESTREAMS}PublishUpdate"), &one).await
            }
        }
    })
    .await;
    let chat = draft(UpdateChannel::Chat, 8);
    let chat = pb::PublishUpdateRequest { livestream_id: THERE, update: chat, ..Default::default() };
    world.done("viewer", LIVESTREAMS, "PublishUpdate", &chat).await;
}

#[tokio::test]
async fn published_bytes_of_one_identity_are_limited() {
    let world = world(|config| {
        config.feed.payload_bytes = 1_024;
        config.limits.identity_published_bytes_per_second = 1_000;
    })
    .await;
    let update = draft(UpdateChannel::Data, 1_024);
    let one = pb::PublishUpdateRequest { livestream_id: THERE, update, ..Default::default() };
    let mut published = 0;
    let answer = loop {
        let answer = world.call("owner", &format!("{LIVESTREAMS}PublishUpdate"), &one).await;
        if answer.status() != "0" {
            break answer;
        }
        published += 1;
        assert!(published < 100, "it is refused in the end");
    };
    let Refused { reason, limit, max, .. } = refused(&answer);
    assert_eq!((&*reason, &*limit), ("RATE_LIMITED", "limits.identity_published_bytes_per_second"));
    // In blocks of 64 bytes.
    assert_eq!(max, "1024");
    assert!(published >= 2);
}

#[tokio::test]
async fn updates_beyond_the_rate_wait_on_a_stream() {
    let world = world(|config| {
        config.admin.listen = Some((std::net::Ipv4Addr::LOCALHOST, 0).into());
        config.limits.identity_publishes_per_second = 20;
    })
    .await;
    let (mut exchange, mut incoming) = publish(&world, "owner", 0).await;
    let updates: Vec<u8> = (1..=60).flat_map(|number| framed(&update(number))).collect();
    exchange.send(updates, false);
    // Another identity is not held back meanwhile, nor are other calls of this one.
    let chat = draft(UpdateChannel::Chat, 8);
    let chat = pb::PublishUpdateRequest { livestream_id: THERE, update: chat, ..Default::default() };
    world.done("viewer", LIVESTREAMS, "PublishUpdate", &chat).await;
    world
        .done("owner", LIVESTREAMS, "GetStats", &pb::GetStatsRequest { livestream_id: THERE, ..Default::default() })
        .await;
    let mut accepted = 0;
    while accepted < 60 {
        match said(&mut incoming).await {
            Some(Event::Ack(ack)) => accepted = ack.channels[0].accepted_through,
            other => panic!("{other:?}"),
        }
    }
    let scrape = Scrape::of(&world.server).await;
    let hits = "starling_client_limit_hits_total{limit=\"limits.identity_publishes_per_second\"}";
    assert!(scrape.value(hits) >= 1.0, "it was held back");
    assert_eq!(scrape.value("starling_updates_published_total"), 61.0);
}

#[tokio::test]
async fn message_behind_one_that_waits_is_not_late() {
    let world = world(|config| {
        config.streams.receive_timeout = Duration::from_secs(1);
        config.limits.identity_publishes_per_second = 1;
    })
    .await;
    let (mut exchange, mut incoming) = publish(&world, "owner", 0).await;
    let mut updates: Vec<u8> = (1..=6).flat_map(|number| framed(&update(number))).collect();
    let last = framed(&update(7));
    updates.extend(&last[..3]);
    exchange.send(updates, false);
    let mut accepted = 0;
    while accepted < 7 {
        match said(&mut incoming).await {
            Some(Event::Ack(ack)) => accepted = ack.channels[0].accepted_through,
            other => panic!("{other:?}"),
        }
        if accepted == 6 {
            exchange.send(last.slice(3..), false);
        }
    }
}

#[tokio::test]
async fn held_back_stream_ends_with_its_session() {
    let world = world(|config| config.limits.identity_publishes_per_second = 1).await;
    let (mut exchange, mut incoming) = publish(&world, "owner", 0).await;
    let updates: Vec<u8> = (1..=1_000).flat_map(|number| framed(&update(number))).collect();
    exchange.send(updates, false);
    let Some(Event::Ack(_)) = said(&mut incoming).await else { panic!("the first are taken") };
    let end = pb::EndLivestreamRequest { livestream_id: THERE, ..Default::default() };
    world.done("owner", LIVESTREAMS, "EndLivestream", &end).await;
    loop {
        match said(&mut incoming).await {
            Some(Event::Ack(_)) => {}
            Some(Event::Goodbye(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(incoming.whole().await.status(), "0");
}

#[tokio::test]
async fn renewals_beyond_their_rate_wait() {
    let world = world(|config| config.limits.identity_renewals_per_second = 2).await;
    let (mut exchange, mut incoming) = publish(&world, "owner", 0).await;
    let renew = RenewToken { token: "owner".to_owned() };
    let renew = pb::PublishUpdatesRequest { message: Some(publish_updates_request::Message::Renew(renew)) };
    for _ in 0..6 {
        exchange.send(framed(&renew), false);
    }
    exchange.send(framed(&update(1)), false);
    for _ in 0..6 {
        assert!(matches!(said(&mut incoming).await, Some(Event::Renewed(_))));
    }
    assert!(matches!(said(&mut incoming).await, Some(Event::Ack(_))), "in order");
}

#[tokio::test]
async fn forged_tokens_of_one_address_are_limited() {
    let world = world(|config| config.limits.address_failed_authentications_per_second = 1).await;
    world.issue("known-viewer", super::fixture::viewer(2));
    world.issue_faulty("late", TokenRefused::Expired);
    let stats = pb::GetStatsRequest { livestream_id: THERE, ..Default::default() };
    let call = async |token: &str| world.call(token, &format!("{LIVESTREAMS}GetStats"), &stats).await;
    let mut reasons = BTreeMap::<String, usize>::new();
    // While it is refused; each refusal tells how long.
    let limited = loop {
        for token in ["nobody", "late"] {
            *reasons.entry(call(token).await.fault().reason).or_default() += 1;
        }
        let answer = call("viewer").await;
        if answer.status() != "0" {
            break answer;
        }
        assert!(reasons.values().sum::<usize>() < 200, "{reasons:?}");
    };
    let Refused { reason, limit, max, wait } = refused(&limited);
    assert_eq!((&*reason, &*limit, &*max), ("RATE_LIMITED", "limits.address_failed_authentications_per_second", "1"));
    assert!(!wait.is_zero() && wait <= Duration::from_secs(1), "{wait:?}");
    assert!(reasons["TOKEN_INVALID"] >= 1 && reasons["TOKEN_EXPIRED"] >= 1, "{reasons:?}");
    assert_eq!(call("known-viewer").await.status(), "0", "what is known costs no signature");
    let after = soon(async {
        loop {
            let answer = call("viewer").await;
            if answer.status() == "0" {
                return answer;
            }
        }
    })
    .await;
    assert_eq!(after.status(), "0");
}

#[tokio::test]
async fn back_ends_are_told_apart_by_their_subjects() {
    let (server, signer, _keys) = jwt_server(|config| config.limits.identity_swarms = 1).await;
    let now = starling::clock::Clock::system().wall() / 1_000;
    let minted = |subject: &str, age: u64| {
        let claims = serde_json::json!({
            "iss": "us", "aud": "starling", "sub": subject, "iat": now - age, "exp": now + 600,
            "starling": { "grants": [{ "livestreams": "*", "may": ["create"] }], "act_for": "*" },
        });
        signer.sign(Some("dev"), &claims).unwrap()
    };
    let connection = Connection::open(server.address()).await;
    let create = async |token: &str, livestream_id| {
        let head = Head::path(&format!("{LIVESTREAMS}CreateLivestream"));
        let request = pb::CreateLivestreamRequest { livestream_id, node_id: 1, ..Default::default() };
        connection.unary(head.with("authorization", format!("Bearer {token}")), &request).await
    };
    assert_eq!(create(&minted("gateway", 100), 1).await.status(), "0");
    assert_count(&create(&minted("gateway", 50), 2).await, "identity_swarms", 1);
    assert_eq!(create(&minted("studio", 100), 2).await.status(), "0");
    let fault = create(&minted("gateway", 10), 3).await.fault();
    assert_eq!(fault, Fault::new(ResourceExhausted, "CLIENT_LIMIT"));
}
