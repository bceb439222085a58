//! The CHAT of a livestream: one order for all, many authors.

use bytes::Bytes;
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::livestream::v1::{self as pb, publish_updates_request::Message};
use starling_client::pb::swarm::v1::{
    GoodbyeReason, GrantedChannel, PublishReceipt, RejectReason, UpdateChannel, UpdateDraft, UpdatePosition,
};
use starling_client::{Client, SwarmRef};
use tokio::time::Instant;
use tonic::Code::{FailedPrecondition, NotFound, PermissionDenied, ResourceExhausted};
use tonic::Status;

use crate::edge::updates::{Publisher, Subscriber, delta, keyframe, message, opening, publish, publish_one};
use crate::edge::world::{self, answered, end, join_livestream, make_livestream, mute, pause, start};
use crate::harness::{Fault, Server, fault, retry_delay};

const BROADCASTER: u64 = 1;
const WRITER: u64 = 2;
const READER: u64 = 3;
const STRANGER: u64 = 99;

/// How many messages a member may write at once, and how many each second.
const BURST: usize = 10;
const PER_SECOND: f64 = 5.0;

/// The longest message, in bytes.
const LONGEST: usize = 16 * 1024;

async fn on_air() -> (Server, Client) {
    let (server, client) = world::on_air().await;
    join_livestream(&client, 7, WRITER).await;
    join_livestream(&client, 7, READER).await;
    (server, client)
}

fn line(publisher_sequence: u64) -> UpdateDraft {
    UpdateDraft { channel: UpdateChannel::Chat.into(), ..delta(publisher_sequence) }
}

fn long_line(publisher_sequence: u64, length: usize) -> UpdateDraft {
    UpdateDraft { payload: Bytes::from(vec![b'a'; length]), ..line(publisher_sequence) }
}

fn chat_of(node_id: u64) -> pb::PublishOpen {
    pb::PublishOpen { channels: vec![UpdateChannel::Chat.into()], ..opening(7, node_id) }
}

const fn place(sequence: u64) -> UpdatePosition {
    UpdatePosition { source_node_id: 0, channel: UpdateChannel::Chat as i32, term: 0, sequence, track: 0 }
}

async fn read(client: &Client, node_id: u64) -> Subscriber {
    let channels = vec![UpdateChannel::Chat.into()];
    let request = pb::SubscribeUpdatesRequest { livestream_id: 7, node_id, channels, ..Default::default() };
    Subscriber::open_with(client, request).await
}

/// Publishes one update by itself.
async fn say(client: &Client, node_id: u64, update: UpdateDraft) -> Result<PublishReceipt, Status> {
    publish_one(client, SwarmRef::Livestream(7), node_id, 0, update).await
}

async fn unmute(client: &Client, viewer_node_id: u64) {
    let request =
        pb::UnmuteViewerRequest { livestream_id: 7, node_id: BROADCASTER, viewer_node_id, ..Default::default() };
    answered(client.clone().livestreams.unmute_viewer(request).await);
}

#[tokio::test]
async fn chat_has_one_order_and_names_authors() {
    let (_server, client) = on_air().await;
    let mut reader = read(&client, READER).await;
    let mut writer = Publisher::open_with(&client, chat_of(WRITER)).await;
    let granted = GrantedChannel {
        channel: UpdateChannel::Chat.into(),
        term: 0,
        max_payload_bytes: 16 << 10,
        ..Default::default()
    };
    assert_eq!(writer.opened.channels, [granted], "CHAT is nobody's");
    let mut other = Publisher::open_with(&client, chat_of(READER)).await;

    // Each author has numbers of its own.
    writer.send(line(5)).await;
    assert_eq!(writer.acked().await, place(1));
    other.send(line(5)).await;
    assert_eq!(other.acked().await, place(2));
    let receipt = say(&client, WRITER, line(6)).await.unwrap();
    assert_eq!((receipt.position, receipt.duplicate, receipt.keyframe_wanted), (Some(place(3)), false, false));
    let receipt = say(&client, WRITER, line(5)).await.unwrap();
    assert_eq!((receipt.position, receipt.duplicate), (Some(place(3)), true), "where the newest stands");

    for (sequence, author, number) in [(1, WRITER, 5), (2, READER, 5), (3, WRITER, 6)] {
        let update = reader.update().await;
        assert_eq!((update.position, update.author_node_id), (Some(place(sequence)), author));
        assert_eq!(update.payload, line(number).payload);
    }
}

#[tokio::test]
async fn second_chat_stream_leaves_the_first_open() {
    let (_server, client) = on_air().await;
    let mut first = Publisher::open_with(&client, chat_of(WRITER)).await;
    first.send(line(1)).await;
    first.acked_through(1).await;
    let mut second = Publisher::open_with(&client, chat_of(WRITER)).await;
    assert_eq!(second.opened.channels[0].last_publisher_sequence, 1);
    second.send(line(2)).await;
    assert_eq!(second.acked().await, place(2));
    first.send(line(3)).await;
    assert_eq!(first.acked().await, place(3));
}

#[tokio::test]
async fn muted_member_is_rejected_until_unmuted() {
    let (_server, client) = on_air().await;
    let mut reader = read(&client, READER).await;
    let mut writer = Publisher::open_with(&client, chat_of(WRITER)).await;
    writer.send(line(1)).await;
    assert_eq!(writer.acked().await, place(1));

    mute(&client, 7, WRITER).await;
    writer.send(line(2)).await;
    assert_eq!(writer.rejected().await, (RejectReason::Muted, 2));
    assert_eq!(fault(say(&client, WRITER, line(3)).await), Fault::new(FailedPrecondition, "MUTED"));

    unmute(&client, WRITER).await;
    writer.send(line(4)).await;
    assert_eq!(writer.acked().await, place(2), "what was rejected has no number");
    assert_eq!(say(&client, WRITER, line(5)).await.unwrap().position, Some(place(3)));
    for number in [1, 4, 5] {
        assert_eq!(reader.update().await.payload, line(number).payload, "and is not delivered");
    }
}

#[tokio::test]
async fn stream_rejects_messages_beyond_the_burst() {
    const SENT: usize = 30;
    let (_server, client) = on_air().await;
    let began = Instant::now();
    let mut messages = vec![message(Message::Open(chat_of(WRITER)))];
    messages.extend((1..=SENT as u64).map(|number| message(Message::Update(line(number)))));
    let (events, ended) = publish(&client, messages).await;
    ended.unwrap();
    let rejected: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Rejected(rejected) => Some((rejected.reason(), rejected.publisher_sequence)),
            _ => None,
        })
        .collect();
    assert!(rejected.iter().all(|(reason, number)| *reason == RejectReason::RateLimited && *number > BURST as u64));
    // Exactly ten, but for what the time that it took allows.
    let more = began.elapsed().as_secs_f64().mul_add(PER_SECOND, 1.0);
    assert!((SENT - rejected.len()) as f64 <= BURST as f64 + more, "{rejected:?}");

    // The quota is each member's own.
    assert!(say(&client, READER, line(1)).await.is_ok());
}

#[tokio::test]
async fn single_message_beyond_the_burst_is_refused() {
    let (_server, client) = on_air().await;
    let began = Instant::now();
    let mut taken = 0;
    let refused = loop {
        match say(&client, WRITER, line(0)).await {
            Ok(_) => taken += 1,
            Err(status) => break status,
        }
    };
    assert_eq!(Fault::of(&refused), Fault::new(ResourceExhausted, "RATE_LIMITED"));
    assert!(retry_delay(&refused).is_some(), "and may be tried again: {refused:?}");
    let more = began.elapsed().as_secs_f64().mul_add(PER_SECOND, 1.0);
    assert!(taken >= BURST && taken as f64 <= BURST as f64 + more, "{taken}");
}

#[tokio::test]
async fn message_length_limit_is_inclusive() {
    let (_server, client) = on_air().await;
    let mut reader = read(&client, READER).await;
    say(&client, WRITER, long_line(1, LONGEST)).await.unwrap();
    assert_eq!(fault(say(&client, WRITER, long_line(2, LONGEST + 1)).await), Fault::field("update.payload"));
    let mut writer = Publisher::open_with(&client, chat_of(WRITER)).await;
    writer.send(long_line(3, LONGEST)).await;
    assert_eq!(writer.acked().await, place(2));
    writer.send(long_line(4, LONGEST + 1)).await;
    assert_eq!(Fault::of(&writer.said().await.unwrap_err()), Fault::field("update.payload"));
    for number in [1, 3] {
        assert_eq!(reader.update().await.payload, long_line(number, LONGEST).payload);
    }
}

#[tokio::test]
async fn chat_works_before_start_and_during_pause() {
    let server = Server::start().await;
    let client = server.client().await;
    make_livestream(&client, 7, pb::LivestreamConfig::default()).await;
    join_livestream(&client, 7, WRITER).await;
    let mut livestreams = client.livestreams.clone();
    let channels = vec![UpdateChannel::Visual.into(), UpdateChannel::Chat.into()];
    let mut broadcaster = Publisher::open_with(&client, pb::PublishOpen { channels, ..opening(7, BROADCASTER) }).await;
    assert_ne!(broadcaster.term(), 0, "VISUAL has a term");

    broadcaster.send(keyframe(1)).await;
    assert_eq!(broadcaster.rejected().await, (RejectReason::WrongState, 1));
    broadcaster.send(line(1)).await;
    assert_eq!(broadcaster.acked().await, place(1));
    let wrong_state = Fault::new(FailedPrecondition, "WRONG_STATE");
    assert_eq!(fault(say(&client, BROADCASTER, keyframe(2)).await), wrong_state);
    assert_eq!(say(&client, WRITER, line(1)).await.unwrap().position, Some(place(2)));

    answered(livestreams.start_livestream(start(7)).await);
    answered(livestreams.pause_livestream(pause(7)).await);
    broadcaster.send(keyframe(3)).await;
    assert_eq!(broadcaster.rejected().await, (RejectReason::WrongState, 3));
    broadcaster.send(line(2)).await;
    assert_eq!(broadcaster.acked().await, place(3));
    assert_eq!(fault(say(&client, BROADCASTER, keyframe(4)).await), wrong_state);
    assert_eq!(say(&client, WRITER, line(2)).await.unwrap().position, Some(place(4)));
}

#[tokio::test]
async fn only_members_write() {
    let (_server, client) = on_air().await;
    let not_a_member = Fault::new(FailedPrecondition, "NOT_A_MEMBER");
    assert_eq!(fault(say(&client, STRANGER, line(1)).await), not_a_member);
    let (events, ended) = publish(&client, vec![message(Message::Open(chat_of(STRANGER)))]).await;
    assert_eq!((events, fault(ended)), (vec![], not_a_member.clone()));

    // Also not any more.
    let mut removed = Publisher::open_with(&client, chat_of(WRITER)).await;
    let remove = pb::RemoveViewerRequest {
        livestream_id: 7,
        node_id: BROADCASTER,
        viewer_node_id: WRITER,
        ..Default::default()
    };
    answered(client.clone().livestreams.remove_viewer(remove).await);
    let status = removed.goodbye(GoodbyeReason::Removed).await.unwrap_err();
    assert_eq!(Fault::of(&status), Fault::new(PermissionDenied, "REMOVED"));
    assert_eq!(fault(say(&client, WRITER, line(1)).await), not_a_member);

    let mut staying = Publisher::open_with(&client, chat_of(READER)).await;
    answered(client.clone().livestreams.end_livestream(end(7)).await);
    staying.goodbye(GoodbyeReason::Ended).await.unwrap();
    assert_eq!(fault(say(&client, READER, line(1)).await), Fault::new(FailedPrecondition, "ENDED"));
    let elsewhere =
        pb::PublishUpdateRequest { livestream_id: 99, node_id: READER, update: Some(line(1)), ..Default::default() };
    let refused = client.clone().livestreams.publish_update(elsewhere).await;
    assert_eq!(fault(refused), Fault::new(NotFound, "LIVESTREAM_NOT_FOUND"));
}
