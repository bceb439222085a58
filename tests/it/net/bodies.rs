//! The body of a subscription, frame by frame: how it ends, that it lets go, and what it holds.

use std::time::Duration;

use http::HeaderMap;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{GoodbyeReason, UpdateChannel, delivery::Item};
use starling_client::{Client, PublishEvent, PublishOptions, Publisher, SwarmRef};
use tonic::Code;

use crate::harness::{Server, soon};
use crate::net::fixture::{LIVESTREAM, deliveries, draft, end, go_live, join, named, subscribe, until};
use crate::net::frames::{Reading, WIDE, Wire};

/// Later than anybody is.
const PATIENT: Duration = Duration::from_secs(60);

/// A server on air, and a connection to it.
async fn on_air() -> (Server, Client, Wire) {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, PATIENT).await;
    let wire = Wire::connect(server.address(), WIDE).await;
    (server, client, wire)
}

async fn publisher(client: &Client) -> Publisher {
    Publisher::open(
        client.clone(),
        PublishOptions::new(SwarmRef::Livestream(LIVESTREAM), 1, vec![UpdateChannel::Visual]),
    )
    .await
    .unwrap()
}

/// Publishes updates of these sizes, and waits until they are accepted.
async fn publish(publisher: &mut Publisher, sizes: impl IntoIterator<Item = usize>) {
    for (number, size) in (1..).zip(sizes) {
        while publisher.room() == 0 {
            soon(publisher.next()).await.unwrap();
        }
        publisher.send(draft(number, size)).unwrap();
    }
    while publisher.unacknowledged() > 0 {
        soon(publisher.next()).await.unwrap();
    }
}

async fn enter(client: &Client, wire: &mut Wire, node: u64) -> Reading {
    let session = join(client, node).await;
    wire.subscribe(&subscribe(node, session)).await
}

#[track_caller]
fn assert_status(trailers: &HeaderMap, code: Code) {
    let status = trailers.get("grpc-status").expect("there is a status");
    assert_eq!(status.to_str().unwrap().parse::<i32>().unwrap(), i32::from(code), "{trailers:?}");
}

/// Expects a goodbye, then trailers with a status, and nothing else.
async fn assert_ends(mut reading: Reading, reason: GoodbyeReason, code: Code) {
    let trailers = reading.trailers().await;
    assert_eq!(reading.goodbye.expect("a goodbye comes before the end").reason(), reason);
    assert_status(&trailers, code);
    assert_eq!(trailers.contains_key("grpc-status-details-bin"), code != Code::Ok, "{trailers:?}");
}

#[tokio::test]
async fn every_end_has_goodbye_and_trailers_status() {
    let (_server, client, mut wire) = on_air().await;
    let mut livestreams = client.livestreams.clone();
    let mut readings = Vec::new();
    for node in 10..14 {
        readings.push(enter(&client, &mut wire, node).await);
    }
    let [left, removed, replaced, ended]: [Reading; 4] = readings.try_into().unwrap();
    let leave = pb::LeaveLivestreamRequest { livestream_id: LIVESTREAM, node_id: 10, ..Default::default() };
    livestreams.leave_livestream(leave).await.unwrap();
    assert_ends(left, GoodbyeReason::Left, Code::Ok).await;

    let remove =
        pb::RemoveViewerRequest { livestream_id: LIVESTREAM, node_id: 1, viewer_node_id: 11, ..Default::default() };
    livestreams.remove_viewer(remove).await.unwrap();
    assert_ends(removed, GoodbyeReason::Removed, Code::PermissionDenied).await;

    join(&client, 12).await;
    assert_ends(replaced, GoodbyeReason::Replaced, Code::FailedPrecondition).await;

    let lease_ttl = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let briefly = pb::JoinLivestreamRequest { livestream_id: LIVESTREAM, node_id: 14, lease_ttl, ..Default::default() };
    livestreams.join_livestream(briefly).await.unwrap();
    // Without the session it keeps nobody alive.
    let expired = wire.subscribe(&subscribe(14, 0)).await;
    assert_ends(expired, GoodbyeReason::LeaseExpired, Code::FailedPrecondition).await;

    end(&client).await;
    assert_ends(ended, GoodbyeReason::Ended, Code::Ok).await;

    // Who is refused gets the same without a body.
    let refused = wire.call("SubscribeUpdates", &subscribe(10, 0)).await.unwrap();
    assert_status(refused.headers(), Code::FailedPrecondition);
    assert!(refused.into_body().is_end_stream());
}

#[tokio::test]
async fn drain_has_goodbye_and_trailers_status() {
    let (server, client, mut wire) = on_air().await;
    let reading = enter(&client, &mut wire, 10).await;
    server.drain();
    assert_ends(reading, GoodbyeReason::Draining, Code::Unavailable).await;
}

/// Waits until the publisher is told that so many want what it publishes.
async fn wanted_by(publisher: &mut Publisher, subscribers: u64) {
    loop {
        match soon(publisher.next()).await.unwrap() {
            Some(PublishEvent::Demand(demand)) if demand.channels[0].subscribers == subscribers => return,
            Some(_) => {}
            None => panic!("the livestream goes on"),
        }
    }
}

#[tokio::test]
async fn cancelled_streams_are_no_longer_counted() {
    let (server, client, mut wire) = on_air().await;
    let mut publisher = publisher(&client).await;
    let open = server.open_streams();
    // Of three on one connection one cancels while it waits, one in the midst of things.
    let waits = enter(&client, &mut wire, 10).await;
    let mut reads = enter(&client, &mut wire, 11).await;
    let stays = enter(&client, &mut wire, 12).await;
    wanted_by(&mut publisher, 3).await;
    assert_eq!(server.open_streams(), open + 3);
    drop(waits);
    wanted_by(&mut publisher, 2).await;
    publish(&mut publisher, [100_000; 20]).await;
    while reads.updates() < 3 {
        assert!(reads.read().await.unwrap());
    }
    drop(reads);
    until(|| server.open_streams() == open + 1).await;
    wanted_by(&mut publisher, 1).await;
    drop((stays, wire));
    wanted_by(&mut publisher, 0).await;
    until(|| server.open_streams() == open).await;
}

#[tokio::test]
async fn subscriptions_of_one_connection_each_get_everything() {
    let (server, client, mut wire) = on_air().await;
    let mut publisher = publisher(&client).await;
    let mut readings = Vec::new();
    for round in 0..3 {
        while readings.len() < 70 {
            let node = 10 + round * 100 + readings.len() as u64;
            readings.push(enter(&client, &mut wire, node).await);
        }
        wanted_by(&mut publisher, 70).await;
        publish(&mut publisher, [1_000; 3]).await;
        let newest = 3 * (round + 1);
        for reading in &mut readings {
            while reading.history.positions().iter().all(|position| position.sequence < newest) {
                assert!(reading.read().await.unwrap());
            }
        }
        // Every other one goes, and those that come later take their places.
        readings = readings.into_iter().enumerate().filter_map(|(at, one)| (at % 2 == 0).then_some(one)).collect();
        wanted_by(&mut publisher, 35).await;
    }
    drop((readings, wire));
    until(|| server.open_streams() == 1).await;
}

/// Reads updates with the generated client: how many messages they came in, and their payloads.
async fn read(client: &Client, node: u64, updates: usize) -> (usize, Vec<bytes::Bytes>) {
    let request = subscribe(node, join(client, node).await);
    let mut messages = client.clone().livestreams.subscribe_updates(request).await.unwrap().into_inner();
    let (mut count, mut payloads) = (0, Vec::new());
    while payloads.len() < updates {
        let message = soon(messages.message()).await.expect("it is well-formed").expect("it goes on");
        count += 1;
        payloads.extend(deliveries(&message).filter_map(|delivery| match delivery.item {
            Some(Item::Update(update)) => Some(update.payload),
            _ => None,
        }));
    }
    (count, payloads)
}

#[tokio::test]
async fn the_largest_payloads_come_whole() {
    let (server, client, _) = on_air().await;
    let mut publisher = publisher(&client).await;
    let sizes = [1 << 20, 1 << 20, 8, (1 << 20) - 1, 32 * 1024];
    publish(&mut publisher, sizes).await;
    let (_, payloads) = read(&server.client().await, 10, sizes.len()).await;
    for ((number, size), payload) in (1..).zip(sizes).zip(payloads) {
        assert!(payload == draft(number, size).payload, "update {number}");
    }
}

#[tokio::test]
async fn many_small_updates_are_few_messages() {
    let (server, client, _) = on_air().await;
    let mut publisher = publisher(&client).await;
    // The newest keyframe and what depends on it is for all who come.
    publish(&mut publisher, [8; 20]).await;
    let (messages, payloads) = read(&server.client().await, 10, 20).await;
    assert_eq!(payloads.iter().map(named).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    assert!(messages <= 3, "{messages} messages for what lay there together");
}

/// The largest frame that HTTP/2 sends unless it is asked for more.
const FRAME: usize = 16 * 1024;
/// A frame below this many bytes is copied by HTTP/2, and counted against a flood by some clients.
const SMALLEST: usize = 256;

#[tokio::test]
async fn large_messages_split_off_no_small_frame() {
    let (_server, client, mut wire) = on_air().await;
    let mut publisher = publisher(&client).await;
    // With what surrounds a payload, messages of a few bytes around each multiple of a frame.
    let around = |frames: usize| (0..24).map(move |step| frames * FRAME - 144 + step * 16);
    let sizes: Vec<usize> = [1, 2, 3, 4, 6].into_iter().flat_map(around).collect();
    let mut reading = enter(&client, &mut wire, 10).await;
    wanted_by(&mut publisher, 1).await;
    let mut small = Vec::new();
    for (number, size) in (1..).zip(sizes) {
        publisher.send(draft(number, size)).unwrap();
        reading.frames.clear();
        while reading.updates() < number {
            assert!(reading.read().await.unwrap());
        }
        // What was told before the first update has frames of its own.
        let first = reading.frames.iter().position(|length| *length >= SMALLEST).unwrap_or_default();
        let frames = &reading.frames[first..];
        if frames.iter().any(|length| *length < SMALLEST) {
            small.push((size, frames.to_vec()));
        }
        while publisher.unacknowledged() > 0 {
            soon(publisher.next()).await.unwrap();
        }
    }
    assert!(small.is_empty(), "{} messages: {:?}", small.len(), small.first());
}
