//! A publish stream goes on under another token.

use prost::Message as _;
use starling::identity::{IdRanges, Identity, Nodes, TokenRefused};
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::livestream::v1::{self as pb, publish_updates_request::Message};
use starling_client::pb::swarm::v1::{GoodbyeReason, RenewToken};
use starling_core::channel::Channel;

use super::expiry::{publish, said, token_expired, until, update};
use super::fixture::{EVERY_RIGHT, LIVESTREAMS, NOW, THERE, World, node, permission};
use super::refusal::{Refusal, Row};
use crate::net::frames::framed;

/// Long enough for what happens before, and not for the test.
const LEFT: u64 = 1_000;

fn renew(token: &str) -> pb::PublishUpdatesRequest {
    pb::PublishUpdatesRequest { message: Some(Message::Renew(RenewToken { token: token.to_owned() })) }
}

#[tokio::test]
async fn renewal_amid_updates_loses_nothing() {
    let world = World::new().await;
    world.issue("first", until(NOW + LEFT));
    world.issue("second", until(NOW + 2 * LEFT));
    let (mut exchange, mut incoming) = publish(&world, "first", 0).await;
    let (mut sent, mut accepted, mut renewed_at) = (0, 0, None);
    // Until the second token is over: past the end of the first.
    'stream: loop {
        sent += 1;
        exchange.send_if_open(framed(&update(sent)));
        if sent == 10 {
            exchange.send(framed(&renew("second")), false);
        }
        while accepted < sent || sent == 10 && renewed_at.is_none() {
            match said(&mut incoming).await {
                Some(Event::Ack(ack)) => accepted = ack.channels[0].accepted_through,
                Some(Event::Renewed(renewed)) => {
                    let expires = renewed.expire_time.unwrap();
                    assert_eq!(u64::try_from(expires.seconds).unwrap() * 1_000, NOW + 2 * LEFT);
                    renewed_at = Some(accepted);
                }
                Some(Event::Goodbye(goodbye)) => {
                    assert_eq!(goodbye.reason(), GoodbyeReason::TokenExpired);
                    break 'stream;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(incoming.whole().await.fault(), token_expired());
    // What was sent before the token is acknowledged before it is renewed; nothing but the last is not taken.
    assert_eq!(renewed_at, Some(10));
    assert!(sent > 10 && accepted == sent - 1, "{accepted} of {sent}");
}

/// Tokens that a publish stream of node 1 on VISUAL must not go on under.
fn refused() -> [(Row, String); 9] {
    let row = |attack, refusal| Row { attack, refusal };
    let named = |row, token: &str| (row, token.to_owned());
    [
        named(row("renewal by another node's token", Refusal::NOT_YOUR_NODE), "other"),
        named(row("renewal by a back-end that has not this node", Refusal::NOT_YOUR_NODE), "gateway"),
        named(row("renewal by a token that has lost the channel", Refusal::NOT_GRANTED), "silent"),
        named(row("renewal by a token of another swarm", Refusal::NOT_GRANTED), "elsewhere"),
        named(row("renewal by a token that has expired", Refusal::EXPIRED), "late"),
        named(row("renewal by a token whose time has not come", Refusal::NOT_YET_VALID), "early"),
        named(row("renewal by a forged token", Refusal::INVALID), "nobody"),
        named(row("renewal without a token", Refusal::Field("renew.token")), ""),
        (row("renewal by an oversize token", Refusal::Field("renew.token")), "x".repeat(8_193)),
    ]
}

/// A renewal before anything is open.
const FIRST: Row = Row { attack: "renewal as the first message of a stream", refusal: Refusal::Field("open") };

pub(super) fn rows() -> Vec<Row> {
    refused().into_iter().map(|(row, _)| row).collect()
}

pub(super) fn first_row() -> Vec<Row> {
    vec![FIRST]
}

#[tokio::test]
async fn renewal_keeps_node_and_channels() {
    let world = World::new().await;
    world.issue("other", node(2, vec![permission(THERE..=THERE, EVERY_RIGHT, &Channel::ALL)]));
    let others: IdRanges = [2..=200].into_iter().collect();
    world.issue("gateway", Identity { nodes: Nodes::Within(others), ..super::fixture::owner() });
    world.issue("silent", node(1, vec![permission(THERE..=THERE, EVERY_RIGHT, &[Channel::Chat])]));
    world.issue("elsewhere", node(1, vec![permission(8..=8, EVERY_RIGHT, &Channel::ALL)]));
    world.issue("late", until(NOW));
    world.issue_faulty("early", TokenRefused::NotYetValid);
    for (Row { attack, refusal }, token) in refused() {
        let (mut exchange, mut incoming) = publish(&world, "owner", 0).await;
        let before = world.seen().await;
        exchange.send(framed(&renew(&token)), false);
        exchange.send_if_open(framed(&update(1)));
        assert_eq!(said(&mut incoming).await, None, "{attack}");
        assert_eq!(incoming.whole().await.fault(), refusal.fault(), "{attack}");
        assert!(before == world.seen().await, "nothing is published after it: {attack}");
    }
    // A back-end may go on for its node.
    let (mut exchange, mut incoming) = publish(&world, "owner", 0).await;
    exchange.send(framed(&renew("admin")), false);
    let Some(Event::Renewed(renewed)) = said(&mut incoming).await else { panic!("it goes on") };
    assert_eq!(renewed.expire_time, None);
}

#[tokio::test]
async fn renewal_may_end_a_stream_sooner() {
    let world = World::new().await;
    world.issue("short", until(NOW + 100));
    let (mut exchange, mut incoming) = publish(&world, "owner", 0).await;
    exchange.send(framed(&renew("short")), false);
    assert!(matches!(said(&mut incoming).await, Some(Event::Renewed(_))));
    let Some(Event::Goodbye(goodbye)) = said(&mut incoming).await else { panic!("it ends") };
    assert_eq!(goodbye.reason(), GoodbyeReason::TokenExpired);
    assert_eq!(incoming.whole().await.fault(), token_expired());
}

#[tokio::test]
async fn renewal_does_not_open_a_stream() {
    let world = World::new().await;
    let before = world.seen().await;
    let answer = world.call("owner", &format!("{LIVESTREAMS}PublishUpdates"), &renew("owner")).await;
    assert_eq!(answer.fault(), FIRST.refusal.fault());
    assert!(before == world.seen().await, "it changes nothing");
}

#[tokio::test]
async fn renewals_are_answered_where_identities_are_off() {
    let server = crate::harness::Server::start().await;
    let client = server.client().await;
    crate::edge::world::go_live(&client, THERE).await;
    let open = Message::Open(crate::edge::updates::opening(THERE, 1));
    let messages = vec![pb::PublishUpdatesRequest { message: Some(open) }, renew("anything")];
    let (events, ended) = crate::edge::updates::publish(&client, messages).await;
    assert!(matches!(&events[..], [Event::Opened(_), .., Event::Renewed(renewed)] if renewed.expire_time.is_none()));
    assert!(ended.is_ok(), "{ended:?}");
}

#[tokio::test]
async fn a_reopened_publish_stream_goes_on() {
    let world = World::new().await;
    let join = pb::JoinLivestreamRequest { livestream_id: THERE, ..Default::default() };
    let joined = world.done("owner", LIVESTREAMS, "JoinLivestream", &join).await;
    let session = pb::JoinLivestreamResponse::decode(joined).unwrap().session_id;
    world.issue("first", Identity { expires_at: Some(NOW + 300), ..super::fixture::owner() });
    let (mut exchange, mut incoming) = publish(&world, "first", session).await;
    exchange.send(framed(&update(1)), false);
    assert!(matches!(said(&mut incoming).await, Some(Event::Ack(_))));
    assert!(matches!(said(&mut incoming).await, Some(Event::Goodbye(_))));
    let (mut exchange, mut incoming) = publish(&world, "owner", session).await;
    exchange.send(framed(&update(2)), false);
    let Some(Event::Ack(ack)) = said(&mut incoming).await else { panic!("it goes on") };
    assert_eq!(ack.channels[0].accepted_through, 2);
}
