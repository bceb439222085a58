//! SubscribeUpdates: where it starts, what comes, what does not and is told, how it ends.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;
use prost_types::Timestamp;
use starling_client::pb::livestream::v1::{self as pb, livestream_service_client::LivestreamServiceClient};
use starling_client::pb::swarm::v1::{
    ChannelInterest, Delivery, GapReason, GoodbyeReason, Interest, SourceChannel, StartFrom, TermSequence,
    UpdateChannel, UpdateDraft, UpdatePosition, delivery::Item,
};
use tonic::Code::{FailedPrecondition, PermissionDenied};
use tonic::transport::Endpoint;

use crate::edge::updates::{Publisher, Subscriber, delta, keyframe};
use crate::edge::world::{answered, end, go_live_wide, join_livestream, on_air_with_viewers};
use crate::harness::{Fault, Server, soon};

const BROADCASTER: u64 = 1;
const VIEWER: u64 = 2;
const LURKER: u64 = 3;

fn from_node(node_id: u64) -> pb::SubscribeUpdatesRequest {
    let channels = vec![UpdateChannel::Visual.into()];
    pb::SubscribeUpdatesRequest { livestream_id: 7, node_id, channels, ..Default::default() }
}

#[tokio::test]
async fn a_late_subscriber_starts_on_the_newest_keyframe() {
    let (_server, client) = on_air_with_viewers().await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    publisher.run(1, "KdddKdd").await;
    let mut viewer = Subscriber::open(&client, 7, VIEWER).await;
    let term = publisher.term();
    let before = UpdatePosition {
        source_node_id: BROADCASTER,
        channel: UpdateChannel::Visual.into(),
        term,
        sequence: 4,
        track: 0,
    };
    assert_eq!(viewer.subscribed.epoch, publisher.opened.epoch);
    assert_eq!(viewer.subscribed.positions, [before], "the position before the first update to come");
    assert_eq!(viewer.subscribed.waiting_for_keyframe, []);
    publisher.run(8, "dKd").await;
    let expected: Vec<_> = (5..=10).map(|sequence| (term, sequence)).collect();
    assert_eq!(viewer.places(6).await, expected);
}

#[tokio::test]
async fn subscriber_waits_for_the_first_keyframe() {
    let (_server, client) = on_air_with_viewers().await;
    let mut early = Subscriber::open(&client, 7, VIEWER).await;
    let waiting = SourceChannel { source_node_id: BROADCASTER, channel: UpdateChannel::Visual.into(), track: 0 };
    assert_eq!(early.subscribed.waiting_for_keyframe, [waiting]);
    assert_eq!(early.subscribed.positions, []);
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    publisher.run(1, "ddKd").await;
    let term = publisher.term();
    assert_eq!(early.places(2).await, [(term, 3), (term, 4)]);
}

#[tokio::test]
async fn a_live_subscriber_starts_on_the_next_keyframe() {
    let (_server, client) = on_air_with_viewers().await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    publisher.run(1, "Kdd").await;
    let live = pb::SubscribeUpdatesRequest { start_from: StartFrom::Live.into(), ..from_node(VIEWER) };
    let mut viewer = Subscriber::open_with(&client, live).await;
    publisher.run(4, "ddKd").await;
    let term = publisher.term();
    assert_eq!(viewer.places(2).await, [(term, 6), (term, 7)]);
}

#[tokio::test]
async fn low_interest_gets_keyframes_only() {
    let (_server, client) = on_air_with_viewers().await;
    let mut lurker = Subscriber::open(&client, 7, LURKER).await;
    let mut viewer = Subscriber::open(&client, 7, VIEWER).await;
    let [filter] = &lurker.subscribed.filters[..] else { panic!("one filter: {:?}", lurker.subscribed) };
    assert_eq!((filter.source_node_id, filter.channel()), (BROADCASTER, UpdateChannel::Visual));
    assert_eq!((filter.interest(), filter.keyframes_only), (Interest::Low, true));
    let filter = viewer.subscribed.filters[0];
    assert_eq!((filter.keyframes_only, filter.max_temporal_layer), (false, 7), "everything there can be");
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    publisher.run(1, "KddKdKd").await;
    let term = publisher.term();
    assert_eq!(lurker.places(3).await, [(term, 1), (term, 4), (term, 6)], "without a gap");
    assert_eq!(viewer.places(7).await.len(), 7);
}

#[tokio::test]
async fn viewer_without_interest_gets_heartbeats_only() {
    let server = Server::with(|config| config.streams.heartbeat_interval = std::time::Duration::from_millis(100)).await;
    let client = server.client().await;
    go_live_wide(&client, 7).await;
    let none = ChannelInterest {
        channel: UpdateChannel::Visual.into(),
        interest: Interest::None.into(),
        ..Default::default()
    };
    let join =
        pb::JoinLivestreamRequest { livestream_id: 7, node_id: VIEWER, interests: vec![none], ..Default::default() };
    answered(client.clone().livestreams.join_livestream(join).await);
    let mut viewer = Subscriber::open(&client, 7, VIEWER).await;
    assert_eq!(viewer.subscribed.filters[0].interest(), Interest::None);
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    publisher.run(1, "Kdd").await;
    let head = UpdatePosition {
        source_node_id: BROADCASTER,
        channel: UpdateChannel::Visual.into(),
        term: publisher.term(),
        sequence: 3,
        track: 0,
    };
    // The head shows in a heartbeat, so that a lost tail would.
    let mut heads = Vec::new();
    while heads.is_empty() {
        match viewer.item().await {
            Item::Heartbeat(heartbeat) => heads = heartbeat.heads,
            other => panic!("a heartbeat, not {other:?}"),
        }
    }
    assert_eq!(heads, [head]);
}

#[tokio::test]
async fn deliveries_equal_the_generated_encoding() {
    let (_server, client) = on_air_with_viewers().await;
    let mut viewer = Subscriber::open(&client, 7, VIEWER).await;
    let open = pb::PublishOpen { temporal_layers: 8, ..crate::edge::updates::opening(7, BROADCASTER) };
    let publisher = Publisher::open_with(&client, open).await;
    let timestamps = [
        None,
        Some(Timestamp::default()),
        Some(Timestamp { seconds: 1_700_000_000, nanos: 999_999_999 }),
        Some(Timestamp { seconds: -1, nanos: 1 }),
        Some(Timestamp { seconds: -62_135_596_800, nanos: 0 }),
    ];
    // Lengths around those at which a length takes another byte.
    let mut drafts = Vec::new();
    for (index, length) in (0_u8..).zip([0, 1, 60, 90, 100, 127, 128, 16_300, 16_384, 70_000, 1 << 20]) {
        drafts.push(UpdateDraft {
            payload: Bytes::from(vec![0xa5; length]),
            keyframe: true,
            urgent: index % 5 == 4,
            temporal_layer: u32::from(index % 8),
            publish_time: timestamps[usize::from(index) % timestamps.len()],
            ..keyframe(drafts.len() as u64 + 1)
        });
        let whole = drafts[drafts.len() - 1].clone();
        drafts.push(UpdateDraft { keyframe: false, publisher_sequence: whole.publisher_sequence + 1, ..whole });
    }
    for draft in drafts {
        publisher.send(draft.clone()).await;
        let bytes = viewer.encoded().await.unwrap().unwrap();
        let delivery = Delivery::decode(bytes.clone()).unwrap();
        assert_eq!(delivery.encode_to_vec(), bytes, "{:?}", draft.payload.len());
        let Some(Item::Update(update)) = delivery.item else { panic!("an update, not {delivery:?}") };
        assert_eq!(
            (update.payload, update.keyframe, update.urgent, update.temporal_layer, update.publish_time),
            (draft.payload, draft.keyframe, draft.urgent, draft.temporal_layer, draft.publish_time),
        );
        assert!(update.accept_time.is_some_and(|at| at.seconds > 1_700_000_000));
        assert_eq!(update.author_node_id, 0);
    }
}

#[tokio::test]
async fn every_subscriber_gets_each_update_once_in_order() {
    const UPDATES: u64 = 1_900;
    let (_server, client) = on_air_with_viewers().await;
    let mut viewers = Vec::new();
    for node_id in 10..20 {
        join_livestream(&client, 7, node_id).await;
        viewers.push(Subscriber::open(&client, 7, node_id).await);
    }
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    let term = publisher.term();
    let updates = "Kdddddddddddddddddd".repeat(100);
    let publishing = publisher.run(1, &updates);
    let reading = futures_util::future::join_all(viewers.iter_mut().map(|viewer| viewer.places(updates.len())));
    let ((), places) = tokio::join!(publishing, reading);
    let expected: Vec<_> = (1..=UPDATES).map(|sequence| (term, sequence)).collect();
    assert!(places.iter().all(|places| *places == expected));
    let stats = pb::GetStatsRequest { livestream_id: 7, ..Default::default() };
    let delivery = answered(client.clone().livestreams.get_stats(stats).await).stats.unwrap().delivery.unwrap();
    assert_eq!((delivery.published, delivery.published_bytes), (UPDATES, UPDATES * 8));
    assert_eq!(delivery.delivered, 10 * UPDATES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_subscriber_loses_only_evicted_updates() {
    const PAYLOAD: usize = 8 * 1024;
    const UPDATES: u64 = 600;
    let server = Server::with(|config| {
        config.feed.ring_bytes = 256 * 1024;
        config.feed.payload_bytes = PAYLOAD;
    })
    .await;
    let client = server.client().await;
    go_live_wide(&client, 7).await;
    join_livestream(&client, 7, VIEWER).await;
    join_livestream(&client, 7, LURKER).await;
    // HTTP/2's own small windows: what is on the way is bounded.
    let narrow = Endpoint::from_shared(server.url()).unwrap().initial_stream_window_size(65_535);
    let mut narrow = LivestreamServiceClient::new(narrow.connect().await.unwrap());
    let mut stalled = answered(narrow.subscribe_updates(from_node(VIEWER)).await);

    let mut reading = Subscriber::open(&client, 7, LURKER).await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    let term = publisher.term();
    for number in 1..=UPDATES {
        let draft = if number % 10 == 1 { keyframe(number) } else { delta(number) };
        publisher.send(UpdateDraft { payload: Bytes::from(vec![7; PAYLOAD]), ..draft }).await;
        publisher.acked_through(number).await;
        assert_eq!(reading.places(1).await, [(term, number)], "who reads is not held up by who does not");
    }

    let (mut next, mut gaps) = (1, 0);
    while next <= UPDATES {
        let message = soon(stalled.message()).await.unwrap().expect("the stream goes on");
        for delivery in message.deliveries {
            match delivery.item.unwrap() {
                Item::Update(update) => {
                    assert_eq!(update.position.unwrap().sequence, next, "nothing is lost without a gap");
                    next += 1;
                }
                Item::Gap(gap) => {
                    let before = gap.before.unwrap();
                    assert_eq!(gap.reason(), GapReason::Evicted);
                    assert_eq!(gap.after, Some(TermSequence { term, sequence: next - 1 }));
                    assert_eq!((before.term, before.sequence % 10), (term, 1), "it goes on with a keyframe");
                    assert_eq!(gap.count, Some(before.sequence - next));
                    next = before.sequence;
                    gaps += 1;
                }
                Item::Subscribed(_) | Item::Heartbeat(_) => {}
                other => panic!("an update or a gap, not {other:?}"),
            }
        }
    }
    assert!(gaps > 0, "a small ring went round");
}

#[tokio::test]
async fn subscription_keeps_its_session_and_ends_with_it() {
    let (_server, client) = on_air_with_viewers().await;
    let mut livestreams = client.livestreams.clone();
    let tied = |node_id, session_id| pb::SubscribeUpdatesRequest { session_id, ..from_node(node_id) };
    let mut subscribers = Vec::new();
    for node_id in 10..14 {
        let session_id = join_livestream(&client, 7, node_id).await;
        subscribers.push(Subscriber::open_with(&client, tied(node_id, session_id)).await);
    }
    let list = pb::ListViewersRequest { livestream_id: 7, ..Default::default() };
    let viewers = answered(livestreams.list_viewers(list).await).viewers;
    let attached: BTreeSet<_> = viewers.iter().filter(|v| v.attached).map(|v| v.node_id).collect();
    assert_eq!(attached, (10..14).collect(), "those with a stream, and nobody else");

    let [replaced, left, removed, staying] = &mut subscribers[..] else { unreachable!("four were opened") };
    join_livestream(&client, 7, 10).await;
    let status = replaced.goodbye(GoodbyeReason::Replaced).await.unwrap_err();
    assert_eq!(Fault::of(&status), Fault::new(FailedPrecondition, "SESSION_REPLACED"));

    let leave = pb::LeaveLivestreamRequest { livestream_id: 7, node_id: 11, ..Default::default() };
    answered(livestreams.leave_livestream(leave).await);
    left.goodbye(GoodbyeReason::Left).await.unwrap();

    let remove =
        pb::RemoveViewerRequest { livestream_id: 7, node_id: BROADCASTER, viewer_node_id: 12, ..Default::default() };
    answered(livestreams.remove_viewer(remove).await);
    let status = removed.goodbye(GoodbyeReason::Removed).await.unwrap_err();
    assert_eq!(Fault::of(&status), Fault::new(PermissionDenied, "REMOVED"));

    answered(livestreams.end_livestream(end(7)).await);
    staying.goodbye(GoodbyeReason::Ended).await.unwrap();
}

#[tokio::test]
async fn subscription_without_session_follows_its_node() {
    let (_server, client) = on_air_with_viewers().await;
    let mut livestreams = client.livestreams.clone();
    let mut follower = Subscriber::open(&client, 7, VIEWER).await;
    let list = pb::ListViewersRequest { livestream_id: 7, ..Default::default() };
    let viewers = answered(livestreams.list_viewers(list).await).viewers;
    assert!(viewers.iter().all(|viewer| !viewer.attached));
    // Another session of the same node is no reason to end.
    join_livestream(&client, 7, VIEWER).await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    publisher.run(1, "Kd").await;
    assert_eq!(follower.places(2).await.len(), 2);
    let remove = pb::RemoveViewerRequest {
        livestream_id: 7,
        node_id: BROADCASTER,
        viewer_node_id: VIEWER,
        ..Default::default()
    };
    answered(livestreams.remove_viewer(remove).await);
    let status = follower.goodbye(GoodbyeReason::Removed).await.unwrap_err();
    assert_eq!(Fault::of(&status), Fault::new(PermissionDenied, "REMOVED"));
}

#[tokio::test]
async fn updates_before_the_end_precede_the_goodbye() {
    let (_server, client) = on_air_with_viewers().await;
    let mut viewer = Subscriber::open(&client, 7, VIEWER).await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    publisher.run(1, &"Kddd".repeat(50)).await;
    answered(client.clone().livestreams.end_livestream(end(7)).await);
    assert_eq!(viewer.places(200).await.last().map(|(_, sequence)| *sequence), Some(200));
    viewer.goodbye(GoodbyeReason::Ended).await.unwrap();
    let refused = client.clone().livestreams.subscribe_updates(from_node(VIEWER)).await.unwrap_err();
    assert_eq!(Fault::of(&refused), Fault::new(FailedPrecondition, "ENDED"));
}
