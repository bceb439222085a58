//! PublishUpdates: claims, acknowledgements, rejections, and every way to lose the right.

use bytes::Bytes;
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::livestream::v1::{self as pb, publish_updates_request::Message};
use starling_client::pb::swarm::v1::{GoodbyeReason, GrantedChannel, RejectReason, UpdateChannel, UpdateDraft};
use starling_client::{Client, SwarmRef};
use tonic::Code::{FailedPrecondition, NotFound, PermissionDenied, ResourceExhausted};

use crate::edge::updates::{Publisher, Subscriber, delta, keyframe, message, opening, publish, publish_one};
use crate::edge::world::{
    answered, end, everything, go_live, join_livestream, livestream, make_livestream, pause, start,
};
use crate::harness::{Fault, Server};

const BROADCASTER: u64 = 1;
const VIEWER: u64 = 2;

async fn on_air() -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    join_livestream(&client, 7, VIEWER).await;
    (server, client)
}

fn resume() -> pb::ResumeLivestreamRequest {
    pb::ResumeLivestreamRequest { livestream_id: 7, node_id: BROADCASTER, ..Default::default() }
}

#[tokio::test]
async fn opening_claims_the_channel_and_creates_the_session() {
    let (_server, client) = on_air().await;
    assert!(!livestream(&client, 7).await.broadcaster_present);
    let publisher = Publisher::open(&client, 7, BROADCASTER).await;
    let now = livestream(&client, 7).await;
    assert!(now.broadcaster_present);
    assert_eq!(publisher.opened.epoch, now.epoch);
    assert_ne!(publisher.opened.session_id, 0);
    let granted = GrantedChannel {
        channel: UpdateChannel::Visual.into(),
        term: now.revision,
        keyframe_wanted: true,
        max_payload_bytes: 1 << 20,
        ..Default::default()
    };
    assert_eq!(publisher.opened.channels, [granted], "the term is the revision that granted it");

    // With the session that it made it can be opened again.
    let session_id = publisher.opened.session_id;
    let again = Publisher::open_with(&client, pb::PublishOpen { session_id, ..opening(7, BROADCASTER) }).await;
    assert_eq!(again.opened.session_id, session_id);
}

#[tokio::test]
async fn updates_are_numbered_from_one_and_acknowledged() {
    let (_server, client) = on_air().await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    for sequence in 1..=3 {
        // The publisher's own numbers may have holes, the server's have none.
        publisher.send(keyframe(sequence * 10)).await;
        let position = publisher.acked().await;
        assert_eq!((position.source_node_id, position.channel()), (BROADCASTER, UpdateChannel::Visual));
        assert_eq!((position.term, position.sequence), (publisher.term(), sequence));
    }
    publisher.finish().await.expect("a publisher that has said everything ends in peace");
}

#[tokio::test]
async fn updates_sent_before_closing_are_acknowledged() {
    let (_server, client) = on_air().await;
    let mut messages = vec![message(Message::Open(opening(7, BROADCASTER)))];
    messages.extend((1..=500).map(|number| message(Message::Update(keyframe(number)))));
    let (events, ended) = publish(&client, messages).await;
    ended.unwrap();
    let Some(Event::Ack(ack)) = events.last() else { panic!("an ack comes last, not {:?}", events.last()) };
    assert_eq!(ack.channels[0].accepted_through, 500);
    let last = ack.channels[0].position.map(|position| position.sequence);
    assert_eq!(last, Some(500), "what is acknowledged was taken, each and every one");
    assert!(events.len() < 400, "acknowledgements are coalesced, and these are {}", events.len());
}

#[tokio::test]
async fn repeated_number_is_acknowledged_but_not_redelivered() {
    let (_server, client) = on_air().await;
    let mut viewer = Subscriber::open(&client, 7, VIEWER).await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    for number in [5, 6, 6, 5, 7] {
        publisher.send(keyframe(number)).await;
    }
    publisher.acked_through(7).await;
    let mut payloads = Vec::new();
    for _ in 0..3 {
        payloads.push(viewer.update().await.payload);
    }
    assert_eq!(payloads, [5, 6, 7].map(|number| keyframe(number).payload));

    // Also by another stream, which is told where it stands.
    let mut again = Publisher::open(&client, 7, BROADCASTER).await;
    assert_eq!(again.opened.channels[0].last_publisher_sequence, 7);
    again.send(keyframe(7)).await;
    again.acked_through(7).await;
    again.send(keyframe(8)).await;
    again.acked_through(8).await;
    assert_eq!(viewer.update().await.payload, keyframe(8).payload);
}

#[tokio::test]
async fn updates_off_air_are_rejected_without_closing() {
    let server = Server::start().await;
    let client = server.client().await;
    make_livestream(&client, 7, pb::LivestreamConfig::default()).await;
    let mut livestreams = client.livestreams.clone();
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    publisher.send(keyframe(1)).await;
    assert_eq!(publisher.rejected().await, (RejectReason::WrongState, 1));

    answered(livestreams.start_livestream(start(7)).await);
    publisher.send(keyframe(2)).await;
    assert_eq!(publisher.acked().await.sequence, 1);

    answered(livestreams.pause_livestream(pause(7)).await);
    publisher.send(keyframe(3)).await;
    assert_eq!(publisher.rejected().await, (RejectReason::WrongState, 3));

    answered(livestreams.resume_livestream(resume()).await);
    publisher.send(keyframe(4)).await;
    assert_eq!(publisher.acked().await.sequence, 2, "what was rejected has no number");
}

#[tokio::test]
async fn server_counts_updates_without_numbers() {
    let (_server, client) = on_air().await;
    let mut livestreams = client.livestreams.clone();
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    let uncounted = || UpdateDraft { publisher_sequence: 0, ..keyframe(9) };
    publisher.send(uncounted()).await;
    publisher.acked_through(1).await;
    answered(livestreams.pause_livestream(pause(7)).await);
    for number in [2, 3] {
        publisher.send(uncounted()).await;
        assert_eq!(publisher.rejected().await, (RejectReason::WrongState, number), "as counted by the server");
    }
    answered(livestreams.resume_livestream(resume()).await);
    publisher.send(uncounted()).await;
    publisher.acked_through(4).await;
}

/// The highest number that a publisher may give.
const LAST: u64 = i64::MAX as u64;

#[tokio::test]
async fn server_counts_on_after_the_highest_number() {
    let (_server, client) = on_air().await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    publisher.send(keyframe(LAST)).await;
    publisher.acked_through(LAST).await;
    publisher.send(UpdateDraft { publisher_sequence: 0, ..keyframe(9) }).await;
    publisher.acked_through(LAST + 1).await;
    let receipt = publish_one(&client, SwarmRef::Livestream(7), BROADCASTER, 0, keyframe(0)).await.unwrap();
    assert_eq!((receipt.position.unwrap().sequence, receipt.duplicate), (3, false));
}

#[tokio::test]
async fn number_above_2_to_the_63_is_refused() {
    let (_server, client) = on_air().await;
    for number in [LAST + 1, u64::MAX] {
        let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
        publisher.send(keyframe(number)).await;
        let refused = Fault::of(&publisher.said().await.unwrap_err());
        assert_eq!(refused, Fault::field("update.publisher_sequence"));
        let refused =
            publish_one(&client, SwarmRef::Livestream(7), BROADCASTER, 0, keyframe(number)).await.unwrap_err();
        assert_eq!(Fault::of(&refused), Fault::field("update.publisher_sequence"));
        let chat = UpdateDraft { channel: UpdateChannel::Chat.into(), ..delta(number) };
        let refused = publish_one(&client, SwarmRef::Livestream(7), VIEWER, 0, chat).await.unwrap_err();
        assert_eq!(Fault::of(&refused), Fault::field("update.publisher_sequence"));
    }
    let publisher = Publisher::open(&client, 7, BROADCASTER).await;
    assert_eq!(publisher.opened.channels[0].last_publisher_sequence, 0);
}

#[tokio::test]
async fn rejected_update_repeated_late_is_out_of_order() {
    let (_server, client) = on_air().await;
    let mut livestreams = client.livestreams.clone();
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    publisher.send(keyframe(1)).await;
    publisher.acked_through(1).await;
    answered(livestreams.pause_livestream(pause(7)).await);
    publisher.send(keyframe(2)).await;
    assert_eq!(publisher.rejected().await, (RejectReason::WrongState, 2));
    publisher.send(keyframe(1)).await;
    publisher.acked_through(1).await;
    answered(livestreams.resume_livestream(resume()).await);
    publisher.send(keyframe(4)).await;
    publisher.acked_through(4).await;
    for number in [2, 3] {
        publisher.send(keyframe(number)).await;
        assert_eq!(publisher.rejected().await, (RejectReason::OutOfOrder, number));
        let refused =
            publish_one(&client, SwarmRef::Livestream(7), BROADCASTER, 0, keyframe(number)).await.unwrap_err();
        assert_eq!(Fault::of(&refused), Fault::new(FailedPrecondition, "OUT_OF_ORDER"));
    }
}

#[tokio::test]
async fn outcome_beyond_64_ranges_is_unknown() {
    let (_server, client) = on_air().await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    for number in (1..=200).step_by(2) {
        publisher.send(keyframe(number)).await;
    }
    publisher.acked_through(199).await;
    publisher.send(keyframe(1)).await;
    assert_eq!(publisher.rejected().await, (RejectReason::OutcomeUnknown, 1));
    publisher.send(keyframe(198)).await;
    assert_eq!(publisher.rejected().await, (RejectReason::OutOfOrder, 198));
    publisher.send(keyframe(197)).await;
    publisher.acked_through(199).await;
    let refused = publish_one(&client, SwarmRef::Livestream(7), BROADCASTER, 0, keyframe(1)).await.unwrap_err();
    assert_eq!(Fault::of(&refused), Fault::new(FailedPrecondition, "OUTCOME_UNKNOWN"));
}

#[tokio::test]
async fn later_claim_supersedes_the_earlier_stream() {
    let (_server, client) = on_air().await;
    let mut first = Publisher::open(&client, 7, BROADCASTER).await;
    first.send(keyframe(1)).await;
    first.acked_through(1).await;
    let mut second = Publisher::open(&client, 7, BROADCASTER).await;
    assert!(second.term() > first.term());
    assert_eq!(first.lost().await, Fault::new(FailedPrecondition, "STALE_TERM"));
    second.send(keyframe(2)).await;
    let position = second.acked().await;
    assert_eq!((position.term, position.sequence), (second.term(), 1), "a term begins with 1");
}

#[tokio::test]
async fn transfer_revokes_the_old_broadcasters_right() {
    let (_server, client) = on_air().await;
    let mut old = Publisher::open(&client, 7, BROADCASTER).await;
    let transfer = pb::TransferBroadcastRequest {
        livestream_id: 7,
        node_id: BROADCASTER,
        viewer_node_id: VIEWER,
        ..Default::default()
    };
    answered(client.clone().livestreams.transfer_broadcast(transfer).await);
    assert_eq!(old.lost().await, Fault::new(FailedPrecondition, "STALE_TERM"));

    let (_, refused) = publish(&client, vec![message(Message::Open(opening(7, BROADCASTER)))]).await;
    assert_eq!(Fault::of(&refused.unwrap_err()), Fault::new(PermissionDenied, "NOT_BROADCASTER"));
    let mut new = Publisher::open(&client, 7, VIEWER).await;
    new.send(keyframe(1)).await;
    assert_eq!(new.acked().await.source_node_id, VIEWER);
}

#[tokio::test]
async fn publisher_gets_goodbye_when_the_livestream_ends() {
    let (_server, client) = on_air().await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    answered(client.clone().livestreams.end_livestream(end(7)).await);
    publisher.goodbye(GoodbyeReason::Ended).await.unwrap();
}

#[tokio::test]
async fn publisher_gets_goodbye_when_the_broadcaster_leaves() {
    let (_server, client) = on_air().await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    let leave = pb::LeaveLivestreamRequest { livestream_id: 7, node_id: BROADCASTER, ..Default::default() };
    answered(client.clone().livestreams.leave_livestream(leave).await);
    publisher.goodbye(GoodbyeReason::Left).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_session_is_reported_to_a_sending_publisher() {
    let (_server, client) = on_air().await;
    for round in 0..20 {
        let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
        let outbox = publisher.outbox();
        let sending = async {
            for number in 1.. {
                let update = message(Message::Update(keyframe(round * 1_000_000 + number)));
                if outbox.send(update).await.is_err() {
                    std::future::pending().await
                }
            }
        };
        let listening = async {
            loop {
                match publisher.said().await {
                    Ok(Some(Event::Ack(_) | Event::Goodbye(_))) => {}
                    Ok(other) => panic!("acks, a goodbye and an error, not {other:?}"),
                    Err(status) => break status,
                }
            }
        };
        let replaced = async { tokio::join!(listening, join_livestream(&client, 7, BROADCASTER)).0 };
        let status = tokio::select! {
            status = replaced => status,
            () = sending => unreachable!("it sends for ever"),
        };
        assert_eq!(Fault::of(&status), Fault::new(FailedPrecondition, "SESSION_REPLACED"));
    }
}

#[tokio::test]
async fn refused_claim_changes_nothing() {
    let (_server, client) = on_air().await;
    make_livestream(&client, 8, pb::LivestreamConfig::default()).await;
    answered(client.clone().livestreams.end_livestream(end(8)).await);
    let before = everything(&client).await;
    let open = |livestream_id, node_id| opening(livestream_id, node_id);
    let refused = [
        (open(0, BROADCASTER), Fault::field("open.livestream_id")),
        (open(7, 0), Fault::field("open.node_id")),
        (pb::PublishOpen { channels: vec![], ..open(7, BROADCASTER) }, Fault::field("open.channels")),
        (pb::PublishOpen { channels: vec![1, 0], ..open(7, BROADCASTER) }, Fault::field("open.channels[1]")),
        (pb::PublishOpen { channels: vec![6], ..open(7, BROADCASTER) }, Fault::field("open.channels[0]")),
        (pb::PublishOpen { channels: vec![1, 2, 1], ..open(7, BROADCASTER) }, Fault::field("open.channels[2]")),
        (pb::PublishOpen { channels: vec![9; 60_000], ..open(7, BROADCASTER) }, Fault::field("open.channels")),
        (
            pb::PublishOpen { channels: vec![1; 2_000_000], ..open(7, BROADCASTER) },
            Fault::new(ResourceExhausted, "MESSAGE_TOO_LARGE"),
        ),
        (pb::PublishOpen { temporal_layers: 9, ..open(7, BROADCASTER) }, Fault::field("open.temporal_layers")),
        (open(99, BROADCASTER), Fault::new(NotFound, "LIVESTREAM_NOT_FOUND")),
        (open(8, BROADCASTER), Fault::new(FailedPrecondition, "ENDED")),
        (open(7, 99), Fault::new(FailedPrecondition, "NOT_A_MEMBER")),
        (pb::PublishOpen { session_id: 5, ..open(7, BROADCASTER) }, Fault::new(FailedPrecondition, "NOT_A_MEMBER")),
        (pb::PublishOpen { session_id: 5, ..open(7, VIEWER) }, Fault::new(FailedPrecondition, "SESSION_REPLACED")),
        (open(7, VIEWER), Fault::new(PermissionDenied, "NOT_BROADCASTER")),
        (pb::PublishOpen { channels: vec![4, 2], ..open(7, VIEWER) }, Fault::new(PermissionDenied, "NOT_BROADCASTER")),
        (pb::PublishOpen { channels: vec![4], ..open(7, 99) }, Fault::new(FailedPrecondition, "NOT_A_MEMBER")),
    ];
    for (open, expected) in refused {
        let (events, ended) = publish(&client, vec![message(Message::Open(open.clone()))]).await;
        assert_eq!((events, Fault::of(&ended.unwrap_err())), (vec![], expected), "{open:?}");
        assert!(before == everything(&client).await, "a refused claim changes nothing: {open:?}");
    }
}

#[tokio::test]
async fn malformed_message_ends_the_stream_naming_field() {
    let (_server, client) = on_air().await;
    let nothing = pb::PublishUpdatesRequest { message: None };
    for first in [nothing.clone(), message(Message::Update(keyframe(1)))] {
        let (_, ended) = publish(&client, vec![first]).await;
        assert_eq!(Fault::of(&ended.unwrap_err()), Fault::field("open"));
    }
    let (_, ended) = publish(&client, vec![]).await;
    assert_eq!(Fault::of(&ended.unwrap_err()), Fault::field("open"));

    let update = |update: UpdateDraft| message(Message::Update(update));
    let at = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    let wrong = [
        (nothing, "message"),
        (message(Message::Open(opening(7, BROADCASTER))), "open"),
        (update(UpdateDraft { channel: 0, ..keyframe(2) }), "update.channel"),
        (update(UpdateDraft { channel: 6, ..keyframe(2) }), "update.channel"),
        (update(UpdateDraft { channel: UpdateChannel::Audio.into(), ..keyframe(2) }), "update.channel"),
        (update(UpdateDraft { track: 1, ..keyframe(2) }), "update.track"),
        (update(UpdateDraft { temporal_layer: 2, ..delta(2) }), "update.temporal_layer"),
        (update(UpdateDraft { payload: zeros((1 << 20) + 1), ..keyframe(2) }), "update.payload"),
        (update(UpdateDraft { publish_time: at(0, -1), ..keyframe(2) }), "update.publish_time"),
        (update(UpdateDraft { publish_time: at(253_402_300_800, 0), ..keyframe(2) }), "update.publish_time"),
    ];
    for (number, (wrong, field)) in (1..).zip(wrong) {
        let open = pb::PublishOpen { temporal_layers: 2, ..opening(7, BROADCASTER) };
        let messages = vec![
            message(Message::Open(open)),
            message(Message::Update(keyframe(number))),
            wrong,
            message(Message::Update(keyframe(number + 1))),
        ];
        let (events, ended) = publish(&client, messages).await;
        assert_eq!(Fault::of(&ended.unwrap_err()), Fault::field(field));
        let Some(Event::Ack(ack)) = events.last() else { panic!("what came before is acknowledged: {events:?}") };
        assert_eq!(ack.channels[0].accepted_through, number, "and what came after is not taken");
    }
}

fn zeros(length: usize) -> Bytes {
    Bytes::from(vec![0; length])
}

#[tokio::test]
async fn largest_payload_passes_and_larger_message_fails() {
    let (_server, client) = on_air().await;
    let mut viewer = Subscriber::open(&client, 7, VIEWER).await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    let payload = Bytes::from((0..1 << 20).map(|index: u32| index.to_le_bytes()[1]).collect::<Vec<_>>());
    publisher.send(UpdateDraft { payload: payload.clone(), ..keyframe(1) }).await;
    publisher.acked_through(1).await;
    assert_eq!(viewer.update().await.payload, payload);

    publisher.send(UpdateDraft { payload: zeros(2 << 20), ..keyframe(2) }).await;
    let refused = publisher.said().await.unwrap_err();
    assert_eq!(Fault::of(&refused), Fault::new(ResourceExhausted, "MESSAGE_TOO_LARGE"));
}
